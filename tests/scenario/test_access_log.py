"""Debian's plain nginx at the TLS edge, traced by its access log: the snippet of examples/nginx, real requests, real times."""

import http.server
import pathlib
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
from harness.chance import drawn
from harness.net import answers, free_port, wait_until
from harness.net import http as ask
from harness.process import ROOT, Process
from harness.weir import Weir

SNIPPET = ROOT / "examples" / "nginx" / "weir-tracing.conf"
TRACE, PARENT = "0102030405060708090a0b0c0d0e0f10", "1112131415161718"


class Behind:
    """The server behind: remembers the traceparent of each path; /slow takes a while, /bad fails."""

    def __init__(self):
        seen = self.seen = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                seen[self.path] = self.headers.get("traceparent")
                time.sleep(0.05 if self.path.startswith("/slow") else 0)
                self.send_response(503 if self.path.startswith("/bad") else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Edge:
    """nginx with TLS, the snippet of examples/nginx at the given rate, and two servers behind of which one is not there."""

    def __init__(self, folder: pathlib.Path, behind: int, syslog: int, rate: float):
        self.folder, self.port, self.health = folder, free_port(), free_port()
        folder.mkdir(parents=True)
        snippet = SNIPPET.read_text().replace("127.0.0.1:5140", f"127.0.0.1:{syslog}")
        snippet = snippet.replace("10% 1;", f"{rate * 100:g}% 1;" if rate < 1 else "").replace(
            "*   0;", "* 1;" if rate == 1 else "*   0;"
        )
        snippet = re.sub(r'""      0\.1;', f'""      {rate:g};', snippet)
        (folder / "weir-tracing.conf").write_text(snippet)
        self.certificate = folder / "edge.pem"
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*argv, "-keyout", folder / "edge.key", "-out", self.certificate], check=True, capture_output=True)
        temp = folder / "temp"
        temp.mkdir()
        paths = " ".join(f"{kind}_temp_path {temp};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body"))
        (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
  include {folder}/weir-tracing.conf; {paths}
  upstream behind {{ server 127.0.0.1:{behind} max_fails=0; }}
  upstream half {{ server 127.0.0.1:{free_port()} max_fails=0; server 127.0.0.1:{behind} max_fails=0 backup; }}
  server {{
    listen 127.0.0.1:{self.port} ssl; ssl_certificate {self.certificate}; ssl_certificate_key {folder}/edge.key;
    location / {{ proxy_pass http://behind; }}
    location /half/ {{ proxy_pass http://half; }}
  }}
  server {{ listen 127.0.0.1:{self.health}; access_log off; location / {{ return 200 ok; }} }}
}}
""")

    def start(self) -> "Edge":
        argv = ["nginx", "-e", self.folder / "error.log", "-c", self.folder / "nginx.conf"]
        self.process = Process("nginx", argv, self.folder / "nginx.log")
        self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.health}/"))
        context = ssl.create_default_context(cafile=str(self.certificate))
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        return self

    def get(self, path: str, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            with self.opener.open(
                urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", headers=named), timeout=60
            ) as reply:
                return reply.status
        except urllib.error.HTTPError as error:
            return error.code

    def stop(self):
        self.process.stop()


@pytest.fixture
def mesh(tmp_path):
    started: list = []

    def make(rate: float):
        behind = Behind()
        started.append(behind)
        weir = Weir(tmp_path / "weir", receivers={"access_log": ""}).start()
        started.append(weir)
        edge = Edge(tmp_path / "nginx", behind.port, weir.ports["access_log"], rate).start()
        started.append(edge)
        return weir, edge, behind

    yield make
    for one in reversed(started):
        one.stop()


def fails(url: str) -> bool:
    """Whether a GET gives 503 now."""
    try:
        return ask(url).status == 503
    except OSError:
        return False


def attributes(span: dict) -> dict:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in span["attributes"]}


def test_requests_become_spans_of_their_traces(mesh):
    weir, edge, behind = mesh(1)
    began = time.time_ns()
    assert edge.get("/slow/1?card=4111111111111111", traceparent=f"00-{TRACE}-{PARENT}-01") == 200
    assert edge.get("/bad", x_b3_traceid=PARENT, x_b3_spanid="2122232425262728", x_b3_sampled="1") == 503
    assert edge.get("/own/7") == 200
    assert edge.get("/unsampled", traceparent=f"00-{TRACE}-{PARENT}-00") == 200
    assert edge.get("/half/1") == 200
    weir.balance(received=4)
    wait_until(lambda: weir.page().sum("http_server_requests_total") == 5, "5 requests to be counted")
    ended = time.time_ns()
    page = weir.page()
    assert weir.stop() == 0
    spans = {span["name"]: span for span in weir.cat()}
    assert set(spans) == {"GET /slow/1", "GET /bad", "GET /own/7", "GET /half/1"}

    slow = spans["GET /slow/1"]
    assert (slow["traceId"], slow["parentSpanId"]) == (TRACE, PARENT)
    assert slow["service"] == "edge-nginx" and slow["kind"] == 2
    assert behind.seen["/slow/1?card=4111111111111111"] == f"00-{TRACE}-{slow['spanId']}-01"
    took = int(slow["endTimeUnixNano"]) - int(slow["startTimeUnixNano"])
    assert 50e6 <= took <= ended - began + 2e6
    assert began - 2e6 <= int(slow["startTimeUnixNano"]) and int(slow["endTimeUnixNano"]) <= ended + 2e6
    said = attributes(slow)
    assert said["url.path"] == "/slow/1" and said["http.response.status_code"] == "200"
    assert said["tls.protocol.version"].startswith("TLSv1.") and said["upstream.address"] == f"127.0.0.1:{behind.port}"
    assert "weir.prior_weight" not in said  # decided elsewhere
    assert "card" not in str(slow)

    bad = spans["GET /bad"]
    assert (bad["traceId"], bad["parentSpanId"]) == ("0" * 16 + PARENT, "2122232425262728")
    assert bad["status"]["code"] == 2
    own = spans["GET /own/7"]
    assert "parentSpanId" not in own and own["traceId"].startswith(own["spanId"])
    assert behind.seen["/own/7"] == f"00-{own['traceId']}-{own['spanId']}-01"
    assert float(attributes(own)["weir.prior_weight"]) == 1
    assert [event["name"].split(":")[2][:11] for event in spans["GET /half/1"]["events"]] == [" status 502", " status 200"]
    assert behind.seen["/unsampled"].endswith("-00")

    assert page.sum("http_server_requests_total", service="edge-nginx", status="200") == 4
    assert page.sum("http_server_requests_total", service="edge-nginx", status="503") == 1
    assert page.sum("weir_access_log_refused_lines_total") == 0
    assert page.sum("traces_spanmetrics_calls_total", span_name="GET /bad", status_code="STATUS_CODE_ERROR") == 1


def test_a_sampled_edge_is_weighted(mesh):
    weir, edge, _ = mesh(0.25)
    requests = 400
    for number in range(requests):
        assert edge.get(f"/items/{number}") == 200
    wait_until(lambda: weir.page().sum("http_server_requests_total") >= requests, f"{requests} requests to be counted")
    ledger = weir.balance()
    page = weir.page()
    assert page.sum("http_server_requests_total") == requests
    drawn(ledger.received, requests, 0.25)
    assert page.sum("traces_spanmetrics_calls_total", service="edge-nginx") == pytest.approx(4 * ledger.received)
    # Each stands for w = 4, with a variance of w (w - 1).
    assert page.sum("weir_spanmetrics_calls_variance_total", service="edge-nginx") == pytest.approx(12 * ledger.received)


def test_haproxy_is_traced_by_its_log(tmp_path):
    behind, port = Behind(), free_port()
    weir = Weir(tmp_path / "weir", receivers={"access_log": ""}).start()
    text = (ROOT / "examples" / "haproxy" / "weir-tracing.cfg").read_text()
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("127.0.0.1:8081", f"127.0.0.1:{behind.port}")
    text = text.replace("lt 10", "lt 50").replace("str(0.1)", "str(0.5)")
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        f"global\n    log 127.0.0.1:{weir.ports['access_log']} len 8192 format raw local0\n"
        "defaults\n    timeout connect 60s\n    timeout client 60s\n    timeout server 60s\n" + text
    )
    haproxy = Process("haproxy", ["haproxy", "-db", "-f", config], tmp_path / "haproxy.log")
    try:
        haproxy.wait_ready(lambda: fails(f"http://127.0.0.1:{port}/bad"))  # its line tells it from those that are counted below
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "User-Agent": 'a "quoted" one'}
        with opener.open(urllib.request.Request(f"http://127.0.0.1:{port}/slow/%22?card=1", headers=headers), timeout=60) as reply:
            assert reply.status == 200
        for number in range(60):
            opener.open(f"http://127.0.0.1:{port}/items/{number}", timeout=60).close()
        wait_until(lambda: weir.page().sum("http_server_requests_total", status="200") == 61, "61 requests to be counted")
        ledger = weir.balance()
        page = weir.page()
    finally:
        haproxy.stop()
        behind.stop()
        assert weir.stop() == 0
    assert page.sum("weir_access_log_refused_lines_total") == 0
    spans = weir.cat()
    slow = next(span for span in spans if span["traceId"] == TRACE)
    assert slow["parentSpanId"] == PARENT and attributes(slow)["url.path"] == "/slow/%22"
    assert behind.seen["/slow/%22?card=1"] == f"00-{TRACE}-{slow['spanId']}-01"
    assert int(slow["endTimeUnixNano"]) - int(slow["startTimeUnixNano"]) >= 50e6
    weighted = [span for span in spans if span["name"].startswith("GET /items/")]
    drawn(len(weighted), 60, 0.5, "weighted")
    assert all(float(attributes(span)["weir.prior_weight"]) == 2 for span in weighted)
    calls = page.sum("traces_spanmetrics_calls_total", span_name="GET /items/{id}")
    assert calls == page.sum("weir_spanmetrics_calls_variance_total", span_name="GET /items/{id}") == 2 * len(weighted)
    assert ledger.received == len(spans)


def test_what_is_no_line_is_counted(tmp_path):
    weir = Weir(tmp_path, receivers={"access_log": ""}).start()
    try:
        lines = ["<190>nginx: GET / 200", "weir=1 service=a status=200 took=1 trace=1", "weir=1 service=a status=x took=1 eol=1"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for line in lines:
                udp.sendto(line.encode(), ("127.0.0.1", weir.ports["access_log"]))
        refused = dict.fromkeys(("not_ours", "truncated", "malformed"), 1)
        wait_until(
            lambda: {reason: weir.page().sum("weir_access_log_refused_lines_total", reason=reason) for reason in refused}
            == refused,
            "three lines to be refused",
        )
        assert weir.page().sum("weir_access_log_lines_total") == 3
        weir.balance(received=0)
    finally:
        assert weir.stop() == 0
