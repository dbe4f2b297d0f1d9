"""Kafka breaks under load: its process hangs, the way to it is slow, cut or closed. Each (trace id, span id) is in the topic once,
as long as Weir's producer lives, and at least once when Weir is killed."""

import collections
import json
import os
import random
import signal
import time

import pytest
from harness.catch import Catch, span_key
from harness.fault_proxy import CUT_ANSWER, HANG, PASS, REFUSE, FaultProxy, cut, slow
from harness.kafka import Kafka
from harness.ledger import final_ledger
from harness.load import Load, truth
from harness.net import wait_until
from harness.senders import Senders

AWAY_S = float(os.environ.get("WEIR_AWAY_SECONDS", "3"))
RATE = 2_000  # spans a second


def topic_of(kafka: Kafka, topic: str) -> collections.Counter:
    """How often each span is in the topic."""
    return collections.Counter(span_key(span) for message in kafka.messages(topic) for span in json.loads(message.value()))


def check_once(kafka: Kafka, topic: str, want: set[int]):
    have = topic_of(kafka, topic)
    assert set(have) == want, f"{len(want - set(have))} missing, {len(set(have) - want)} unknown"
    assert max(have.values()) == 1, f"{sum(count > 1 for count in have.values())} spans are there more than once"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """(broker, the proxy before it): whoever asks on the plain port is told to come by way of the proxy, Weir and readers too."""
    proxy = FaultProxy(0, http=False)
    kafka = Kafka(tmp_path_factory.mktemp("kafka"))
    proxy.to = kafka.port
    kafka.settings["advertised_listeners"] = f"PLAINTEXT://127.0.0.1:{proxy.port},SASL_PLAINTEXT://127.0.0.1:{kafka.sasl_port}"
    proxy.start()
    try:
        yield kafka.start(), proxy
    finally:
        kafka.stop()
        proxy.stop()


@pytest.fixture(autouse=True)
def as_it_was(broker):
    """What one test leaves behind when it fails is nothing to the next."""
    yield
    kafka, proxy = broker
    proxy.set(PASS)
    if kafka.process.running:
        kafka.process.signal(signal.SIGCONT)


def exporters(folder, port: int, topic: str, *more: str) -> str:
    options = ", ".join((f"brokers: '127.0.0.1:{port}'", f"topic: {topic}", "encoding: zipkin_json", *more))
    return f"file: {{ directory: {folder}/weir/traces }}\nkafka: {{ {options} }}\n"


def test_the_broker_hangs_and_its_network_breaks(weir, tmp_path, broker):
    kafka, proxy = broker
    kafka.make("broken")
    one = weir(exporters=exporters(tmp_path, proxy.port, "broken", "settings: { socket.timeout.ms: 2000 }"))
    load = Load(one, None, "--seed", 31, rate=RATE)
    delivered = lambda: one.ledger().delivered("kafka")  # noqa: E731

    def more(what: str):
        before = delivered()
        wait_until(lambda: delivered() > before, f"more to be delivered after {what}")

    more("the start")
    kafka.process.signal(signal.SIGSTOP)
    time.sleep(AWAY_S)
    kafka.process.signal(signal.SIGCONT)
    more("a stop of its process")
    for fault in (cut(60_000), slow(50_000), HANG, REFUSE):
        proxy.set(fault)
        time.sleep(AWAY_S / 2)
        proxy.set(PASS)
        more(fault.kind)
    sent = load.end()
    ledger = one.balance(received=sent)
    assert ledger.delivered("kafka") == ledger.delivered("file") == sent
    assert proxy.counts["cut"] and proxy.counts["slow"] and proxy.counts["hang"], proxy.counts
    assert one.own().value("weir_kafka_disconnects_total", exporter="kafka") > 0
    assert one.stop() == 0
    check_once(kafka, "broken", truth(one))


