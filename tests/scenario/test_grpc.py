"""Weir's gRPC port against clients that are not ours: gRPC's own Python (C core), and h2spec."""

import os
import re
import struct

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from harness.net import wait_until
from harness.process import PEERS, run
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2,
    metrics_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

pytestmark = pytest.mark.sanitized

H2SPEC_PASSES = 110  # of 145, what grpc-go's server passes: a gRPC server answers other things than a web server


def attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def request_of(count: int, service: str = "checkout", **changes) -> trace_service_pb2.ExportTraceServiceRequest:
    request = trace_service_pb2.ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(attribute("service.name", service))
    spans = resource.scope_spans.add().spans
    for i in range(count):
        span = spans.add(
            trace_id=os.urandom(16),
            span_id=os.urandom(8),
            name="GET /carts/1234",
            kind=2,
            start_time_unix_nano=1_700_000_000_000_000_000 + i,
            end_time_unix_nano=1_700_000_000_250_000_000 + i,
        )
        span.attributes.append(attribute("http.method", "GET"))
        for key, value in changes.items():
            setattr(span, key, value)
    return request


@pytest.fixture
def channel(weir):
    one = weir()
    with grpc.insecure_channel(one.endpoint) as open_channel:
        yield one, open_channel


def test_spans_plain_and_gzip(channel):
    one, open_channel = channel
    stub = trace_service_pb2_grpc.TraceServiceStub(open_channel)
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        answer = stub.Export(request_of(50), compression=compression, timeout=60)
        assert answer.partial_success.rejected_spans == 0
    one.balance(received=100)
    page = one.page()
    # Numbers in a path are templated by default, so that ids make no series.
    calls = page.by("traces_spanmetrics_calls_total", "service", "span_kind")
    assert calls == {("checkout", "SPAN_KIND_SERVER"): 100}
    assert not [labels for labels, _ in page.select("traces_spanmetrics_calls_total") if "1234" in labels["span_name"]]
    assert page.sum("traces_spanmetrics_latency_sum") == pytest.approx(100 * 0.25)


def test_sound_message_with_bad_spans_keeps_the_others(channel):
    one, open_channel = channel
    request = request_of(3)
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id = b"short"
    spans[1].span_id = bytes(8)
    answer = trace_service_pb2_grpc.TraceServiceStub(open_channel).Export(request, timeout=60)
    assert answer.partial_success.rejected_spans == 2
    assert answer.partial_success.error_message
    one.balance(received=1)
    assert one.page().sum("weir_spans_refused_total", receiver="grpc", reason="invalid") == 2


def test_broken_message_names_the_byte_and_keeps_nothing(channel):
    one, open_channel = channel
    good = request_of(2).SerializeToString()
    call = open_channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    for body in (good[:-3], good + b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 40):
        with pytest.raises(grpc.RpcError) as caught:
            call(body, timeout=60)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert re.search(r"byte \d+", caught.value.details()), caught.value.details()
    one.balance(received=0)


def test_answers_to_the_wrong_call(channel):
    one, open_channel = channel
    for method in ("/opentelemetry.proto.collector.trace.v1.TraceService/Nope", "/no.such.Service/Call"):
        with pytest.raises(grpc.RpcError) as caught:
            open_channel.unary_unary(method)(b"", timeout=60)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    one.balance(received=0)


def test_too_large_is_refused_also_after_inflating(weir):
    one = weir(grpc="max_message_bytes: 1MiB")
    with grpc.insecure_channel(one.endpoint) as open_channel:
        stub = trace_service_pb2_grpc.TraceServiceStub(open_channel)
        request = request_of(1)
        request.resource_spans[0].scope_spans[0].spans[0].attributes.append(attribute("note", "x" * (4 << 20)))
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Export(request, compression=compression, timeout=60)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Export(request_of(1), timeout=60).partial_success.rejected_spans == 0
    one.balance(received=1)


def test_health(channel):
    one, open_channel = channel
    stub = health_pb2_grpc.HealthStub(open_channel)
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=60).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=60)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    one.balance(received=0)


def number(name: str, value: float, start: int, time: int, temporality: int) -> metrics_service_pb2.ExportMetricsServiceRequest:
    request = metrics_service_pb2.ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add()
    metrics.resource.attributes.append(attribute("service.name", "stock"))
    metric = metrics.scope_metrics.add().metrics.add(name=name)
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = temporality
    point = metric.sum.data_points.add(start_time_unix_nano=start, time_unix_nano=time, as_double=value)
    point.attributes.append(attribute("aisle", "7"))
    return request


def test_metrics_delta_and_cumulative_with_a_reset(channel):
    one, open_channel = channel
    stub = metrics_service_pb2_grpc.MetricsServiceStub(open_channel)
    delta, cumulative = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA, metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
    second = 1_000_000_000
    for value in (3, 4):
        stub.Export(number("stock.moves", value, second, 2 * second, delta), timeout=60)
    # 10, 25, then a restart of the sender that counts from 0 to 5: 25 + 5.
    for value, begin, at in ((10, second, 2 * second), (25, second, 3 * second), (5, 4 * second, 5 * second)):
        stub.Export(number("stock.checks", value, begin, at, cumulative), timeout=60)

    def settled():
        page = one.page()
        return (
            page if page.sum("weir_points_received_total", receiver="grpc") >= 5 and page.value("weir_points_held") == 0 else None
        )

    page = wait_until(settled, "five points")
    found = {name.removesuffix("_total"): page.sum(name, aisle="7") for name in page.samples if name.startswith("stock_")}
    assert found == {"stock_moves": 7, "stock_checks": 30}
    one.balance(received=0)


def test_a_frame_that_lies_about_its_length_ends_its_stream_only(channel):
    one, open_channel = channel
    stub = trace_service_pb2_grpc.TraceServiceStub(open_channel)
    call = open_channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    stub.Export(request_of(1), timeout=60)
    # A length-delimited field that points past the end of the message.
    with pytest.raises(grpc.RpcError):
        call(b"\x0a" + struct.pack("B", 100) + b"\x0a", timeout=60)
    stub.Export(request_of(1), timeout=60)
    one.balance(received=2)


def test_h2spec(weir):
    one = weir()
    done = run(
        [PEERS / "bin" / "h2spec", "-h", "127.0.0.1", "-p", one.grpc_port, "-o", 3, "--path", "/grpc.health.v1.Health/Check"], 280
    )
    found = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    assert int(found[2]) >= H2SPEC_PASSES, found[0]
    one.balance(received=0)
