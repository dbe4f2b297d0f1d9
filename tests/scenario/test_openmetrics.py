"""OpenMetrics 1.0 on /metrics by Accept, with exemplars of stored traces: read by its reference parser and by Prometheus."""

import re

from harness.net import get_json, http, wait_until
from harness.prometheus import Prometheus
from harness.stored import attribute, traces
from prometheus_client.openmetrics.parser import text_string_to_metric_families

ACCEPT = "application/openmetrics-text"
# As Prometheus 2 sends it.
PROMETHEUS_ACCEPT = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
POLICY = "keep:\n  quiet: 300ms\n  rules:\n    - { name: errors, when: { error: true } }\n    - { name: rest, rate: 5% }\n"
SPANS = 16_000


def page_of(one, accept: str | None):
    answer = http(one.url("/metrics"), headers={"Accept": accept} if accept else {})
    assert answer.status == 200
    return answer


def test_accept_chooses(weir):
    one = weir(lanes=1)
    for accept in (None, "*/*", "text/plain", "text/html", f"{ACCEPT};q=0", f"{ACCEPT};q=0.1, text/plain"):
        answer = page_of(one, accept)
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", accept
        assert "# EOF" not in answer.text
    for accept in (ACCEPT, PROMETHEUS_ACCEPT, f"text/plain;q=0.5, {ACCEPT}; version=1.0.0"):
        answer = page_of(one, accept)
        assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8", accept
        assert answer.text.endswith("\n# EOF\n")
        assert "Accept" in answer.headers["Vary"]


def test_the_reference_parser_takes_the_page(weir):
    """Also with senders' names that OpenMetrics has a rule against: a gauge beside a counter, one that ends in _total."""
    one = weir(lanes=2)
    one.emit("--seed", 3, spans=SPANS)
    one.send_statsd("shop.orders:1|c", "shop_orders2:1|c", "shop_orders2_created:4|g", "depth_total:7|g", "latency:250|ms")
    one.send_statsd("shop.orders.x:1|g", "sizes:12|h", 'odd-name.1st:1|c|#weird-tag:"x\\y"', "names:ann|s")
    one.balance(received=SPANS)
    wait_until(lambda: one.own().sum("weir_points_received_total", receiver="statsd") == 9, "the points of both datagrams")
    wait_until(lambda: one.page().sum("names") == 1, "the points")
    plain, text = one.page(), page_of(one, ACCEPT).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["traces_spanmetrics_calls"].type == "counter"
    assert families["weir_spans_received"].type == "counter"
    assert families["shop_orders2_total"].type == "unknown", "its family's name is a gauge's"
    for name in ("traces_spanmetrics_calls_total", "traces_spanmetrics_latency_bucket", "weir_spans_received_total"):
        samples = [s for family in families.values() for s in family.samples if s.name == name]
        assert sum(s.value for s in samples) == plain.sum(name), name


def test_exemplars_are_stored_traces(weir, start, tmp_path):
    (tmp_path / "sampling.yaml").write_text(POLICY)
    one = weir(lanes=2, extra=f"sampling: {{ policy: {tmp_path}/sampling.yaml }}")
    prometheus = start(Prometheus(tmp_path / "prometheus", one.admin_port, features="exemplar-storage", every="5s"))
    one.emit("--seed", 4, "--errors", "0.02", spans=SPANS)
    one.balance(received=SPANS)
    text = page_of(one, ACCEPT).text
    samples = [s for f in text_string_to_metric_families(text) for s in f.samples if s.exemplar is not None]
    assert len(samples) > 20
    assert {s.name for s in samples} == {"traces_spanmetrics_latency_bucket"}
    assert " # {" not in page_of(one, None).text, "the old text format has none"

    def found():
        query = {"query": "traces_spanmetrics_latency_bucket", "start": "0", "end": "4000000000"}
        return get_json(f"http://127.0.0.1:{prometheus.port}/api/v1/query_exemplars", **query)["data"]

    series = wait_until(found, "Prometheus to have exemplars", every=0.3)
    assert one.stop() == 0
    stored = {}
    for trace_id, spans in traces(one.cat()).items():
        assert sum(attribute(span, "weir.rule") is not None for span in spans) == 1
        stored |= {(trace_id, span["spanId"]): span for span in spans}
    for sample in samples:
        labels = sample.exemplar.labels
        assert re.fullmatch("[0-9a-f]{32}", labels["trace_id"])
        span = stored[labels["trace_id"], labels["span_id"]]  # of every one its trace was kept
        seconds = (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e9
        assert abs(sample.exemplar.value - seconds) < 1e-9
        assert seconds <= float(sample.labels["le"])
        assert (sample.labels["service"], sample.labels["span_name"]) == (span["service"], span["name"])
    for one_series in series:
        for exemplar in one_series["exemplars"]:
            assert (exemplar["labels"]["trace_id"], exemplar["labels"]["span_id"]) in stored
