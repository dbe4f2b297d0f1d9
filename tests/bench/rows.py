"""The rows of docs/benchmarks.md: what is run, under which load, and what it is held against."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import emit_rows
import load
import peers
import policy_rows
import spool_rows
import tail_rows
from harness.kafka import Kafka
from harness.sink import Sink
from harness.weir import Weir

MILLION = 1_000_000


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    group: str  # spans, ways, tail, spool, statsd, envoy, emit, idle
    run: Callable[[Path, float], dict]
    load: str = ""  # for people
    lanes: int | None = None
    peer: bool = False
    goals: dict = field(default_factory=dict)  # measure -> the bound it is held against


UNRULED = "attributes: [{ action: strip_query, keys: [] }, { action: mask_card_numbers, keys: [] }]"


TOPIC = "traces"


def start_kafka(folder: Path) -> Kafka:
    kafka = Kafka(folder / "kafka").start()
    kafka.make(TOPIC)
    return kafka


def spans_row(
    name: str,
    title: str,
    *,
    to: str,
    lanes: int = 1,
    batch: int = 100,
    millions: float = 2,
    extra: str = "",
    goals: dict | None = None,
) -> Row:
    def run(folder: Path, share: float) -> dict:
        sink = Sink(folder / "sink", log=False).start() if to.startswith("zipkin") else None
        kafka = start_kafka(folder) if to.startswith("kafka") else None
        peer = peers.Collector(folder / "peer", "nop", "").start() if to.startswith("otlp") else None
        _, _, form = to.partition("-")
        encoding, _, compression = form.partition("-")
        exporters = {
            to: f"kafka: {{ brokers: '{kafka.brokers if kafka else ''}', topic: {TOPIC}, encoding: {encoding}, "
            f"compression: {compression}, memory_bytes: 1GiB }}",
            "series": "{}",
            to if peer else "otlp": f"otlp: {{ endpoints: '{peer.otlp(encoding) if peer else ''}', compression: "
            f"{compression or 'none'}, memory_bytes: 1GiB }}",
            "file": f"file: {{ directory: {folder}/traces, memory_bytes: 1GiB }}",
            "zipkin-proto3": f"zipkin: {{ url: '{sink.endpoint if sink else ''}', encoding: proto3, memory_bytes: 1GiB }}",
            "zipkin-json": f"zipkin: {{ url: '{sink.endpoint if sink else ''}', encoding: json, memory_bytes: 1GiB }}",
        }[to]
        weir = Weir(folder / "weir", exporters=exporters, lanes=lanes, extra=extra)
        try:
            weir.start()
            spans = int(millions * share * MILLION)
            before, began = weir.cpu_seconds(), time.monotonic()
            summary = load.emit(weir.endpoint, spans, batch)
            ledger = weir.balance(received=summary["acknowledged"], timeout=120)
            seconds, cpu = time.monotonic() - began, weir.cpu_seconds() - before
            lost = sum(own["dropped"] for own in ledger.exporters.values()) + summary["refused"]
            assert lost == 0, f"{lost} spans were refused or dropped: not the load that was meant"
            assert to == "series" or all(own["delivered"] == spans for own in ledger.exporters.values())
            return {
                "cpu_s_per_million": cpu / (summary["acknowledged"] / MILLION),
                "spans_per_s": summary["acknowledged"] / summary["seconds"],
                "to_the_last_per_s": summary["acknowledged"] / seconds,
                "rss_mib": weir.process.rss_bytes() / 2**20,
            }
        finally:
            weir.stop()
            for thing in filter(None, (sink, kafka, peer)):
                thing.stop()

    return Row(name, title, "spans", run, f"{batch} spans a request", lanes, goals=goals or {})


WAYS_IN = {  # form -> receiver, path, what it is called
    "zipkin-json": ("zipkin", "/api/v2/spans", "Zipkin v2 JSON"),
    "zipkin-proto3": ("zipkin", "/api/v2/spans", "Zipkin v2 proto3"),
    "zipkin-thrift": ("zipkin", "/api/v1/spans", "Zipkin v1 thrift"),
    "scribe": ("scribe", "", "Scribe"),
    "otlp-proto": ("otlp_http", "/v1/traces", "OTLP/HTTP protobuf"),
    "otlp-json": ("otlp_http", "/v1/traces", "OTLP/HTTP JSON"),
}


def http_row(form: str, *, batch: int = 100, millions: float = 1, goals: dict | None = None) -> Row:
    receiver, path, title = WAYS_IN[form]

    def run(folder: Path, share: float) -> dict:
        weir = Weir(
            folder / "weir", exporters="{}", lanes=1, receivers={receiver: "weight_wait: 0s" if receiver == "scribe" else ""}
        )
        try:
            weir.start()
            before = weir.cpu_seconds()
            spans = int(millions * share * MILLION)
            sent = load.post(folder / "bodies", form, weir.ports[receiver], path, spans=spans, batch=batch)
            weir.balance(received=sent["spans"], timeout=120)
            assert sent["refused"] == 0, f"{sent['refused']} requests were refused: not the load that was meant"
            return {
                "cpu_s_per_million": (weir.cpu_seconds() - before) / (sent["spans"] / MILLION),
                "spans_per_s": sent["spans"] / sent["seconds"],
                "rss_mib": weir.process.rss_bytes() / 2**20,
            }
        finally:
            weir.stop()

    return Row(f"in-{form}", f"{title} in → series", "ways", run, f"{batch} spans a request", 1, goals=goals or {})


def otelcol_http_row(form: str, *, batch: int = 100, millions: float = 0.5) -> Row:
    receiver, path, title = WAYS_IN[form]

    def run(folder: Path, share: float) -> dict:
        collector = peers.Collector(folder / "otelcol", "nop", "")
        try:
            collector.start()
            port = collector.ports[receiver]
            load.post(folder / "bodies", form, port, path, spans=20_000, batch=batch)  # as below: its heap grows first
            before = load.still(collector.process.cpu_seconds, every=0.3)
            sent = load.post(folder / "bodies", form, port, path, spans=int(millions * share * MILLION), batch=batch)
            cpu = load.still(collector.process.cpu_seconds, every=0.3) - before
            return {
                "cpu_s_per_million": cpu / (sent["spans"] / MILLION),
                "spans_per_s": sent["spans"] / sent["seconds"],
                "rss_mib": collector.process.rss_bytes() / 2**20,
            }
        finally:
            collector.stop()

    title = f"OpenTelemetry Collector, {title} in → nothing"
    return Row(f"otelcol-in-{form}", title, "ways", run, f"{batch} spans a request", peer=True)


def datagram_row(name: str, *, attributes: int, load_text: str, rate: int, millions: float, goals: dict | None = None) -> Row:
    def run(folder: Path, share: float) -> dict:
        weir = Weir(folder / "weir", exporters="{}", lanes=1, receivers={"datagram": ""})
        try:
            weir.start()
            before = weir.cpu_seconds()
            sent = load.datagrams(weir.ports["datagram"], int(millions * share * MILLION), rate, attributes)

            def taken() -> int:
                return int(weir.page().sum("weir_datagrams_received_total", receiver="datagram"))

            received = load.still(taken, times=8)  # until losses are counted too
            lost = int(weir.page().sum("weir_datagrams_lost_total", receiver="datagram", reason="sequence"))
            assert received + lost <= sent["datagrams"], "more was counted than was sent"
            spans = weir.received()
            return {
                "cpu_s_per_million": (weir.cpu_seconds() - before) / (spans / MILLION),
                "spans_per_s": spans / sent["seconds"],
                "lost_percent": 100 * (sent["datagrams"] - received) / sent["datagrams"],
                "rss_mib": weir.process.rss_bytes() / 2**20,
            }
        finally:
            weir.stop()

    return Row(name, "Weir datagrams in → series", "ways", run, load_text, 1, goals=goals or {})


STATSD_SECONDS = 8


def statsd_load(rate: int, lines: int) -> str:
    return f"{rate // 1000}K packets/s of {lines} line{'s' * (lines > 1)}, {STATSD_SECONDS} s"


def statsd_row(name: str, *, lines: int, buffer: str, rate: int = 250_000, goals: dict | None = None) -> Row:
    def run(folder: Path, share: float) -> dict:
        weir = Weir(folder / "weir", exporters="{}", lanes=1, statsd=f"receive_buffer_bytes: {buffer}")
        try:
            weir.start()
            before = weir.cpu_seconds()
            sent = load.statsd(weir.statsd_port, packets=int(STATSD_SECONDS * rate * share), rate=rate, lines=lines)

            def read() -> int:
                return int(weir.page().sum("weir_datagrams_received_total", receiver="statsd"))

            last = load.still(read)
            cpu = weir.cpu_seconds() - before
            return {
                "cpu_s_per_million": cpu / (last * lines / MILLION),
                "lost_percent": 100 * (sent["packets"] - last) / sent["packets"],
                "packets_per_s": sent["packets"] / sent["seconds"],
                "rss_mib": weir.process.rss_bytes() / 2**20,
            }
        finally:
            weir.stop()

    return Row(name, f"Weir, buffer {buffer}", "statsd", run, statsd_load(rate, lines), 1, goals=goals or {})


def run_idle(folder: Path, share: float) -> dict:
    weir = Weir(folder / "weir", lanes=2)
    try:
        weir.start()
        time.sleep(2)
        before, began = weir.cpu_seconds(), time.monotonic()
        time.sleep(max(20 * share, 3))
        return {
            "rss_mib": weir.process.rss_bytes() / 2**20,
            "cpu_percent": 100 * (weir.cpu_seconds() - before) / (time.monotonic() - began),
        }
    finally:
        weir.stop()


def otelcol_row(name: str, title: str, *, mode: str, batch: int = 100, millions: float = 0.5) -> Row:
    def run(folder: Path, share: float) -> dict:
        sink = Sink(folder / "sink", log=False).start() if mode.startswith("zipkin") else None
        kafka = start_kafka(folder) if mode.startswith("kafka") else None
        target = sink.endpoint if sink else kafka.brokers if kafka else ""
        collector = peers.Collector(folder / "otelcol", mode, target)
        try:
            collector.start()
            load.emit(collector.endpoint, 20_000, batch)  # a Go program takes its first seconds to grow its heap
            before = load.still(collector.process.cpu_seconds, every=0.3)
            summary = load.emit(collector.endpoint, int(millions * share * MILLION), batch)
            cpu = load.still(collector.process.cpu_seconds, every=0.3) - before
            return {
                "cpu_s_per_million": cpu / (summary["acknowledged"] / MILLION),
                "spans_per_s": summary["acknowledged"] / summary["seconds"],
                "rss_mib": collector.process.rss_bytes() / 2**20,
            }
        finally:
            collector.stop()
            for thing in filter(None, (sink, kafka)):
                thing.stop()

    return Row(name, title, "spans", run, f"{batch} spans a request", peer=True)


def statsd_exporter_row(name: str, *, lines: int, buffer: int, rate: int = 250_000) -> Row:
    def run(folder: Path, share: float) -> dict:
        exporter = peers.StatsdExporter(folder / "statsd_exporter", buffer)
        try:
            exporter.start()
            before = exporter.process.cpu_seconds()
            sent = load.statsd(exporter.statsd_port, packets=int(STATSD_SECONDS * rate * share), rate=rate, lines=lines)
            got = load.still(exporter.packets)
            return {
                "cpu_s_per_million": (exporter.process.cpu_seconds() - before) / (got * lines / MILLION),
                "lost_percent": 100 * (sent["packets"] - got) / sent["packets"],
                "packets_per_s": sent["packets"] / sent["seconds"],
                "rss_mib": exporter.process.rss_bytes() / 2**20,
            }
        finally:
            exporter.stop()

    title = f"statsd_exporter, buffer {'4MiB' if buffer else 'as it comes'}"
    return Row(name, title, "statsd", run, statsd_load(rate, lines), peer=True)


TAIL_LOAD = f"{tail_rows.RATE // 1000}K spans/s, 8 a trace, for {tail_rows.SECONDS} s; {tail_rows.WAIT_S} s of waiting"


TAIL_UNPACED = f"{tail_rows.UNPACED_SPANS // MILLION}M spans, 8 a trace, unpaced; {tail_rows.WAIT_S} s of waiting"


def tail_row(name: str, title: str, *, compress: bool = True, paced: bool = True, goals: dict) -> Row:
    def run(folder: Path, share: float) -> dict:
        return tail_rows.run_weir(folder, share, compress=compress, paced=paced)

    return Row(name, title, "tail", run, TAIL_LOAD if paced else TAIL_UNPACED, 1, goals={**goals, "errors_lost_percent": 0})


def otelcol_tail_row(name: str, *, paced: bool = True) -> Row:
    def run(folder: Path, share: float) -> dict:
        return tail_rows.run_collector(folder, share, paced=paced)

    title = "OpenTelemetry Collector, tail_sampling, batch → Zipkin JSON"
    return Row(name, title, "tail", run, TAIL_LOAD if paced else TAIL_UNPACED, peer=True)


ROWS = [
    spans_row("series", "OTLP/gRPC in → series", to="series", goals={"cpu_s_per_million": 0.35, "spans_per_s": 2e6}),
    spans_row("series-unruled", "OTLP/gRPC in → series, the default rules of attributes off", to="series", extra=UNRULED),
    spans_row("series-10", "OTLP/gRPC in → series", to="series", batch=10, millions=1),
    spans_row("series-2-lanes", "OTLP/gRPC in → series", to="series", lanes=2),
    spans_row("series-4-lanes", "OTLP/gRPC in → series", to="series", lanes=4),
    spans_row("file", "OTLP/gRPC in → file", to="file", goals={"cpu_s_per_million": 0.9}),
    spans_row("zipkin-proto3", "OTLP/gRPC in → Zipkin proto3", to="zipkin-proto3", millions=1, goals={"cpu_s_per_million": 0.8}),
    spans_row("zipkin-json", "OTLP/gRPC in → Zipkin JSON", to="zipkin-json", millions=1, goals={"cpu_s_per_million": 1.1}),
    *(
        spans_row(
            f"kafka-{encoding}-{compression}",
            f"OTLP/gRPC in → Kafka {encoding}, {compression}",
            to=f"kafka-{encoding}-{compression}",
            millions=1,
            goals={"cpu_s_per_million": goal},
        )
        for encoding, compression, goal in (
            ("otlp_proto", "none", 0.9),
            ("otlp_proto", "zstd", 0.9),
            ("zipkin_proto3", "none", 1.1),
            ("zipkin_proto3", "zstd", 1.1),
        )
    ),
    *(
        spans_row(
            f"otlp-{transport}-{compression}",
            f"OTLP/gRPC in → OTLP/{'gRPC' if transport == 'grpc' else 'HTTP'}, {compression}",
            to=f"otlp-{transport}-{compression}",
            millions=1,
            goals={"cpu_s_per_million": goal},
        )
        for transport, compression, goal in (
            ("grpc", "none", 0.7),
            ("grpc", "gzip", 5),
            ("grpc", "zstd", 1.1),
            ("http", "none", 0.7),
        )
    ),
    otelcol_row("otelcol-nothing", "OpenTelemetry Collector, OTLP/gRPC in → nothing", mode="nop"),
    otelcol_row("otelcol-nothing-10", "OpenTelemetry Collector, OTLP/gRPC in → nothing", mode="nop", batch=10),
    otelcol_row("otelcol-file", "OpenTelemetry Collector, batch → file (JSON lines)", mode="file"),
    otelcol_row("otelcol-zipkin-proto3", "OpenTelemetry Collector, batch → Zipkin proto3", mode="zipkin-proto"),
    otelcol_row("otelcol-zipkin-json", "OpenTelemetry Collector, batch → Zipkin JSON", mode="zipkin-json"),
    *(
        otelcol_row(
            f"otelcol-kafka-{encoding}",
            f"OpenTelemetry Collector, batch → Kafka {encoding} by trace id, none",
            mode=f"kafka-{encoding}",
        )
        for encoding in ("otlp_proto", "zipkin_proto")
    ),
    *(http_row(form) for form in WAYS_IN),
    *(otelcol_http_row(form) for form in WAYS_IN if form != "scribe"),
    tail_row(
        "tail", "OTLP/gRPC in → rules → Zipkin JSON", compress=True, goals={"cpu_s_per_million": 1.1, "bytes_per_pending": 150}
    ),
    tail_row(
        "tail-plain", "the same, `compress: false`", compress=False, goals={"cpu_s_per_million": 0.7, "bytes_per_pending": 450}
    ),
    tail_row(
        "tail-unpaced",
        f"OTLP/gRPC in → rules → Zipkin JSON, `memory: {tail_rows.UNPACED_MEMORY_MIB}MiB`",
        paced=False,
        goals={"rss_mib": 2 * tail_rows.UNPACED_MEMORY_MIB},
    ),
    otelcol_tail_row("otelcol-tail"),
    otelcol_tail_row("otelcol-tail-unpaced", paced=False),
    *(
        Row(
            f"spool-level{level}",
            f"a batch → a record of the spool → a batch, zstd level {level}",
            "spool",
            partial(spool_rows.run_records, level=level),
            spool_rows.LOAD,
            goals={"cpu_s_per_million": goal},
        )
        for level, goal in ((1, 1.0), (-7, 0.4))
    ),
    *(
        Row(
            f"spool-through-level{level}",
            f"OTLP/gRPC in → disk, zstd level {level} → Zipkin proto3 when it is back",
            "spool",
            partial(spool_rows.run_through, level=level),
            "100 spans a request",
            lanes=1,
        )
        for level in (1, -7)
    ),
    Row(
        "spool-backlog",
        "a start with a backlog",
        "spool",
        spool_rows.run_backlog,
        "10 GiB on disk",
        lanes=2,
        goals={"ready_s": 1.0, "rss_mib": 64},
    ),
    datagram_row(
        "in-datagram",
        attributes=1,
        load_text="10 spans a datagram, 1.5M/s",
        rate=1_500_000,
        millions=4,
        goals={"cpu_s_per_million": 0.35, "spans_per_s": 1e6, "lost_percent": 0},
    ),
    datagram_row("in-datagram-long", attributes=8, load_text="3 spans a datagram, 0.5M/s", rate=500_000, millions=1.5),
    statsd_row("statsd-1", lines=1, buffer="4MiB", goals={"cpu_s_per_million": 1.8, "lost_percent": 0}),
    statsd_row("statsd-1-small", lines=1, buffer="208KiB"),
    statsd_row("statsd-10", lines=10, rate=25_000, buffer="4MiB", goals={"cpu_s_per_million": 0.4, "lost_percent": 0}),
    statsd_row("statsd-10-full", lines=10, buffer="4MiB"),
    statsd_row("statsd-10-full-small", lines=10, buffer="208KiB"),
    statsd_exporter_row("statsd_exporter-1", lines=1, buffer=4 << 20),
    statsd_exporter_row("statsd_exporter-1-small", lines=1, buffer=0),
    statsd_exporter_row("statsd_exporter-10", lines=10, rate=25_000, buffer=4 << 20),
    Row("envoy", "what tracing costs an Envoy, by Weir's policy", "envoy", policy_rows.run, policy_rows.LOAD, lanes=1),
    Row("emit-calls", "calls of libweir_emit", "emit", emit_rows.run_calls, ""),
    Row("emit-proxy", "what libweir_emit costs a proxy", "emit", emit_rows.run_proxy, emit_rows.LOAD, lanes=1),
    Row(
        "emit-proxy-go",
        "what the OpenTelemetry SDK costs a proxy",
        "emit",
        partial(emit_rows.run_proxy, cases=("go",)),
        emit_rows.LOAD,
        lanes=1,
        peer=True,
    ),
    Row("idle", "no load, file exporter", "idle", run_idle, lanes=2, goals={"rss_mib": 30}),
]
