"""Rows of tail sampling: spans wait for the decision on their trace; what is kept goes to a back end that counts it."""

import json
import math
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import load
import peers
from harness.catch import Catch
from harness.process import run
from harness.series import Page
from harness.weir import Weir, binary

MILLION = 1_000_000
RATE, WAIT_S, SECONDS = 100_000, 5, 20
UNPACED_SPANS, UNPACED_MEMORY_MIB = 4 * MILLION, 128
POLICY = """
keep:
  wait: {wait}s
  quiet: {wait}s
  memory: {memory}MiB
  compress: {compress}
  rules:
    - {{ name: errors, when: {{ error: true }} }}
    - {{ name: slow, when: {{ duration: ">{slow}ms" }} }}
    - {{ name: rest, rate: 1% }}
"""
SLOW_MS = 250


class Watched:
    """Takes a reading twice a second while it runs."""

    def __init__(self, read: Callable[[], tuple]):
        self.read, self.seen, self.over = read, [], threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.over.wait(0.5):
            self.seen.append(self.read())

    def __enter__(self) -> "Watched":
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def play(endpoint: str, spans: int, rate: int, truth: Path) -> dict:
    """Plays spans at a rate, fewer errors than usual so that about 3 % are kept; what `weir emit --json` says."""
    argv = [binary(), "emit", "--endpoint", endpoint, "--spans", spans, "--rate", rate, "--errors", "0.004", "--truth", truth]
    done = run([*argv, "--in-flight", 16, "--json"], 300)
    assert done.returncode == 0, f"weir emit: exit {done.returncode}\n{done.stderr[-1000:]}"
    return json.loads(done.stdout)


def lost_errors(truth: Path, catch: Catch) -> float:
    """Error spans of the truth that were not stored, in percent: every trace with an error is to be kept."""
    errors = sum(row["errors"] for row in json.loads(truth.read_text())["operations"])
    assert errors > 0
    return 100 * (errors - catch.error_spans) / errors


def decisions_resident(page: Page) -> float:
    """What the decision memory has of the resident size: its tables are as large as they may get from the beginning, and a page
    of them is resident when something was put there. 35 % are for kept traces; both are filled at random.
    """
    size, resident = page.sum("weir_tail_memory_bytes", part="decisions"), 0.0
    for verdict, share in (("kept", 0.35), ("dropped", 0.65)):
        pages = size * share / 4096
        remembered = page.sum("weir_tail_decisions_remembered", verdict=verdict)
        resident += 4096 * pages * (1 - math.exp(-remembered / pages)) if pages else 0
    return resident


def load_of(paced: bool, share: float) -> tuple[int, int]:
    """Spans, and a rate; 0 = as fast as they are acknowledged."""
    return (int(SECONDS * share * RATE), RATE) if paced else (int(share * UNPACED_SPANS), 0)


def run_weir(folder: Path, share: float, *, compress: bool, paced: bool = True) -> dict:
    catch, policy, truth = Catch(), folder / "sampling.yaml", folder / "truth.json"
    memory = 512 if paced else UNPACED_MEMORY_MIB
    policy.write_text(POLICY.format(wait=WAIT_S, slow=SLOW_MS, compress=str(compress).lower(), memory=memory))
    weir = Weir(
        folder / "weir",
        exporters=f"zipkin: {{ url: '{catch.endpoint}', encoding: json, memory_bytes: 1GiB }}",
        lanes=1,
        extra=f"sampling: {{ policy: {policy} }}",
    )
    try:
        weir.start()
        idle, before = weir.process.rss_bytes(), weir.cpu_seconds()

        def read() -> tuple:
            page = weir.page()
            resident = weir.process.rss_bytes()
            return resident - idle - decisions_resident(page), page.sum("weir_tail_pending_spans"), resident

        with Watched(read) as watched:
            summary = play(weir.endpoint, *load_of(paced, share), truth)
        ledger = weir.balance(received=summary["acknowledged"], timeout=60)
        assert summary["refused"] == 0
        most = max(pending for _, pending, _ in watched.seen)
        full = [(used, pending) for used, pending, _ in watched.seen if pending > 0.9 * most]
        return {
            "cpu_s_per_million": (weir.cpu_seconds() - before) / (summary["acknowledged"] / MILLION),
            "pending_spans": most,
            "bytes_per_pending": statistics.median(used / pending for used, pending in full),
            "kept_percent": 100 * ledger.delivered("zipkin") / summary["acknowledged"],
            "errors_lost_percent": lost_errors(truth, catch),
            "rss_mib": max(resident for _, _, resident in watched.seen) / 2**20,
        }
    finally:
        weir.stop()
        catch.stop()


def run_collector(folder: Path, share: float, *, paced: bool = True) -> dict:
    catch, truth = Catch(), folder / "truth.json"
    collector = peers.Collector(folder / "otelcol", "zipkin-json", catch.endpoint, tail=(WAIT_S, SLOW_MS))
    try:
        collector.start()
        load.emit(collector.endpoint, 20_000, 100)  # a Go program takes its first seconds to grow its heap
        before = load.still(collector.process.cpu_seconds, every=0.5)
        time.sleep(2 * WAIT_S)
        catch.spans = catch.error_spans = 0
        idle = collector.process.rss_bytes()
        with Watched(lambda: (collector.process.rss_bytes() - idle,)) as watched:
            summary = play(collector.endpoint, *load_of(paced, share), truth)
        time.sleep(2 * WAIT_S)
        cpu = load.still(collector.process.cpu_seconds, every=1) - before
        full = [used for (used,) in watched.seen[int(2 * (WAIT_S + 2)) :]] or [used for (used,) in watched.seen]
        paced_only = {"pending_spans": WAIT_S * RATE, "bytes_per_pending": statistics.median(full) / (WAIT_S * RATE)}
        return {
            "cpu_s_per_million": cpu / (summary["acknowledged"] / MILLION),
            **(paced_only if paced else {}),
            "kept_percent": 100 * catch.spans / summary["acknowledged"],
            "errors_lost_percent": lost_errors(truth, catch),
            "rss_mib": (idle + max(used for (used,) in watched.seen)) / 2**20,
        }
    finally:
        collector.stop()
        catch.stop()
