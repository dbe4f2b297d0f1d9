"""OTLP out: over gRPC and HTTP into a real OpenTelemetry Collector and into Weir itself."""

import collections
import itertools
import pathlib
import random
import threading
import time

import grpc
import pytest
from harness.certificates import Certificates
from harness.collector import Collector, Gate
from harness.net import wait_until
from harness.weir import Weir
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

SPANS = 16_000


def plain(span: dict, service: str) -> tuple:
    """What of a span has to arrive, whoever tells it."""
    attributes = {one["key"]: str(next(iter(one["value"].values()))) for one in span.get("attributes", [])}
    status = span.get("status", {}).get("code", 0)
    return (span["name"], span["kind"], span["startTimeUnixNano"], span["endTimeUnixNano"], span.get("parentSpanId", ""), status,
            service, tuple(sorted(attributes.items())))  # fmt: skip


def each_once(spans: list[tuple[dict, str]]) -> dict:
    found = {(span["traceId"], span["spanId"]): plain(span, service) for span, service in spans}
    assert len(found) == len(spans), "spans came twice"
    return found


def stored(one) -> dict:
    """By the file exporter beside."""
    return each_once([(span, span["service"]) for span in one.cat()])


def exporters(tmp_path, *endpoints: str, more: str = "") -> str:
    listed = ", ".join(f"'{endpoint}'" for endpoint in endpoints)
    return f"file: {{ directory: {tmp_path}/weir/traces }}\notlp: {{ endpoints: [{listed}], {more} }}"


