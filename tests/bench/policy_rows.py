"""The row of what telemetry costs a real Envoy, and what is left of that when Weir's policy says how much of it there is.

One Envoy with one worker has a listener without tracing and others that trace in different ways; they differ in nothing else. It
follows sampling.yaml by RTDS, which is written anew for each case. Cases are measured by turns, so that a machine that is slower for
a while is slower for all of them, and in one process, so that they share its memory's layout.
"""

import os
import random
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
from harness.envoy import API, Envoy, address_at, cluster_at, listener_at, rtds_layer, tracing_as
from harness.net import free_port, wait_until
from harness.sink import Sink
from harness.weir import Weir

TURNS, REQUESTS, WARM = 12, 2_000, 200
LOAD = f"{TURNS} turns of {REQUESTS // 1000}K requests a case, 16 connections"
RAISED = "envoy: { min_flush_spans: 500, flush_interval: 1s }"
# Where requests end: in a listener of the same Envoy, which so handles each of them twice, or in another program.
ENDS = ("itself", "nginx")
PATH = "/orders/v1/17"


@dataclass(frozen=True)
class Case:
    title: str
    tracer: str
    rate: float
    batching: str = ""
    goals: tuple[tuple[str, float], ...] = ()  # the case that it is held against, per cent that it may cost more


CASES = {
    "none": Case("no tracing configured", "none", 0),
    "zero": Case("OTLP/gRPC, rate 0", "otlp", 0),
    "one-default": Case("OTLP/gRPC, 1 %", "otlp", 0.01),
    "one": Case("OTLP/gRPC, 1 %, batches raised", "otlp", 0.01, RAISED, (("zero", 2), ("none", 12))),
    "one-server": Case("the same, one span a request (`spawn_upstream_span: false`)", "otlp-server", 0.01, RAISED),
    "all-default": Case("OTLP/gRPC, 100 %", "otlp", 1),
    "all": Case("OTLP/gRPC, 100 %, batches raised", "otlp", 1, RAISED, (("none", 60),)),
    "all-server": Case("the same, one span a request", "otlp-server", 1, RAISED),
    "zipkin-one": Case("Zipkin JSON, 1 %", "zipkin", 0.01),
    "zipkin-all": Case("Zipkin JSON, 100 %", "zipkin", 1),
}


def tracers() -> dict[str, dict | None]:
    otlp = tracing_as("edge", 100)
    # Names of spans by a format cost something for requests that are not traced, too; without it they are Envoy's own.
    del otlp["operation"], otlp["upstream_operation"]
    zipkin = {
        "@type": f"{API}.config.trace.v3.ZipkinConfig",
        "collector_cluster": "zipkin",
        "collector_endpoint": "/api/v2/spans",
        "collector_endpoint_version": "HTTP_JSON",
    }
    return {
        "none": None,
        "otlp": otlp,
        "otlp-server": {**otlp, "spawn_upstream_span": False},
        "zipkin": {**otlp, "provider": {"name": "envoy.tracers.zipkin", "typed_config": zipkin}},
    }


class Subject(Envoy):
    """The Envoy that is measured."""

    def __init__(self, folder: Path, weir: Weir, nginx: Sink):
        super().__init__(folder, "edge", {"nginx": nginx.port}, otlp_port=weir.grpc_port, statsd_port=weir.statsd_port)
        self.ports = {(tracer, end): free_port() for tracer in tracers() for end in ENDS}
        answer = {"status": 200, "body": {"inline_string": "ok\n"}}
        listeners = [listener_at("app", self.app_port, [{"match": {"prefix": "/"}, "direct_response": answer}])]
        for (tracer, end), port in self.ports.items():
            routes = [{"match": {"prefix": "/"}, "route": {"cluster": end}}]
            listeners.append(listener_at(f"{tracer}-{end}", port, routes, tracers()[tracer]))
        clusters = [
            cluster_at("itself", self.app_port),
            cluster_at("nginx", nginx.port),
            cluster_at("weir", weir.grpc_port, http2=True),
            cluster_at("zipkin", weir.ports["zipkin"]),
        ]
        self.config = {
            "admin": {"address": address_at(self.admin_port)},
            "node": self.config["node"],
            "layered_runtime": {"layers": [rtds_layer("weir")]},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        }


