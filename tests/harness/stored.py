"""What `weir cat` gives back, as traces: thresholds, weights, marks."""

import re
from collections import defaultdict


def attribute(span: dict, key: str):
    """The value of an attribute, or None."""
    for one in span.get("attributes", []):
        if one["key"] == key:
            kind, value = next(iter(one["value"].items()))
            return float(value) if kind in ("doubleValue", "intValue") else value
    return None


def threshold(span: dict) -> int:
    """T of `ot=th`, 0 where it has none."""
    found = re.search(r"(?:^|[;,])(?:ot=)?th:([0-9a-f]+)", span.get("traceState", ""))
    return int(found[1].ljust(14, "0"), 16) if found else 0


def weight(span: dict) -> float:
    return (attribute(span, "weir.prior_weight") or 1.0) * 2**56 / (2**56 - threshold(span))


def is_error(span: dict) -> bool:
    return span.get("status", {}).get("code") in (2, "STATUS_CODE_ERROR")


def is_root(span: dict) -> bool:
    return not span.get("parentSpanId")


def traces(spans: list[dict]) -> dict[str, list[dict]]:
    out = defaultdict(list)
    for span in spans:
        out[span["traceId"]].append(span)
    return dict(out)


def duration_ms(trace: list[dict]) -> float:
    return (max(int(s["endTimeUnixNano"]) for s in trace) - min(int(s["startTimeUnixNano"]) for s in trace)) / 1e6
