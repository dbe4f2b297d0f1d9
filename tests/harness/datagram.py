"""Weir datagrams from a sender that is not ours: protobuf's own encoder on the published schema, hmac and sockets of Python."""

import functools
import hashlib
import hmac
import pathlib
import secrets
import select
import socket
import subprocess
import tempfile
import threading
import time

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from harness.net import PATIENCE, hold_much
from harness.process import ROOT


@functools.cache
def schema() -> dict:
    """Message classes of schemas/weir/v1/datagram.proto by name."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "datagram.pb"
        argv = ["protoc", f"--proto_path={ROOT}/schemas", "--include_imports", f"--descriptor_set_out={out}"]
        subprocess.run([*argv, "weir/v1/datagram.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClassesForFiles(["weir/v1/datagram.proto"], pool)


class Answer:
    """A PolicyAnswer, read by protobuf; where there is a key its signature has been checked."""

    def __init__(self, body: bytes, source: tuple, key: bytes):
        message = schema()["weir.v1.PolicyAnswer"].FromString(body)
        self.size, self.source = len(body), source[:2]
        assert message.version == 1
        assert message.hmac == (hmac.digest(key, body[:-18], hashlib.sha256)[:16] if key else b"")
        self.nonce, self.version = message.nonce, message.policy_version
        self.rate = rate_of(message.threshold)
        self.rates = [rate_of(threshold) for threshold in message.thresholds]


def rate_of(threshold: int) -> float:
    """The probability of a threshold of 56 bits."""
    assert threshold <= 1 << 56
    return ((1 << 56) - threshold) / (1 << 56)


class Sender:
    """One sender of datagrams, with its sequence numbers. The port that it sends from stays."""

    def __init__(self, port: int, *, service: str = "cart", key: bytes = b"", sender: int = 7, host: str = "127.0.0.1"):
        self.to = (host, port)
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.service, self.key, self.sender = service, key, sender
        self.start = time.time_ns()
        self.sequence = 0
        self.spans = 0
        self.version = 0  # of the policy that it follows
        self.nonce = 0  # of its last ask

    def restart(self):
        self.start += 1_000_000_000
        self.sequence = 0

    def make(self, *, spans: int = 1, sequence: int | None = None, state: str = "", **fields) -> bytes:
        """The next datagram, or the one with this number; fields as in the schema, counters and histograms as dicts.
        state: tracestate of its spans."""
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        message = schema()["weir.v1.Datagram"](
            version=fields.pop("version", 1),
            sender=self.sender,
            start_time_unix_nano=self.start,
            sequence=sequence,
            resource={"attributes": [{"key": "service.name", "value": {"string_value": self.service}}]},
            **fields,
        )
        for _ in range(spans):
            self.spans += 1
            message.spans.add(
                trace_id=self.sender.to_bytes(8, "big") + self.spans.to_bytes(8, "big"),
                span_id=self.spans.to_bytes(8, "big"),
                name="GET /items",
                kind=2,
                start_time_unix_nano=self.start,
                end_time_unix_nano=self.start + 5_000_000,
                trace_state=state,
            )
        return self.sign(message.SerializeToString())

    def sign(self, body: bytes) -> bytes:
        """hmac is field 15: its key is the byte 0x7a, its length 16."""
        return body + b"\x7a\x10" + hmac.digest(self.key, body, hashlib.sha256)[:16] if self.key else body

    def send(self, *datagrams: bytes):
        for datagram in datagrams:
            self.socket.sendto(datagram, self.to)

    def make_ask(self, *operations: str, nonce: int | None = None, size: int = 1200, spans: int = 0, **fields) -> bytes:
        """The next datagram, asking what to sample; padded to this size. self.nonce is what an answer has to echo."""
        self.nonce = secrets.randbits(64) | 1 if nonce is None else nonce
        fields = {"policy_version": self.version, **fields, "ask": {"nonce": self.nonce, "operations": operations}}
        sequence = fields.pop("sequence", None) or self.sequence + 1
        bare = self.make(spans=spans, sequence=sequence, **fields)
        left = size - len(bare)
        self.sequence = max(self.sequence, sequence)
        if left < 2:
            return bare
        pad = left - 2 if left < 130 else left - 3  # its key, and a length of one byte or two
        self.spans -= spans
        made = self.make(spans=spans, sequence=sequence, pad=bytes(pad), **fields)
        assert abs(len(made) - size) <= 1
        return made

    def ask(self, *operations: str, **fields):
        self.send(self.make_ask(*operations, **fields))

    def hear(self, timeout: float = PATIENCE) -> "Answer | None":
        """The next answer; None: there was none in that time."""
        self.socket.settimeout(timeout)
        try:
            body, source = self.socket.recvfrom(65536)
        except TimeoutError:
            return None
        return Answer(body, source, self.key)

    def follow(self, answer: "Answer"):
        assert answer.nonce == self.nonce
        self.version = answer.version

    def close(self):
        self.socket.close()


class Relay:
    """Between one sender and a port of 127.0.0.1: every `drop`th datagram that it sends is lost on the way; answers come back."""

    def __init__(self, port: int):
        self.to = ("127.0.0.1", port)
        self.near, self.far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for one in (self.near, self.far):
            one.bind(("127.0.0.1", 0))
            hold_much(one)
        self.port = self.near.getsockname()[1]
        self.drop = 0
        self.came = self.dropped = self.answers = 0
        self._sender = None
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()

    def _run(self):
        while self._running:
            for one in select.select([self.near, self.far], [], [], 0.1)[0]:
                body, source = one.recvfrom(65536)
                if one is self.far:
                    self.answers += 1
                    self.near.sendto(body, self._sender)
                    continue
                self._sender = source
                self.came += 1
                if self.drop and self.came % self.drop == 0:
                    self.dropped += 1
                else:
                    self.far.sendto(body, self.to)

    def stop(self):
        self._running = False
        self._thread.join()
        self.near.close()
        self.far.close()