@pytest.mark.parametrize("scheme", ["grpc", "http"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_the_collector_takes_it(weir, start, tmp_path, scheme, compression):
    collector = start(Collector(tmp_path))
    url = collector.url(scheme)
    one = weir(exporters=exporters(tmp_path, url, more=f"compression: {compression}"))
    one.emit("--seed", 1, "--errors", "0.05", spans=SPANS)
    assert one.balance(received=SPANS).delivered("otlp") == SPANS
    page = one.page()
    labels = {"exporter": "otlp", "endpoint": url}
    assert page.value("weir_otlp_requests_total", outcome="delivered", **labels) > 0
    assert page.sum("weir_otlp_requests_total") == page.value("weir_otlp_requests_total", outcome="delivered", **labels)
    message, body = (page.value(f"weir_otlp_{what}_bytes_total", **labels) for what in ("message", "body"))
    assert page.value("weir_otlp_encoding_fallbacks_total", **labels) == 0
    assert body < message / 3 if compression != "none" else body >= message
    assert page.value("weir_otlp_endpoint_up", **labels) == 1
    assert one.stop() == 0
    assert each_once(collector.wait_for(SPANS)) == stored(one)


def bearer(folder: pathlib.Path, token: str) -> pathlib.Path:
    path = folder / "headers"
    path.write_text(f"# for whoever asks\nAuthorization: Bearer {token}\n")
    return path


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_tls_and_a_token_from_a_file(weir, start, tmp_path, scheme):
    """Through an nginx that speaks TLS, asks for a client's certificate and for a token, into the Collector; at first with a
    wrong token, which costs no span."""
    certificates = Certificates(tmp_path / "certificates")
    collector = start(Collector(tmp_path))
    gate = start(Gate(tmp_path / "gate", collector, certificates))
    headers = bearer(tmp_path, "wrong")
    files = f"ca_file: {certificates.path('ca.pem')}, cert_file: {certificates.path('client.pem')}, key_file: {certificates.path('client.key')}"
    more = f"{files}, headers_file: {headers}, retry_max: 500ms"
    one = weir(exporters=exporters(tmp_path, gate.url(scheme), more=more))
    one.emit("--seed", 2, spans=SPANS)
    wait_until(lambda: one.page().value("weir_otlp_requests_total", exporter="otlp", outcome="not_allowed") > 1, "to be told")
    assert one.balance(received=SPANS, held=True).delivered("otlp") == 0
    assert one.page().value("weir_otlp_endpoint_up", exporter="otlp") == 0
    one.process.says("HTTP 401" if scheme.startswith("http") else "UNAUTHENTICATED")
    assert "wrong" not in one.process.text()
    gate.token = "wrong"  # whoever made the token sets it right on the other side
    gate.reload()
    assert one.balance(received=SPANS).delivered("otlp") == SPANS
    assert one.page().value("weir_otlp_endpoint_up", exporter="otlp") == 1
    assert one.stop() == 0
    assert each_once(collector.wait_for(SPANS)) == stored(one)


def test_a_server_of_a_stranger_is_not_trusted(weir, start, tmp_path):
    certificates = Certificates(tmp_path / "certificates")
    tls = f"tls: {{ cert_file: {certificates.path('impostor.pem')}, key_file: {certificates.path('impostor.key')} }}"
    collector = start(Collector(tmp_path, grpc=tls, http=tls))
    urls = (collector.url("grpcs"), collector.url("https"))
    one = weir(exporters=exporters(tmp_path, *urls, more=f"ca_file: {certificates.path('ca.pem')}, retry_max: 500ms"))
    one.emit(spans=800)
    wait_until(
        lambda: all(
            one.page().value("weir_otlp_requests_total", exporter="otlp", endpoint=url, outcome="unreachable") > 0 for url in urls
        ),
        "both to be tried",
    )
    assert one.balance(received=800, held=True).delivered("otlp") == 0
    one.process.says("certificate")
    assert not collector.out.exists() or collector.out.read_text() == ""


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_weir_takes_it(weir, start, tmp_path, scheme):
    """What Weir sends as zstd, Weir takes as such."""
    peer = start(Weir(tmp_path / "peer", receivers={"otlp_http": ""}))
    url = f"grpc://{peer.endpoint}" if scheme == "grpc" else f"http://127.0.0.1:{peer.ports['otlp_http']}"
    name = url if scheme == "grpc" else f"{url}/v1/traces"
    one = weir(exporters=exporters(tmp_path, url, more="compression: zstd"))
    one.emit("--seed", 3, "--errors", "0.05", spans=SPANS)
    assert one.balance(received=SPANS).delivered("otlp") == SPANS
    page = one.page()
    assert page.value("weir_otlp_requests_total", exporter="otlp", endpoint=name, outcome="encoding") == 0
    assert page.value("weir_otlp_encoding_fallbacks_total", exporter="otlp", endpoint=name) == 0
    assert (
        page.value("weir_otlp_body_bytes_total", exporter="otlp") < page.value("weir_otlp_message_bytes_total", exporter="otlp") / 3
    )
    assert peer.balance(received=SPANS).delivered("file") == SPANS
    assert one.stop() == peer.stop() == 0
    assert stored(peer) == stored(one)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_requests_as_large_as_the_collector_takes(weir, start, tmp_path, scheme):
    collector = start(Collector(tmp_path, grpc="max_recv_msg_size_mib: 1", http="max_request_body_size: 1000000"))
    url = collector.url(scheme)
    one = weir(exporters=exporters(tmp_path, url), extra="batch: { max_bytes: 8MiB, max_age: 2s }")
    one.emit("--seed", 4, spans=SPANS)
    assert one.balance(received=SPANS).delivered("otlp") == SPANS
    page = one.page()
    labels = {"exporter": "otlp", "endpoint": url}
    assert page.value("weir_otlp_requests_total", outcome="too_large", **labels) > 0
    assert page.value("weir_otlp_request_cuts_total", **labels) > 0
    assert page.value("weir_otlp_request_limit_bytes", **labels) < 1 << 20
    one.process.says("event=otlp_request_too_large")
    assert one.stop() == 0
    assert each_once(collector.wait_for(SPANS)) == stored(one)


def test_a_server_that_ends_connections_by_age(weir, start, tmp_path):
    """grpc-go says GOAWAY: what it has not looked at is sent again, on the next connection, and nothing comes twice."""
    age = "keepalive: { server_parameters: { max_connection_age: 400ms, max_connection_age_grace: 60s } }"
    collector = start(Collector(tmp_path, grpc=age))
    url = collector.url("grpc")
    one = weir(exporters=exporters(tmp_path, url), extra="batch: { max_age: 20ms }")
    played = 0

    def connected() -> bool:  # who stands still meanwhile has no connection to be ended
        nonlocal played
        one.emit("--seed", 12 + played, "--rate", 4000, spans=SPANS)
        played += 1
        return one.own().value("weir_otlp_connections_total", exporter="otlp", endpoint=url) > 3

    wait_until(connected, "more connections")
    assert one.balance(received=SPANS * played).delivered("otlp") == SPANS * played
    page = one.page()
    assert page.sum("weir_otlp_requests_total") == page.value("weir_otlp_requests_total", exporter="otlp", outcome="delivered")
    assert page.sum("weir_otlp_breaker_opens_total") == 0
    assert one.stop() == 0
    assert each_once(collector.wait_for(SPANS * played)) == stored(one)


class Mesh:
    """Edges that send each trace to one of some gateways."""

    def __init__(self, start, tmp_path, *, edges: int = 2, gateways: int = 2):
        self.gateways = [start(Weir(tmp_path / f"gateway-{i}", name=f"gateway-{i}")) for i in range(gateways)]
        urls = [f"grpc://{gateway.endpoint}" for gateway in self.gateways]
        self.edges = []
        for i in range(edges):
            listed = ", ".join(f"'{url}'" for url in (urls if i % 2 == 0 else reversed(urls)))  # in any order
            out = f"otlp: {{ endpoints: [{listed}], balance: trace_id, compression: none, retry_max: 1s, timeout: 5s }}"
            self.edges.append(start(Weir(tmp_path / f"edge-{i}", name=f"edge-{i}", exporters=out)))

    def stored(self, index: int) -> list[dict]:
        return self.gateways[index].cat()


def test_traces_are_whole_at_one_gateway(start, tmp_path):
    """Two edges have a part each of every trace; all of a trace is at one gateway, and both have their share."""
    mesh = Mesh(start, tmp_path)
    sent = [ExportTraceServiceRequest() for _ in mesh.edges]
    random.seed(5)
    traces = 2000
    for _ in range(traces):
        trace = random.randbytes(16)
        for request in sent:
            spans = request.resource_spans.add()
            attribute = spans.resource.attributes.add(key="service.name")
            attribute.value.string_value = "parts"
            for _ in range(3):
                now = time.time_ns()
                spans.scope_spans.add().spans.add(
                    trace_id=trace, span_id=random.randbytes(8), name="part", start_time_unix_nano=now, end_time_unix_nano=now + 1
                )
    for edge, request in zip(mesh.edges, sent, strict=True):
        with grpc.insecure_channel(edge.endpoint) as channel:
            TraceServiceStub(channel).Export(request, timeout=120)
    for edge in mesh.edges:
        assert edge.balance(received=3 * traces).delivered("otlp") == 3 * traces
    where = [collections.Counter(), collections.Counter()]
    for index, gateway in enumerate(mesh.gateways):
        gateway.balance()
        assert gateway.stop() == 0
        where[index].update(span["traceId"] for span in gateway.cat())
    assert not set(where[0]) & set(where[1]), "a trace is at both"
    assert set((where[0] + where[1]).values()) == {6}
    assert min(len(where[0]), len(where[1])) > traces * 0.4


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_gateway_that_goes_under_load_and_comes_back(start, tmp_path, how):
    mesh = Mesh(start, tmp_path)
    sent, over = [0, 0], threading.Event()

    def play(i: int):  # until it is back: whether it is there an edge learns by what it sends
        seeds = itertools.count(20 + i, 2)
        while sent[i] < 24_000 or not over.is_set():
            sent[i] += mesh.edges[i].emit("--seed", next(seeds), "--rate", 4000, spans=8000)["acknowledged"]

    threads = [threading.Thread(target=play, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    second = mesh.gateways[1]
    url = f"grpc://{second.endpoint}"
    try:
        wait_until(lambda: second.received() > 3000, "the second gateway to get its share")
        if how == "killed":
            second.kill()
        else:
            assert second.stop() == 0
        for edge in mesh.edges:
            wait_until(lambda edge=edge: edge.page().value("weir_otlp_endpoint_up", endpoint=url) == 0, "to be given up")
        second.start()
        for edge in mesh.edges:
            wait_until(lambda edge=edge: edge.page().value("weir_otlp_endpoint_up", endpoint=url) == 1, "to be back")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert second.received() > 0  # it counts from 0 again
    for edge, spans in zip(mesh.edges, sent, strict=True):
        ledger = edge.balance(received=spans)
        assert ledger.delivered("otlp") == spans
        page = edge.page()
        assert page.value("weir_otlp_breaker_opens_total", endpoint=url) >= 1
        assert page.sum("weir_spans_dropped_total") == page.sum("weir_spans_refused_total") == 0
    # Each span is stored at least once, but for what was in the memory of one that was killed: it had said that it owns it.
    first = mesh.gateways[0]
    first.balance()
    second.balance()
    assert first.stop() == second.stop() == 0
    found = collections.Counter((span["traceId"], span["spanId"]) for gateway in mesh.gateways for span in gateway.cat())
    assert len(found) == sum(sent) if how == "stopped" else len(found) > sum(sent) * 0.9


def test_failover_and_back(start, weir, tmp_path):
    """To the first that is there; nothing is lost while the first is away, and it is the first again afterwards."""
    collectors = [start(Collector(tmp_path, name=f"collector-{i}")) for i in range(2)]
    urls = [collectors[0].url("grpc"), collectors[1].url("http")]
    one = weir(exporters=exporters(tmp_path, *urls, more="retry_initial: 200ms, retry_max: 500ms"))

    def delivered(index: int) -> float:
        return one.page().value("weir_otlp_requests_total", endpoint=urls[index], outcome="delivered")

    one.emit("--seed", 6, spans=8000)
    assert one.balance(received=8000).delivered("otlp") == 8000
    assert delivered(0) > 0 and delivered(1) == 0
    collectors[0].stop()
    one.emit("--seed", 7, spans=8000)
    assert one.balance(received=16000).delivered("otlp") == 16000
    assert delivered(1) > 0
    page = one.page()
    assert page.value("weir_otlp_endpoint_up", endpoint=urls[0]) == 0
    assert page.value("weir_exporter_paused", exporter="otlp") == 0
    at_first = collectors[0].spans()  # its next start begins the file anew
    collectors[0].start()
    before = delivered(0)

    def back():
        one.emit("--seed", 8, spans=80)
        return delivered(0) > before

    wait_until(back, "the first to be tried", every=0.3)
    one.balance()  # what was under way to the second has come there
    at_second = delivered(1)
    one.emit("--seed", 9, spans=8000)
    total = one.received()
    assert one.balance(received=total).delivered("otlp") == total
    assert delivered(1) == at_second
    assert one.stop() == 0
    for collector in collectors:
        collector.stop()
    found = {(span["traceId"], span["spanId"]) for span, _ in (*at_first, *collectors[0].spans(), *collectors[1].spans())}
    assert found == {(span["traceId"], span["spanId"]) for span in one.cat()}
