"""TLS, client certificates and bearer tokens on every port that takes them, with clients that are not ours."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import struct
import subprocess
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from harness.certificates import TOKEN, Certificates
from harness.load import Load
from harness.net import PATIENCE, wait_until
from harness.process import PEERS, Process, run
from harness.prometheus import Prometheus
from harness.series import Page
from harness.weir import Weir, binary
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@pytest.fixture
def certificates(tmp_path) -> Certificates:
    return Certificates(tmp_path / "certificates")


def request_of(count: int) -> trace_service_pb2.ExportTraceServiceRequest:
    request = trace_service_pb2.ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for index in range(count):
        scope.spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name=f"GET /{index % 3}", kind=2)
    return request


def code_of(call) -> grpc.StatusCode:
    try:
        call()
        return grpc.StatusCode.OK
    except grpc.RpcError as error:
        return error.code()


def test_grpc_with_certificates_on_both_sides_and_a_token(weir, certificates):
    one = weir(grpc=f"{certificates.server(client_ca=True)}, {certificates.tokens()}")

    def export(credentials, metadata=(("authorization", f"Bearer {TOKEN}"),), count=10):
        opened = grpc.secure_channel(one.endpoint, credentials) if credentials else grpc.insecure_channel(one.endpoint)
        with opened as channel:
            stub = trace_service_pb2_grpc.TraceServiceStub(channel)
            return code_of(lambda: stub.Export(request_of(count), metadata=metadata, timeout=60))

    def credentials(name: str | None):
        shown = (certificates.bytes(f"{name}.key"), certificates.bytes(f"{name}.pem")) if name else (None, None)
        return grpc.ssl_channel_credentials(certificates.bytes("ca.pem"), *shown)

    assert export(credentials("client")) == grpc.StatusCode.OK
    assert export(credentials("client"), count=5000) == grpc.StatusCode.OK  # some hundred records
    for stranger in (credentials(None), credentials("impostor"), None):
        assert export(stranger) == grpc.StatusCode.UNAVAILABLE
    for metadata in ((), (("authorization", "Bearer guess"),), (("authorization", f"Basic {TOKEN}"),)):
        assert export(credentials("client"), metadata) == grpc.StatusCode.UNAUTHENTICATED
    with grpc.secure_channel(one.endpoint, credentials("client")) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert health.status == health_pb2.HealthCheckResponse.SERVING  # without a token

    # grpc-go speaks only to a server that chooses h2.
    grpcurl = PEERS / "bin" / "grpcurl"
    assert grpcurl.exists(), "tests/peers/install.sh"
    shown = ["-connect-timeout", "60", "-cacert", certificates.path("ca.pem"), "-cert", certificates.path("client.pem")]
    shown += ["-key", certificates.path("client.key")]
    data = ["-d", json.dumps({"resource_spans": [{"scope_spans": [{"spans": [
        {"trace_id": "AQIDBAUGBwgJCgsMDQ4PEA==", "span_id": "AQIDBAUGBwg=", "name": "a"}]}]}]})]  # fmt: skip
    method = "opentelemetry.proto.collector.trace.v1.TraceService/Export"
    done = run([grpcurl, *shown, "-H", f"authorization: Bearer {TOKEN}", *data, one.endpoint, method])
    assert done.returncode == 0, done.stderr
    done = run([grpcurl, *shown, *data, one.endpoint, method])
    assert done.returncode != 0
    assert "Unauthenticated" in done.stderr

    emitted = one.emit(
        "--tls-ca", certificates.path("ca.pem"), "--tls-cert", certificates.path("client.pem"),
        "--tls-key", certificates.path("client.key"), "--token-file", certificates.path("token"), "--connections", 3,
        spans=50_000,
    )  # fmt: skip
    assert emitted["acknowledged"] == 50_000
    one.balance(received=10 + 5000 + 1 + 50_000)
    page = one.page()
    assert page.sum("weir_tls_handshakes_total", receiver="grpc", result="ok") >= 7
    assert page.sum("weir_tls_handshakes_total", receiver="grpc", result="failed") >= 3
    assert page.sum("weir_grpc_requests_total", method=method, code="UNAUTHENTICATED") == 3  # grpcurl asked for reflection first
    expires = page.sum("weir_tls_certificate_not_after_timestamp_seconds", receiver="grpc")
    assert abs(expires - time.time() - 86400) < 600


def test_old_versions_are_refused(weir, certificates):
    one = weir(grpc=certificates.server(more=', min_version: "1.3"'), receivers={"otlp_http": certificates.server()})

    def speaks(port: int, version: str) -> bool:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-cipher", "ALL:@SECLEVEL=0", "-brief"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        return b"CONNECTION ESTABLISHED" in done.stderr

    assert [speaks(one.grpc_port, version) for version in ("-tls1_1", "-tls1_2", "-tls1_3")] == [False, False, True]
    assert [speaks(one.ports["otlp_http"], version) for version in ("-tls1_1", "-tls1_2", "-tls1_3")] == [False, True, True]
    one.balance(received=0)


def test_curl_to_otlp_and_zipkin(weir, certificates, tmp_path):
    both = f"{certificates.server(client_ca=True)}, {certificates.tokens()}"
    one = weir(receivers={"otlp_http": both, "zipkin": certificates.server()})
    span = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "a", "kind": 2}
    spans = [{**span, "spanId": os.urandom(8).hex()} for _ in range(20_000)]  # about 2 MB
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
    shown = ["--cert", certificates.path("client.pem"), "--key", certificates.path("client.key")]
    token = ["-H", f"Authorization: Bearer {TOKEN}"]

    def curl(port: int, path: str, *more) -> tuple[int, int]:
        """Exit status of curl, and HTTP status (0: none)."""
        done = run(
            ["curl", "-sS", "--noproxy", "*", "--cacert", certificates.path("ca.pem"), "-H", "Content-Type: application/json",
             "-o", tmp_path / "answer", "-w", "%{http_code}", *more, f"https://localhost:{port}{path}"]
        )  # fmt: skip
        return done.returncode, int(done.stdout)

    post = ["--data-binary", f"@{body}"]
    port = one.ports["otlp_http"]
    assert curl(port, "/v1/traces", *shown, *token, *post) == (0, 200)
    assert curl(port, "/v1/traces", *shown, *token, *post, "--http1.0") == (0, 200)
    # Refused before its body is read, and still told so.
    assert curl(port, "/v1/traces", *shown, *post) == (0, 401)
    assert curl(port, "/v1/traces", *shown, "-H", "Authorization: Bearer guess", *post) == (0, 401)
    failed, status = curl(port, "/v1/traces", *token, *post)
    assert failed != 0
    assert status == 0
    zipkin = tmp_path / "zipkin.json"
    zipkin.write_text(json.dumps([{"traceId": "0af7651916cd43dd", "id": "b7ad6b7169203331", "name": "a"}]))
    assert curl(one.ports["zipkin"], "/api/v2/spans", "--data-binary", f"@{zipkin}") == (0, 202)
    assert curl(one.ports["zipkin"], "/no/such/path") == (0, 404)
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", "/")
        plain.getresponse()
    one.balance(received=40_001)
    assert one.page().sum("weir_http_requests_total", receiver="otlp_http", code="401") == 2


def thrift_call(name: str, sequence: int, *entries: tuple[bytes, bytes]) -> bytes:
    """One framed, strict TBinaryProtocol call of Scribe's `Log(1: list<LogEntry{1: category, 2: message}>)`."""
    encoded = name.encode()
    out = struct.pack(">Ii", 0x80010001, len(encoded)) + encoded + struct.pack(">i", sequence)
    out += struct.pack(">bhbi", 15, 1, 12, len(entries))
    for category, message in entries:
        for number, text in ((1, category), (2, message)):
            out += struct.pack(">bhi", 11, number, len(text)) + text
        out += b"\0"
    out += b"\0"
    return struct.pack(">i", len(out)) + out


