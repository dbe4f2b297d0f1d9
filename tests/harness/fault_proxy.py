"""A proxy that breaks what passes through it, as it is told, while it runs. It listens on 127.0.0.1 and counts what it did.

with http=True (one request after the other on a connection, each with Content-Length):
    pass                    to the back end and back
    refuse                  the port is closed, and so is every connection
    status(503, "3")        the request is read and answered so, with Retry-After when that is given; the back end sees nothing
    hang                    what comes is read and forgotten, nothing is ever answered, whatever is set later
    cut_request             half of the body reaches the back end, then both sides are closed
    cut_answer              the back end has the request; its answer breaks off in the middle of its body
    cut(n)                  both sides are closed after up to n bytes, drawn anew for each connection; what they carried counts
    slow(bytes_per_s)       each connection carries so much
    garble(old, new)        what stands as `old` in a piece that passes becomes `new`, of the same length
with http=False bytes are bytes: pass, refuse, hang, cut, slow and garble.
A fault holds for requests (bytes) that come after it was set.
"""

import asyncio
import collections
import random
import re
import threading
from dataclasses import dataclass

from harness.net import PATIENCE, free_port

CHUNK = 16 * 1024


@dataclass(frozen=True)
class Fault:
    kind: str
    status: int = 0
    retry_after: str = ""
    bytes: int = 0
    old: bytes = b""
    new: bytes = b""


PASS, REFUSE, HANG = Fault("pass"), Fault("refuse"), Fault("hang")
CUT_REQUEST, CUT_ANSWER = Fault("cut_request"), Fault("cut_answer")


def status(code: int, retry_after: str = "") -> Fault:
    return Fault("status", status=code, retry_after=retry_after)


def cut(bytes_max: int) -> Fault:
    return Fault("cut", bytes=bytes_max)


def slow(bytes_per_s: int) -> Fault:
    return Fault("slow", bytes=bytes_per_s)


def garble(old: bytes, new: bytes) -> Fault:
    assert len(old) == len(new)
    return Fault("garble", old=old, new=new)


class Broken(Exception):
    """This connection is over, on purpose."""


