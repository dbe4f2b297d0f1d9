"""Back ends and the network before them break in every way, under load: what they really hold, span by span, is what the ledger
says; and nobody else is held up. WEIR_AWAY_SECONDS=60 makes each absence a minute."""

import os
import re
import signal
import time

from harness.catch import Catch
from harness.fault_proxy import CUT_ANSWER, CUT_REQUEST, HANG, PASS, REFUSE, FaultProxy, cut, slow, status
from harness.load import Load, keeps_up, truth
from harness.net import http, wait_until
from harness.zipkin import Zipkin

AWAY_S = float(os.environ.get("WEIR_AWAY_SECONDS", "5"))
RATE = 1_000  # spans a second
RETRY = "retry_initial: 50ms, retry_max: 300ms"
EAGER = f"{RETRY}, timeout: 10s"  # longer than anybody stands still who is not told to: then each answer comes through


def check_held(catch: Catch, lost: int, want: set[int]):
    """Each span, and each once where every answer came through."""
    assert set(catch.seen) == want, f"{len(want - set(catch.seen))} missing, {len(set(catch.seen) - want)} unknown"
    if lost == 0:
        assert max(catch.seen.values()) == 1, "a span came twice though no answer was lost"


def unanswered(one, name: str) -> float:
    """Posts of which Weir heard nothing. On a slow way the end of its patience and an answer cross: nobody else can tell."""
    return one.own().value("weir_zipkin_posts_total", exporter=f"zipkin/{name}", answer="none")


FAULTS = {
    "refuse": (REFUSE, None),
    "s503": (status(503), "status_503"),
    "s500": (status(500), "status_500"),
    "s429": (status(429, "2"), "status_429"),
    "hang": (HANG, "hang"),
    "cut_request": (CUT_REQUEST, "cut_request"),
    "cut_answer": (CUT_ANSWER, "cut_answer"),
    "cut": (cut(200_000), "cut"),
    "slow": (slow(100_000), "slow"),
}


def test_every_fault_at_once_each_before_a_back_end_of_its_own(weir, start, tmp_path, request):
    catches, proxies = {}, {}
    for name in FAULTS:
        catches[name] = Catch()
        request.addfinalizer(catches[name].stop)
        proxies[name] = start(FaultProxy(catches[name].port))
    lines = [f"zipkin/{name}: {{ url: '{proxy.endpoint}', encoding: json, {EAGER} }}" for name, proxy in proxies.items()]
    one = weir(exporters=f"file: {{ directory: {tmp_path}/weir/traces }}\n" + "\n".join(lines))
    load = Load(one, None, rate=RATE)
    wait_until(lambda: all(catch.spans > 0 for catch in catches.values()), "everybody to have some")
    for name, (fault, _) in FAULTS.items():
        proxies[name].set(fault)
    time.sleep(AWAY_S)
    keeps_up(one, "file")
    sent = load.end()

    def broken() -> bool:
        held = [one.ledger().exporters[f"zipkin/{name}"]["held"] for name in FAULTS if name not in ("cut", "slow")]
        return all(held) and all(count is None or proxies[name].counts[count] > 0 for name, (_, count) in FAULTS.items())

    wait_until(broken, lambda: f"all to be broken: {[(name, proxy.counts) for name, proxy in proxies.items()]}")
    times = lambda code: proxies[f"s{code}"].counts[f"status_{code}"]  # noqa: E731
    wait_until(lambda: times(429) < times(503) / 2, lambda: f"Retry-After to be heeded: {times(429)} and {times(503)}")
    for proxy in proxies.values():
        proxy.set(PASS)
    sent += one.emit("--seed", 2, spans=1000)["acknowledged"]
    ledger = one.balance(received=sent)
    for exporter, own in ledger.exporters.items():
        assert own["delivered"] == sent, f"{exporter}: {own}"
    want = truth(one)
    assert len(want) == sent
    for name in FAULTS:
        check_held(catches[name], proxies[name].counts["lost"] + (unanswered(one, name) if name == "slow" else 0), want)
    assert sum(catches["cut_answer"].seen.values()) > sent, "a body whose answer was lost is sent again"
    assert all(proxies[name].counts["lost"] == 0 for name in ("s503", "s500", "s429", "cut_request"))
    page = one.own()
    for name in ("hang", "cut_request", "cut_answer"):
        assert page.value("weir_zipkin_posts_total", exporter=f"zipkin/{name}", answer="none") > 0
    assert page.sum("weir_spans_refused_total") == 0


