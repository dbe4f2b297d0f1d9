"""One Weir behind another: what the first has counted the second does not count again, and treats like everything else."""

import pytest
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
  quiet: 100ms
  rules:
    - { name: errors, when: { error: true } }
    - { name: rest, rate: 0 }
"""


def exporter_of(one, receiver: str, headers: dict):
    if receiver == "grpc":
        return GrpcExporter(endpoint=one.endpoint, insecure=True, headers=headers)
    return HttpExporter(endpoint=f"http://127.0.0.1:{one.ports['otlp_http']}/v1/traces", headers=headers)


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
