"""Traces through a real Kafka: read by a real Zipkin and a real OpenTelemetry Collector, and nothing lost or doubled when the
broker is killed, the topic is not there, or its limit is small."""

import collections
import json
import threading

import pytest
from harness.kafka import PASSWORD, USER, Kafka
from harness.net import answers, free_port, wait_until
from harness.process import PEERS, Process
from harness.zipkin import Zipkin
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS = 16_000


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    broker = Kafka(tmp_path_factory.mktemp("kafka")).start()
    yield broker
    broker.stop()


def exporters(folder, kafka: Kafka, topic: str, encoding: str, *more: str) -> str:
    options = ", ".join((f"brokers: '{kafka.brokers}'", f"topic: {topic}", f"encoding: {encoding}", *more))
    return f"file: {{ directory: {folder}/weir/traces }}\nkafka: {{ {options} }}"


def spans_of(message, encoding: str) -> list[tuple[str, str]]:
    """(trace id, span id) of each span in a message."""
    if encoding == "zipkin_json":
        return [(span["traceId"], span["id"]) for span in json.loads(message.value())]
    request = ExportTraceServiceRequest.FromString(message.value())
    return [
        (span.trace_id.hex(), span.span_id.hex())
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def check_each_once(kafka: Kafka, topic: str, encoding: str, stored: list[dict]):
    """The topic holds each span that the file exporter has, once; a message is of one trace, and its key says of which."""
    count = collections.Counter()
    for message in kafka.messages(topic):
        spans = spans_of(message, encoding)
        count.update(spans)
        assert {trace[-16:] for trace, _ in spans} == {message.key().decode()}
    assert set(count) == {(span["traceId"], span["spanId"]) for span in stored}
    assert set(count.values()) == {1}


@pytest.mark.parametrize("encoding", ["zipkin_proto3", "zipkin_json"])
def test_zipkin_reads_the_topic(weir, start, tmp_path, kafka, encoding):
    topic = f"read-{encoding}"
    kafka.make(topic)
    zipkin = start(Zipkin(tmp_path, env={"KAFKA_BOOTSTRAP_SERVERS": kafka.brokers, "KAFKA_TOPIC": topic}))
    one = weir(exporters=exporters(tmp_path, kafka, topic, encoding))
    one.emit("--seed", 5, spans=SPANS)
    assert one.balance(received=SPANS).delivered("kafka") == SPANS
    page = one.own()
    assert page.value("weir_kafka_messages_total", exporter="kafka", outcome="delivered") >= SPANS / 8
    assert page.value("weir_kafka_message_limit_bytes", exporter="kafka") == 1_048_588
    assert page.sum("weir_kafka_errors_total") == 0
    assert one.stop() == 0
    stored = one.cat()
    services = {span["service"] for span in stored}
    wait_until(lambda: set(zipkin.services()) == services, "Zipkin to know the services")

    def seen() -> dict:
        found = {}
        for service in services:
            found.update({trace[0]["traceId"]: len(trace) for trace in zipkin.traces(service)})
        return found

    want = collections.Counter(span["traceId"] for span in stored)
    wait_until(lambda: sum(seen().values()) >= sum(want.values()), "Zipkin to have all spans", every=1)
    assert seen() == want
    if encoding == "zipkin_json":
        check_each_once(kafka, topic, encoding, stored)


def test_the_collector_reads_otlp(weir, start, tmp_path, kafka):
    kafka.make("otlp")
    health, out = free_port(), tmp_path / "read.json"
    (tmp_path / "collector.yaml").write_text(f"""
receivers: {{ kafka: {{ brokers: ["{kafka.brokers}"], group_id: collector, initial_offset: earliest, traces: {{ topics: [otlp], encoding: otlp_proto }} }} }}
exporters: {{ file: {{ path: '{out}' }} }}
extensions: {{ health_check: {{ endpoint: 127.0.0.1:{health} }} }}
service:
  extensions: [health_check]
  telemetry: {{ logs: {{ level: warn }}, metrics: {{ level: none }} }}
  pipelines: {{ traces: {{ receivers: [kafka], exporters: [file] }} }}
""")

    class Collector:
        def start(self):
            argv = [PEERS / "bin" / "otelcol", "--config", tmp_path / "collector.yaml"]
            self.process = Process("otelcol", argv, tmp_path / "otelcol.log")
            self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{health}/"))

        def stop(self):
            self.process.stop()

    collector = Collector()
    start(collector)
    one = weir(exporters=exporters(tmp_path, kafka, "otlp", "otlp_proto", "compression: lz4"))
    one.emit("--seed", 6, "--errors", "0.05", spans=SPANS)
    assert one.balance(received=SPANS).delivered("kafka") == SPANS
    assert one.stop() == 0
    wait_until(lambda: out.exists() and out.read_text().count('"spanId"') >= SPANS, "the Collector to have all spans", every=0.5)
    collector.stop()

    def plain(span: dict, service: str) -> tuple:
        attributes = {one["key"]: str(next(iter(one["value"].values()))) for one in span.get("attributes", [])}
        return (span["name"], span["kind"], span["startTimeUnixNano"], span["endTimeUnixNano"], span.get("status", {}).get("code", 0),
                service, tuple(sorted(attributes.items())))  # fmt: skip

    theirs = {}
    for line in out.read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            (service,) = [one["value"]["stringValue"] for one in resource["resource"]["attributes"] if one["key"] == "service.name"]
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    assert (span["traceId"], span["spanId"]) not in theirs
                    theirs[span["traceId"], span["spanId"]] = plain(span, service)
    ours = {(span["traceId"], span["spanId"]): plain(span, span["service"]) for span in one.cat()}
    assert len(ours) == SPANS
    assert theirs == ours
    check_each_once(kafka, "otlp", "otlp_proto", one.cat())


def test_a_broker_that_is_killed_and_comes_back(weir, start, tmp_path):
    kafka = start(Kafka(tmp_path / "kafka"))
    kafka.make("traces")
    one = weir(lanes=2, exporters=exporters(tmp_path, kafka, "traces", "zipkin_json"))
    sent, over = [], threading.Event()

    def play():
        while not over.is_set():  # however long the broker takes to come back
            sent.append(one.emit("--seed", 70 + len(sent), "--rate", 2000, spans=4000)["acknowledged"])

    def delivered() -> float:
        return one.own().value("weir_kafka_messages_total", exporter="kafka", outcome="delivered")

    playing = threading.Thread(target=play)
    playing.start()
    try:
        for _ in range(2):
            before = delivered()
            wait_until(lambda before=before: delivered() > before + 1000, "messages to be delivered")
            kafka.kill()
            kafka.start()
    finally:
        over.set()
        playing.join()
    spans = sum(sent)
    ledger = one.balance(received=spans)
    assert ledger.delivered("kafka") == ledger.delivered("file") == spans
    page = one.own()
    assert page.value("weir_kafka_disconnects_total", exporter="kafka") >= 2
    assert page.value("weir_kafka_errors_total", exporter="kafka", reason="unreachable") > 0
    assert page.sum("weir_spans_refused_total") == 0
    assert one.stop() == 0
    check_each_once(kafka, "traces", "zipkin_json", one.cat())


def test_a_topic_that_is_not_there_yet(weir, tmp_path, kafka):
    one = weir(exporters=exporters(tmp_path, kafka, "later", "otlp_proto", "retry_max: 500ms"))
    one.emit("--seed", 8, spans=SPANS)
    wait_until(lambda: one.own().value("weir_exporter_paused", exporter="kafka") == 1, "to be told")
    wait_until(lambda: one.own().value("weir_kafka_errors_total", exporter="kafka", reason="topic_missing") > 0, "the reason")
    assert one.balance(received=SPANS, held=True).delivered("file") == SPANS
    assert one.own().value("weir_spans_held", exporter="kafka", where="queue") > 0
    kafka.make("later")
    assert one.balance(received=SPANS).delivered("kafka") == SPANS
    one.process.says("event=kafka_topic_unknown")
    assert "topic=later" in one.process.text()
    assert one.stop() == 0
    check_each_once(kafka, "later", "otlp_proto", one.cat())


@pytest.mark.parametrize("encoding", ["otlp_proto", "zipkin_json"])
def test_messages_are_as_large_as_the_topic_takes(weir, tmp_path, kafka, encoding):
    """Traces of some 36 kB into a topic that takes 20,000 bytes, and then, while Weir runs, only 6,000."""
    topic = f"small-{encoding}"
    kafka.make(topic, max_message_bytes=20_000)
    one = weir(exporters=exporters(tmp_path, kafka, topic, encoding, "compression: none"))
    one.emit("--seed", 9, "--spans-per-trace", 100, spans=4000)
    assert one.balance(received=4000).delivered("kafka") == 4000
    assert one.own().value("weir_kafka_message_limit_bytes", exporter="kafka") == 20_000
    kafka.set(topic, "max.message.bytes", 6_000)
    played = 1

    def refused() -> bool:  # the broker has said that it will hold to the new limit, and does some time later
        nonlocal played
        played += 1
        one.emit("--seed", 8 + played, "--spans-per-trace", 100, spans=4000)
        assert one.balance(received=4000 * played).delivered("kafka") == 4000 * played
        return one.own().value("weir_kafka_messages_total", exporter="kafka", outcome="too_large") > 0

    wait_until(refused, "messages to be too large")
    assert one.own().value("weir_kafka_message_limit_bytes", exporter="kafka") <= 6_000
    one.process.says("event=kafka_message_too_large")
    assert one.stop() == 0
    check_each_once(kafka, topic, encoding, one.cat())
    assert 10_000 < max(len(message.value()) for message in kafka.messages(topic)) < 20_000


def test_a_span_that_no_message_can_hold_is_rejected(weir, tmp_path, kafka):
    kafka.make("tiny", max_message_bytes=1500)
    one = weir(exporters=exporters(tmp_path, kafka, "tiny", "otlp_proto"))
    one.emit("--seed", 11, "--attributes", 8, spans=800)
    one.emit("--seed", 12, "--attributes", 64, spans=800)
    ledger = one.balance(received=1600)
    dropped = one.own().value("weir_spans_dropped_total", exporter="kafka", where="queue", reason="rejected")
    assert dropped == 800 and ledger.delivered("kafka") == 800
    one.process.says("larger than a message may be")


def test_settings_are_passed_on(weir, tmp_path, kafka):
    kafka.make("secure")
    (tmp_path / "settings").write_text(f"sasl.username: {USER}\nsasl.password: {PASSWORD}\n")
    secure = "security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN"
    options = f"topic: secure, settings: {{ {secure} }}, settings_file: {tmp_path}/settings"
    one = weir(exporters=f"kafka: {{ brokers: '127.0.0.1:{kafka.sasl_port}', {options} }}")
    one.emit(spans=800)
    assert one.balance(received=800).delivered("kafka") == 800
    assert one.stop() == 0

    (tmp_path / "settings").write_text(f"sasl.username: {USER}\nsasl.password: not-this\n")
    one = weir(exporters=f"kafka: {{ brokers: '127.0.0.1:{kafka.sasl_port}', {options} }}", name="wrong")
    one.emit(spans=800)
    wait_until(lambda: one.own().value("weir_kafka_errors_total", exporter="kafka", reason="not_allowed") > 0, "to be told")
    assert one.balance(received=800, held=True)
    assert "not-this" not in one.process.text()
