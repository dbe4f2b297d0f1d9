"""Measures Weir, and with --peers what others need for the same load, and writes docs/benchmarks.md.

A row is one pipeline under one load. A run starts the program afresh, loads it, waits until nothing moves, and takes the user
and system time of that process itself, all its threads, over the load. A figure is the median of the runs.
Run by ./dev bench (PYTHONPATH=tests).
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import page
import rows
from harness.process import ROOT

RESULTS = ROOT / "docs" / "benchmarks.json"
PAGE = ROOT / "docs" / "benchmarks.md"


def measure(row: rows.Row, runs: int, share: float) -> dict:
    """{measure: [value of each run]}"""
    values: dict[str, list[float]] = {}
    for index in range(runs):
        with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
            found = row.run(Path(folder), share)
        for name, value in found.items():
            values.setdefault(name, []).append(value)
        print(f"  {row.name:28} {index + 1}/{runs}  " + "  ".join(f"{k} {v:,.3f}" for k, v in found.items()), flush=True)
    return values


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="also the rows of other programs")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one run at a tenth of the load, printed only")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    options = parser.parse_args()
    known = {row.name: row for row in rows.ROWS}
    if options.list:
        for row in rows.ROWS:
            print(f"{row.name:28} {'peer ' if row.peer else '     '} {row.title}")
        return 0
    if unknown := [name for name in options.rows if name not in known]:
        print(f"bench: no row {', '.join(unknown)}; ./dev bench --list", file=sys.stderr)
        return 2
    chosen = [known[name] for name in options.rows] or [row for row in rows.ROWS if options.peers or not row.peer]
    runs, share = (1, 0.1) if options.quick else (options.runs, 1.0)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    failed = 0
    for row in chosen:
        others = os.getloadavg()[0]
        try:
            values = measure(row, runs, share)
        except (AssertionError, OSError, RuntimeError) as error:
            print(f"  {row.name:28} failed: {error}", file=sys.stderr)
            failed += 1
            continue
        results[row.name] = {
            "values": values,
            "date": time.strftime("%Y-%m-%d"),
            "machine": page.machine(),
            "commit": page.commit(),
            "load": round(others, 1),
        }
        if not options.quick:
            RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
            PAGE.write_text(page.write(results))
    for name in (row.name for row in chosen if row.name in results and not options.quick):
        medians = {k: statistics.median(v) for k, v in results[name]["values"].items()}
        print(f"{name:28} " + "  ".join(f"{k} {v:,.3f}" for k, v in medians.items()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
