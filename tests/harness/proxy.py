"""The example's reverse proxies, and a relay of datagrams that loses some of them."""

import json
import pathlib
import selectors
import socket
import threading

from harness.net import free_port, hold_much
from harness.process import Process
from harness.weir import binary


class Proxy:
    """weir_proxy: listens on port, sends requests to `to`, spans and counters to `weir` (ports of 127.0.0.1; None: no tracing)."""

    def __init__(self, folder: pathlib.Path, service: str, *, to: int, weir: int | None, options: tuple = (), prefix: tuple = ()):
        self.service, self.folder, self.port = service, folder, free_port()
        telling = ["--no-tracing"] if weir is None else ["--weir", f"127.0.0.1:{weir}"]
        argv = [binary().parent / "weir_proxy", "--listen", f"127.0.0.1:{self.port}", "--to", f"127.0.0.1:{to}", *telling]
        self.argv = [*prefix, *argv, "--service", service, *options]
        self.log = folder / f"{service}.log"
        self.process: Process | None = None

    def start(self) -> "Proxy":
        self.process = Process(self.service, self.argv, self.log)
        self.process.wait_ready(self._listens)
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> int:
        return self.process.stop() if self.process else 0

    def end(self) -> dict:
        """Stops it; what it says of what it has sent."""
        status = self.stop()
        assert status == 0, f"{self.service} ended with status {status}:\n{self.process.tail()}"
        return json.loads(self.process.tail(1))


class Relay:
    """Passes datagrams on to a port and answers back; every n-th that goes there is lost while lose(n) holds."""

    def __init__(self, to: int):
        self.to, self.port = to, free_port()
        self.passed = self.lost = 0
        self._every, self._over = 0, False
        self._selector = selectors.DefaultSelector()
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        hold_much(self._front)
        self._front.bind(("127.0.0.1", self.port))
        self._backs: dict[tuple, socket.socket] = {}
        self._selector.register(self._front, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> "Relay":
        self._thread.start()
        return self

    def lose(self, every: int):
        self._every = every

    def _back(self, source: tuple) -> socket.socket:
        """Each sender has a socket of its own here, by which answers find the way back."""
        if source not in self._backs:
            back = self._backs[source] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            back.connect(("127.0.0.1", self.to))
            back.setblocking(False)
            self._selector.register(back, selectors.EVENT_READ, source)
        return self._backs[source]

    def _there(self):
        body, source = self._front.recvfrom(65536)
        if self._every and (self.passed + self.lost) % self._every == 0:
            self.lost += 1
            return
        self.passed += 1
        self._send(self._back(source).send, body)

    @staticmethod
    def _send(send, *arguments):
        try:
            send(*arguments)
        except OSError:  # nobody is there, or was there for the one before
            pass

    def _work(self):
        while not self._over:
            for key, _ in self._selector.select(0.1):
                if key.fileobj is self._front:
                    self._there()
                    continue
                try:
                    body = key.fileobj.recv(65536)
                except OSError:
                    continue
                self._send(self._front.sendto, body, key.data)

    def stop(self):
        self._over = True
        self._thread.join()
        for one in (self._front, *self._backs.values()):
            one.close()
