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


def over_grpc(endpoint: str, service: str) -> dict:
    called = run([PEERS / "bin" / "grpcurl", "-plaintext", "-import-path", ROOT / "schemas", "-proto", "jaeger/api_v2/sampling.proto",
                  "-d", json.dumps({"serviceName": service}), endpoint, "jaeger.api_v2.SamplingManager/GetSamplingStrategy"])  # fmt: skip
    assert called.returncode == 0, called.stderr
    return json.loads(called.stdout)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FILES)
def test_the_same_answers_as_the_collector(start, tmp_path, name):
    policy = tmp_path / "sampling.yaml"
    imported = run([binary(), "import", "--from", "jaeger", DATA / name, "-o", policy])
    assert imported.returncode == 0, imported.stderr
    collector = start(SamplingCollector(tmp_path / "collector", DATA / name))
    weir = start(Weir(tmp_path / "weir", receivers={"sampling": ""}, extra=f"sampling: {{ policy: {policy} }}"))
    services = [one["service"] for one in json.loads((DATA / name).read_text())["service_strategies"]]
    assert services
    for service in [*services, "nobody knows it"]:
        want = said(collector.ask(service))
        ours = http(f"http://127.0.0.1:{weir.ports['sampling']}/sampling?service={service.replace(' ', '+')}")
        assert ours.status == 200, ours.text
        assert isinstance(ours.json()["strategyType"], str)
        assert said(ours.json()) == want, f"{service}: {ours.text}"
        assert said(over_grpc(weir.endpoint, service)) == want, service
        assert said(over_grpc(f"127.0.0.1:{collector.grpc_port}", service)) == want, service
    assert weir.stop() == 0