def test_scribe_by_openssl(weir, certificates):
    one = weir(receivers={"scribe": certificates.server(client_ca=True)})

    def answers_of(calls: bytes, *shown) -> bytes:
        """What the server says to these calls, on one connection through `openssl s_client`."""
        client = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", f"127.0.0.1:{one.ports['scribe']}",
             "-CAfile", certificates.path("ca.pem"), "-verify_return_error", *shown],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        giving_up = threading.Timer(PATIENCE, client.kill)
        giving_up.start()
        said = b""
        try:
            client.stdin.write(calls)
            client.stdin.flush()
            # With an end of what it is given it would not wait for answers; whom the server does not trust it leaves by itself.
            while said.count(b"\0\0\0\x03Log") < calls.count(b"\0\0\0\x03Log") and (part := os.read(client.stdout.fileno(), 65536)):
                said += part
            return said
        except BrokenPipeError:
            return b""
        finally:
            giving_up.cancel()
            client.kill()
            client.wait()

    shown = ["-cert", certificates.path("client.pem"), "-key", certificates.path("client.key")]
    calls = b"".join(thrift_call("Log", sequence) for sequence in (7, 8, 9))
    said = answers_of(calls, *shown)
    sequences = []
    while said:
        (size,) = struct.unpack_from(">i", said)
        version, length = struct.unpack_from(">Ii", said, 4)
        assert version == 0x80010002, "a reply"
        assert said[12 : 12 + length] == b"Log"
        sequences.append(struct.unpack_from(">i", said, 12 + length)[0])
        said = said[4 + size :]
    assert sequences == [7, 8, 9]
    assert answers_of(calls) == b""
    assert one.page().sum("weir_scribe_calls_total", result="ok") == 3
    one.balance(received=0)


