"""Prepared request bodies of one mesh, the same spans in every format: what tests/bench/post_blast.c sends.

A trace has eight spans: four services in a row, server and client spans in turn from the edge inwards, each the child of the
one before it. Eight attributes a span, as Envoy has them.
"""

import base64
import json
import random
import struct
from pathlib import Path

SERVICES = ["edge", "orders", "payments", "ledger", "stock"]
KINDS = {"SERVER": 2, "CLIENT": 3}
TYPES = {
    "zipkin-json": "application/json",
    "zipkin-proto3": "application/x-protobuf",
    "zipkin-thrift": "application/x-thrift",
    "otlp-proto": "application/x-protobuf",
    "otlp-json": "application/json",
}


def spans(count: int, seed: int, start_us: int) -> list[dict]:
    """Zipkin v2 objects."""
    draw, made = random.Random(seed), []
    while len(made) < count:
        trace, parent = f"{draw.getrandbits(128) | 1 << 120:032x}", None
        begin, path = start_us + draw.randrange(1_000_000), f"/v2/orders/{draw.randrange(10**6)}/items"
        for step in range(8):
            service, called = SERVICES[step // 2], SERVICES[(step + 1) // 2]
            kind = ["SERVER", "CLIENT"][step % 2]
            span = f"{draw.getrandbits(64) | 1 << 60:016x}"
            made.append(
                {
                    "traceId": trace,
                    "id": span,
                    "kind": kind,
                    "name": f"GET {path}",
                    "timestamp": begin + step * 150,
                    "duration": 20_000 - step * 2_000 + draw.randrange(900),
                    "localEndpoint": {"serviceName": service, "ipv4": f"10.0.{step}.7", "port": 8080},
                    "tags": {
                        "http.method": "GET",
                        "http.status_code": "200" if draw.random() > 0.02 else "503",
                        "http.url": f"http://{called}:8080{path}",
                        "http.protocol": "HTTP/1.1",
                        "upstream_cluster": f"outbound|8080||{called}",
                        "response_flags": "-",
                        "request_size": str(draw.randrange(3000)),
                        "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
                    },
                }
                | ({"parentId": parent} if parent else {})
            )
            parent = span
    return made[:count]


# ---- protobuf ----


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fixed64(number: int, value: int) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def zipkin_proto3(listed: list[dict]) -> bytes:
    out = []
    for span in listed:
        end = span["localEndpoint"]
        ip = bytes(int(part) for part in end["ipv4"].split("."))
        body = field(1, bytes.fromhex(span["traceId"])) + (field(2, bytes.fromhex(span["parentId"])) if "parentId" in span else b"")
        body += field(3, bytes.fromhex(span["id"])) + field(4, {"CLIENT": 1, "SERVER": 2}[span["kind"]]) + field(5, span["name"])
        body += fixed64(6, span["timestamp"]) + field(7, span["duration"])
        body += field(8, field(1, end["serviceName"]) + field(2, ip) + field(4, end["port"]))
        body += b"".join(field(11, field(1, key) + field(2, value)) for key, value in span["tags"].items())
        out.append(field(1, body))
    return b"".join(out)


def otlp_proto(listed: list[dict]) -> bytes:
    def pair(key: str, value: str) -> bytes:
        return field(1, key) + field(2, field(1, value))

    out = []
    for service in SERVICES:
        own = []
        for span in listed:
            if span["localEndpoint"]["serviceName"] != service:
                continue
            start = span["timestamp"] * 1000
            body = field(1, bytes.fromhex(span["traceId"])) + field(2, bytes.fromhex(span["id"]))
            body += field(4, bytes.fromhex(span["parentId"])) if "parentId" in span else b""
            body += field(5, span["name"]) + field(6, KINDS[span["kind"]])
            body += fixed64(7, start) + fixed64(8, start + span["duration"] * 1000)
            body += b"".join(field(9, pair(key, value)) for key, value in span["tags"].items())
            own.append(field(2, body))
        if own:
            out.append(field(1, field(1, field(1, pair("service.name", service))) + field(2, b"".join(own))))
    return b"".join(out)


def otlp_json(listed: list[dict]) -> bytes:
    def pair(key: str, value: str) -> dict:
        return {"key": key, "value": {"stringValue": value}}

    resources = []
    for service in SERVICES:
        own = []
        for span in listed:
            if span["localEndpoint"]["serviceName"] == service:
                start = span["timestamp"] * 1000
                own.append(
                    {
                        "traceId": span["traceId"],
                        "spanId": span["id"],
                        "parentSpanId": span.get("parentId", ""),
                        "name": span["name"],
                        "kind": KINDS[span["kind"]],
                        "startTimeUnixNano": str(start),
                        "endTimeUnixNano": str(start + span["duration"] * 1000),
                        "attributes": [pair(key, value) for key, value in span["tags"].items()],
                    }
                )
        if own:
            resources.append({"resource": {"attributes": [pair("service.name", service)]}, "scopeSpans": [{"spans": own}]})
    return json.dumps({"resourceSpans": resources}, separators=(",", ":")).encode()


# ---- thrift (TBinary), as Scribe has it too ----


def thrift_span(span: dict) -> bytes:
    end = span["localEndpoint"]
    ip = sum(int(part) << 8 * (3 - i) for i, part in enumerate(end["ipv4"].split(".")))

    def head(kind: int, number: int) -> bytes:
        return struct.pack(">bh", kind, number)

    def text(number: int, value: str) -> bytes:
        return head(11, number) + struct.pack(">i", len(value)) + value.encode()

    host = head(8, 1) + struct.pack(">i", ip) + head(6, 2) + struct.pack(">h", end["port"]) + text(3, end["serviceName"]) + b"\0"
    signed = [
        value - (1 << 64) if value >> 63 else value
        for value in (int(span[k] if k in span else "0", 16) & (1 << 64) - 1 for k in ("traceId", "id", "parentId"))
    ]
    out = head(10, 1) + struct.pack(">q", signed[0]) + text(3, span["name"]) + head(10, 4) + struct.pack(">q", signed[1])
    if "parentId" in span:
        out += head(10, 5) + struct.pack(">q", signed[2])
    marks = ("sr", "ss") if span["kind"] == "SERVER" else ("cs", "cr")
    annotations = b"".join(
        head(10, 1) + struct.pack(">q", at) + text(2, mark) + head(12, 3) + host + b"\0"
        for mark, at in zip(marks, (span["timestamp"], span["timestamp"] + span["duration"]), strict=True)
    )
    out += head(15, 6) + struct.pack(">bi", 12, 2) + annotations
    tags = b"".join(
        text(1, key) + text(2, value) + head(8, 3) + struct.pack(">i", 6) + head(12, 4) + host + b"\0"
        for key, value in span["tags"].items()
    )
    out += head(15, 8) + struct.pack(">bi", 12, len(span["tags"])) + tags
    return out + head(10, 10) + struct.pack(">q", span["timestamp"]) + head(10, 11) + struct.pack(">q", span["duration"]) + b"\0"


def zipkin_thrift(listed: list[dict]) -> bytes:
    return struct.pack(">bi", 12, len(listed)) + b"".join(map(thrift_span, listed))


def scribe_log(listed: list[dict], sequence: int = 1) -> bytes:
    """One framed Log call."""
    entries = b""
    for span in listed:
        message = base64.b64encode(thrift_span(span)) + b"\n"
        entries += struct.pack(">bhi", 11, 1, 6) + b"zipkin" + struct.pack(">bhi", 11, 2, len(message)) + message + b"\0"
    call = struct.pack(">Ii", 0x80010001, 3) + b"Log" + struct.pack(">i", sequence)
    call += struct.pack(">bhbi", 15, 1, 12, len(listed)) + entries + b"\0"
    return struct.pack(">i", len(call)) + call


WRITERS = {
    "zipkin-json": lambda listed: json.dumps(listed, separators=(",", ":")).encode(),
    "zipkin-proto3": zipkin_proto3,
    "zipkin-thrift": zipkin_thrift,
    "otlp-proto": otlp_proto,
    "otlp-json": otlp_json,
    "scribe": scribe_log,
}


def write(folder: Path, form: str, *, bodies: int = 64, batch: int = 100) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    start_us = 1_790_000_000_000_000
    paths = [folder / f"{form}-{index}" for index in range(bodies)]
    for index, path in enumerate(paths):
        path.write_bytes(WRITERS[form](spans(batch, index, start_us)))
    return paths
