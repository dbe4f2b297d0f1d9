"""The tools that people point at a gRPC port: grpcurl, grpc-health-probe, ghz. None of them was built for Weir's services."""

import base64
import json
import os

import pytest
from harness.net import wait_until
from harness.process import PEERS, run

pytestmark = pytest.mark.sanitized

TRACES = "opentelemetry.proto.collector.trace.v1.TraceService"
METRICS = "opentelemetry.proto.collector.metrics.v1.MetricsService"


def tool(name: str, *arguments):
    return run([PEERS / "bin" / name, *arguments])


def probe(one, service: str, *options: str):
    patience = ("-connect-timeout=60s", "-rpc-timeout=60s")  # a second is its own
    return tool("grpc-health-probe", f"-addr={one.endpoint}", f"-service={service}", *patience, *options)


def grpcurl(one, *arguments, data=None):
    given = ["-d", json.dumps(data)] if data is not None else []
    return tool("grpcurl", "-plaintext", "-connect-timeout", "60", *given, one.endpoint, *arguments)


def b64(count: int) -> str:
    return base64.b64encode(os.urandom(count)).decode()


def spans_of(count: int) -> dict:
    spans = [
        {
            "trace_id": b64(16),
            "span_id": b64(8),
            "name": "GET /carts",
            "kind": "SPAN_KIND_SERVER",
            "start_time_unix_nano": 1_700_000_000_000_000_000,
            "end_time_unix_nano": 1_700_000_000_250_000_000,
        }
        for _ in range(count)
    ]
    service = {"key": "service.name", "value": {"string_value": "checkout"}}
    return {"resource_spans": [{"resource": {"attributes": [service]}, "scope_spans": [{"spans": spans}]}]}


def test_grpcurl_finds_and_calls_what_is_served(weir):
    one = weir()
    listed = grpcurl(one, "list")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.split() == [
        "envoy.service.discovery.v3.AggregatedDiscoveryService",
        "envoy.service.runtime.v3.RuntimeDiscoveryService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "jaeger.api_v2.SamplingManager",
        METRICS,
        TRACES,
    ]
    for service in listed.stdout.split():
        methods = grpcurl(one, "list", service)
        assert methods.returncode == 0, methods.stderr
        for name in [service, *methods.stdout.split()]:
            assert grpcurl(one, "describe", name).returncode == 0
    described = grpcurl(one, "describe", "opentelemetry.proto.trace.v1.Span")
    assert "fixed64 start_time_unix_nano = 7;" in described.stdout
    unknown = grpcurl(one, "describe", "no.such.Service")
    assert unknown.returncode != 0
    assert "not found" in unknown.stderr

    done = grpcurl(one, f"{TRACES}/Export", data=spans_of(3))
    assert (done.returncode, json.loads(done.stdout)) == (0, {}), done.stderr
    spans = spans_of(3)
    spans["resource_spans"][0]["scope_spans"][0]["spans"][1]["trace_id"] = b64(5)
    partial = json.loads(grpcurl(one, f"{TRACES}/Export", data=spans).stdout)["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert "trace_id" in partial["errorMessage"] or "trace id" in partial["errorMessage"]
    point = {"as_int": "7", "time_unix_nano": 1_700_000_000_000_000_000}
    gauge = {"name": "queue_depth", "gauge": {"data_points": [point]}}
    done = grpcurl(one, f"{METRICS}/Export", data={"resource_metrics": [{"scope_metrics": [{"metrics": [gauge]}]}]})
    assert done.returncode == 0, done.stderr
    wait_until(lambda: one.page().sum("queue_depth") == 7, "the gauge")
    one.balance(received=5)


def test_health_probe(weir):
    one = weir()
    for service in ("", TRACES, "grpc.reflection.v1.ServerReflection"):
        done = probe(one, service)
        assert done.returncode == 0, done.stderr
        assert "SERVING" in done.stdout + done.stderr
    assert probe(one, "no.such").returncode == 3
    one.balance(received=0)
    one.stop()
    assert probe(one, "", "-connect-timeout=300ms").returncode == 2


def test_ghz(weir):
    one = weir()
    done = tool("ghz", "--insecure", "--call", f"{TRACES}/Export", "-d", json.dumps(spans_of(10)), "-n", "500", "-c", "10", "-t", "60s",
                "--connections", "3", "-O", "json", one.endpoint)  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["statusCodeDistribution"] == {"OK": 500}
    one.balance(received=5000)