class SecureAdmin(Weir):
    """A Weir whose admin port speaks TLS and asks for a token."""

    def __init__(self, folder: pathlib.Path, certificates: Certificates):
        super().__init__(folder)
        self.context = ssl.create_default_context(cafile=certificates.path("ca.pem"))
        text = self.config.read_text()
        plain = f"admin: {{ listen: 127.0.0.1:{self.admin_port} }}"
        assert plain in text
        options = f"{certificates.server()}, {certificates.tokens()}"
        self.config.write_text(text.replace(plain, f"admin: {{ listen: 127.0.0.1:{self.admin_port}, {options} }}"))

    def ask(self, path: str, token: str | None = TOKEN, method: str = "GET") -> tuple[int, str]:
        link = http.client.HTTPSConnection("127.0.0.1", self.admin_port, timeout=60, context=self.context)
        try:
            link.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = link.getresponse()
            return answer.status, answer.read().decode()
        finally:
            link.close()

    def is_ready(self) -> bool:
        try:
            return self.ask("/-/ready", None)[0] == 200
        except OSError:
            return False

    def start(self, timeout: float = PATIENCE) -> "SecureAdmin":
        self.process = Process("weir", [binary(), "run", "-c", self.config], self.folder / "weir.log", cwd=self.folder)
        self.process.wait_ready(self.is_ready, timeout)
        return self

    def page(self, only: str = "") -> Page:
        status, text = self.ask("/metrics")
        assert status == 200
        return Page(text, only)


def test_prometheus_scrapes_admin_over_tls(start, certificates, tmp_path):
    one = start(SecureAdmin(tmp_path / "weir", certificates))
    for path in ("/-/healthy", "/-/ready", "/healthz", "/readyz"):
        assert one.ask(path, None)[0] == 200
    for path in ("/metrics", "/", "/-/reload", "/no/such"):
        assert one.ask(path, None)[0] == 401
        assert one.ask(path, "guess")[0] == 401
    assert one.ask("/-/reload", None, "POST")[0] == 401
    assert one.ask("/-/reload", TOKEN, "POST") == (200, "reloaded\n")  # the caller is still seen to be on loopback
    one.emit(spans=5000)
    scrape = (
        "scheme: https\n"
        f"tls_config: {{ ca_file: {certificates.path('ca.pem')} }}\n"
        f"authorization: {{ credentials_file: {certificates.path('token')} }}\n"
    )
    prometheus = start(Prometheus(tmp_path / "prometheus", one.admin_port, scrape, every="3s"))
    wait_until(lambda: prometheus.query("sum(traces_spanmetrics_calls_total)") == [({}, 5000)], "the scrape", every=0.2)
    wait_until(lambda: prometheus.target()["health"] == "up", lambda: prometheus.target()["lastError"])
    one.balance(received=5000)
    # A new token counts at once, and the old one no more.
    certificates.path("tokens").write_text("another\n")
    wait_until(lambda: one.ask("/metrics", "another")[0] == 200, "the new token")
    assert one.ask("/metrics", TOKEN)[0] == 401


