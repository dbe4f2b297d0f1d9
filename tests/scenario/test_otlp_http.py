"""OTLP over HTTP against clients that are not ours: OpenTelemetry's Python SDK, curl, and what a client may do wrong."""

import gzip
import http.client
import json
import os
import subprocess
import threading

import pytest
import requests
from harness.net import http as call
from harness.net import wait_until
from harness.process import ROOT, run
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

pytestmark = pytest.mark.sanitized

DATA = ROOT / "tests" / "data" / "otlp"
JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}


def url(one, path: str) -> str:
    return f"http://127.0.0.1:{one.ports['otlp_http']}{path}"


def request_of(count: int, service: str = "checkout") -> dict:
    spans = [
        {
            "traceId": os.urandom(16).hex(),
            "spanId": os.urandom(8).hex(),
            "name": "GET /carts",
            "kind": 2,
            "startTimeUnixNano": "1700000000000000000",
            "endTimeUnixNano": "1700000000250000000",
        }
        for _ in range(count)
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}


def curl(one, path: str, file, *more) -> tuple[int, str]:
    done = run(
        ["curl", "-s", "--noproxy", "*", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", "--data-binary", f"@{file}",
         *more, url(one, path)]
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_sdk_sends_protobuf_and_curl_sends_json(weir):
    one = weir(receivers={"otlp_http": ""})
    resource = Resource.create({"service.name": "from-python"})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(endpoint=url(one, "/v1/traces"), compression=Compression.Gzip)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=50, schedule_delay_millis=600_000))
    tracer = provider.get_tracer("weir")
    for _ in range(200):
        with tracer.start_as_current_span("GET /carts"):
            pass
    provider.shutdown()
    meters = MeterProvider(
        resource=resource,
        metric_readers=[
            PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=url(one, "/v1/metrics"), compression=Compression.Gzip))
        ],
    )
    meters.get_meter("weir").create_counter("carts").add(7)
    meters.shutdown()

    samples = ["trace.json", "jaeger-ui-in-error.json", "jaeger-ui-multi-in-combined.json"]
    sent = 0
    for name in samples:
        assert curl(one, "/v1/traces", DATA / name) == (200, "{}")
        document = json.loads((DATA / name).read_text())
        sent += sum(len(scope["spans"]) for part in document["resourceSpans"] for scope in part["scopeSpans"])
    assert curl(one, "/v1/metrics", DATA / "metrics.json") == (200, "{}")

    one.balance(received=200 + sent)
    spans = one.cat()
    by_service: dict[str, int] = {}
    for span in spans:
        by_service[span.get("service", "")] = by_service.get(span.get("service", ""), 0) + 1
    assert by_service["from-python"] == 200
    assert len(spans) == 200 + sent
    span = next(span for span in spans if span["name"] == "I'm a server span")
    assert span["traceId"] == "5b8efff798038103d269b633813fc60c"
    assert span["attributes"] == [{"key": "my.span.attr", "value": {"stringValue": "some value"}}]

    page = one.page()
    assert page.sum("carts", job="from-python") + page.sum("carts_total", job="from-python") == 7
    assert page.sum("traces_spanmetrics_calls_total", service="from-python") == 200
    assert page.sum("weir_points_received_total", receiver="otlp_http") >= 5
    assert page.sum("weir_http_requests_total", receiver="otlp_http", code="200") == 4 + 1 + 4


