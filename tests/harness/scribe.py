"""Scribe as Finagle speaks it: framed, strict TBinaryProtocol, spans of Zipkin v1 in base64.

Sources: scribe.thrift, zipkinCore.thrift, thrift-binary-protocol.md.
"""

import base64
import socket
import struct

OK, TRY_LATER = 0, 1
STRUCT, STRING, I32, I64, DOUBLE_TYPE, LIST, BOOL = 12, 11, 8, 10, 5, 15, 2


def _head(kind: int, number: int) -> bytes:
    return struct.pack(">bh", kind, number)


def _text(number: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _head(STRING, number) + struct.pack(">i", len(value)) + value


def _i64(number: int, value: int) -> bytes:
    return _head(I64, number) + struct.pack(">q", value - (1 << 64) if value >> 63 else value)


def _host(service: str) -> bytes:
    return _head(I32, 1) + struct.pack(">i", 0x7F000001) + _head(6, 2) + struct.pack(">h", 80) + _text(3, service) + b"\0"


def span(
    trace: int,
    span_id: int,
    *,
    name: str = "get",
    service: str = "scribe-test",
    parent: int | None = None,
    timestamp: int = 0,
    marks: dict[str, int] | None = None,
    tags: dict[str, str] | None = None,
    rate: float | None = None,
    debug: bool = False,
) -> bytes:
    """A thrift Span. marks: annotations by name, in microseconds; timestamp: the span's own."""
    out = _i64(1, trace) + _text(3, name) + _i64(4, span_id)
    if parent is not None:
        out += _i64(5, parent)
    annotations = [_i64(1, at) + _text(2, mark) + _head(STRUCT, 3) + _host(service) + b"\0" for mark, at in (marks or {}).items()]
    out += _head(LIST, 6) + struct.pack(">bi", STRUCT, len(annotations)) + b"".join(annotations)
    binary = [(key, value.encode(), 6) for key, value in (tags or {}).items()]
    if rate is not None:
        binary.append(("zipkin.sampling_rate", struct.pack(">d", rate), DOUBLE_TYPE))
    out += _head(LIST, 8) + struct.pack(">bi", STRUCT, len(binary))
    for key, value, kind in binary:
        out += _text(1, key) + _text(2, value) + _head(I32, 3) + struct.pack(">i", kind) + _head(STRUCT, 4) + _host(service) + b"\0"
    if debug:
        out += _head(BOOL, 9) + b"\1"
    if timestamp:
        out += _i64(10, timestamp)
    return out + b"\0"


def call(name: str, body: bytes, sequence: int) -> bytes:
    """A framed, strict call."""
    frame = struct.pack(">Ii", 0x80010001, len(name)) + name.encode() + struct.pack(">i", sequence) + body
    return struct.pack(">i", len(frame)) + frame


def entry(message: bytes, category: str = "zipkin") -> bytes:
    return _text(1, category) + _text(2, message) + b"\0"


def log(*spans: bytes, sequence: int = 1, entries: list[bytes] | None = None) -> bytes:
    """Log() of spans, or of entries as they are."""
    listed = entries if entries is not None else [entry(base64.b64encode(one) + b"\n") for one in spans]
    return call("Log", _head(LIST, 1) + struct.pack(">bi", STRUCT, len(listed)) + b"".join(listed) + b"\0", sequence)


class Client:
    """One connection."""

    def __init__(self, port: int, timeout: float = 60):
        self.tcp = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_):
        self.tcp.close()

    def send(self, *frames: bytes):
        self.tcp.sendall(b"".join(frames))

    def read(self, size: int) -> bytes:
        """So many bytes, fewer when the connection ends."""
        out = b""
        while len(out) < size:
            more = self.tcp.recv(size - len(out))
            if not more:
                break
            out += more
        return out

    def answer(self) -> bytes:
        """The next frame, without its length; b"" at the end."""
        head = self.read(4)
        return self.read(struct.unpack(">i", head)[0]) if len(head) == 4 else b""

    def result(self) -> tuple[int, int]:
        """Sequence number and ResultCode of the next answer to Log()."""
        frame = self.answer()
        assert frame[:11] == b"\x80\x01\x00\x02\x00\x00\x00\x03Log", frame
        sequence, field, number, code, stop = struct.unpack(">ibhib", frame[11:])
        assert (field, number, stop) == (I32, 0, 0), frame
        return sequence, code
