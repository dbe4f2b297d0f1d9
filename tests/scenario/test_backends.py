"""A back end that is away, slow or refusing changes nothing for the receivers: its queue is bounded, what does not fit is
counted, and another exporter beside it has everything."""

import pytest
from harness.catch import Catch
from harness.net import free_port, wait_until
from harness.sink import Silence, Sink

SPANS = 60_000
QUEUE = 4 * 1024 * 1024  # less than what SPANS take


def exporters(one_folder, url: str, *more: str) -> str:
    options = ", ".join(
        (f"url: '{url}'", f"memory_bytes: {QUEUE}", "retry_initial: 100ms", "retry_max: 300ms", "timeout: 1s", *more)
    )
    return f"file: {{ directory: {one_folder}/weir/traces }}\nzipkin/away: {{ {options} }}"


def check_receivers_unaffected(one, sent: int):
    """Everything was acknowledged and the file has it all; the other queue holds no more than its bound."""
    ledger = one.balance(received=sent, held=True)
    assert ledger.delivered("file") == sent
    page = one.own()
    assert page.sum("weir_spans_refused_total") == 0
    assert ledger.exporters["zipkin/away"]["delivered"] == 0
    dropped = page.value("weir_spans_dropped_total", exporter="zipkin/away", where="queue", reason="full")
    held = ledger.exporters["zipkin/away"]["held"]
    assert dropped > 0
    assert held > 0
    assert dropped + held == sent
    # The emitter's spans are some 300 bytes and a view of about 100: what is held fits into the bound.
    assert held * 250 < QUEUE * 1.1, f"{held} spans held in {QUEUE} bytes"


def away(kind: str, start, tmp_path):
    """(port, what stands there) for each way of being away."""
    if kind == "closed":
        return free_port(), None
    if kind == "silent":
        silence = Silence()
        return silence.port, silence
    sink = Sink(tmp_path / "sink")
    sink.folder.mkdir(parents=True)
    sink.down()
    return sink.port, start(sink)


@pytest.mark.parametrize("kind", ["closed", "refusing", "silent"])
@pytest.mark.sanitized
def test_away_then_back(weir, start, tmp_path, kind):
    port, thing = away(kind, start, tmp_path)
    one = weir(exporters=exporters(tmp_path, f"http://127.0.0.1:{port}/api/v2/spans"))
    summary = one.emit("--batch", 100, spans=SPANS)
    assert (summary["acknowledged"], summary["refused"]) == (SPANS, 0)
    check_receivers_unaffected(one, SPANS)

    # It comes back: what was held arrives, and what is new too; what was dropped stays counted.
    if kind == "closed":
        start(Sink(tmp_path / "sink", port))
    elif kind == "refusing":
        wait_until(lambda: thing.statuses().get(503, 0) > 0, "a refusal")
        thing.down(False)
    else:
        thing.stop()
        start(Sink(tmp_path / "sink", port))
    dropped = one.own().value("weir_spans_dropped_total", exporter="zipkin/away", where="queue", reason="full")
    held = lambda: one.ledger().exporters["zipkin/away"]["held"]  # noqa: E731
    wait_until(lambda: held() == 0, "what was held to arrive", progress=held)
    one.emit("--batch", 100, "--seed", 2, spans=1000)
    ledger = one.balance(received=SPANS + 1000)
    assert ledger.delivered("file") == SPANS + 1000
    assert ledger.delivered("zipkin/away") == SPANS + 1000 - dropped


def test_what_a_back_end_refuses_for_good_is_counted_and_not_repeated(weir, start, tmp_path):
    """Answered with 400: rejected at once, without a retry."""
    sink = start(Sink(tmp_path / "sink"))
    one = weir(exporters=f"zipkin: {{ url: 'http://127.0.0.1:{sink.port}/refused', retry_initial: 100ms }}")
    one.emit("--batch", 100, spans=2000)
    ledger = one.balance(received=2000)
    assert ledger.delivered("zipkin") == 0
    assert one.own().value("weir_spans_dropped_total", exporter="zipkin", where="queue", reason="rejected") == 2000
    wait_until(sink.statuses, "nginx to write what it answered")
    assert set(sink.statuses()) == {400}
    assert sink.statuses()[400] <= 2000 / 100, "each body was sent once"


def test_too_old_is_dropped_as_expired(weir, tmp_path):
    one = weir(
        exporters=f"file: {{ directory: {tmp_path}/weir/traces }}\n"
        f"zipkin/away: {{ url: 'http://127.0.0.1:{free_port()}/api/v2/spans', max_age: 1s, retry_initial: 100ms, retry_max: 200ms }}"
    )
    one.emit("--batch", 100, spans=3000)
    ledger = one.balance(received=3000)
    assert ledger.delivered("file") == 3000
    assert one.own().value("weir_spans_dropped_total", exporter="zipkin/away", where="queue", reason="expired") == 3000


def test_two_of_a_kind_have_an_account_each(weir, start, tmp_path):
    sinks = {name: start(Sink(tmp_path / name)) for name in ("a", "b")}
    one = weir(
        exporters="\n".join(
            f"zipkin/{name}: {{ url: '{sink.endpoint}', encoding: {encoding} }}"
            for (name, sink), encoding in zip(sinks.items(), ("proto3", "json"), strict=True)
        )
    )
    one.emit("--batch", 100, spans=10_000)
    ledger = one.balance(received=10_000)
    assert {name: own["delivered"] for name, own in ledger.exporters.items()} == {"zipkin/a": 10_000, "zipkin/b": 10_000}
    wait_until(lambda: all(sink.statuses() for sink in sinks.values()), "nginx to write what it answered")
    assert all(set(sink.statuses()) == {202} for sink in sinks.values())


def test_batches_under_way_follow_what_the_back_end_can_do(weir, request):
    """Three workers, then twenty: as many batches are under way as keep them busy, and not a queue before them."""
    catch = Catch(workers=3, takes=0.1)
    request.addfinalizer(catch.stop)
    one = weir(
        exporters=f"zipkin: {{ url: '{catch.endpoint}', encoding: json, max_in_flight: 64 }}", extra="batch: { max_spans: 50 }"
    )
    limit = lambda: one.own().value("weir_exporter_in_flight_limit", exporter="zipkin")  # noqa: E731
    assert limit() == 2
    sent, seen = 0, []

    def follows(low: int, high: int):
        """Within these bounds, in the middle of some seconds: on a machine that is out of breath an answer may take any time, and the
        limit goes astray with it. There is always more to send."""

        def within() -> bool:
            nonlocal sent
            if sent - catch.spans < 20_000:
                sent += 20_000
                one.emit("--batch", 50, "--seed", sent, spans=20_000)
            seen.append(limit())
            return len(seen) >= 20 and low <= sorted(seen[-20:])[10] <= high

        seen.clear()
        wait_until(within, lambda: f"{low} to {high} under way: {seen}", timeout=240, every=0.2)

    follows(3, 7)
    with catch.turn:
        catch.workers = 20
        catch.turn.notify_all()
    follows(16, 45)
    with catch.turn:  # the rest is nothing to wait for
        catch.workers, catch.takes = 64, 0
        catch.turn.notify_all()
    assert one.balance(received=sent).delivered("zipkin") == sent == catch.spans
    assert one.own().value("weir_exporter_paused", exporter="zipkin") == 0
