"""./dev demo --full: Envoys, Weir, Kafka, Zipkin, Prometheus with the alert rules, Alertmanager; things go wrong under load, one by
one, and are put right. Everything lies in build/demo-full/: configurations, logs, data. Exit 0: the alerts fired and ended, and every
span is accounted for.
"""

import contextlib
import shutil
import signal
import time

from harness.alertmanager import Alertmanager, Note, Webhook
from harness.envoy import Mesh
from harness.kafka import Kafka
from harness.load import Traffic
from harness.net import get_json, wait_until
from harness.process import ROOT
from harness.prometheus import Prometheus
from harness.rules import hurried
from harness.weir import Weir
from harness.zipkin import Zipkin
from screen import Doing, heading, milliseconds, paint, prefer, row

FOLDER = ROOT / "build" / "demo-full"
RATE = 80  # requests a second
SLOW_MS = 700
TIMES = 60  # as fast as they should run alerts: what is an hour in the rules is a minute here
PATIENCE = 90  # seconds for an alert to come, or to end

OBJECTIVES = """# What this shop promises; dashboards/make_rules.py makes alert rules of it (docs/alerts.md)
window: 30d
default: { success: off, latency: off }
services:
  front: { success: 99.9%, latency: { share: 98%, under: 500ms } }
"""
POLICY = """# What is stored (docs/sampling.md). All is counted, whatever is stored
keep:
  wait: 3s
  quiet: 300ms
  rules:
    - { name: errors, when: { error: true } }
    - { name: slow, when: { duration: ">500ms" } }
    - { name: rest, rate: 10% }
"""
WELL = [f"/{name}/v1/{1000 + i}" for i in range(25) for name in ("orders", "payments", "inventory", "users")]
FAILING = [path.replace("/orders/v1", "/orders/fail") for path in WELL]
SLOW = [path.replace("/v1/", "/slow/") if i % 2 else path for i, path in enumerate(WELL)]


class Stack:
    """What runs, in the order of its start; stopped the other way round."""

    def __init__(self, stack: contextlib.ExitStack):
        self.stack = stack
        (FOLDER / "sampling.yaml").write_text(POLICY)
        (FOLDER / "objectives.yaml").write_text(OBJECTIVES)
        self.kafka = Kafka(FOLDER / "kafka")
        settings = {"KAFKA_BOOTSTRAP_SERVERS": self.kafka.brokers, "KAFKA_TOPIC": "zipkin", "KAFKA_GROUP_ID": "zipkin"}
        self.zipkin = Zipkin(FOLDER, port=prefer(9411), env=settings)
        for one in (self.kafka, self.zipkin):  # both at once: they are slow to start
            stack.callback(one.stop)
            one.launch()
        with Doing("Kafka", f"one broker on {self.kafka.brokers}, topic zipkin"):
            self.kafka.process.wait_ready(self.kafka.answers, timeout=90)
            self.kafka.make("zipkin")
        self.weir = Weir(
            FOLDER,
            ports=(prefer(4317), prefer(8125), prefer(9646)),
            exporters=f"kafka: {{ brokers: '{self.kafka.brokers}', topic: zipkin }}",
            extra="sampling: { policy: sampling.yaml }\nspool: { directory: spool, memory_age: 2s }",
        )
        with Doing("Weir", f"spans on {self.weir.endpoint}, counters on {self.weir.statsd_port} (UDP); to Kafka, with a spool"):
            self.begin(self.weir)
        self.mesh = Mesh(FOLDER, otlp_port=self.weir.grpc_port, statsd_port=self.weir.statsd_port, slow_ms=SLOW_MS)
        with Doing("two Envoys", f"front on 127.0.0.1:{self.mesh.front.port} → middle → orders, payments, inventory, users"):
            self.begin(self.mesh)
        self.webhook = self.begin(Webhook())
        self.alertmanager = Alertmanager(FOLDER / "alertmanager", self.webhook.url, port=prefer(9093))
        with Doing("Alertmanager", f"on 127.0.0.1:{self.alertmanager.port}, tells a webhook on {self.webhook.port}"):
            self.begin(self.alertmanager)
        with Doing("Zipkin", f"on 127.0.0.1:{self.zipkin.port}, reads the topic"):
            self.zipkin.process.wait_ready(self.zipkin.answers, timeout=120)
        # Programs that have just started stutter; that is nobody's promise.
        with Doing("Load", "some to warm up, which nobody watches yet"):
            self.mesh.drive(WELL * 6)
        rules = hurried(FOLDER / "rules", TIMES, FOLDER / "objectives.yaml")
        self.prometheus = Prometheus(
            FOLDER / "prometheus",
            self.weir.admin_port,
            rules=rules,
            every="1s",
            alertmanager=self.alertmanager.port,
            port=prefer(9090),
            features="exemplar-storage",
        )
        with Doing("Prometheus", f"on 127.0.0.1:{self.prometheus.port}, scrapes Weir, {len(rules)} files of rules"):
            self.begin(self.prometheus)
        self.traffic = Traffic(self.mesh.front.port, WELL, RATE, connections=40)

    def begin(self, thing):
        self.stack.callback(thing.stop)
        return thing.start()


