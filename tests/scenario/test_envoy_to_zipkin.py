"""Envoy -> Weir -> Zipkin: what Envoy says it sent is what Weir received and what Zipkin's own API gives back."""

import re
import time

import pytest
from harness.envoy import (
    SLOW_MS,
    SPANS_PER_REQUEST,
    Mesh,
    shop_paths,
)
from harness.net import wait_until

REQUESTS = 300


@pytest.mark.parametrize("encoding", ["proto3", "json"])
@pytest.mark.sanitized
def test_every_span_arrives_as_it_left(weir, start, zipkin, tmp_path, encoding):
    one = weir(exporters=f"zipkin: {{ url: '{zipkin.endpoint}', encoding: {encoding} }}")
    names = (f"front-{encoding}", f"middle-{encoding}")
    mesh = start(Mesh(tmp_path / "mesh", otlp_port=one.grpc_port, statsd_port=one.statsd_port, names=names))
    paths, began = shop_paths(REQUESTS), time.monotonic()
    statuses = mesh.drive(paths)
    elapsed_s = time.monotonic() - began
    failing = sum("/fail/" in path for path in paths)
    assert statuses == {200: REQUESTS - failing, 503: failing}

    sent = REQUESTS * SPANS_PER_REQUEST
    wait_until(lambda: mesh.spans_sent() >= sent, f"{sent} spans to be sent")
    assert mesh.spans_sent() == sent
    ledger = one.balance(received=sent)
    assert ledger.delivered("zipkin") == sent

    def stored():
        traces = zipkin.traces(names[0])
        return traces if sum(map(len, traces)) >= sent else None

    traces = wait_until(stored, f"{sent} spans in Zipkin", every=0.3)
    assert len(traces) == REQUESTS
    assert sum(map(len, traces)) == sent
    assert set(names) <= set(zipkin.services())
    for trace in traces:
        check_trace(trace, names)
    check_tags(traces, failing, slow=sum("/slow/" in path for path in paths), elapsed_s=elapsed_s)
    check_series(one, names, failing)


def check_trace(trace: list[dict], names: tuple):
    """front server -> front client -> middle server -> middle client, each the parent of the next."""
    ids = {span["id"]: span for span in trace}
    assert len(ids) == SPANS_PER_REQUEST, "each span has an id of its own"
    assert len({span["traceId"] for span in trace}) == 1
    assert re.fullmatch(r"[0-9a-f]{32}", trace[0]["traceId"])
    roots = [span for span in trace if "parentId" not in span]
    assert len(roots) == 1
    chain, span = [], roots[0]
    while span is not None:
        chain.append((span["localEndpoint"]["serviceName"], span["kind"]))
        span = next((child for child in trace if child.get("parentId") == span["id"]), None)
    assert chain == [(names[0], "SERVER"), (names[0], "CLIENT"), (names[1], "SERVER"), (names[1], "CLIENT")]
    for child in trace:
        if "parentId" in child:
            parent = ids[child["parentId"]]
            assert parent["timestamp"] <= child["timestamp"] + 1000, (
                "a parent starts first (clocks are one here; Zipkin counts in us)"
            )


def check_tags(traces: list, failing: int, slow: int, elapsed_s: float):
    """Envoy's attributes are Zipkin's tags, its status is `error`, its times are microseconds."""
    spans = [span for trace in traces for span in trace]
    assert all(span["tags"]["http.method"] == "GET" for span in spans if span["kind"] == "SERVER")
    assert all(span["tags"]["upstream_cluster"] for span in spans)
    assert all(span["tags"]["http.status_code"] in ("200", "503") for span in spans)
    assert sum(span["tags"]["http.status_code"] == "503" for span in spans) == failing * SPANS_PER_REQUEST
    assert all("error" in span["tags"] for span in spans if span["tags"]["http.status_code"] == "503")
    assert not any("error" in span["tags"] for span in spans if span["tags"]["http.status_code"] == "200")
    roots = [span for span in spans if "parentId" not in span]
    slow_roots = [span for span in roots if "/slow/" in span["tags"]["http.url"]]
    assert len(slow_roots) == slow
    durations = sorted(span["duration"] for span in slow_roots)
    # Envoy's timers are a millisecond or two early now and then.
    assert SLOW_MS * 950 <= durations[0] and durations[-1] < elapsed_s * 1e6, durations


def check_series(one, names: tuple, failing: int):
    """The same requests as series: calls by service, errors, the edge between the two; and more than 1,000 of them."""
    page = wait_until(lambda: edge_counted(one, names), "the edge between the two Envoys")
    for name in names:
        servers = page.sum("traces_spanmetrics_calls_total", service=name, span_kind="SPAN_KIND_SERVER")
        errors = page.sum(
            "traces_spanmetrics_calls_total", service=name, span_kind="SPAN_KIND_SERVER", status_code="STATUS_CODE_ERROR"
        )
        assert (servers, errors) == (REQUESTS, failing)
        assert page.sum("traces_spanmetrics_latency_count", service=name) == REQUESTS * 2
    assert page.sum("traces_service_graph_request_failed_total", client=names[0], server=names[1]) == failing
    # Envoy's own count of what its listener took, through DogStatsD deltas, tags as labels.
    wait_until(
        lambda: one.page().sum("envoy_http_downstream_rq_total", envoy_http_conn_manager_prefix=names[0]) >= REQUESTS,
        "what Envoy counted",
    )
    wait_until(lambda: one.page().series_count > 1000, "what both Envoys counted")
    page = one.page()
    assert page.sum("envoy_http_downstream_rq_total", envoy_http_conn_manager_prefix=names[0]) == REQUESTS
    assert page.sum("weir_points_rejected_total") == 0
    assert page.series_count > 1000, f"{page.series_count} series"


def edge_counted(one, names):
    page = one.page()
    return page if page.sum("traces_service_graph_request_total", client=names[0], server=names[1]) == REQUESTS else None