@contextmanager
def kept_off(cpu: int) -> Iterator[None]:
    """What is started here stays off that processor, if there is another."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before - {cpu} or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Bench:
    def __init__(self, folder: Path, stack: ExitStack):
        cpu = min(os.sched_getaffinity(0))
        stack.enter_context(kept_off(cpu))
        self.policy = folder / "sampling.yaml"
        self.write(CASES["none"])
        policy = f"sampling: {{ policy: {self.policy} }}"
        self.weir = Weir(folder / "weir", exporters="{}", lanes=1, receivers={"zipkin": ""}, extra=policy)
        nginx = Sink(folder / "nginx", log=False)
        self.envoy = Subject(folder, self.weir, nginx)
        stack.callback(self.weir.start().stop)
        stack.callback(nginx.start().stop)
        stack.callback(self.envoy.start("taskset", "-c", cpu).stop)

    def write(self, case: Case):
        self.policy.write_text(f"proxies: {{ default: {{ rate: {case.rate}{', ' if case.batching else ''}{case.batching} }} }}\n")

    def tell(self, case: Case):
        """Weir tells it to the Envoy, and the Envoy has it."""
        self.write(case)
        answer = self.weir.reload()
        assert answer.status == 200, answer.text
        spans = "500" if case.batching else None

        def has_it() -> bool:
            return self.envoy.told_rate() == case.rate and self.envoy.runtime("tracing.opentelemetry.min_flush_spans") == spans

        wait_until(has_it, f"the Envoy to follow: {case.title}")

    def measure(self, case: Case, end: str) -> float:
        """CPU of the Envoy for a request, in microseconds."""
        port, decided = self.envoy.ports[case.tracer, end], f"http.{case.tracer}-{end}.tracing.random_sampling"
        load.get(port, PATH, WARM)
        arrived, traced, before = self.weir.received(), self.envoy.stats(f"^{decided}").get(decided, 0), self.envoy.process.cpu_ns()
        load.get(port, PATH, REQUESTS)
        spent = self.envoy.process.cpu_ns() - before
        traced = self.envoy.stats(f"^{decided}").get(decided, 0) - traced
        share = traced / REQUESTS
        assert abs(share - case.rate) < 0.01, f"{case.title}: {share:.2%} of the requests were traced"
        # All but what waits for a batch to be full: what is dropped on the way would cost less than it should.
        spans = traced * (1 if case.tracer == "otlp-server" else 2) - 500
        wait_until(lambda: self.weir.received() - arrived >= spans, f"{spans} spans: {case.title}")
        return spent / REQUESTS / 1000


def run(folder: Path, share: float) -> dict:
    """{"end case": microseconds of CPU a request}, each the median of its turns"""
    seen: dict[str, list[float]] = {}
    with ExitStack() as stack:
        bench = Bench(folder, stack)
        for _ in range(max(round(TURNS * share), 2)):
            for name, case in random.sample(list(CASES.items()), len(CASES)):
                bench.tell(case)
                for end in ENDS:
                    seen.setdefault(f"{end} {name}", []).append(bench.measure(case, end))
    return {name: statistics.median(values) for name, values in seen.items()}


def more(values: dict, end: str, name: str, than: str) -> float:
    """Per cent that a case costs more than another, run by run: the median."""
    pairs = zip(values[f"{end} {name}"], values[f"{end} {than}"], strict=True)
    return statistics.median(100 * (one / other - 1) for one, other in pairs)


def table(values: dict) -> str:
    head = ["case", *(f"ends in {end}: µs a request | over none | over rate 0" for end in ENDS), "goal"]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * (2 + 3 * len(ENDS))]
    for name, case in CASES.items():
        cells, goals = [case.title], dict(case.goals)
        for end in ENDS:
            seen = values[f"{end} {name}"]
            cells.append(f"{statistics.median(seen):.1f} ({min(seen):.1f}–{max(seen):.1f})")
            for than in ("none", "zero"):
                percent = more(values, end, name, than)
                text = f"{percent:+.1f} %" if name not in ("none", than) else ""
                cells.append(f"**{text}**" if percent > goals.get(than, float("inf")) else text)
        words = {"none": "over none", "zero": "over rate 0"}
        cells.append(", ".join(f"≤ {percent:g} % {words[than]}" for than, percent in case.goals))
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def parts(values: dict) -> str:
    """Of what the microseconds of a request that is traced, in front of another program, are made."""
    us = {name: statistics.median(values[f"nginx {name}"]) for name in CASES}
    return (
        f"A request that ends in nginx, in µs: {us['none']:.1f} without tracing; {us['zero'] - us['none']:.1f} for a tracer at rate 0; "
        f"{(us['all'] - us['zero']) / 2:.1f} for each of two spans, which is filling it in, serializing it and its share of a large batch; "
        f"and by default {us['all-default'] - us['all']:.1f} for a gRPC request every five spans, which the raised batch saves."
    )
