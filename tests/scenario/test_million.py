"""A million spans: not one unaccounted for, on one lane, and where most are handed to another lane."""

import pytest

MILLION = 1_000_000


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_a_million_spans_balance_to_the_last(weir, tmp_path, lanes):
    # The sender is faster than zstd on a machine of two: the queue has room for all that it is ahead.
    one = weir(lanes=lanes, exporters=f"file: {{ directory: {tmp_path}/weir/traces, memory_bytes: 1GiB }}")
    summary = one.emit("--batch", 100, "--in-flight", 16, spans=MILLION)
    assert summary["acknowledged"] == MILLION
    assert summary["refused"] == 0
    ledger = one.balance(received=MILLION)
    assert ledger.delivered("file") == MILLION
    assert one.page().sum("traces_spanmetrics_calls_total") == MILLION
    assert one.page().sum("traces_spanmetrics_latency_count") == MILLION


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.sanitized
def test_the_file_holds_what_was_delivered(weir, lanes):
    one = weir(lanes=lanes)
    one.emit("--batch", 37, "--seed", 7, spans=20_000)
    ledger = one.balance(received=20_000)
    assert ledger.delivered("file") == 20_000
    assert one.stop() == 0
    spans = one.cat()
    assert len(spans) == 20_000
    assert len({(span["traceId"], span["spanId"]) for span in spans}) == 20_000, "none twice"
    ids = {(span["traceId"], span["spanId"]) for span in spans}
    assert all((span["traceId"], span["parentSpanId"]) in ids for span in spans if span.get("parentSpanId")), "no parent is missing"
    assert all(span["service"] and span["name"] for span in spans)


def test_a_seed_repeats_exactly(weir, tmp_path):
    one = weir(lanes=1)
    summaries = []
    for name in ("first", "second"):
        truth = tmp_path / f"{name}.json"
        one.emit("--seed", 42, "--truth", truth, spans=5000)
        summaries.append(truth.read_text())
    one.balance(received=10_000)
    assert summaries[0] == summaries[1]