def test_a_slow_back_end_with_a_full_queue_beside_fast_ones(weir, start, tmp_path, request):
    """Its queue stays full, what does not fit is counted; the others deliver as it comes."""
    catches = {name: Catch() for name in ("slow", "fast")}
    for catch in catches.values():
        request.addfinalizer(catch.stop)
    proxy = start(FaultProxy(catches["slow"].port, fault=slow(40_000)))
    one = weir(
        exporters=f"file: {{ directory: {tmp_path}/weir/traces }}\n"
        f"zipkin/slow: {{ url: '{proxy.endpoint}', encoding: json, memory_bytes: 1MiB, max_in_flight: 2, {EAGER} }}\n"
        f"zipkin/fast: {{ url: '{catches['fast'].endpoint}', encoding: json }}"
    )
    load = Load(one, None, rate=RATE)
    drops = lambda: one.own().sum("weir_spans_dropped_total", exporter="zipkin/slow", where="queue", reason="full")  # noqa: E731
    wait_until(lambda: drops() > 0, "the slow one's queue to be full")
    for _ in range(5):
        time.sleep(AWAY_S / 5)
        before = drops()
        keeps_up(one, "file", "zipkin/fast")
        wait_until(lambda: drops() > before, "it to be full still")  # noqa: B023
    sent = load.end()
    proxy.set(PASS)
    ledger = one.balance(received=sent)
    assert ledger.delivered("file") == ledger.delivered("zipkin/fast") == sent
    dropped = one.own().value("weir_spans_dropped_total", exporter="zipkin/slow", where="queue", reason="full")
    assert dropped > 0 and ledger.delivered("zipkin/slow") == sent - dropped
    want = truth(one)
    check_held(catches["fast"], 0, want)
    lost = proxy.counts["lost"] + unanswered(one, "slow")
    check_held(catches["slow"], lost, set(catches["slow"].seen) & want)
    assert len(catches["slow"].seen) == sent - dropped or lost > 0


def held_by(zipkin: Zipkin) -> set[int]:
    """The spans that a real Zipkin shows; of their JSON only the ids are read."""
    answer = http(f"http://127.0.0.1:{zipkin.port}/api/v2/traces?limit=100000&lookback={24 * 3600 * 1000}", timeout=100)
    assert answer.status == 200, answer.text
    ids = re.findall(rb'"traceId":"([0-9a-f]+)",(?:"parentId":"[0-9a-f]+",)?"id":"([0-9a-f]{16})"', answer.body)
    assert len(ids) == answer.body.count(b'"traceId"')
    return {int(trace[-16:] + span, 16) for trace, span in ids}


def test_zipkin_is_stopped_and_comes_back_and_then_its_network_breaks(weir, start, tmp_path):
    zipkin = start(Zipkin(tmp_path))
    proxy = start(FaultProxy(zipkin.port))
    one = weir(
        exporters=f"file: {{ directory: {tmp_path}/weir/traces }}\nzipkin: {{ url: '{proxy.endpoint}', {RETRY}, timeout: 2s }}"
    )

    # It forgets everything when it stops. What had been delivered by then is gone with it; all else is there afterwards.
    load = Load(one, None, "--seed", 21, rate=RATE)
    wait_until(lambda: one.ledger().delivered("zipkin") > 2 * RATE, "some to be delivered")
    zipkin.stop()
    wait_until(lambda: one.own().value("weir_exporter_paused", exporter="zipkin") == 1, "its end to be noticed")
    gone = one.ledger().delivered("zipkin")
    time.sleep(AWAY_S)
    assert one.ledger().delivered("zipkin") == gone
    sent = load.end()
    zipkin.start()
    assert one.balance(received=sent).delivered("zipkin") == sent
    want = truth(one)
    wait_until(lambda: len(held_by(zipkin)) >= sent - gone, "Zipkin to show what came", every=0.5)
    have = held_by(zipkin)
    assert have <= want and len(want - have) <= gone, f"{len(want - have)} of {sent} missing, {gone} were delivered before the stop"

    # Now its process hangs, and then the way to it breaks in turn.
    load = Load(one, None, "--seed", 22, rate=RATE)
    zipkin.process.signal(signal.SIGSTOP)
    time.sleep(2.5)
    zipkin.process.signal(signal.SIGCONT)
    for fault, count in ((status(503), "status_503"), (CUT_REQUEST, "cut_request"), (CUT_ANSWER, "cut_answer"), (HANG, "hang")):
        before = proxy.counts[count]
        proxy.set(fault)
        wait_until(lambda: proxy.counts[count] > before + (fault is not HANG), lambda: f"{count}: {proxy.counts}")  # noqa: B023
    proxy.set(cut(100_000))
    time.sleep(1)
    proxy.set(REFUSE)
    time.sleep(1)
    proxy.set(PASS)
    sent += load.end()
    assert one.balance(received=sent).delivered("zipkin") == sent
    new = truth(one) - want
    wait_until(lambda: new <= held_by(zipkin), "Zipkin to show what came", every=0.5)