def test_sigterm_under_load_leaves_every_back_end_with_all_of_it(weir, tmp_path, request, broker):
    """File, Zipkin (a body at a time, slowly) and Kafka: what was acknowledged is in each of them once."""
    catch = Catch(workers=4, takes=0.02)
    request.addfinalizer(catch.stop)
    kafka, proxy = broker
    kafka.make("drained")
    one = weir(
        exporters=exporters(tmp_path, proxy.port, "drained") + f"zipkin: {{ url: '{catch.endpoint}', encoding: json }}",
        extra="drain_timeout: 200s",
    )
    load = Load(one, None, "--timeout", "10s", rate=10_000)
    try:
        wait_until(lambda: one.received() > 20_000, "load")
        assert one.stop(timeout=240) == 0, one.process.tail()
        acknowledged = load.cut()["acknowledged"]
    finally:
        load.stop()
    ledger = final_ledger(one.process.text())
    want = truth(one)
    assert acknowledged <= ledger["received"] == len(want)
    for name in ("file", "zipkin", "kafka"):
        assert (ledger[f"delivered{{{name}}}"], ledger[f"dropped{{{name}}}"], ledger[f"held{{{name}}}"]) == (len(want), 0, 0), name
        assert ledger[f"imbalance{{{name}}}"] == 0
    assert set(catch.seen) == want and max(catch.seen.values()) == 1
    check_once(kafka, "drained", want)


KILLS = 50


def test_weir_is_killed_fifty_times_while_back_ends_come_and_go(weir, tmp_path, request, broker):
    """`durable: true`, nothing waits for a decision: what was acknowledged is in each back end, at least once, though both were
    away most of the time and the broker was killed too."""
    kafka, to_kafka = broker
    kafka.make("killed")
    catch, chance = Catch(), random.Random(11)
    request.addfinalizer(catch.stop)
    to_zipkin = FaultProxy(catch.port)
    request.addfinalizer(to_zipkin.stop)
    to_zipkin.start()
    queue = "memory_bytes: 1MiB, retry_initial: 20ms, retry_max: 200ms"
    options = f"brokers: '127.0.0.1:{to_kafka.port}', topic: killed, encoding: zipkin_json, {queue}"
    one = weir(
        exporters=f"zipkin: {{ url: '{to_zipkin.endpoint}', encoding: json, timeout: 1s, {queue} }}\nkafka: {{ {options} }}",
        extra=f"spool: {{ directory: {tmp_path}/spool, durable: true, memory_age: 100ms, segment_bytes: 1MiB }}\n"
        "batch: { max_spans: 200, max_age: 50ms }\n",
        receivers={"zipkin": ""},
    )
    senders = Senders(one)
    recovered = {"": 0, "zipkin": 0, "kafka": 0}
    n = 0
    while n < KILLS or (n < 4 * KILLS and not all(recovered.values())):  # when there is no time to spill in between, more often
        to_zipkin.set(chance.choice((PASS, REFUSE, HANG, CUT_ANSWER)))
        to_kafka.set(chance.choice((PASS, REFUSE, HANG, cut(100_000))))
        if n == KILLS // 2:
            kafka.kill()
        time.sleep(chance.uniform(0.02, 0.5))
        for name, spans in one.own().by("weir_spans_recovered_total", "exporter").items():
            recovered[name] += int(spans)
        one.kill()
        one.start()
        n += 1
    kafka.start()
    time.sleep(0.5)
    senders.stop()
    to_zipkin.set(PASS)
    to_kafka.set(PASS)
    ledger = one.balance(timeout=280)
    assert all(own["dropped"] == 0 for own in ledger.exporters.values()), ledger.exporters
    assert len(senders.acknowledged) > 1000 and senders.refused > 0
    assert recovered[""] > 0 and recovered["zipkin"] > 0 and recovered["kafka"] > 0, recovered
    want = {(trace % 2**64) << 64 | span for trace, span in senders.acknowledged}
    for name, have in (("zipkin", catch.seen), ("kafka", topic_of(kafka, "killed"))):
        missing = want - set(have)
        assert not missing, f"{name}: {len(missing)} of {len(want)} acknowledged spans are missing"
