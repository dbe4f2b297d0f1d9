"""Who is told by Jaeger's remote sampling what to sample: clients on OpenTelemetry's SDKs for Go (HTTP) and Java (gRPC); and
another server of it, the OpenTelemetry Collector's extension jaegerremotesampling."""

import json
import pathlib
import shutil
from urllib.parse import quote

from harness.net import PATIENCE, answers, free_port, http, wait_until
from harness.process import PEERS, Process

OPERATIONS = ("GET /carts", "GET /health", "POST /orders")
LINES_TO_BE_SURE = 3  # of one each 100 ms: what a client was answered is in force by then


class Client:
    """Begins some hundred traces a second, by turns of OPERATIONS, each with a child `SELECT`; asks once a second.

    language  go or java
    sampling  where it asks: a URL for go, HOST:PORT of gRPC for java
    """

    def __init__(self, language: str, folder: pathlib.Path, *, otlp: str, sampling: str, service: str):
        self.language, self.service = language, service
        seconds = 3600  # it is stopped before
        self.log = folder / f"{language}-{service}.log"
        if language == "go":
            argv = [PEERS / "bin" / "jaeger-go", otlp, sampling, service, seconds]
        else:
            java = shutil.which("java") or "java"
            argv = [java, "-Xmx256m", "-cp", PEERS / "jaeger-java" / "*", "Sampled", otlp, f"http://{sampling}", service, seconds]
        self.argv = argv
        self.process: Process | None = None

    def start(self) -> "Client":
        self.process = Process(f"jaeger-{self.language}", self.argv, self.log)
        return self

    def lines(self) -> list[tuple[list[int], list[int]]]:
        """(made, sampled) of each operation, from the beginning on; the last line is newest."""
        out = []
        for line in self.process.text().splitlines():
            words = line.split()
            if len(words) == 8 and words[0] == "made" and words[4] == "sampled":
                out.append(([int(word) for word in words[1:4]], [int(word) for word in words[5:]]))
        return out

    def next_line(self, after: int, timeout: float = PATIENCE) -> int:
        """Waits until there are more than `after` lines; how many there are."""
        wait_until(lambda: len(self.lines()) > after, lambda: f"more of {self.process.tail()}", timeout, every=0.05)
        return len(self.lines())

    def draws(self, made: int) -> list[tuple[int, int]]:
        """What it begins from now on until it has begun so many of each operation: (made, sampled) by operation."""
        count = self.next_line(len(self.lines()) + LINES_TO_BE_SURE - 1)
        first = self.lines()[count - 1]
        while min(now - then for now, then in zip(self.lines()[-1][0], first[0], strict=True)) < made:
            count = self.next_line(count)
        last = self.lines()[-1]
        return [(last[0][i] - first[0][i], last[1][i] - first[1][i]) for i in range(len(OPERATIONS))]

    def stop(self) -> int:
        return self.process.stop()


class SamplingCollector:
    """The OpenTelemetry Collector with its extension jaegerremotesampling and a strategies file."""

    def __init__(self, folder: pathlib.Path, strategies: pathlib.Path):
        self.folder, self.strategies = folder, strategies
        self.http_port, self.grpc_port, self.otlp_port = free_port(), free_port(), free_port()
        self.process: Process | None = None

    def start(self) -> "SamplingCollector":
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "collector.yaml"
        source = {"file": str(self.strategies)}
        config.write_text(
            json.dumps(  # JSON is YAML
                {
                    "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{self.otlp_port}"}}}},
                    "exporters": {"nop": {}},
                    "extensions": {
                        "jaegerremotesampling": {
                            "source": source,
                            "http": {"endpoint": f"127.0.0.1:{self.http_port}"},
                            "grpc": {"endpoint": f"127.0.0.1:{self.grpc_port}"},
                        }
                    },
                    "service": {
                        "extensions": ["jaegerremotesampling"],
                        "telemetry": {"metrics": {"level": "none"}},
                        "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["nop"]}},
                    },
                }
            )
        )
        argv = [PEERS / "bin" / "otelcol-sampling", "--config", config]
        self.process = Process("otelcol-sampling", argv, self.folder / "collector.log")
        self.process.wait_ready(lambda: answers(self.url("nobody")))
        return self

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.http_port}/sampling?service={quote(service)}"

    def ask(self, service: str) -> dict:
        answer = http(self.url(service))
        assert answer.status == 200, answer.text
        return answer.json()

    def stop(self) -> int:
        return self.process.stop()
