"""The rows of libweir_emit: what its calls cost a thread, and what it costs a proxy for each request, all threads of it.

The proxy is examples/proxy, on a processor of its own. It tells and does not tell by turns of a few milliseconds, as ABBA, within one
stream of requests, and reads the CPU of the thread that serves them itself (--turns): so whatever else happens on the machine happens to
both. What its emitter's thread takes is measured beside that, under the same load, while it tells all the time.
Beside it the same proxy with a plain StatsD client, and a reverse proxy of Go's library with the OpenTelemetry SDK: that one by turns
which end when all that was to be sent has been sent.
"""

import json
import math
import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import load
from harness.net import answers, free_port
from harness.process import PEERS, Process, run
from harness.proxy import Proxy
from harness.sink import Sink
from harness.weir import Weir, binary
from policy_rows import kept_off

REQUESTS, WARM, REST_S = 4_000, 2_000, 0.15
SHORT = 1_000  # requests of a turn that the proxy measures itself; 16 are under way at its end, and end in the next one
BEGINNING = 5_000  # spans: a ring of the default size and a little
PATH = "/orders/v1/17"
LOAD = f"blocks ABBA, turns of {SHORT // 1000}K requests, 16 connections"


@dataclass(frozen=True)
class Call:
    title: str
    goal_ns: float = 0


CALLS = {  # as emit_bench calls them
    "decide_unsampled_and_count": Call("a decision that says no, and the count of the request", 10),
    "count": Call("a counter"),
    "observe": Call("an observation, in a histogram of 12 bounds"),
    "span_six_attributes": Call("a span of six attributes, with the caller's times", 150),
    "begin_unsampled": Call("a request begins: both ids are drawn, decided, counted"),
    "headers_in_and_out": Call("the same with `traceparent` read and written"),
    "clock": Call("its clock, for who has none"),
}
THREADS = (1, 4)


@dataclass(frozen=True)
class Case:
    title: str
    tells: str
    requests: int  # a run; the less there is to see, the more of them
    goal_us: float = 0
    traced: int = 0  # requests come with a traceparent, of so many one is sampled


CASES = {
    "one": Case("`weir_proxy`, libweir_emit, 1 %", "all requests counted and timed, 1 % are two spans", 1_000_000, 0.05),
    "all": Case("`weir_proxy`, libweir_emit, 100 %", "all requests counted and timed, each is two spans", 400_000, 0.7),
    "one-within": Case(
        "the same within a mesh, 1 %", "as above; requests come with `traceparent`, 1 % sampled", 1_000_000, 0.05, 100
    ),
    "all-within": Case("the same within a mesh, 100 %", "as above; requests come with `traceparent`, all sampled", 400_000, 0.7, 1),
    "statsd": Case("`weir_proxy`, StatsD", "three metrics a request, one `send` each", 100_000),
    "go": Case("Go's `httputil`, OpenTelemetry SDK, OTLP/gRPC, 100 %", "each is two spans, in batches of 512", 64_000),
}


ROWS = ("emit-calls", "emit-proxy", "emit-proxy-go")

# ---- calls ----


def run_calls(folder: Path, share: float) -> dict:
    """{"CALL THREADS": nanoseconds}"""
    seen = {}
    for threads in THREADS:
        done = run([binary().parent / "emit_bench", threads], 120)
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            row = json.loads(line)
            if row.get("call") in CALLS:
                seen[f"{row['call']} {threads}"] = row["median_ns"]
    return seen


# ---- a proxy ----


@dataclass(frozen=True)
class Subject:
    """Go's proxy: its process, its port by whether it is traced, and the spans that so many requests have told."""

    process: Process
    port: Callable[[bool], int]
    told: Callable[[], float]
    each: float  # of what told() counts, for a request