class FaultProxy:
    """counts: connections, requests, passed (answers that left whole), lost (requests that the back end has and whose answer
    did not leave), and one for each fault that was done."""

    def __init__(self, to: int, *, http: bool = True, fault: Fault = PASS, seed: int = 1):
        self.to, self.http, self.fault = to, http, fault
        self.port = free_port()
        self.counts: collections.Counter = collections.Counter()
        self.chance = random.Random(seed)
        self.open: set[asyncio.Task] = set()
        self.server: asyncio.Server | None = None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v2/spans"

    def start(self) -> "FaultProxy":
        self.thread.start()
        self._do(self._switch(self.fault))
        return self

    def set(self, fault: Fault):
        self._do(self._switch(fault))

    def stop(self):
        self._do(self._switch(REFUSE))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)
        self.loop.close()

    # ---- everything below is the loop's thread ----

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    async def _switch(self, fault: Fault):
        self.fault = fault
        if fault.kind == "refuse":
            if self.server:
                self.server.close()
                self.server = None
            for task in list(self.open):
                task.cancel()
            if self.open:
                await asyncio.wait(list(self.open))
        elif self.server is None:
            self.server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=256 * 1024)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        task = asyncio.current_task()
        self.open.add(task)
        self.counts["connections"] += 1
        up = None
        try:
            up = await asyncio.open_connection("127.0.0.1", self.to)
            link = _Link(self, (reader, writer), up)
            await (link.requests() if self.http else link.bytes())
        except (Broken, OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            for side in (writer, up[1] if up else None):
                if side:
                    side.transport.abort()  # a reset: what stands in buffers is gone, as with a machine that dies
            self.open.discard(task)


class _Link:
    """One client's connection and the one behind it."""

    def __init__(self, proxy: FaultProxy, client, up):
        self.proxy = proxy
        self.reader, self.writer = client
        self.up_reader, self.up_writer = up
        self.left = self.of = None  # bytes until the cut, and the fault that said so

    async def carry(self, writer, data: bytes):
        """Writes, as slowly as told, and not more than told."""
        fault = self.proxy.fault
        if fault.kind == "cut" and self.of is not fault:
            self.of, self.left = fault, self.proxy.chance.randrange(fault.bytes)
        # What is left goes whole: a request that reached the back end and was called cut would not be among the lost.
        if fault.kind == "cut" and len(data) > self.left:
            writer.write(data[: self.left])
            await writer.drain()
            await asyncio.sleep(0.01)  # so that it leaves before the reset
            self.proxy.counts["cut"] += 1
            raise Broken
        if fault.kind == "cut":
            self.left -= len(data)
        if fault.kind == "slow":
            self.proxy.counts["slow"] += 1
            await asyncio.sleep(len(data) / fault.bytes)
        if fault.kind == "garble" and fault.old in data:
            self.proxy.counts["garble"] += 1
            data = data.replace(fault.old, fault.new)
        writer.write(data)
        await writer.drain()

    async def hang(self, reader):
        self.proxy.counts["hang"] += 1
        while await reader.read(CHUNK):
            pass
        raise Broken

    # ---- HTTP ----

    async def requests(self):
        while True:
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = _length(head)
            fault, counts = self.proxy.fault, self.proxy.counts
            counts["requests"] += 1
            if fault.kind == "hang":
                await self.hang(self.reader)
            elif fault.kind == "status":
                await self.reader.readexactly(length)
                counts[f"status_{fault.status}"] += 1
                extra = f"Retry-After: {fault.retry_after}\r\n" if fault.retry_after else ""
                self.writer.write(f"HTTP/1.1 {fault.status} told so\r\n{extra}Content-Length: 8\r\n\r\ntold so\n".encode())
                await self.writer.drain()
            elif fault.kind == "cut_request":
                self.up_writer.write(head + await self.reader.readexactly(length // 2))
                await self.up_writer.drain()
                await asyncio.sleep(0.01)
                counts["cut_request"] += 1
                raise Broken
            else:
                await self.pass_on(head, length, fault)

    async def pass_on(self, head: bytes, length: int, fault: Fault):
        await self.carry(self.up_writer, head)
        while length > 0:
            # A little at a time when slow, so that a change is seen soon.
            size = min(CHUNK, length, max(1, fault.bytes // 20) if self.proxy.fault.kind == "slow" else CHUNK)
            data = await self.reader.readexactly(size)
            length -= len(data)
            await self.carry(self.up_writer, data)
        self.proxy.counts["lost"] += 1  # until its answer has left
        answer = await self.up_reader.readuntil(b"\r\n\r\n")
        answer += await self.up_reader.readexactly(_length(answer))
        if fault.kind == "cut_answer":
            self.proxy.counts["cut_answer"] += 1
            whole = re.sub(rb"(?i)\r\nContent-Length: *\d+", b"", answer.partition(b"\r\n\r\n")[0])
            self.writer.write(whole + b"\r\nContent-Length: 100\r\n\r\nhalf")
            await self.writer.drain()
            await asyncio.sleep(0.01)
            raise Broken
        await self.carry(self.writer, answer)
        if self.reader.at_eof() or self.writer.is_closing():  # it has not waited for this
            raise Broken
        self.proxy.counts["lost"] -= 1
        self.proxy.counts["passed"] += 1

    # ---- bytes ----

    async def bytes(self):
        ways = [
            asyncio.ensure_future(self.pump(self.reader, self.up_writer)),
            asyncio.ensure_future(self.pump(self.up_reader, self.writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def pump(self, reader, writer):
        while data := await reader.read(CHUNK):
            if self.proxy.fault.kind == "hang":
                await self.hang(reader)
            await self.carry(writer, data)


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\nContent-Length: *(\d+)", head)
    return int(found[1]) if found else 0
