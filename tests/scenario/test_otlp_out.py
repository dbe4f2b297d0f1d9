"""OTLP out: over gRPC and HTTP into a real OpenTelemetry Collector and into Weir itself."""

import pytest
from harness.collector import Collector

SPANS = 16_000


def plain(span: dict, service: str) -> tuple:
    """What of a span has to arrive, whoever tells it."""
    attributes = {one["key"]: str(next(iter(one["value"].values()))) for one in span.get("attributes", [])}
    status = span.get("status", {}).get("code", 0)
    return (span["name"], span["kind"], span["startTimeUnixNano"], span["endTimeUnixNano"], span.get("parentSpanId", ""), status,
            service, tuple(sorted(attributes.items())))  # fmt: skip


def each_once(spans: list[tuple[dict, str]]) -> dict:
    found = {(span["traceId"], span["spanId"]): plain(span, service) for span, service in spans}
    assert len(found) == len(spans), "spans came twice"
    return found


def stored(one) -> dict:
    """By the file exporter beside."""
    return each_once([(span, span["service"]) for span in one.cat()])


def exporters(tmp_path, *endpoints: str, more: str = "") -> str:
    listed = ", ".join(f"'{endpoint}'" for endpoint in endpoints)
    return f"file: {{ directory: {tmp_path}/weir/traces }}\notlp: {{ endpoints: [{listed}], {more} }}"


@pytest.mark.parametrize("scheme", ["grpc", "http"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_the_collector_takes_it(weir, start, tmp_path, scheme, compression):
    collector = start(Collector(tmp_path))
    url = collector.url(scheme)
    one = weir(exporters=exporters(tmp_path, url, more=f"compression: {compression}"))
    one.emit("--seed", 1, "--errors", "0.05", spans=SPANS)
    assert one.balance(received=SPANS).delivered("otlp") == SPANS
    page = one.page()
    labels = {"exporter": "otlp", "endpoint": url}
    assert page.value("weir_otlp_requests_total", outcome="delivered", **labels) > 0
    assert page.sum("weir_otlp_requests_total") == page.value("weir_otlp_requests_total", outcome="delivered", **labels)
    message, body = (page.value(f"weir_otlp_{what}_bytes_total", **labels) for what in ("message", "body"))
    assert page.value("weir_otlp_encoding_fallbacks_total", **labels) == 0
    assert body < message / 3 if compression != "none" else body >= message
    assert page.value("weir_otlp_endpoint_up", **labels) == 1
    assert one.stop() == 0
    assert each_once(collector.wait_for(SPANS)) == stored(one)