class Bench:
    def __init__(self, folder: Path, stack: ExitStack):
        self.cpu = min(os.sched_getaffinity(0))
        self.folder, self.stack = folder, stack
        stack.enter_context(kept_off(self.cpu))
        self.weir = Weir(folder / "weir", exporters="{}", lanes=1, receivers={"datagram": ""})
        self.nginx = Sink(folder / "nginx", log=False)
        for thing in (self.weir, self.nginx):
            stack.callback(thing.start().stop)

    def proxy(self, case: str, *options) -> Proxy:
        rate = {"one": 0.01, "all": 1}.get(case, 0)
        options = ["--poll", 0, "--rate", rate, "--route", "/orders/*", *options]
        if case == "statsd":
            options += ["--statsd", f"127.0.0.1:{self.weir.statsd_port}"]
        to = None if case == "statsd" else self.weir.ports["datagram"]
        proxy = Proxy(self.folder, case, to=self.nginx.port, weir=to, options=options, prefix=("taskset", "-c", self.cpu))
        self.stack.callback(proxy.start().stop)
        return proxy

    def told(self, case: str) -> float:
        """Requests that Weir has heard of."""
        page = self.weir.page()
        if case == "statsd":
            return page.sum("weir_datagrams_received_total", receiver="statsd") / 3
        return page.sum("emitter_requests_total", service=case)

    def all_told(self, case: str) -> float:
        """The same, when nothing more comes: what is little waits half a second in the proxy."""
        return load.still(lambda: self.told(case), every=0.4)

    def go(self) -> Subject:
        ports = {True: free_port(), False: free_port()}
        argv = [PEERS / "bin" / "go-proxy", *(f"127.0.0.1:{ports[traced]}" for traced in (True, False))]
        argv += [f"127.0.0.1:{self.nginx.port}", self.weir.endpoint]
        process = Process("go-proxy", ["taskset", "-c", self.cpu, *argv], self.folder / "go-proxy.log")
        self.stack.callback(process.stop)
        process.wait_ready(lambda: answers(f"http://127.0.0.1:{ports[True]}/health"))
        return Subject(process, ports.__getitem__, lambda: self.weir.received(), 2)


def turn(subject: Subject, traced: bool, requests: int) -> float:
    """CPU of the process for a request, in microseconds; what is to be sent is sent within the turn."""
    port = subject.port(traced)
    before = subject.process.cpu_ns()
    load.get(port, PATH, requests)
    time.sleep(REST_S)
    return (subject.process.cpu_ns() - before) / requests / 1000


def check_told(told: float, wanted: float):
    assert told >= 0.99 * wanted, f"{told:.0f} of {wanted:.0f} arrived: what is not sent costs less than it should"


def check_kept(bench: Bench, case: str):
    """A ring that is full at the beginning may be, until it is looked at more often; one that stays so makes spans that cost nothing."""
    page = bench.weir.page()
    spans, dropped = (page.sum(name, service=case) for name in ("emitter_spans_total", "emitter_dropped_total"))
    assert dropped <= max(0.02 * spans, BEGINNING), f"{dropped:.0f} spans were dropped, {spans:.0f} sent"


