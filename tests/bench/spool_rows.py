"""Rows of the spool's records: what it costs to write spans as they lie on disk and to read them back. One thread, no disk."""

import json
from pathlib import Path

from harness.process import run
from harness.weir import binary

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
