"""One Weir behind another: what the first has counted the second does not count again, and treats like everything else."""

import pytest
from harness.net import wait_until
from harness.weir import Weir
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

pytestmark = pytest.mark.sanitized

CALLS = "traces_spanmetrics_calls_total"
MARK = {"weir-counted": "1"}
POLICY = """\
keep:
  wait: 60s
  quiet: 100ms
  rules:
    - { name: errors, when: { error: true } }
    - { name: rest, rate: 0 }
"""


def exporter_of(one, receiver: str, headers: dict):
    if receiver == "grpc":
        return GrpcExporter(endpoint=one.endpoint, insecure=True, headers=headers, timeout=60)
    return HttpExporter(endpoint=f"http://127.0.0.1:{one.ports['otlp_http']}/v1/traces", headers=headers, timeout=60)


def send(exporter, service: str, traces: int, errors: int):
    """Traces of two spans, one of them a client's; the first ones fail."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("weir")
    for trace in range(traces):
        with tracer.start_as_current_span("GET /carts", kind=SpanKind.SERVER) as root:
            with tracer.start_as_current_span("SELECT", kind=SpanKind.CLIENT, attributes={"peer.service": "db"}):
                pass
            if trace < errors:
                root.set_status(Status(StatusCode.ERROR))
    provider.shutdown()


@pytest.mark.parametrize("receiver", ["grpc", "otlp_http"])
def test_marked_spans_are_decided_and_stored_but_not_counted(weir, tmp_path, receiver):
    (tmp_path / "sampling.yaml").write_text(POLICY)
    one = weir(
        receivers={"otlp_http": ""},
        extra=f"sampling: {{ policy: {tmp_path / 'sampling.yaml'} }}\naggregate: {{ edge_wait: 100ms }}",
    )
    send(exporter_of(one, receiver, MARK), "counted", 20, 5)
    ledger = one.balance(received=40)
    assert ledger.exporters["file"]["delivered"] == 10, ledger.lines()
    page = one.page()
    assert page.value("weir_spans_counted_upstream_total", receiver=receiver) == 40
    assert page.sum("weir_spans_counted_upstream_total") == 40
    assert not page.select(CALLS) and not page.select("traces_service_graph_request_total")

    send(exporter_of(one, receiver, {}), "new", 10, 1)
    ledger = one.balance(received=60)
    assert ledger.exporters["file"]["delivered"] == 12, ledger.lines()
    page = one.page()
    assert page.by(CALLS, "service") == {"new": 20}
    assert page.sum("weir_spans_counted_upstream_total") == 40
    assert len(one.cat()) == 12


def test_a_mark_is_not_believed_where_the_configuration_says_so(weir):
    one = weir(receivers={"otlp_http": ""}, grpc="count_marked: true")
    send(exporter_of(one, "grpc", MARK), "doubtful", 3, 0)
    send(exporter_of(one, "otlp_http", MARK), "counted", 4, 0)
    one.balance(received=14)
    page = one.page()
    assert page.by(CALLS, "service") == {"doubtful": 6}
    assert page.value("weir_spans_counted_upstream_total", receiver="otlp_http") == 8
    # Live: from the next request on.
    one.write(exporters=f"file: {{ directory: {one.traces} }}", lanes=2)
    assert one.reload().status == 200
    send(exporter_of(one, "grpc", MARK), "believed", 3, 0)
    one.balance(received=20)
    assert one.page().by(CALLS, "service") == {"doubtful": 6}


def test_two_edges_and_a_gateway_count_every_span_once(start, tmp_path):
    """Prometheus scrapes all three and adds up: no span, call, counter or timer may be in two of the pages."""
    (tmp_path / "sampling.yaml").write_text(POLICY)
    gateway = start(
        Weir(tmp_path / "gateway", receivers={"otlp_http": ""}, extra=f"sampling: {{ policy: {tmp_path / 'sampling.yaml'} }}")
    )
    endpoints = [f"grpc://{gateway.endpoint}", f"http://127.0.0.1:{gateway.ports['otlp_http']}"]
    edges = [
        start(Weir(tmp_path / f"edge-{i}", exporters=f"otlp: {{ endpoints: [{endpoint}] }}", extra="aggregate: { edge_wait: 1s }"))
        for i, endpoint in enumerate(endpoints)
    ]
    for index, edge in enumerate(edges):
        edge.emit("--errors", 0.05, "--batch", 50, "--seed", index + 1, spans=20_000)
        edge.send_statsd("carts:3|c", "latency:20|ms", "open:7|g")
    for edge in edges:
        edge.balance(received=20_000)
    ledger = gateway.balance(received=40_000)
    assert 0 < ledger.exporters["file"]["delivered"] < 40_000, ledger.lines()
    for edge in edges:
        wait_until(lambda edge=edge: edge.page().sum("weir_edges_waiting") == 0, "both sides of every call, or its time")
        wait_until(lambda edge=edge: edge.own().sum("weir_points_received_total") == 3, "three lines of StatsD")
        wait_until(lambda edge=edge: edge.own().sum("weir_points_held") == 0, "them to be counted")
    pages = [edge.page() for edge in edges] + [gateway.page()]
    assert [page.sum(CALLS) for page in pages] == [20_000, 20_000, 0]
    assert [page.sum("traces_spanmetrics_latency_count") for page in pages] == [20_000, 20_000, 0]
    assert [page.sum("weir_spans_counted_upstream_total") for page in pages] == [0, 0, 40_000]
    assert pages[2].by("weir_spans_counted_upstream_total", "receiver") == {"grpc": 20_000, "otlp_http": 20_000}
    assert [page.sum("traces_service_graph_request_total") > 0 for page in pages] == [True, True, False]
    assert [page.sum("carts_total") for page in pages] == [3, 3, 0]
    assert [page.sum("latency_count") for page in pages] == [1, 1, 0]
    assert [page.sum("open") for page in pages] == [7, 7, 0]
    assert pages[2].sum("weir_points_received_total") == 0
    # What left an edge is still in its series when the gateway's rules left it out of the files.
    errors = sum(page.sum(CALLS, status_code="STATUS_CODE_ERROR") for page in pages)
    assert errors > 0
    stored = gateway.cat()
    assert len(stored) == ledger.exporters["file"]["delivered"]


def test_a_third_weir_does_not_count_what_the_second_passed_on(start, tmp_path):
    last = start(Weir(tmp_path / "last"))
    middle = start(Weir(tmp_path / "middle", exporters=f"otlp: {{ endpoints: [grpc://{last.endpoint}] }}"))
    first = start(Weir(tmp_path / "first", exporters=f"otlp: {{ endpoints: [grpc://{middle.endpoint}] }}"))
    first.emit("--batch", 50, spans=1000)
    for one in (first, middle, last):
        one.balance(received=1000)
    assert [one.page().sum(CALLS) for one in (first, middle, last)] == [1000, 0, 0]
    assert [one.page().sum("weir_spans_counted_upstream_total") for one in (first, middle, last)] == [0, 1000, 1000]


def test_what_an_edge_finds_on_disk_was_counted_by_the_one_that_wrote_it(start, tmp_path):
    """Neither the edge that takes it up nor the gateway counts it: the series of the one that was killed had it."""
    gateway = Weir(tmp_path / "gateway")
    edge = start(
        Weir(
            tmp_path / "edge",
            exporters=f"otlp: {{ endpoints: [grpc://{gateway.endpoint}] }}",
            extra=f"spool: {{ directory: {tmp_path / 'spool'}, durable: true }}",
        )
    )
    edge.emit("--batch", 50, spans=2000)
    wait_until(lambda: edge.page(CALLS).sum(CALLS) == 2000, "2000 calls to be counted")
    edge.kill()
    edge.start()
    start(gateway)
    edge.balance()
    gateway.balance()
    # A batch may have been in the journal and on its way to disk: at least once, and never none.
    received = gateway.received()
    assert received >= 2000
    assert gateway.own().sum("weir_spans_counted_upstream_total") == received
    for one in (edge, gateway):
        assert one.page(CALLS).sum(CALLS) == 0
