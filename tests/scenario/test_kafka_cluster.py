"""What brokers do to a producer: leaders that move, quotas, passwords and certificates; and a Weir that is killed, not drained."""

import collections
import json
import threading

import pytest
from harness.certificates import Certificates
from harness.kafka import PASSWORD, USER, Cluster, Kafka
from harness.net import wait_until


def keys(kafka: Kafka, topic: str) -> collections.Counter:
    """How often each (trace id, span id) is in the topic."""
    return collections.Counter(
        (span["traceId"], span["id"]) for message in kafka.messages(topic) for span in json.loads(message.value())
    )


def stored(one) -> set[tuple[str, str]]:
    return {(span["traceId"], span["spanId"]) for span in one.cat()}


def exporters(folder, brokers: str, topic: str, *more: str) -> str:
    options = ", ".join((f"brokers: '{brokers}'", f"topic: {topic}", "encoding: zipkin_json", *more))
    return f"file: {{ directory: {folder}/weir/traces }}\nkafka: {{ {options} }}"


def test_leaders_move_under_load(weir, start, tmp_path):
    """One broker is stopped, so that its partitions move, and comes back; then another is killed."""
    cluster = start(Cluster(tmp_path / "kafka", broker_session_timeout_ms=12_000))
    first = cluster.nodes[0]
    first.make("traces", partitions=6, min_insync_replicas=2)
    one = weir(exporters=exporters(tmp_path, cluster.brokers, "traces"))
    rate, sent, over = 2_000, [], threading.Event()

    def play():
        while not over.is_set():
            sent.append(one.emit("--seed", 40 + len(sent), "--rate", rate, spans=rate)["acknowledged"])

    def value(name: str) -> float:
        return one.page().value(name, exporter="kafka")

    def more():
        before = one.ledger().delivered("kafka")
        wait_until(lambda: one.ledger().delivered("kafka") >= before + 2 * rate, "spans to be delivered")

    playing = threading.Thread(target=play)
    playing.start()
    try:
        more()
        producers, before = value("weir_kafka_producers_made_total"), value("weir_kafka_leaders_moved_total")
        # One that stood still for too long leads nothing.
        moved, killed = sorted(cluster.nodes[1:], key=lambda node: -first.leaders("traces").count(node.node))
        led = first.leaders("traces").count(moved.node)
        assert led > 0
        assert moved.stop(timeout=180) == 143  # Java's, for a SIGTERM that it heeded
        wait_until(lambda: value("weir_kafka_leaders_moved_total") >= before + led, "the moves to be seen")
        more()
        moved.start()
        wait_until(lambda: cluster.in_sync("traces"), "all to be in sync")
        before = value("weir_kafka_leaders_moved_total")
        led = first.leaders("traces").count(killed.node)
        assert led > 0
        killed.kill()
        wait_until(lambda: value("weir_kafka_leaders_moved_total") >= before + led, "the moves to be seen")
        assert killed.node not in first.leaders("traces")
        more()
    finally:
        over.set()
        playing.join()
    assert one.balance(received=sum(sent)).delivered("kafka") == sum(sent)
    wait_until(lambda: value("weir_kafka_partitions_without_leader") == 0, "leaders of all")
    page = one.page()
    assert page.value("weir_kafka_disconnects_total", exporter="kafka") > 0
    assert page.value("weir_kafka_producers_made_total", exporter="kafka") == producers
    assert one.stop() == 0
    assert "event=kafka_leader_moved exporter=kafka topic=traces partitions=6" in one.process.text()
    found = keys(first, "traces")
    assert set(found) == stored(one) and len(found) == sum(sent)
    assert set(found.values()) == {1}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture(scope="module")
def kafka(tmp_path_factory, certificates):
    folder = tmp_path_factory.mktemp("kafka")
    (folder / "server").write_bytes(certificates.bytes("server.key") + certificates.bytes("server.pem"))
    broker = Kafka(folder, pem=folder / "server").start()
    yield broker
    broker.stop()


def test_a_quota_slows_and_loses_nothing(weir, tmp_path, kafka):
    kafka.make("slow")
    kafka.quota("weir-slow", 200_000)
    settings = "settings: { client.id: weir-slow }, compression: none"
    one = weir(exporters=exporters(tmp_path, kafka.brokers, "slow", settings))
    spans = 8_000  # 4 MB of JSON: some twenty seconds
    one.emit("--seed", 50, spans=spans)
    wait_until(lambda: one.page().value("weir_kafka_throttle_seconds", exporter="kafka") > 0, "to be throttled")
    assert one.balance(received=spans).delivered("kafka") == spans
    one.process.says("event=kafka_throttled exporter=kafka")
    assert one.page().sum("weir_kafka_errors_total") == 0
    assert one.stop() == 0
    found = keys(kafka, "slow")
    assert set(found) == stored(one) and set(found.values()) == {1}


def test_certificates_and_passwords(weir, tmp_path, kafka, certificates):
    kafka.make("secure")
    at = f"127.0.0.1:{kafka.tls_port}"

    def secure(ca: str, password: str) -> str:
        file = tmp_path / f"{ca}-{password}"
        file.write_text(f"sasl.username: {USER}\nsasl.password: {password}\n")
        settings = f"security.protocol: SASL_SSL, sasl.mechanism: PLAIN, ssl.ca.location: {certificates.path(ca)}"
        return f"brokers: '{at}', topic: secure, settings: {{ {settings} }}, settings_file: {file}"

    said = {"good": "", "stranger": "certificate verify failed", "password": "Authentication failed"}
    one = weir(
        exporters=f"file: {{ directory: {tmp_path}/weir/traces }}\n"
        f"kafka/good: {{ {secure('ca.pem', PASSWORD)}, encoding: zipkin_json }}\n"
        f"kafka/stranger: {{ {secure('stranger.pem', PASSWORD)} }}\n"
        f"kafka/password: {{ {secure('ca.pem', 'not-this')} }}"
    )
    one.emit(spans=800)

    def refused(name: str) -> float:
        return one.page().value("weir_kafka_errors_total", exporter=f"kafka/{name}", reason="not_allowed")

    def told(name: str, words: str) -> bool:
        lines = [line for line in one.process.text().splitlines() if "event=kafka_" in line and f"exporter=kafka/{name} " in line]
        return any(words in line for line in lines)

    wait_until(lambda: refused("stranger") > 0 and refused("password") > 0, "to be told")
    wait_until(lambda: one.ledger().delivered("kafka/good") == 800, "the right ones to deliver")
    ledger = one.balance(received=800, held=True)
    assert refused("good") == 0
    for name in ("stranger", "password"):
        own = ledger.exporters[f"kafka/{name}"]
        assert (own["delivered"], own["dropped"]) == (0, 0)
    for name, words in said.items():
        if words:
            wait_until(lambda name=name, words=words: told(name, words), f"a line of {name} with {words!r}")
    text = one.process.text()
    assert "not-this" not in text and PASSWORD not in text
    found = keys(kafka, "secure")
    assert set(found) == stored(one) and set(found.values()) == {1}
