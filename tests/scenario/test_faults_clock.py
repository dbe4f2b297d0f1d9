"""Somebody sets the clock, back and forth, while Weir runs: nothing expires by it, nothing is held for ever."""

import time

from harness.catch import Catch
from harness.disk import WallClock
from harness.fault_proxy import PASS, REFUSE, FaultProxy
from harness.load import Load, truth
from harness.net import http, wait_until

DAY = 24 * 3600
RULES = """
keep:
  wait: 4s
  quiet: 500ms
  rules:
    - { name: all, rate: 1 }
"""


def test_the_clock_is_set_back_and_forth(weir, start, tmp_path, request):
    """Traces wait for their decision, batches for a back end that is away, series for their next value, as long as ever."""
    catch = Catch()
    request.addfinalizer(catch.stop)
    proxy = start(FaultProxy(catch.port, fault=REFUSE))
    clock = WallClock(tmp_path)
    (tmp_path / "sampling.yaml").write_text(RULES)
    one = weir(
        exporters=f"file: {{ directory: {tmp_path}/weir/traces }}\n"
        f"zipkin: {{ url: '{proxy.endpoint}', encoding: json, retry_initial: 100ms, retry_max: 500ms }}",
        extra=f"sampling: {{ policy: {tmp_path}/sampling.yaml }}",
        env=clock.env,
    )

    def told() -> int:
        """What time Weir believes that it is: it says so when it reloads."""
        assert one.reload().status == 200
        return int(one.own().value("weir_config_last_reload_success_timestamp_seconds"))

    load = Load(one, None, "--seed", 41, rate=1_000)
    wait_until(lambda: one.ledger().exporters["zipkin"]["held"] > 0, "spans to wait")
    for offset in (-3600, 3 * DAY, -30 * 365 * DAY, 100 * 365 * DAY, -60, 0):
        clock.set(offset)
        assert abs(told() - time.time() - offset) < 60, "the clock was not set"
        time.sleep(0.8)
        page = one.own()
        assert 0 <= page.value("weir_exporter_oldest_age_seconds", exporter="zipkin") < 600
        assert page.sum("weir_spans_dropped_total") == 0
        assert http(one.url("/metrics"), headers={"Accept": "application/openmetrics-text"}).status == 200
    sent = load.end()
    proxy.set(PASS)
    ledger = one.balance(received=sent)
    assert ledger.delivered("zipkin") == ledger.delivered("file") == sent
    page = one.page()
    assert page.sum("weir_tail_pending_spans") == 0
    assert page.sum("traces_spanmetrics_calls_total") == sent, "a series was forgotten"
    want = truth(one)
    assert set(catch.seen) == want and max(catch.seen.values()) == 1


def test_the_oldest_file_is_the_one_that_was_written_first(weir, tmp_path):
    """With the clock an hour back, and after a restart: what max_total_bytes removes is still the oldest."""
    clock = WallClock(tmp_path)
    one = weir(
        lanes=1,
        exporters=f"file: {{ directory: {tmp_path}/weir/traces, max_file_bytes: 64KiB, max_total_bytes: 256KiB }}",
        extra="batch: { max_spans: 800 }",
        env=clock.env,
    )
    sent = 0
    for offset in (0, -3600, -7200):
        clock.set(offset)
        for _ in range(4):
            sent += 1
            one.emit("--seed", sent, "--spans-per-trace", 8, spans=1600)
        one.balance()
        if offset == -3600:
            assert one.stop() == 0
            one.start()
    assert one.own().sum("weir_file_removed_files_total") > 0
    newest = {span["traceId"] for span in one.cat()}
    assert one.stop() == 0
    # The same seed makes the same ids: so the last of them is known.
    again = weir(name="again", lanes=1, exporters=f"file: {{ directory: {tmp_path}/last }}")
    again.emit("--seed", sent, "--spans-per-trace", 8, spans=1600)
    again.balance(received=1600)
    last = {span["traceId"] for span in again.cat(tmp_path / "last")}
    assert last <= newest, f"{len(last - newest)} of the last {len(last)} traces were removed as the oldest"
