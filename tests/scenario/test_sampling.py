"""Thinning is consistent and its weights are true: series stay exact or inside their own error band, and what is exported
estimates what was sent."""

import json
import math
import re

import pytest

SPANS = 40_000
RATE = 0.1


def threshold(span: dict) -> int:
    """T of tracestate `ot=th:...`: 14 hex digits, trailing zeros left out (OpenTelemetry, TraceState: Probability Sampling)."""
    found = re.search(r"(?:^|,)\s*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})", span.get("traceState", ""))
    assert found, f"no th in {span.get('traceState')!r}"
    return int(found[1].ljust(14, "0"), 16)


def policy(tmp_path, text: str) -> str:
    path = tmp_path / "sampling.yaml"
    path.write_text(text)
    return f"sampling: {{ policy: {path} }}"


@pytest.mark.sanitized
def test_the_collector_thins_consistently(weir, tmp_path):
    one = weir(lanes=2, extra=policy(tmp_path, f"collector: {{ rate: {RATE} }}\n"))
    truth_file = tmp_path / "truth.json"
    one.emit("--seed", 5, "--truth", truth_file, spans=SPANS)
    truth = json.loads(truth_file.read_text())
    ledger = one.balance(received=SPANS)
    page = one.page()
    assert page.value("weir_spans_sampled_out_total", exporter="", stage="collector") == ledger.sampled_out > 0
    # Spans are counted before they are thinned: the series are exact.
    calls = page.by("traces_spanmetrics_calls_total", "service", "span_name")
    exact: dict = {}
    for row in truth["operations"]:
        key = (row["service"], row["operation"])
        exact[key] = exact.get(key, 0) + row["spans"]
    assert calls == exact
    assert page.sum("weir_spanmetrics_calls_variance_total") == 0

    assert one.stop() == 0
    kept = one.cat()
    assert len(kept) == SPANS - ledger.sampled_out
    wanted = round((1 - RATE) * 2**56)
    weights = []
    for span in kept:
        t = threshold(span)
        assert abs(t - wanted) <= 2**28, "the threshold of the rate (a shorter th may round it)"
        assert int(span["traceId"], 16) & (2**56 - 1) >= t, "R >= T: another collector would decide the same"
        weights.append(2**56 / (2**56 - t))
    # The traces are kept or not as a whole, so the variance is that of a sum over traces.
    sizes: dict = {}
    for span, weight in zip(kept, weights, strict=True):
        sizes[span["traceId"]] = sizes.get(span["traceId"], 0) + weight
    standard_error = math.sqrt(sum(size * size * (1 - RATE) for size in sizes.values()))
    assert abs(sum(weights) - SPANS) < 5 * standard_error, (
        f"estimate {sum(weights):.0f} of {SPANS}, standard error {standard_error:.0f}"
    )


def test_rates_by_service_and_operation(weir, tmp_path):
    """The most specific rate counts: one operation kept whole, one service dropped."""
    probe = weir(lanes=1)
    probe.emit("--seed", 5, spans=4000)
    probe.balance(received=4000)
    names = sorted(probe.page().by("traces_spanmetrics_calls_total", "service", "span_name").items(), key=lambda row: -row[1])
    (service, operation), _ = names[0]
    other = next(name for (name, _), _ in names if name != service)
    assert probe.stop() == 0

    one = weir(
        lanes=1,
        exporters=f"file: {{ directory: {tmp_path}/second }}",
        extra=policy(
            tmp_path,
            f"""
collector:
  rate: 1
  services:
    {service}: {{ rate: 0, operations: {{ "{operation}": {{ rate: 1 }} }} }}
    {other}: {{ rate: 0 }}
""",
        ),
    )
    one.emit("--seed", 5, spans=4000)
    ledger = one.balance(received=4000)
    calls = one.page().by("traces_spanmetrics_calls_total", "service", "span_name")
    left_out = sum(v for (s, o), v in calls.items() if s == other or (s == service and o != operation))
    assert ledger.sampled_out == left_out > 0
    assert one.stop() == 0
    kept = {(span["service"], span["name"]) for span in one.cat(tmp_path / "second")}
    assert other not in {s for s, _ in kept}
    assert {s for s, _ in kept} == {s for s, _ in calls} - {other}


def test_a_declared_source_weighs_its_spans(weir, tmp_path):
    """Everything that comes over gRPC is declared as sampled at a quarter: each span stands for four."""
    one = weir(extra=policy(tmp_path, "sources:\n  - { match: { receiver: grpc }, sampled_at: 0.25 }\n"))
    one.emit("--seed", 6, spans=8000)
    ledger = one.balance(received=8000)
    assert ledger.sampled_out == 0
    page = one.page()
    assert page.sum("traces_spanmetrics_calls_total") == pytest.approx(4 * 8000)
    assert page.sum("weir_spanmetrics_calls_variance_total") > 0
    assert one.stop() == 0
    spans = one.cat()
    assert len(spans) == 8000
    assert all(prior_weight(span) == 4 for span in spans), "a prior leaves as an attribute, so that the next Weir knows it"


def prior_weight(span: dict) -> float:
    value = next(a["value"] for a in span["attributes"] if a["key"] == "weir.prior_weight")
    return float(next(iter(value.values())))


def test_head_sampled_input_is_estimated_inside_its_band(weir, tmp_path):
    """The sender keeps a tenth and says so in tracestate: the series estimate the whole, with the error they publish."""
    one = weir(lanes=2)
    truth_file = tmp_path / "truth.json"
    summary = one.emit("--seed", 9, "--sample", 0.1, "--truth", truth_file, spans=200_000)
    truth = json.loads(truth_file.read_text())
    all_spans = sum(row["spans"] for row in truth["operations"])
    sent = summary["acknowledged"]
    one.balance(received=sent)
    assert sent < all_spans / 5
    page = one.page()
    estimate = page.sum("traces_spanmetrics_calls_total")
    assert estimate == pytest.approx(sent * 10, rel=1e-6)
    exact: dict = {}
    for row in truth["operations"]:
        exact[row["service"]] = exact.get(row["service"], 0) + row["spans"]
    calls = page.by("traces_spanmetrics_calls_total", "service")
    variance = page.by("weir_spanmetrics_calls_variance_total", "service")
    # Several series of one service share traces; their errors add up, so the band is the sum of the standard errors.
    for service, truth_count in exact.items():
        bands = sum(math.sqrt(v) for labels, v in page.select("weir_spanmetrics_calls_variance_total", service=service))
        assert variance[service] > 0
        assert abs(calls[service] - truth_count) < 5 * bands, (
            f"{service}: {calls[service]:.0f} for {truth_count}, error {bands:.0f}"
        )
