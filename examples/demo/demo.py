"""Weir between two real Envoys: starts them, sends a few hundred requests through, and prints what Weir knows of them.

Run by ./dev demo (PYTHONPATH=tests). Everything lies in build/demo/: configuration, logs, the trace files. Exit 0: it all went well, and
every span is accounted for.
"""

import argparse
import contextlib
import math
import shutil
import signal
import sys
import time
from pathlib import Path

from full import full
from harness.envoy import SPANS_PER_REQUEST, Mesh, shop_paths
from harness.net import wait_until
from harness.process import ROOT, settled
from harness.series import Page
from harness.weir import Weir
from screen import done, heading, milliseconds, paint, prefer, row

FOLDER = ROOT / "build" / "demo"
REQUESTS, LATER_REQUESTS = 400, 1600
LABEL, NAME, BAR = 23, 24, 16  # columns of the drawn trace


def quantile(page: Page, q: float, **labels) -> float:
    """Seconds, as Prometheus' histogram_quantile: linear inside the bucket that the rank falls into."""
    buckets: dict[float, float] = page.by("traces_spanmetrics_latency_bucket", "le", **labels)
    edges = sorted((float(le), count) for le, count in buckets.items())
    if not edges or edges[-1][1] == 0:
        return float("nan")
    rank, below, under = q * edges[-1][1], 0.0, 0.0
    for edge, count in edges:
        if count >= rank:
            return below if edge == float("inf") else below + (edge - below) * (rank - under) / max(count - under, 1)
        below, under = edge, count
    return below


def show_series(page: Page, weir: Weir):
    own = sum(len(samples) for name, samples in page.samples.items() if name.startswith(("weir_", "process_")))
    spans = sum(len(samples) for name, samples in page.samples.items() if name.startswith("traces_"))
    heading("Metrics", f"{weir.url('/metrics')}")
    row(paint(f"{page.series_count:,} series", "1"), " for Prometheus to scrape (honor_labels: true)")
    row(f"{page.series_count - own - spans:>7,}  what Envoy counts, over DogStatsD")
    row(f"{spans:>7,}  made of spans: rate, errors, latency, who calls whom")
    row(f"{own:>7,}  Weir's own")


def show_services(page: Page, names: tuple, seconds: float):
    heading("Services", "from their server spans")
    row(paint(f"{'':12}{'requests':>10}{'rate':>10}{'errors':>10}{'p50':>12}{'p99':>12}", "2"))
    for name in names:
        server = {"service": name, "span_kind": "SPAN_KIND_SERVER"}
        calls = page.sum("traces_spanmetrics_calls_total", **server)
        errors = page.sum("traces_spanmetrics_calls_total", status_code="STATUS_CODE_ERROR", **server)
        share = f"{100 * errors / max(calls, 1):.1f} %"
        row(
            f"{name:12}{calls:>10,.0f}{calls / seconds:>8.0f}/s",
            paint(f"{share:>10}", "31") if errors else f"{share:>10}",
            f"{milliseconds(quantile(page, 0.5, **server)):>12}{milliseconds(quantile(page, 0.99, **server)):>12}",
        )
    for labels, calls in page.select("traces_service_graph_request_total"):
        failed = page.sum("traces_service_graph_request_failed_total", client=labels["client"], server=labels["server"])
        row(f"{labels['client']} → {labels['server']}: {calls:,.0f} calls, {failed:,.0f} failed")


def attributes(span: dict) -> dict:
    return {a["key"]: next(iter(a["value"].values()), "") for a in span.get("attributes", [])}


def times(span: dict) -> tuple[int, int]:
    return int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])