class Story:
    """What happens, line by line, with the alerts as they come."""

    def __init__(self, stack: Stack):
        self.stack, self.began, self.unix, self.told = stack, time.monotonic(), time.time(), 0
        self.acts: list[tuple] = []
        self.since = 0.0  # when the act began

    def line(self, mark: str, colour: str, text: str):
        row(paint(f"{time.monotonic() - self.began:>5.0f} s  ", "2"), paint(mark, colour), " ", text)

    def listen(self):
        notes = self.stack.webhook.notes
        while self.told < len(notes):
            note, self.told = notes[self.told], self.told + 1
            firing = note.status == "firing"
            what = f"{note.labels['severity']:8}{note.name}{paint(window(note), '2')}"
            if firing:
                self.line("▲", "31", f"{what}  {note.annotations['summary']}")
            else:
                self.line("▼", "32", f"{what}  is over")

    def act(self, text: str, seconds: float):
        """seconds of what text says."""
        self.line("●", "36", paint(text, "1"))
        self.since = time.time()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.listen()
            time.sleep(0.2)
        self.acts.append((text.partition(":")[0], *figures(self.stack, int(seconds) - 3)))

    def until(self, status: str, name: str):
        def come():
            self.listen()
            return self.stack.webhook.find(status, name, since=self.since)

        wait_until(come, f"{name} to be {status}", PATIENCE, every=0.2)


def window(note: Note) -> str:
    return f" ({note.labels['window']})" if "window" in note.labels else ""


def figures(stack: Stack, seconds: int) -> tuple:
    """Of the last seconds, as Prometheus has them: requests a second, failing share, p99, spans in and spans stored a second."""

    def ask(promql: str) -> float:
        found = stack.prometheus.query(promql.replace("$", f"[{seconds}s]"))
        return found[0][1] if found else 0.0

    calls = 'traces_spanmetrics_calls_total{service="front",span_kind="SPAN_KIND_SERVER"'
    requests = ask(f"sum(rate({calls}}}$))")
    return (
        requests,
        ask(f'sum(rate({calls},status_code="STATUS_CODE_ERROR"}}$))') / max(requests, 1),
        ask(
            'histogram_quantile(0.99, sum by (le) (rate(traces_spanmetrics_latency_bucket{service="front",span_kind="SPAN_KIND_SERVER"}$)))'
        ),
        ask("sum(rate(weir_spans_received_total$))"),
        ask("sum(rate(weir_spans_delivered_total$))"),
    )


def tell(stack: Stack) -> Story:
    traffic = stack.begin(stack.traffic)
    wait_until(lambda: figures(stack, 5)[0] > 0.9 * RATE, "Prometheus to see the load", PATIENCE)  # Envoys send spans now and then
    story = Story(stack)
    story.act(f"All is well: {RATE} requests a second", 15)
    traffic.paths = FAILING
    story.act("orders fails: 503 from it, a quarter of all requests", 15)
    story.until("firing", "MeshSuccessBurnFast")
    traffic.paths = WELL
    story.act("orders is mended", 8)
    story.until("resolved", "MeshSuccessBurnFast")
    traffic.paths = SLOW
    story.act(f"Everybody is slow: every second request takes {SLOW_MS} ms", 20)
    story.until("firing", "MeshLatencyBurnFast")
    traffic.paths = WELL
    story.act("As fast as before", 8)
    story.until("resolved", "MeshLatencyBurnFast")
    stack.kafka.kill()
    story.act("Kafka is away: killed", 12)
    story.until("firing", "WeirExporterFailing")
    stack.kafka.start()
    story.act("Kafka is back: what waited goes on its way", 10)
    story.until("resolved", "WeirExporterFailing")
    return story


def show_acts(story: Story):
    heading("What Prometheus saw", "service front, from its spans; spans in and stored are Weir's own counters")
    row(paint(f"{'':22}{'requests':>10}{'failing':>10}{'p99':>11}{'spans in':>12}{'stored':>10}", "2"))
    for name, requests, failing, p99, spans, stored in story.acts:
        row(
            f"{name:22}{requests:>8.0f}/s",
            paint(f"{failing:>10.1%}", "31" if failing > 0.001 else ""),
            f"{milliseconds(p99):>11}{spans:>10.0f}/s{stored:>8.0f}/s",
        )