def by_turns(subject: Subject, requests: int) -> dict:
    """Microseconds of CPU for a request: off, added, error (the standard error of added)."""
    for traced in (False, True):
        turn(subject, traced, WARM)
    told, plain, added, blocks = subject.told(), [], [], max(requests // (4 * REQUESTS), 2)
    for _ in range(blocks):
        off, on, on_again, off_again = (turn(subject, traced, REQUESTS) for traced in (False, True, True, False))
        plain += [off, off_again]
        added.append((on + on_again - off - off_again) / 2)
    check_told(subject.told() - told, blocks * 2 * REQUESTS * subject.each)
    return {
        "off": statistics.mean(plain),
        "added": statistics.mean(added),
        "error": statistics.stdev(added) / math.sqrt(len(added)),
    }


def by_short_turns(bench: Bench, case: str, requests: int) -> dict:
    """The same of the thread that serves requests, as the proxy has measured it."""
    proxy, before = bench.proxy(case, "--turns", SHORT), bench.told(case)
    load.get(proxy.port, PATH, requests, CASES[case].traced)
    check_told(bench.all_told(case) - before, requests / 2)
    check_kept(bench, case)
    assert proxy.stop() == 0, proxy.process.tail()
    found = next(json.loads(line) for line in proxy.process.text().splitlines() if "blocks" in line)
    return {"off": found["plain_us"], "added": found["added_us"], "error": found["error_us"]}


def emitter_us(bench: Bench, case: str, requests: int) -> float:
    """What the emitter's own thread takes for a request."""
    proxy, before = bench.proxy(case), bench.told(case)

    def cpu_ns() -> int:
        tasks = Path(f"/proc/{proxy.process.pid}/task").iterdir()
        return sum(
            int((task / "schedstat").read_text().split()[0]) for task in tasks if (task / "comm").read_text() == "weir_emit\n"
        )

    load.get(proxy.port, PATH, WARM, CASES[case].traced)
    start = cpu_ns()
    load.get(proxy.port, PATH, requests, CASES[case].traced)
    told = bench.all_told(case) - before
    taken = (cpu_ns() - start) / requests / 1000
    check_told(told, requests)
    check_kept(bench, case)
    assert proxy.stop() == 0, proxy.process.tail()
    return taken


def run_proxy(folder: Path, share: float, cases: tuple = ("one", "all", "one-within", "all-within", "statsd")) -> dict:
    """{"CASE off": a request without, "CASE added": what is added, "CASE error": its standard error, "CASE thread": what of it
    the emitter's thread takes}, microseconds of CPU"""
    seen = {}
    for case in cases:
        requests = max(round(CASES[case].requests * share), 16 * SHORT)
        with ExitStack() as stack:
            bench = Bench(folder / case, stack)
            found = by_turns(bench.go(), requests) if case == "go" else by_short_turns(bench, case, requests)
            if case not in ("go", "statsd"):
                found["thread"] = emitter_us(bench, case, requests // 4)
                found["added"] += found["thread"]
        seen |= {f"{case} {name}": value for name, value in found.items()}
    return seen


# ---- the page ----


def calls_table(values: dict) -> str:
    out = ["| a call | 1 thread, ns | 4 threads, ns | goal |", "|---|---|---|---|"]
    for name, call in CALLS.items():
        cells = []
        for threads in THREADS:
            seen = values[f"{name} {threads}"]
            median = f"{statistics.median(seen):.1f}"
            median = f"**{median}**" if call.goal_ns and statistics.median(seen) > call.goal_ns else median
            cells.append(f"{median} ({min(seen):.1f}–{max(seen):.1f})")
        out.append(f"| {call.title} | {' | '.join(cells)} | {f'≤ {call.goal_ns:g} ns' if call.goal_ns else ''} |")
    return "\n".join(out)


def measured(values: dict) -> list[str]:
    """The cases that there are values of."""
    return [name for name in CASES if f"{name} off" in values]


def proxy_table(values: dict, busy: str = "") -> str:
    """busy: the mark of what was measured while other programs used the machine"""
    out = ["| proxy | tells | a request without, µs | added, µs | 95 % | of it the emitter's thread | goal |", "|" + "---|" * 7]
    for name in measured(values):
        case = CASES[name]
        off, added = statistics.mean(values[f"{name} off"]), statistics.mean(values[f"{name} added"])
        errors, thread = values[f"{name} error"], values.get(f"{name} thread")
        half = 1.96 * math.sqrt(sum(error**2 for error in errors)) / len(errors)
        text = f"{added:.3f}"
        text = f"**{text}**" if case.goal_us and added > case.goal_us else text
        goal = f"≤ {case.goal_us:g} µs" if case.goal_us else ""
        own = f"{statistics.mean(thread):.3f}" if thread else ""
        band = f"{added - half:.3f} to {added + half:.3f}"
        out.append(f"| {case.title}{busy} | {case.tells} | {off:.1f} | {text} | {band} | {own} | {goal} |")
    return "\n".join(out)
