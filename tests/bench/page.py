"""docs/benchmarks.md from the measured values."""

import os
import platform
import statistics
from pathlib import Path

import emit_rows
import policy_rows
import rows
from harness.process import ROOT, run

HEAD = """# Benchmarks

Written by `./dev bench{peers}`; do not edit. Each figure is the median of {runs} runs, with the least and the most in brackets.
CPU is user and system time of the measured process itself, all threads, over the load, for a million spans or lines. The load
comes from the same machine and shares its processors: throughput is what was left for both.

{machines}

Spans come from `weir emit` over OTLP/gRPC: one connection, 16 requests outstanding, 361 bytes and 8 attributes a span, 8 spans a
trace. Zipkin is an nginx that answers 202. Bold: the goal is missed.
"""

SPANS_NOTE = """
`spans/s` is how fast the sender was answered, `to the last` until everything was where it goes. Weir counts series in every row.
"""

WAYS_NOTE = """
The same spans in each format, posted over 16 connections that stay open, one request at a time on each. Datagrams come from
`weir emit --via datagram` by UDP_SEGMENT, at the rate that is given; only they can be lost.
"""

TAIL_NOTE = """
Spans wait until their trace is decided: errors and slow ones are kept, and 1 % of the rest. Bytes a pending span are what the resident
size grew by over the idle process, divided by the spans that wait, as a median over the time when most do; Weir's decision memory is
taken off. `errors lost`: error spans that were sent and never stored. RSS is the most that was seen. Unpaced, more comes than `memory` holds:
the oldest traces are decided early, by the same rules; the Collector has `num_traces: 400000`, more than come while one waits.
"""

SPOOL_NOTE = """
Records are what `spool_bench` measures on one thread, without a disk: export batches as a lane makes them become payloads of
records (docs/log-format.md) and batches again, which are compared. In the rows through the disk the sink answers 503 until nearly all
is on disk: what they cost more than `zipkin-proto3` is the spool, files included. The backlog is of random bytes, read from a disk
whose cache was dropped before.
On 2026-11-30, the day of these rows and of those into Kafka and out over OTLP, the host was slow: `series` cost 0.62 CPU-s a million there,
and the commit of a week before the same, where it had cost 0.29. Halve what you compare with the other rows.
"""

ENVOY_NOTE = """
CPU that a request costs a real Envoy 1.40 with one worker: {load}. It has a processor for itself; load, Weir and nginx share the other. All
cases are listeners of one process and measured by turns. Rates and raised batches (`envoy: {{ min_flush_spans: 500, flush_interval: 1s }}`)
are what Weir told it over RTDS, without a restart. A traced request is two spans, server and client, unless it says one. Per cent are medians
over the runs. *Ends in itself*: a listener of the same Envoy answers, so that it handles each request twice; what tracing adds is then less
of the whole. *Ends in nginx*: another program answers, which is not measured.

{parts}

What remains at rate 0 is Envoy's own: with a tracer configured it makes the objects of both spans, their ids and the `traceparent` of each
request, kept or not. No runtime key changes that; `spawn_upstream_span: false` saves one of the two.
"""

EMIT_NOTE = """
Nanoseconds of CPU of the calling thread, by `emit_bench`: medians of 31 stretches over all threads. The loop around them, 0.4 ns, is
in them; the clock that a span's times are read by is a row of its own.
"""

EMIT_PROXY_NOTE = """
CPU that a request costs a proxy, all threads of it: {load}. The proxy has a processor for itself; load,
nginx and Weir share the other. `weir_proxy` tells and does not tell by turns within one stream of requests, and reads the CPU time of
the thread that serves them at each end of a turn (`--turns`); what its emitter's thread takes is measured apart, while it tells all the time, and is
in *added*. At 1 % that is wakes and sends, hardly spans; on one machine a send is the receiver's work too. *Added* is the mean of the
blocks' differences, 95 % its confidence interval by how far the blocks differ. Each proxy is held against itself: what the plain request costs is the program's, and no matter of tracing. To that belongs the reading of a clock once a
round of its event loop, which `weir_proxy` does whether it tells or not, as nginx does: 18 ns, for 0.7 rounds a request here.
*Within a mesh* requests come with a `traceparent` of their own: those 70 bytes are in the request without, and whether it is sampled is
decided before. Where they come without, the heads that nginx reads are 70 bytes longer than those of the request without.
"""

BUSY_LOAD = 2.0
BUSY_NOTE = """
† Measured while other programs used the machine (load average {low:.0f}–{high:.0f}): CPU-seconds are more, here up to three times more, than
alone, and throughput is less. Such rows are to be compared with each other, as they were measured one after the other.
"""

STATSD_NOTE = """
Lost are packets that were sent and never read: the kernel drops them when the socket's buffer is full. 4 MiB is what Weir asks for;
without the right to go past `net.core.rmem_max` the system's default (208 KiB here) stays, and Weir says so when it starts.
"""


def machine() -> str:
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
        "?",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {platform.release()}"


def commit() -> str:
    return run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]).stdout.strip()


def cell(row: rows.Row, values: dict, measure: str, form: str) -> str:
    if measure not in values:
        return ""
    median, low, high = statistics.median(values[measure]), min(values[measure]), max(values[measure])
    text = format(median, form)
    if measure in row.goals:
        goal = row.goals[measure]
        missed = median < goal if measure == "spans_per_s" else median > goal
        text = f"**{text}**" if missed else text
    if format(low, form) != format(high, form):
        text += f" ({format(low, form)}–{format(high, form)})"
    return text