def show_trace(spans: list[dict]):
    """The slowest trace as a tree, with the time of each span to scale."""
    traces: dict[str, list[dict]] = {}
    for span in spans:
        traces.setdefault(span["traceId"], []).append(span)
    whole = [trace for trace in traces.values() if len(trace) == SPANS_PER_REQUEST]

    def length(trace: list[dict]) -> int:
        return max(times(span)[1] for span in trace) - min(times(span)[0] for span in trace)

    trace = max(whole, key=length)
    begin, total = min(times(span)[0] for span in trace), max(length(trace), 1)
    root = next(span for span in trace if not span.get("parentSpanId"))
    heading("One trace", f"the slowest: {attributes(root).get('http.url', root['name'])}")
    row(paint(root["traceId"], "2"))

    def draw(span: dict, depth: int):
        start, end = times(span)
        kind = {2: "server", 3: "client"}.get(span["kind"], str(span["kind"]).removeprefix("SPAN_KIND_").lower())
        label = "   " * (depth - 1) + ("└─ " if depth else "") + f"{span['service']} {kind}"
        name = span["name"] if len(span["name"]) <= NAME else span["name"][: NAME - 1] + "…"
        left = min(BAR * (start - begin) // total, BAR - 1)
        bar = " " * left + "━" * min(max(round(BAR * (end - start) / total), 1), BAR - left)
        failed = str(attributes(span).get("http.status_code", "")).startswith("5")
        row(
            f"{label:{LABEL}} ",
            paint(f"{name:{NAME}} ", "2"),
            paint(f"{bar:{BAR}}", "31" if failed else "36"),
            f"{(end - start) / 1e6:>9.1f} ms",
        )
        for child in sorted((s for s in trace if s.get("parentSpanId") == span["spanId"]), key=times):
            draw(child, depth + 1)

    draw(root, 0)


class Seen:
    """Of what `front` and its spans count, what came since an earlier look."""

    def __init__(self, weir: Weir, mesh: Mesh):
        server, page = {"service": "front", "span_kind": "SPAN_KIND_SERVER"}, weir.page()
        self.exact, self.traced, self.spans = mesh.front.requests(), mesh.front.traced(), weir.received()
        self.estimate = page.sum("traces_spanmetrics_calls_total", **server)
        self.variance = page.sum("weir_spanmetrics_calls_variance_total", **server)
        self.rate = mesh.front.told_rate()

    def draw(self, what: str, before: "Seen | None", seconds: float):
        def since(name: str) -> float:
            return getattr(self, name) - (getattr(before, name) if before else 0)

        band = 1.96 * math.sqrt(since("variance"))
        row(
            f"{what:12}{self.rate:>8.0%}{since('exact'):>10,.0f}{since('traced'):>10,.0f}{since('spans') / seconds:>10,.0f}/s",
            f"{since('estimate'):>12,.0f}",
            f" ± {band:,.0f}" if band else " exactly",
        )


def policy(rate: str) -> str:
    return (
        "# What proxies are told; docs/policy.md\n"
        f"proxies:\n  default: {{ rate: {rate}, envoy: {{ min_flush_spans: 100, flush_interval: 1s }} }}\n"
    )


def tell(weir: Weir, mesh: Mesh, file: Path, rate: str, share: float) -> float:
    """Another rate into the file; how many seconds later both Envoys have it."""
    file.write_text(policy(rate))
    began = time.monotonic()
    assert weir.reload().status == 200
    wait_until(lambda: {mesh.front.told_rate(), mesh.middle.told_rate()} == {share}, "the Envoys to follow", every=0.005)
    return time.monotonic() - began


def show_policy(weir: Weir, mesh: Mesh, file: Path, first: Seen, seconds: float) -> int:
    """All requests so far were traced; of those to come one in ten is. How many spans the Envoys sent in all."""
    heading("Policy", f"{file.relative_to(ROOT)} says 10 % now, and both Envoys follow: over RTDS, without a restart")
    took = tell(weir, mesh, file, "10%", 0.1)
    began = time.monotonic()
    mesh.drive(shop_paths(LATER_REQUESTS))
    later = time.monotonic() - began
    sent = mesh.spans_sent()
    wait_until(lambda: weir.received() >= sent, f"{sent} spans that the Envoys sent")
    settled(lambda: weir.page("traces_spanmetrics_calls").sum("traces_spanmetrics_calls_total"))
    row(paint(f"{'':12}{'told':>8}{'requests':>10}{'traced':>10}{'spans':>12}{'estimated of spans':>22}", "2"))
    first.draw("before", None, seconds)
    Seen(weir, mesh).draw("after", first, later)
    row(
        f"They had it {1000 * took:.0f} ms after the reload was asked for. Requests and traced are Envoy's own counters; ± is a band of 95 %."
    )
    return sent


def show_ledger(weir: Weir, sent: int) -> bool:
    ledger = weir.balance(received=sent)
    heading("Ledger", "every span that was accepted is in exactly one place")
    row(f"Envoys sent {sent:,} spans; Weir received {ledger.received:,}")
    for name, own in sorted(ledger.exporters.items()):
        missing = ledger.missing(name)
        row(
            f"{name}: delivered {own['delivered']:,}, held {own['held'] + ledger.held}, dropped {own['dropped'] + ledger.dropped}, "
            f"sampled out {own['sampled_out'] + ledger.sampled_out}  ",
            paint("balanced", "32") if missing == 0 else paint(f"{missing} missing", "31"),
        )
    return all(ledger.missing(name) == 0 for name in ledger.exporters)


def show_files(weir: Weir):
    heading("Files", str(FOLDER.relative_to(ROOT)))
    files = sorted(path for path in weir.traces.rglob("*") if path.is_file())
    row(f"{'weir.yaml':18}the configuration of this run")
    row(f"{'sampling.yaml':18}what the Envoys are told: change it, curl -X POST {weir.url('/-/reload')}")
    row(f"{'traces/':18}{len(files)} of OTLP spans in zstd, {sum(f.stat().st_size for f in files):,} bytes:")
    row(f"{'':18}build/weir cat {weir.traces.relative_to(ROOT)} | head")
    row(f"{'*.log':18}what Weir and the Envoys said")


def demo(stack: contextlib.ExitStack, stay: bool) -> bool:
    shutil.rmtree(FOLDER, ignore_errors=True)
    heading("Weir demo", "a weir regulates a river and measures it")
    file = FOLDER / "sampling.yaml"
    FOLDER.mkdir(parents=True)
    file.write_text(policy("100%"))
    ports = (prefer(4317), prefer(8125), prefer(9646))
    weir = Weir(FOLDER, ports=ports, extra=f"sampling: {{ policy: {file.name} }}")
    stack.callback(weir.stop)
    weir.start()
    done(f"weir       spans on {weir.endpoint} (OTLP/gRPC), counters on {weir.statsd_port} (UDP)")
    mesh = Mesh(FOLDER, otlp_port=weir.grpc_port, statsd_port=weir.statsd_port, rtds=True)
    stack.callback(mesh.stop)
    mesh.start()
    done(f"two Envoys front on 127.0.0.1:{mesh.front.port} → middle → orders, payments, inventory, users")
    paths = shop_paths(REQUESTS)
    began = time.monotonic()
    statuses = mesh.drive(paths)
    seconds = time.monotonic() - began
    slow = sum("/slow/" in path for path in paths)
    done(f"{REQUESTS} requests: {statuses.get(200, 0)} answered 200 ({slow} of them slowly), {statuses.get(503, 0)} with 503")
    sent = mesh.spans_sent()
    wait_until(lambda: weir.received() >= sent, f"{sent} spans that the Envoys sent")
    time.sleep(1.6)  # Envoy hands its counters over once a second
    page = weir.page()
    show_series(page, weir)
    show_services(page, ("front", "middle"), seconds)
    sent = show_policy(weir, mesh, file, Seen(weir, mesh), seconds)
    balanced = show_ledger(weir, sent)
    if stay:
        show_trace(weir.cat())
        show_files(weir)
        print(f"\n  Running. Send more: curl 127.0.0.1:{mesh.front.port}/orders/fail/1    End: Ctrl-C")
        print(f"  What the Envoys are told, and why: build/weir policy show --from {weir.url('')}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
        print()
    mesh.stop()
    status = weir.stop()
    if not stay:
        show_trace(weir.cat())
        show_files(weir)
        print("\n  Stopped. ./dev demo --stay keeps it running.\n" if status == 0 else f"\n  weir ended with status {status}\n")
    return balanced and status == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the whole stack: Kafka, Zipkin, Prometheus and Alertmanager too")
    parser.add_argument("--stay", action="store_true", help="keep it all running until Ctrl-C")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.ExitStack() as stack:
        try:
            return 0 if (full if options.full else demo)(stack, options.stay) else 1
        except KeyboardInterrupt:
            return 130
        except AssertionError as error:
            print(f"\ndemo: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