def show_alerts(story: Story, stack: Stack):
    heading("Alerts", f"as they came to the webhook; times are {TIMES} times shorter than in dashboards/rules")
    row(paint(f"{'':32}{'severity':10}{'fired':>8}{'lasted':>9}  what to do", "2"))
    seen: dict[tuple, Note] = {}
    for note in stack.webhook.notes:
        if note.status == "firing":
            seen.setdefault((note.name, window(note), str(note.labels)), note)
    for (name, of, _), note in seen.items():
        over = stack.webhook.find("resolved", name, since=note.at, **note.labels)
        lasted = f"{over.at - note.at:.0f} s" if over else "goes on"
        row(
            f"{name + of:32}{note.labels['severity']:10}{note.at - story.unix:>6.0f} s{lasted:>9}  {note.annotations['runbook_url']}"
        )
    if any(name.endswith("Slow") for name, *_ in seen):
        row(paint("Tickets of a slow burn look back two hours and six, here minutes: they go on when the pages have ended.", "2"))


def show_delivery(stack: Stack) -> bool:
    stack.traffic.stop()
    sent = stack.mesh.spans_sent()
    ledger = stack.weir.balance(received=sent, timeout=60)
    delivered = ledger.delivered("kafka")
    read = wait_until(lambda: (count := read_by(stack.zipkin)) >= delivered and count, "Zipkin to read its topic", 60)
    heading("Delivery", "every span that was accepted is in exactly one place, though Kafka was away")
    row(f"Envoys sent {sent:,} spans, and Weir counted each. Stored: errors, what is slow, and a tenth of the rest.")
    row(
        f"kafka: delivered {delivered:,}, sampled out {ledger.sampled_out:,}, dropped {ledger.dropped}, held {ledger.held}  ",
        paint("balanced", "32") if ledger.missing("kafka") == 0 else paint(f"{ledger.missing('kafka')} missing", "31"),
    )
    row(
        f"Zipkin has read {read:,} spans from Kafka",
        "; some came twice, since nobody knows what a killed broker had" if read > delivered else "",
    )
    return ledger.missing("kafka") == 0


def read_by(zipkin: Zipkin) -> int:
    return int(get_json(f"http://127.0.0.1:{zipkin.port}/metrics").get("counter.zipkin_collector.spans.kafka", 0))


def show_links(stack: Stack, since: float, stay: bool):
    """since: when the story began, in seconds since the Unix epoch."""
    heading("Where to look", "" if stay else "while it runs: ./dev demo --full --stay")
    zipkin = f"http://127.0.0.1:{stack.zipkin.port}"
    lately = {"serviceName": "front", "annotationQuery": "error", "limit": 1, "lookback": 3_600_000}
    # Its page reads a lookback by name only beside its end.
    failing = f"serviceName=front&annotationQuery=error&lookback=range&startTs={since * 1000:.0f}&endTs={time.time() * 1000:.0f}"
    failed = get_json(f"{zipkin}/api/v2/traces", **lately)
    for name, link in (
        ("Alerts", stack.prometheus.url("/alerts")),
        ("", stack.alertmanager.url("/#/alerts")),
        ("Rules, as they run", stack.prometheus.url("/rules")),
        ("Traces that failed", f"{zipkin}/zipkin/?{failing}"),
        ("One of them", f"{zipkin}/zipkin/traces/{failed[0][0]['traceId']}" if failed else ""),
        ("Weir at a glance", f"build/weir top --admin {stack.weir.url('')}"),
        ("Weir's page", stack.weir.url("/metrics")),
        ("Send more", f"curl 127.0.0.1:{stack.mesh.front.port}/orders/fail/1"),
        ("Files", str(FOLDER.relative_to(ROOT))),
    ):
        row(f"{name:20}{link}")
    heading("Grafana", "none is part of this; point yours at it, and it brings folder Weir with five dashboards")
    row(f"PROMETHEUS_URL={stack.prometheus.url()} ZIPKIN_URL={zipkin} \\")
    row("WEIR_DASHBOARDS=$PWD/dashboards/grafana/json GF_PATHS_PROVISIONING=$PWD/dashboards/provisioning grafana server")


def full(stack: contextlib.ExitStack, stay: bool) -> bool:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    heading("Weir demo: the whole stack", "Envoys → Weir → Kafka → Zipkin; Prometheus → Alertmanager → a webhook")
    everything = Stack(stack)
    heading(
        "What happens", "▲ an alert came to the webhook, ▼ its end. So that nobody waits, an hour of the rules is a minute here"
    )
    row(paint(f"Watch it: {everything.prometheus.url('/alerts')}   build/weir top --admin {everything.weir.url('')}", "2"))
    story = tell(everything)
    show_acts(story)
    show_alerts(story, everything)
    balanced = show_delivery(everything)
    show_links(everything, story.unix, stay)
    if stay:
        everything.traffic.start()
        print("\n  Running, with load. End: Ctrl-C", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
        everything.traffic.stop()
    print()
    with Doing("Stopped", "all of it, each by its process id"):
        stack.close()
    return balanced
