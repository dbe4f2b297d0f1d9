"""A real Zipkin server with spans in memory, asked through its own API."""

import pathlib

from harness.net import answers, free_port, get_json
from harness.process import PEERS, Process


class Zipkin:
    def __init__(self, folder: pathlib.Path, port: int | None = None, env: dict | None = None):
        self.env = env or {}
        self.port = port or free_port()
        self.folder = folder
        self.process: Process | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v2/spans"

    def start(self) -> "Zipkin":
        self.launch()
        self.process.wait_ready(self.answers, timeout=400)
        return self

    def answers(self) -> bool:
        return answers(f"http://127.0.0.1:{self.port}/health")

    def launch(self):
        jars = sorted((PEERS / "zipkin").glob("zipkin-server-*-exec.jar"))
        assert jars, f"no Zipkin in {PEERS}: ./dev deps"
        # Armeria listens on the wildcard unless its port is spelled out with an address.
        self.process = Process(
            "zipkin",
            [
                "java",
                "-Xmx512m",
                "-Xms64m",
                "-XX:TieredStopAtLevel=1",
                "-jar",
                jars[-1],
                "--armeria.ports[0].ip=127.0.0.1",
                f"--armeria.ports[0].port={self.port}",
                "--armeria.ports[0].protocols[0]=http",
            ],
            self.folder / "zipkin.log",
            env={
                "STORAGE_TYPE": "mem",
                "MEM_MAX_SPANS": "500000",
                "QUERY_PORT": str(self.port),
                "SELF_TRACING_ENABLED": "false",
                **self.env,
            },
        )

    def traces(self, service: str, limit: int = 10000) -> list[list[dict]]:
        return get_json(f"http://127.0.0.1:{self.port}/api/v2/traces", serviceName=service, limit=limit, lookback=24 * 3600 * 1000)

    def services(self) -> list[str]:
        return get_json(f"http://127.0.0.1:{self.port}/api/v2/services")

    def stop(self) -> int:
        return self.process.stop() if self.process else 0
