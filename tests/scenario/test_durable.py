"""`spool.durable`: what was acknowledged outlives a kill at any moment, a full disk and a damaged one."""

import json
import pathlib
import random
import time

import pytest
from harness.catch import Catch
from harness.net import free_port, wait_until
from harness.process import run
from harness.senders import Senders, key, post, spans_of
from harness.weir import Weir, binary

RULES = """
keep:
  wait: 2s
  quiet: 300ms
  memory: 64MiB
  rules:
    - { name: errors, when: { error: true } }
    - { name: half, rate: 0.5 }
"""
EVERYTHING = "collector: { rate: 1 }\n"  # nothing waits for a decision
KILLS = 50


def durable(folder: pathlib.Path, rules: str = RULES, **spool) -> str:
    policy = folder / "sampling.yaml"
    policy.write_text(rules)
    more = "".join(f", {key}: {value}" for key, value in spool.items())
    return f"sampling: {{ policy: {policy} }}\nspool: {{ directory: {folder / 'spool'}, durable: true{more} }}\n"


def is_kept(trace: int, error: bool) -> bool:
    """Rate 0.5 by the low 56 bits of the trace id (OpenTelemetry, consistent probability sampling)."""
    return error or (trace & (2**56 - 1)) >= 2**55


def stored(one: Weir) -> dict[tuple[int, int], int]:
    """How often each span is in the files. A kill may leave the end of one torn; what is torn was not called delivered."""
    done = run([binary(), "cat", one.traces], 280)
    counts: dict[tuple[int, int], int] = {}
    for line in done.stdout.splitlines():
        found = key(json.loads(line))
        counts[found] = counts.get(found, 0) + 1
    return counts


def all_decided(one: Weir):
    """Waits until nothing waits for a decision or for a back end any more."""

    def waiting() -> tuple:
        page = one.own()
        return page.sum("weir_spans_held"), page.sum("weir_tail_pending_spans")

    wait_until(lambda: waiting() == (0, 0), lambda: f"all to be decided and delivered: {waiting()}", progress=waiting)


def assert_none_missing(one: Weir, acknowledged: dict[tuple[int, int], bool], rules: str = RULES):
    have = stored(one)
    if rules == EVERYTHING:
        missing = acknowledged.keys() - have.keys()
        assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged spans are not stored"
        return
    missing = [span for span, error in acknowledged.items() if is_kept(span[0], error) and span not in have]
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged spans are not stored, such as {missing[0]}"
    wrong = [span for span, error in acknowledged.items() if not is_kept(span[0], error) and span in have]
    assert not wrong, f"{len(wrong)} spans are stored against their rule"


@pytest.mark.sanitized
@pytest.mark.parametrize("rules", [RULES, EVERYTHING], ids=["rules", "everything"])
def test_killed_fifty_times(weir, tmp_path, rules):
    one = weir(lanes=2, extra=durable(tmp_path, rules, segment_bytes="1MiB"), receivers={"zipkin": ""})
    senders = Senders(one)
    chance = random.Random(7)
    recovered = failed = 0
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.02, 0.8))
        page = one.page()
        recovered += page.sum("weir_spans_recovered_total")
        failed += page.sum("weir_journal_commits_failed_total")
        one.kill()
        one.start()
    time.sleep(0.5)
    senders.stop()
    all_decided(one)
    one.balance()
    assert one.page().sum("weir_journal_commits_failed_total") + failed == 0
    assert len(senders.acknowledged) > 1000 and senders.refused > 0 and recovered > 0
    assert_none_missing(one, senders.acknowledged, rules)


@pytest.mark.sanitized
def test_a_stop_leaves_what_is_undecided_to_the_next_start(weir, tmp_path):
    one = weir(lanes=2, extra=durable(tmp_path, RULES.replace("wait: 2s", "wait: 300s")), receivers={"zipkin": ""})
    acknowledged = {}
    for trace in range(1 << 54, (1 << 54) + 50):
        body = spans_of(trace * 2 + 1, (2, 3), error=trace % 2 == 0)  # no roots: nothing else ends their wait
        assert post(one, body)
        acknowledged |= {key(span): trace % 2 == 0 for span in body}
    assert one.stop() == 0
    assert not stored(one)
    durable(tmp_path)  # 2 s from here on
    one.start()
    page = one.page()
    assert page.sum("weir_spans_recovered_total") == len(acknowledged)
    assert page.sum("weir_journal_spans_recovered_total", fate="undecided") == len(acknowledged)
    all_decided(one)
    one.balance()
    assert_none_missing(one, acknowledged)
    assert max(stored(one).values()) == 1, "nothing comes twice after a stop"
    wait_until(lambda: one.page().sum("weir_journal_bytes") < 100, "the journal to be empty again")
    assert one.stop() == 0
    one.start()
    assert one.page().sum("weir_spans_recovered_total") == 0


