"""Weir and the OpenTelemetry Collector's jaegerremotesampling answer the same of one strategies file of Jaeger.

The files are those of Jaeger's and the Collector's own tests (tests/data/jaeger/SOURCES.md). Weir has each by way of `weir import`.
"""

import json

import pytest
from harness.jaeger import SamplingCollector
from harness.net import http
from harness.process import PEERS, ROOT, run
from harness.weir import Weir, binary

DATA = ROOT / "tests" / "data" / "jaeger"
FILES = [
    "missing-service-types.json",
    "operation_strategies.json",
    "sampling-strategies.json",
    "sampling_strategies_example.json",
    "service_no_per_operation.json",
    "strategies.json",
]
TYPES = {0: "PROBABILISTIC", 1: "RATE_LIMITING"}


def said(answer: dict) -> dict:
    """An answer with what is left out and with numbers for names filled in, as every reader of it does."""
    kind = answer.get("strategyType", 0)
    out: dict = {"strategyType": TYPES.get(kind, kind)}
    if "probabilisticSampling" in answer:
        out["rate"] = float(answer["probabilisticSampling"].get("samplingRate", 0))
    if "rateLimitingSampling" in answer:
        out["limit"] = int(answer["rateLimitingSampling"].get("maxTracesPerSecond", 0))
    part = answer.get("operationSampling")
    if part is not None:
        rows = [
            (row["operation"], float(row["probabilisticSampling"].get("samplingRate", 0))) for row in part["perOperationStrategies"]
        ]
        assert len(rows) == len(dict(rows)), f"an operation stands twice: {rows}"
        out |= {
            "default": float(part.get("defaultSamplingProbability", 0)),
            "lower bound": float(part.get("defaultLowerBoundTracesPerSecond", 0)),
            "upper bound": float(part.get("defaultUpperBoundTracesPerSecond", 0)),
            "operations": dict(rows),
        }
    return out


def as_jaeger_2(answer: dict, strategies: dict, service: str) -> dict:
    """The one difference: a service with a rate limit and no operations of its own. The Collector (v0.145, which warns that this
    will change: jaegertracing/jaeger#5270) leaves the default's operations out, Jaeger 2 and Weir tell them all the same."""
    default = strategies.get("default_strategy", {})
    own = next((one for one in strategies["service_strategies"] if one["service"] == service), {})
    if "limit" not in answer or own.get("operation_strategies") or not default.get("operation_strategies"):
        return answer
    rows = {one["operation"]: float(one["param"]) for one in default["operation_strategies"] if one["type"] == "probabilistic"}
    return answer | {"default": float(default["param"]), "lower bound": 0.0, "upper bound": 0.0, "operations": rows}


def over_grpc(endpoint: str, service: str) -> dict:
    called = run([PEERS / "bin" / "grpcurl", "-plaintext", "-connect-timeout", "60", "-import-path", ROOT / "schemas",
                  "-proto", "jaeger/api_v2/sampling.proto", "-d", json.dumps({"serviceName": service}), endpoint,
                  "jaeger.api_v2.SamplingManager/GetSamplingStrategy"])  # fmt: skip
    assert called.returncode == 0, called.stderr
    return json.loads(called.stdout)


@pytest.mark.parametrize("name", FILES)
def test_the_same_answers_as_the_collector(start, tmp_path, name):
    policy = tmp_path / "sampling.yaml"
    imported = run([binary(), "import", "--from", "jaeger", DATA / name, "-o", policy])
    assert imported.returncode == 0, imported.stderr
    collector = start(SamplingCollector(tmp_path / "collector", DATA / name))
    weir = start(Weir(tmp_path / "weir", receivers={"sampling": ""}, extra=f"sampling: {{ policy: {policy} }}"))
    strategies = json.loads((DATA / name).read_text())
    services = [one["service"] for one in strategies["service_strategies"]]
    assert services
    for service in [*services, "nobody knows it"]:
        theirs = said(collector.ask(service))
        want = as_jaeger_2(theirs, strategies, service)
        ours = http(f"http://127.0.0.1:{weir.ports['sampling']}/sampling?service={service.replace(' ', '+')}")
        assert ours.status == 200, ours.text
        assert isinstance(ours.json()["strategyType"], str)
        assert said(ours.json()) == want, f"{service}: {ours.text}"
        assert said(over_grpc(weir.endpoint, service)) == want, service
        assert said(over_grpc(f"127.0.0.1:{collector.grpc_port}", service)) == theirs, service
        if (name, service) == ("service_no_per_operation.json", "ServiceB"):  # what Jaeger 2 says to this is among its fixtures
            fixture = json.loads((DATA / "TestServiceNoPerOperationStrategies_ServiceB.json").read_text())
            assert said(ours.json()) == said(fixture)
    assert weir.stop() == 0
