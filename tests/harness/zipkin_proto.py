"""Zipkin v2 spans, as JSON has them, as a zipkin.proto3.ListOfSpans. Source: zipkin-api, zipkin.proto."""

import ipaddress

KINDS = {"CLIENT": 1, "SERVER": 2, "PRODUCER": 3, "CONSUMER": 4}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def piece(number: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    return varint(field << 3 | 1) + value.to_bytes(8, "little")


def packed(address: str) -> bytes:
    if ":" in address:
        return ipaddress.IPv6Address(address).packed
    return bytes(int(octet) for octet in address.split("."))  # Zipkin takes 52.0.0.04, too


def endpoint(one: dict) -> bytes:
    out = piece(1, one["serviceName"]) if "serviceName" in one else b""
    for key, field in (("ipv4", 2), ("ipv6", 3)):
        if key in one:
            out += piece(field, packed(one[key]))
    return out + (number(4, one["port"]) if "port" in one else b"")


def span(one: dict) -> bytes:
    trace_id = one["traceId"].rjust(32 if len(one["traceId"]) > 16 else 16, "0")
    out = piece(1, bytes.fromhex(trace_id)) + piece(3, bytes.fromhex(one["id"].rjust(16, "0")))
    if one.get("parentId"):
        out += piece(2, bytes.fromhex(one["parentId"].rjust(16, "0")))
    if one.get("kind"):
        out += number(4, KINDS[one["kind"]])
    if one.get("name"):
        out += piece(5, one["name"])
    if one.get("timestamp"):
        out += fixed64(6, one["timestamp"])
    if one.get("duration"):
        out += number(7, one["duration"])
    for key, field in (("localEndpoint", 8), ("remoteEndpoint", 9)):
        if one.get(key):
            out += piece(field, endpoint(one[key]))
    for annotation in one.get("annotations", []):
        out += piece(10, fixed64(1, annotation["timestamp"]) + piece(2, annotation["value"]))
    for key, value in one.get("tags", {}).items():
        out += piece(11, piece(1, key) + piece(2, value))
    return out + (number(12, 1) if one.get("debug") else b"") + (number(13, 1) if one.get("shared") else b"")


def list_of_spans(spans: list[dict]) -> bytes:
    return b"".join(piece(1, span(one)) for one in spans)