def test_what_a_back_end_did_not_take_comes_again(weir, tmp_path):
    """It is away when Weir is killed, and when it is stopped; what was decided stays decided."""
    catch = Catch()
    try:
        port = free_port()
        away = f"zipkin: {{ url: 'http://127.0.0.1:{port}/api/v2/spans', encoding: json }}"
        extra = durable(tmp_path)
        one = weir(lanes=2, extra=extra, exporters=away, receivers={"zipkin": ""})
        acknowledged = set()
        for trace in range(1, 101):
            body = spans_of(trace << 64 | 2**55, (1, 2, 3), error=trace % 2 == 0)
            assert post(one, body)
            acknowledged |= {key(span) for span in body}
        wait_until(lambda: one.page().sum("weir_tail_pending_spans") == 0, "decisions")
        one.balance(held=True)  # and the journal has them
        one.kill()
        one.start()
        page = one.page()
        assert page.sum("weir_journal_spans_recovered_total", fate="kept") == len(acknowledged)
        assert page.sum("weir_journal_spans_recovered_total", fate="undecided") == 0
        one.write(exporters=away, lanes=2, extra=extra + "drain_timeout: 1s\n")
        assert one.reload().status == 200
        assert one.stop() == 0  # dropped as shutdown, as the ledger says; left on disk all the same
        one.write(exporters=away.replace(f"http://127.0.0.1:{port}/api/v2/spans", catch.endpoint), lanes=2, extra=extra)
        one.start()
        wait_until(lambda: catch.spans >= len(acknowledged), lambda: f"all: {catch.spans}", progress=lambda: catch.spans)
        all_decided(one)
        one.balance()
        assert len(catch.traces) == 100 and set(catch.traces.values()) == {3}
        wait_until(lambda: one.page().sum("weir_journal_bytes") < 100, "the journal to be empty again")
    finally:
        catch.stop()


def test_a_damaged_journal_is_read_around(weir, tmp_path):
    one = weir(lanes=1, extra=durable(tmp_path, RULES.replace("wait: 2s", "wait: 300s")), receivers={"zipkin": ""})
    acknowledged, requests = {}, 40
    for n in range(requests):
        body = spans_of((n + 1) << 64 | 2**55, (2, 3), error=True)
        assert post(one, body)
        acknowledged |= {key(span): True for span in body}
    one.kill()
    segments = sorted((tmp_path / "spool" / "journal").glob("*.log"))
    assert segments, "nothing is on disk"
    data = bytearray(segments[0].read_bytes())
    data[len(data) // 2] ^= 0x40
    segments[0].write_bytes(bytes(data) + b"\0" * 5000)
    one.start()
    page = one.page()
    lost = len(acknowledged) - page.sum("weir_spans_recovered_total")
    assert 0 < lost <= 2 * 4, "one flipped bit costs one block: some milliseconds of spans"
    assert page.sum("weir_journal_records_bad_total") == 2
    one.process.says("event=journal_damaged file=00000001.log offset=")
    one.balance(held=True)


def test_another_process_is_refused(weir, tmp_path):
    extra = durable(tmp_path)
    weir(lanes=1, extra=extra, receivers={"zipkin": ""})
    second = Weir(tmp_path / "second", lanes=1, extra=extra)
    done = run([binary(), "run", "-c", second.config])
    assert done.returncode == 1
    assert f"{tmp_path}/spool/exporters/file/lock: another process has the directory" in done.stderr


def test_a_full_journal_degrades_and_heals(weir, tmp_path):
    """It may have 2 MiB; more waits for its decision. Spans go their way, and what is not on disk is counted."""
    rules = RULES.replace("wait: 2s", "wait: 15s")
    one = weir(lanes=2, extra=durable(tmp_path, rules, max_bytes="4MiB", segment_bytes="1MiB"), receivers={"zipkin": ""})
    chance = random.Random(1)
    acknowledged = {}

    def send(count: int):
        for _ in range(count):
            trace = chance.getrandbits(128) | 1
            body = [span for n in range(20) for span in spans_of(trace + (n << 64), (2, 3), False, pad=4000)]
            assert post(one, body), "a full journal refuses nobody"
            acknowledged.update({key(span): False for span in body})

    def full() -> bool:
        send(20)  # 20 x 40 x 2 KiB that does not compress
        page = one.page()
        assert page.sum("weir_journal_bytes") <= 2 << 20
        failed, lost = page.sum("weir_journal_commits_failed_total"), page.sum("weir_journal_records_lost_total", type="spans")
        return failed > 0 and lost > 0

    wait_until(full, "the journal to be full")
    one.process.says("event=journal_block_lost")
    all_decided(one)
    wait_until(lambda: one.page().sum("weir_journal_bytes") < 1 << 20, "room in the journal")  # its thread looks every second
    before = one.page().sum("weir_journal_commits_failed_total")
    send(3)
    page = one.page()
    assert page.sum("weir_journal_commits_failed_total") == before, "there is room again"
    all_decided(one)
    one.balance()
    assert_none_missing(one, acknowledged)
