"""Rows of the spool: what it costs to write spans as they lie on disk and to read them back, and what a start with a backlog takes."""

import json
import os
import shutil
import time
from pathlib import Path

import load
from harness.net import free_port, wait_until
from harness.process import run
from harness.sink import Sink
from harness.weir import Weir, binary

LOAD = "batches of 1 MiB"
SPANS = 200_000


def run_records(folder: Path, share: float, *, level: int) -> dict:
    bench = binary().parent / "spool_bench"
    done = run([bench, "--spans", int(SPANS * share), "--level", level], 300)
    assert done.returncode == 0, f"{bench}: exit {done.returncode}\n{done.stderr[-1000:]}"
    record = json.loads(done.stdout)[f"level {level}"]
    return {
        "cpu_s_per_million": record["both_ns_a_span"] / 1000,
        "write_cpu_s_per_million": record["write_ns_a_span"] / 1000,
        "read_cpu_s_per_million": record["read_ns_a_span"] / 1000,
        "stored_bytes": record["stored_bytes_a_span"],
    }


def run_through(folder: Path, share: float, *, level: int) -> dict:
    """The sink is away until everything is acknowledged, memory is little: nearly all goes to disk and comes back."""
    spans = int(2_000_000 * share)
    sink = Sink(folder / "sink", log=False).start()
    sink.down()
    extra = f"spool: {{ directory: {folder}/spool, compression_level: {level}, memory_age: 100ms }}"
    away = f"zipkin: {{ url: '{sink.endpoint}', memory_bytes: 256MiB, retry_initial: 100ms, retry_max: 200ms }}"
    weir = Weir(folder / "weir", exporters=away, lanes=1, extra=extra)
    try:
        weir.start()
        before = weir.cpu_seconds()
        summary = load.emit(weir.endpoint, spans, 100)
        wait_until(lambda: weir.page().sum("weir_spans_held", where="spool") > 0.95 * spans, "all on disk", 60)
        rss = weir.process.rss_bytes() / 2**20
        stored = weir.page().sum("weir_spool_bytes")
        sink.down(False)
        ledger = weir.balance(received=summary["acknowledged"], timeout=120)
        cpu = weir.cpu_seconds() - before
        assert ledger.delivered("zipkin") == spans == summary["acknowledged"]
        return {"cpu_s_per_million": cpu / (spans / 1e6), "stored_bytes": stored / spans, "rss_mib": rss}
    finally:
        weir.stop()
        sink.stop()


def run_backlog(folder: Path, share: float) -> dict:
    """A start with 10 GB on disk, of which nothing is in the page cache where this may be asked for (root)."""
    directory = folder / "spool" / "exporters" / "zipkin"
    done = run([binary().parent / "spool_backlog", directory, int(10240 * share)], 900)
    assert done.returncode == 0, done.stderr
    spans = int(done.stdout)
    run(["sync"], 300)
    drop = Path("/proc/sys/vm/drop_caches")
    if os.access(drop, os.W_OK):
        drop.write_text("3")
    extra = f"spool: {{ directory: {folder}/spool, max_bytes: 20GiB }}"
    away = f"zipkin: {{ url: 'http://127.0.0.1:{free_port()}/api/v2/spans' }}"
    weir = Weir(folder / "weir", exporters=away, lanes=2, extra=extra)
    try:
        began = time.monotonic()
        weir.start()
        ready = time.monotonic() - began
        time.sleep(2)
        page = weir.page()
        assert page.sum("weir_spans_recovered_total", exporter="zipkin") == spans
        return {"ready_s": ready, "rss_mib": weir.process.rss_bytes() / 2**20}
    finally:
        weir.stop()
        shutil.rmtree(folder / "spool")
