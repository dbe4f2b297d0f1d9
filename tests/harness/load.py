"""A steady load beside what a scenario does meanwhile, of spans or of requests, and what became of it."""

import http.client
import json
import re
import signal
import subprocess
import threading
import time
from collections import Counter

from harness.net import wait_until
from harness.process import DIES_WITH_US
from harness.weir import binary


class Load:
    """`weir emit` at a steady rate, for so long or (None) until it is ended; starts at once."""

    def __init__(self, one, seconds: float | None, *options, rate: int):
        self.spans = int(seconds * rate) // 8 * 8 if seconds else None
        long = ["--spans", self.spans] if seconds else []
        argv = [*DIES_WITH_US, binary(), "emit", "--endpoint", one.endpoint, *long, "--rate", rate]
        argv += ["--timeout", "60s", "--json", *options]
        pipe = subprocess.PIPE
        self.popen = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def end(self, timeout: float = 280) -> int:
        """Waits for its end, or ends it; how many spans were sent, all of them acknowledged."""
        if self.spans is None:
            self.popen.send_signal(signal.SIGTERM)
        summary = self.cut(timeout)
        assert summary["acknowledged"] == summary["sent"] == (self.spans or summary["sent"]) > 0, summary
        return summary["sent"]

    def cut(self, timeout: float = 280) -> dict:
        """Waits for its end, whatever that is; what it says of it."""
        try:
            out, err = self.popen.communicate(timeout=timeout)
        finally:
            self.stop()
        assert out, err
        return json.loads(out)

    def stop(self):
        if self.running:
            self.popen.kill()
            self.popen.wait()


def keeps_up(one, *exporters: str):
    """What has come until now is delivered by these while whatever is wrong elsewhere goes on: nobody waits for another."""
    received = one.received()
    wait_until(
        lambda: all(one.ledger().delivered(name) >= received for name in exporters),
        lambda: f"{received} spans to be delivered by each of {exporters}: {one.ledger().lines()}",
        progress=lambda: [one.ledger().delivered(name) for name in exporters],
    )


class Traffic:
    """GETs of a proxy, so many a second from start() to stop(), over connections that stay open; paths by turns.

    rate may be another one at any time. What cannot be sent in time is sent late, up to a second: then the load is what it can be.
    """

    def __init__(self, port: int, paths: list[str], rate: float, connections: int = 4):
        self.port, self.paths, self.rate = port, paths, rate
        self.statuses: Counter = Counter()
        self.failed: list[str] = []
        self._connections, self._lock, self._over = connections, threading.Lock(), threading.Event()
        self._turn, self._due = 0, 0.0
        self._threads: list[threading.Thread] = []

    def start(self) -> "Traffic":
        self._over.clear()
        self._due = time.monotonic()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._connections)]
        for thread in self._threads:
            thread.start()
        return self

    def _next(self) -> tuple[str, float]:
        with self._lock:
            self._turn += 1
            self._due = max(self._due, time.monotonic() - 1) + 1 / self.rate
            return self.paths[self._turn % len(self.paths)], self._due

    def _work(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self._over.is_set():
            path, due = self._next()
            if self._over.wait(max(due - time.monotonic(), 0)):
                break
            try:
                connection.request("GET", path, headers={"Host": "shop.example"})
                reply = connection.getresponse()
                reply.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()  # else it waits for that answer for ever, and takes no other request
                continue
            with self._lock:
                self.statuses[reply.status] += 1
        connection.close()

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    def stop(self):
        self._over.set()
        for thread in self._threads:
            thread.join(120)


def truth(one) -> set[int]:
    """What the file exporter has, each span once. Of a hundred thousand spans the ids are read, and not all of their JSON."""
    done = subprocess.run([binary(), "cat", one.traces], stdin=subprocess.DEVNULL, capture_output=True, timeout=280, check=True)
    spans = [
        int(trace[-16:] + span, 16)
        for trace, span in re.findall(rb'"traceId":"([0-9a-f]+)","spanId":"([0-9a-f]{16})"', done.stdout)
    ]
    assert len(spans) == done.stdout.count(b"\n"), "each line has a trace and a span id"
    assert len(set(spans)) == len(spans), "the file has a span twice"
    return set(spans)
