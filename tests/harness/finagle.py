"""A real Finagle: an HTTP router in front of an HTTP app, both traced over Scribe as Linkerd 1 does it.

A request makes two spans of Finagle's: the router's server side, and one that holds the router's client side and the app's
server side, since both are one process. The router decides and notes at what rate.
"""

import http.client
import pathlib

from harness.net import answers, free_port, get_json
from harness.process import PEERS, Process

SPANS_PER_REQUEST = 2


class Finagle:
    def __init__(self, folder: pathlib.Path, scribe_port: int, rate: float = 1.0):
        self.folder, self.scribe_port, self.rate = folder, scribe_port, rate
        self.router, self.app, self.admin = free_port(), free_port(), free_port()
        self.process: Process | None = None

    def start(self) -> "Finagle":
        home = PEERS / "finagle"
        assert (home / "classes" / "Main.class").exists(), f"no Finagle in {PEERS}: tests/peers/install.sh finagle"
        self.process = Process(
            "finagle",
            [
                "java",
                "-Xmx256m",
                "-XX:TieredStopAtLevel=1",
                f"-Dcom.twitter.finagle.zipkin.host=127.0.0.1:{self.scribe_port}",
                f"-Dcom.twitter.finagle.zipkin.initialSampleRate={self.rate}",
                f"-Drouter={self.router}",
                f"-Dapp={self.app}",
                f"-Dadmin={self.admin}",
                "-cp",
                f"{home}/classes:{home}/lib/*",
                "Main",
            ],
            self.folder / "finagle.log",
        )
        self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.admin}/"))
        return self

    def get(self, *paths: str, headers: dict | None = None) -> list[int]:
        """Requests through the router, one after the other: their statuses."""
        statuses = []
        connection = http.client.HTTPConnection("127.0.0.1", self.router, timeout=60)
        for path in paths:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
        return statuses

    def metrics(self) -> dict:
        return get_json(f"http://127.0.0.1:{self.admin}/")

    def stop(self) -> int:
        return self.process.stop() if self.process else 0