def test_what_is_wrong_is_answered_as_such(weir):
    one = weir(receivers={"otlp_http": "max_body_bytes: 64KiB"})
    traces = url(one, "/v1/traces")

    def post(body: bytes, headers: dict, path: str = traces, method: str = "POST"):
        return call(path, method=method, body=body, headers=headers)

    good = json.dumps(request_of(3)).encode()
    assert post(good, JSON).json() == {}
    broken = good.replace(b'"GET /carts"', b"GET /carts", 1)
    answer = post(broken, JSON)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/json")
    assert answer.json() == {
        "code": 3,
        "message": f"byte {broken.index(b'GET /carts')}: resourceSpans[0].scopeSpans[0].spans[0].name: is not a string",
    }
    answer = post(b"\x0a\xff", PROTOBUF)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/x-protobuf")
    assert answer.body.startswith(b"\x08\x03\x12"), answer.body

    bad = request_of(3)
    bad["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["traceId"] = "00" * 16
    answer = post(json.dumps(bad).encode(), JSON)
    assert answer.status == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
    assert "trace_id" in answer.json()["partialSuccess"]["errorMessage"]

    assert post(good, {"Content-Type": "text/plain"}).status == 415
    assert post(good, JSON | {"Content-Encoding": "br"}).status == 415
    assert post(good, JSON, url(one, "/v1/logs")).status == 404
    answer = call(traces)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    answer = post(b" " * (64 * 1024 + 1), JSON)
    assert answer.status == 413 and answer.json()["code"] == 8
    bomb = gzip.compress(bytes(64 * 1024 + 1))
    assert post(bomb, PROTOBUF | {"Content-Encoding": "gzip"}).status == 413
    assert post(bomb[:-9], PROTOBUF | {"Content-Encoding": "gzip"}).status == 400
    answer = post(good, JSON | {"Content-Encoding": "br"})
    assert (answer.status, answer.headers["Accept-Encoding"]) == (415, "gzip, zstd, identity")

    one.balance(received=3 + 2)
    page = one.page()
    assert page.sum("weir_spans_refused_total", receiver="otlp_http", reason="invalid") == 1
    codes = {
        labels["code"]: int(value)
        for labels, value in page.select("weir_http_requests_total")
        if labels["receiver"] == "otlp_http" and value
    }
    assert codes == {"200": 2, "400": 3, "404": 1, "405": 1, "413": 2, "415": 3}


def zstd(data: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def test_zstd_of_the_command_line(weir, tmp_path):
    """Frames as `zstd` makes them, posted by curl: with and without a window and a size, one behind the other."""
    one = weir(receivers={"otlp_http": "max_body_bytes: 1MiB"})
    plain = json.dumps(request_of(500)).encode()

    def post(body: bytes) -> int:
        path = tmp_path / "body.zst"
        path.write_bytes(body)
        return curl(one, "/v1/traces", path, "-H", "Content-Encoding: zstd")[0]

    bodies = [
        zstd(plain, "-1"),
        zstd(plain, "-19"),
        zstd(plain, "-3", "--no-check", f"--stream-size={len(plain)}"),
        zstd(plain, "-3", "--long=23"),
        zstd(plain[:9999]) + b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip" + zstd(plain[9999:]),
    ]
    for body in bodies:
        assert len(body) < len(plain) / 3
        assert post(body) == 200
    refused = [(zstd(plain, "--long=27"), 400), (bodies[0][:-9], 400), (plain, 400), (zstd(bytes((1 << 20) + 1)), 413)]
    for body, code in refused:
        assert post(body) == code
    one.balance(received=500 * len(bodies))


def test_too_much_at_once_may_come_again(weir):
    one = weir(receivers={"otlp_http": "max_body_bytes: 1MiB"}, extra="memory: { intake: 1MiB }")
    body = json.dumps(request_of(3000)).encode()  # with its spans more than the intake holds
    answer = call(url(one, "/v1/traces"), method="POST", body=body, headers=JSON)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1"), answer.text
    assert answer.json()["code"] == 8
    assert call(url(one, "/v1/traces"), method="POST", body=json.dumps(request_of(10)).encode(), headers=JSON).status == 200
    one.balance(received=10)


@pytest.fixture
def certificate(tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    done = run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=weir", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return key, cert


def test_tls_and_a_bearer_token(weir, tmp_path, certificate):
    key, cert = certificate
    (tmp_path / "tokens").write_text("secret-of-the-mesh\n")
    one = weir(
        receivers={
            "otlp_http": f"max_body_bytes: 64KiB, bearer_token_file: {tmp_path / 'tokens'}, tls: {{ cert_file: {cert}, key_file: {key} }}"
        }
    )
    secure = url(one, "/v1/traces").replace("http://", "https://")
    allowed = {"Authorization": "Bearer secret-of-the-mesh"}

    provider = TracerProvider(resource=Resource.create({"service.name": "from-python"}))
    exporter = OTLPSpanExporter(endpoint=secure, certificate_file=str(cert), headers=allowed)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    for _ in range(20):
        provider.get_tracer("weir").start_span("GET /carts").end()
    provider.shutdown()

    session = requests.Session()
    session.verify = str(cert)
    session.trust_env = False
    body = json.dumps(request_of(5))
    answer = session.post(secure, data=body, headers=JSON)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["code"] == 16
    assert session.post(secure, data=body, headers=JSON | {"Authorization": "Bearer another"}).status_code == 401
    assert session.post(secure, data=body, headers=JSON | allowed).json() == {}
    # Refused before all of it is sent: the answer is read all the same.
    assert session.post(secure, data=bytes(1 << 20), headers=JSON | allowed).status_code == 413
    with pytest.raises(requests.ConnectionError):
        session.post(url(one, "/v1/traces"), data=body, headers=JSON | allowed)  # not in plain
    one.balance(received=20 + 5)
    assert {span["service"] for span in one.cat()} == {"from-python", "checkout"}


class Sender(threading.Thread):
    """Sends requests of ten spans on one connection until that is closed, and keeps the ids that were acknowledged."""

    def __init__(self, one, as_json: bool):
        super().__init__(daemon=True)
        self.port, self.as_json = one.ports["otlp_http"], as_json
        self.acknowledged: list[str] = []
        self.sent = 0

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while True:
            request = request_of(10)
            spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
            ids = [span["spanId"] for span in spans]
            body = json.dumps(request).encode() if self.as_json else self.protobuf(spans)
            try:
                connection.request("POST", "/v1/traces", body=body, headers=JSON if self.as_json else PROTOBUF)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return
            self.sent += 1
            if answer.status == 200:
                self.acknowledged += ids
            if answer.will_close:
                return

    @staticmethod
    def protobuf(spans) -> bytes:
        request = trace_service_pb2.ExportTraceServiceRequest()
        out = request.resource_spans.add().scope_spans.add().spans
        for span in spans:
            out.add(
                trace_id=bytes.fromhex(span["traceId"]),
                span_id=bytes.fromhex(span["spanId"]),
                name=span["name"],
                kind=span["kind"],
                start_time_unix_nano=int(span["startTimeUnixNano"]),
                end_time_unix_nano=int(span["endTimeUnixNano"]),
            )
        return request.SerializeToString()


def test_a_drain_under_load_loses_nothing_that_was_acknowledged(weir):
    one = weir(receivers={"otlp_http": ""})
    senders = [Sender(one, as_json=i % 2 == 0) for i in range(8)]
    for sender in senders:
        sender.start()
    wait_until(lambda: all(len(sender.acknowledged) >= 500 for sender in senders), "every sender's first requests")
    assert one.stop() == 0
    for sender in senders:
        sender.join(timeout=120)
        assert not sender.is_alive()
    acknowledged = [one_id for sender in senders for one_id in sender.acknowledged]
    kept = [span["spanId"] for span in one.cat()]
    assert len(set(kept)) == len(kept)
    assert not set(acknowledged) - set(kept)
    stopped = next(line for line in one.process.text().splitlines() if "event=stopped" in line)
    assert f"received={len(kept)} " in stopped and "imbalance{file}=0" in stopped, stopped