def test_certificates_change_under_load(weir, certificates, request):
    one = weir(lanes=2, grpc=certificates.server(), receivers={"zipkin": certificates.server()})

    def put(source: str, place: str):  # at once: nobody looks at half of it
        whole = certificates.path(f"{place}.new")
        shutil.copy(certificates.path(source), whole)
        whole.replace(certificates.path(place))

    assert certificates.shown_by(one.grpc_port) == "server"
    load = Load(one, None, "--tls-ca", certificates.path("ca.pem"), "--connections", 2, rate=20_000)
    request.addfinalizer(load.stop)
    wait_until(lambda: one.received() > 10_000, "load")
    # The certificate alone fits no key: the old pair stays.
    put("next.pem", "server.pem")
    wait_until(
        lambda: one.page("weir_tls_").sum("weir_tls_reloads_total", result="failed") == 4, "both receivers on both lanes to look"
    )
    assert certificates.shown_by(one.grpc_port) == "server"
    put("next.key", "server.key")
    wait_until(lambda: one.page("weir_tls_").sum("weir_tls_reloads_total", result="ok") == 4, "the new pair")
    for port in (one.grpc_port, one.ports["zipkin"]):
        assert [certificates.shown_by(port) for _ in range(4)] == ["next"] * 4
    assert load.running, "the load went on over the old connections"
    before = one.received()
    wait_until(lambda: one.received() > before + 20_000, "more of it")
    load.popen.send_signal(signal.SIGTERM)
    emitted = load.cut()
    assert emitted["acknowledged"] == emitted["sent"]
    assert emitted["reconnects"] == 0
    one.balance(received=emitted["sent"])


@pytest.mark.parametrize(
    "options, reason",
    [
        ("tls: {{ cert_file: {server}.pem }}", "receivers.grpc.tls.cert_file: is given, key_file is not"),
        ("tls: {{ key_file: {server}.key }}", "receivers.grpc.tls.key_file: is given, cert_file is not"),
        ("tls: {{ client_ca_file: {server}.pem }}", "receivers.grpc.tls.client_ca_file: is given, cert_file and key_file is not"),
        ("tls: {{ cert_file: {server}.pem, key_file: {next}.key }}", "is not the key of the certificate in"),
        ("tls: {{ cert_file: {server}.pem, key_file: /no/such }}", "receivers.grpc.tls.key_file: /no/such: No such file"),
        ("tls: {{ cert_file: {server}.key, key_file: {server}.key }}", "receivers.grpc.tls.cert_file: "),
        ("bearer_token_file: {folder}/names", "receivers.grpc.bearer_token_file: "),
        ("bearer_token_file: /no/such", "receivers.grpc.bearer_token_file: /no/such: No such file"),
    ],
)
def test_check_names_key_and_file(tmp_path, certificates, options, reason):
    names = {name: certificates.path(name) for name in ("server", "next")}
    one = Weir(tmp_path / "weir", grpc=options.format(folder=certificates.folder, **names))
    done = run([binary(), "check", "-c", one.config])
    assert done.returncode == 1
    assert reason in done.stderr
    done = run([binary(), "run", "-c", one.config], cwd=tmp_path)
    assert done.returncode == 1
    assert reason in done.stderr


@pytest.mark.parametrize(
    "exporter",
    [
        "zipkin: {{ url: 'https://localhost/api/v2/spans', ca_file: {} }}",
        "otlp/a: {{ endpoints: 'grpcs://localhost:1', ca_file: {} }}",
    ],
)
def test_an_authority_that_is_not_there(tmp_path, exporter):
    """Said before the first span has to be sent, by the exporter's line."""
    one = Weir(tmp_path / "weir", exporters=exporter.format("/no/such.pem"))
    line = 1 + one.config.read_text().splitlines().index("exporters:") + 1
    name = exporter.split(":")[0]
    done = run([binary(), "check", "-c", one.config])
    assert done.returncode == 1
    assert f"weir.yaml:{line}: exporters.{name}: " in done.stderr and "/no/such.pem: No such file" in done.stderr
    done = run([binary(), "run", "-c", one.config], cwd=tmp_path)
    assert done.returncode == 1
    assert f"exporters.{name}: " in done.stderr and "/no/such.pem: No such file" in done.stderr
