"""The example's reverse proxy as a proxy: bodies pass whole in both directions, and clients and upstreams that misbehave get an answer
and cost nobody else theirs."""

import http.client
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness.net import free_port, wait_until
from harness.proxy import Proxy

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Upstream(BaseHTTPRequestHandler):
    """Answers by the path; a connection stays open, as HTTP/1.1 has it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body: bytes, **headers):
        self.send_response(200)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "12345")
        self.end_headers()

    def do_GET(self):
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for letter in b"abcdefghij":
                self.wfile.write(b"%x;note=1\r\n%s\r\n" % (9_999, bytes([letter]) * 9_999))
            self.wfile.write(b"0\r\nX-After: all\r\n\r\n")
        elif self.path == "/until-close":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"y" * 100_000)
        elif self.path == "/large":
            self.answer(b"z" * 3_000_000)
        elif self.path == "/cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
            self.close_connection = True
        elif self.path == "/once":  # the connection is closed behind an answer that says it stays
            self.answer(b"once")
            self.close_connection = True
        elif self.path == "/garbage":
            self.wfile.write(b"what is this\r\n\r\n")
            self.close_connection = True
        elif self.path == "/silent":
            self.server.over.wait(60)
            self.close_connection = True
        else:
            self.answer(json.dumps(self.headers.items()).encode())

    def do_POST(self):
        if self.headers["Transfer-Encoding"] != "chunked":
            self.answer(str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode())
            return
        size = 0
        while part := int(self.rfile.readline(), 16):
            size += len(self.rfile.read(part))
            self.rfile.readline()
        self.rfile.readline()
        self.answer(str(size).encode())


@pytest.fixture
def upstream():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads, server.handle_error = True, lambda *_: None  # proxies that go are what is tried
    server.over = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.over.set()
    server.shutdown()
    server.server_close()


# Whoever is quick to give up a request waits for its answer: that comes from a thread of ours, which may have to wait for its turn.
QUICK = ("--request-timeout", "800")
PATIENT = ("--request-timeout", "30000", "--answer-timeout", "6000")  # the upstream's silence is longer


@pytest.fixture
def proxy(start, tmp_path, upstream):
    def begin(*options, to: int = upstream, weir: int | None = 1) -> Proxy:
        return start(Proxy(tmp_path, "proxy", to=to, weir=weir, options=options))

    return begin


class Client(http.client.HTTPConnection):
    def __init__(self, proxy: Proxy):
        super().__init__("127.0.0.1", proxy.port, timeout=120)

    def ask(self, method: str, path: str, body=None, **options):
        self.request(method, path, body, **options)
        reply = self.getresponse()
        return reply.status, reply.read()


def served(proxy: Proxy, path: str) -> bool:
    """Who has not sent its request in time, for the machine stood still, is told so or not heard."""
    try:
        return Client(proxy).ask("GET", path)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def raw(proxy: Proxy, request: bytes) -> bytes:
    """All that is answered until the proxy closes."""
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.settimeout(120)
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_bodies_pass_whole_over_one_connection(proxy):
    client = Client(proxy())
    client.connect()
    port = client.sock.getsockname()
    assert client.ask("GET", "/chunked") == (200, b"".join(bytes([letter]) * 9_999 for letter in b"abcdefghij"))
    assert client.ask("GET", "/large") == (200, b"z" * 3_000_000)
    assert client.ask("POST", "/", b"a" * 1_000_000) == (200, b"1000000")
    pieces = iter([b"q" * 30_000] * 20)
    assert client.ask("POST", "/", pieces, headers={"Transfer-Encoding": "chunked"}, encode_chunked=True) == (200, b"600000")
    assert client.ask("HEAD", "/") == (200, b"")
    for _ in range(20):
        assert client.ask("GET", "/once") == (200, b"once")  # sent again where the pool had a dead connection
    assert client.sock.getsockname() == port
    assert client.ask("GET", "/until-close") == (200, b"y" * 100_000)


def test_headers_go_as_far_as_they_should(proxy):
    one = proxy("--rate", "0")
    client = Client(one)
    sent = {
        "traceparent": f"00-{TRACE}-{PARENT}-01",
        "tracestate": "other=1",
        "b3": "0",
        "X-Forwarded-For": "192.0.2.1",
        "Connection": "X-Only-Here, keep-alive",
        "X-Only-Here": "1",
        "TE": "trailers",
        "X-Passed": "2",
    }
    seen = [(name.lower(), value) for name, value in json.loads(client.ask("GET", "/headers", headers=sent)[1])]
    names = [name for name, _ in seen]
    assert not {"connection", "x-only-here", "te", "keep-alive"} & set(names)
    said = dict(seen)
    assert said["x-passed"] == "2" and said["via"] == "1.1 weir_proxy" and said["tracestate"] == "other=1"
    assert [value for name, value in seen if name == "x-forwarded-for"] == ["192.0.2.1", "127.0.0.1"]
    version, trace, span, flags = said["traceparent"].split("-")
    assert (version, trace) == ("00", TRACE) and span != PARENT and int(flags, 16) & 1
    assert names.count("traceparent") == names.count("b3") == 1
    assert said["b3"].startswith(f"{TRACE}-{span}-1")
    multi = {"X-B3-TraceId": TRACE, "X-B3-SpanId": PARENT, "X-B3-Sampled": "1"}
    said = {name.lower(): value for name, value in json.loads(client.ask("GET", "/headers", headers=multi)[1])}
    assert said["x-b3-traceid"] == TRACE and said["x-b3-sampled"] == "1" and "b3" not in said
    assert said["traceparent"] == f"00-{TRACE}-{said['x-b3-spanid']}-01"


def test_without_tracing_headers_pass_as_they_are(proxy):
    sent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "b3": f"{TRACE}-{PARENT}-1"}
    said = {name.lower(): value for name, value in json.loads(Client(proxy(weir=None)).ask("GET", "/", headers=sent)[1])}
    assert {name: said[name] for name in sent} == sent


HOST = b"Host: a\r\n"
REFUSED = {
    "two lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "length and chunks": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a coding that is not chunked": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "a name with a space": (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length : 3\r\n\r\n", 400),
    "a folded line": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + 2 * HOST + b"\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "a chunk without a size": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "a large head": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 101 + b"\r\n", 431),
}


def test_what_is_no_request_is_refused(proxy):
    one = proxy()
    client = Client(one)
    for what, (request, status) in REFUSED.items():
        assert raw(one, request).startswith(b"HTTP/1.1 %d " % status), what
        assert client.ask("GET", "/")[0] == 200, what
    assert one.process.running


def test_slow_clients_are_answered_and_left(proxy):
    one = proxy(*QUICK, "--connections", "8")
    assert raw(one, b"GET / HTTP/1.1\r\nHos").startswith(b"HTTP/1.1 408 ")
    assert raw(one, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nabc").startswith(b"HTTP/1.1 408 ")
    assert raw(one, b"") == b""
    held = [socket.create_connection(("127.0.0.1", one.port)) for _ in range(30)]  # more than there is room for
    for _ in range(10):
        wait_until(lambda: served(one, "/"), "to be served")
    # Who asks for much and takes nothing is left, too.
    deaf = socket.create_connection(("127.0.0.1", one.port))
    deaf.sendall((b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n") * 20)
    wait_until(lambda: served(one, "/large"), "to be served")
    for connection in [*held, deaf]:
        connection.close()


def test_pipelined_and_old_requests(proxy):
    one = proxy()
    last = b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
    assert raw(one, (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 5 + last).count(b"HTTP/1.1 200 OK") == 6
    assert raw(one, b"GET / HTTP/1.0\r\n\r\n").count(b"HTTP/1.1 200 OK") == 1


def test_upstreams_that_fail(proxy):
    one = proxy(*PATIENT)
    client = Client(one)
    assert client.ask("GET", "/garbage")[0] == 502
    assert client.ask("GET", "/silent")[0] == 504
    with pytest.raises(http.client.IncompleteRead):
        client.ask("GET", "/cut")
    assert Client(one).ask("GET", "/")[0] == 200


def test_an_upstream_that_is_away(proxy):
    client = Client(proxy(to=free_port()))
    assert client.ask("GET", "/")[0] == 502
    assert client.ask("POST", "/", b"body") == (502, b"502 Bad Gateway\n")


def test_failures_are_counted(weir, proxy):
    one = weir(receivers={"datagram": ""})
    mine = proxy(*PATIENT, "--rate", "1", weir=one.ports["datagram"])
    client = Client(mine)
    for path, status in (("/", 200), ("/garbage", 502), ("/silent", 504)):
        assert client.ask("GET", path)[0] == status
    raw(mine, b"GET / HTTP/1.1\r\n\r\n")

    def counted() -> dict:
        return one.page().by("proxy_failures_total", "reason")

    def timed() -> float:
        return one.page().sum("proxy_request_seconds_count", service="proxy")

    wait_until(lambda: sum(counted().values()) == 3 and timed() == 3, lambda: f"{counted()} {timed()}")
    assert {reason for reason, count in counted().items() if count == 1} == {"upstream", "timeout", "bad_request"}
    one.balance(received=6)
    errors = {span["kind"] for span in one.cat() if span.get("status", {}).get("code") == 2}
    assert errors == {2, 3}


@pytest.mark.parametrize("requests", [1, 63, 64, 65, 200])
def test_what_ended_is_told_when_the_proxy_ends(weir, proxy, requests):
    one = weir(receivers={"datagram": ""})
    mine = proxy("--rate", "0", weir=one.ports["datagram"])
    client = Client(mine)
    for _ in range(requests):
        assert client.ask("GET", "/")[0] == 200
    client.close()
    mine.end()

    def told() -> tuple:
        page = one.page()
        begun, timed = page.sum("emitter_requests_total", service="proxy"), page.sum("proxy_request_seconds_count", service="proxy")
        return begun, timed, page.sum("proxy_responses_total", service="proxy", **{"class": "2xx"})

    wait_until(lambda: told() == (requests,) * 3, told)


def test_telling_by_turns(weir, proxy):
    one = weir(receivers={"datagram": ""})
    mine = proxy("--rate", "1", "--turns", "10", weir=one.ports["datagram"])
    client = Client(mine)
    for _ in range(10 * 4 * 4):
        assert client.ask("GET", "/")[0] == 200
    client.close()
    mine.stop()
    measured = next(json.loads(line) for line in mine.process.text().splitlines() if "blocks" in line)
    assert measured["blocks"] == 3  # the first is not counted
    assert measured["plain_us"] > 0 and measured["error_us"] >= 0
    wait_until(lambda: one.page().sum("emitter_requests_total", service="proxy") == 80, one.page)
    one.balance(received=160)
