"""Weir datagrams from a sender that is not ours: protobuf's own encoder on the published schema, hmac and sockets of Python."""

import functools
import hashlib
import hmac
import pathlib
import socket
import subprocess
import tempfile
import time

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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


class Sender:
    """One sender of datagrams, with its sequence numbers. The port that it sends from stays."""

    def __init__(self, port: int, *, service: str = "cart", key: bytes = b"", sender: int = 7, host: str = "127.0.0.1"):
        self.to = (host, port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.service, self.key, self.sender = service, key, sender
        self.start = time.time_ns()
        self.sequence = 0
        self.spans = 0

    def restart(self):
        self.start += 1_000_000_000
        self.sequence = 0

    def make(self, *, spans: int = 1, sequence: int | None = None, **fields) -> bytes:
        """The next datagram, or the one with this number; fields as in the schema, counters and histograms as dicts."""
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
            )
        return self.sign(message.SerializeToString())

    def sign(self, body: bytes) -> bytes:
        """hmac is field 15: its key is the byte 0x7a, its length 16."""
        return body + b"\x7a\x10" + hmac.digest(self.key, body, hashlib.sha256)[:16] if self.key else body

    def send(self, *datagrams: bytes):
        for datagram in datagrams:
            self.socket.sendto(datagram, self.to)

    def close(self):
        self.socket.close()