def goal(row: rows.Row) -> str:
    units = {
        "cpu_s_per_million": "≤ {:g} CPU-s",
        "spans_per_s": "≥ {:,.0f}/s",
        "lost_percent": "{:g} % lost",
        "rss_mib": "< {:g} MiB",
        "ready_s": "ready in {:g} s",
        "bytes_per_pending": "≤ {:g} B a span",
        "errors_lost_percent": "{:g} % of errors lost",
    }
    return ", ".join(units[name].format(value) for name, value in row.goals.items())


def table(group: str, results: dict, columns: list[tuple[str, str, str]]) -> str:
    head = ["row", "what", "lanes", "load", *(title for _, title, _ in columns), "goal"]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows.ROWS:
        if row.group == group and row.name in results:
            values = results[row.name]["values"]
            mark = " †" if results[row.name].get("load", 0) > BUSY_LOAD else ""
            cells = [f"`{row.name}`{mark}", row.title, str(row.lanes or ""), row.load]
            out.append("| " + " | ".join([*cells, *(cell(row, values, m, form) for m, _, form in columns), goal(row)]) + " |")
    return "\n".join(out)


def handover(results: dict) -> str:
    """What a span that is handed to another lane costs more: of 4 lanes three quarters are."""
    if not {"series", "series-4-lanes"} <= results.keys():
        return ""
    one, four = (statistics.median(results[name]["values"]["cpu_s_per_million"]) for name in ("series", "series-4-lanes"))
    cost = (four - one) / 0.75
    return f"\nA hand-over to another lane costs {cost * 1000:.0f} ns a span: {four:.2f} CPU-s a million on 4 lanes, where three quarters of the spans are foreign, less {one:.2f} on one, over 0.75.\n"


def write(results: dict) -> str:
    known = {name: result for name, result in results.items() if name in {row.name for row in rows.ROWS}}
    peers = any(row.peer and row.name in known for row in rows.ROWS)
    runs = max(len(values) for result in known.values() for values in result["values"].values())
    machines = sorted({(r["machine"], r["date"], r["commit"]) for r in known.values()})
    text = HEAD.format(
        peers=" --peers" if peers else "", runs=runs, machines="\n".join(f"- {m}; {d}, commit {c}" for m, d, c in machines)
    )
    cpu, rss = ("cpu_s_per_million", "CPU-s a million", ".2f"), ("rss_mib", "RSS MiB", ".0f")
    spans = [cpu, ("spans_per_s", "spans/s", ",.0f"), ("to_the_last_per_s", "to the last, /s", ",.0f"), rss]
    statsd = [cpu, ("lost_percent", "lost %", ".2f"), ("packets_per_s", "packets/s", ",.0f"), rss]
    ways = [cpu, ("spans_per_s", "spans/s", ",.0f"), ("lost_percent", "lost %", ".2f"), rss]
    text += "\n## Spans\n\n" + table("spans", known, spans) + "\n" + SPANS_NOTE + handover(known)
    text += "\n## Ways in\n\n" + table("ways", known, ways) + "\n" + WAYS_NOTE
    tail = [cpu, ("pending_spans", "pending", ",.0f"), ("bytes_per_pending", "B a pending span", ",.0f")]
    tail += [("kept_percent", "kept %", ".2f"), ("errors_lost_percent", "errors lost %", ".2f"), rss]
    text += "\n## Tail sampling\n\n" + table("tail", known, tail) + "\n" + TAIL_NOTE
    if any(row.group == "spool" and row.name in known for row in rows.ROWS):
        spool = [cpu, ("write_cpu_s_per_million", "writing", ".2f"), ("read_cpu_s_per_million", "reading", ".2f")]
        spool += [("stored_bytes", "B a span", ".0f"), ("ready_s", "ready after, s", ".2f"), rss]
        text += "\n## Spool\n\n" + table("spool", known, spool) + "\n" + SPOOL_NOTE
    text += "\n## StatsD\n\n" + table("statsd", known, statsd) + "\n" + STATSD_NOTE
    if "envoy" in known:
        values = known["envoy"]["values"]
        note = ENVOY_NOTE.format(load=policy_rows.LOAD, parts=policy_rows.parts(values))
        text += "\n## What tracing costs an Envoy\n\n" + policy_rows.table(values) + "\n" + note
    emitted = {key: values for name in emit_rows.ROWS if name in known for key, values in known[name]["values"].items()}
    if emitted:
        text += "\n## What libweir_emit costs\n"
    if "emit-calls" in known:
        text += "\n" + emit_rows.calls_table(emitted) + "\n" + EMIT_NOTE
    if emit_rows.measured(emitted):
        busy = any(known[name].get("load", 0) > BUSY_LOAD for name in emit_rows.ROWS[1:] if name in known)
        text += "\n" + emit_rows.proxy_table(emitted, " †" if busy else "") + "\n" + EMIT_PROXY_NOTE.format(load=emit_rows.LOAD)
    text += "\n## Idle\n\n" + table("idle", known, [("rss_mib", "RSS MiB", ".1f"), ("cpu_percent", "CPU %", ".2f")]) + "\n"
    busy = [load for result in known.values() if (load := result.get("load", 0)) > BUSY_LOAD]
    return text + (BUSY_NOTE.format(low=min(busy), high=max(busy)) if busy else "")
