"""Weir itself: its configuration, its pages, its ledger, `weir emit` and `weir cat`."""

import json
import os
import pathlib
import socket
import textwrap
import time

from harness.ledger import Ledger, read_ledger
from harness.net import PATIENCE, Answer, answers, free_port, http, wait_until
from harness.process import ROOT, Process, run
from harness.series import Page


def binary() -> pathlib.Path:
    path = pathlib.Path(os.environ.get("WEIR_BIN") or ROOT / "build" / "weir").resolve()
    assert path.exists(), f"no {path}: ./dev build, or WEIR_BIN=PATH"
    return path


class Weir:
    """A running `weir run`.

    exporters  the YAML under `exporters:`; by default one file exporter into folder/traces
    extra      more YAML for the top level
    grpc, statsd  more options of that receiver, as in "source_label: ip"
    receivers  further receivers and their options, as in {"zipkin": "max_body_bytes: 1MiB"}; each on a free port, ports[name]
    hosts      where those of them listen that are not to be on 127.0.0.1
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        exporters: str | None = None,
        lanes: int = 2,
        extra: str = "",
        grpc: str = "",
        statsd: str = "",
        receivers: dict[str, str] | None = None,
        hosts: dict[str, str] | None = None,
        ports: tuple | None = None,
        env: dict | None = None,
        name: str = "weir",
    ):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.grpc_port, self.statsd_port, self.admin_port = ports or (free_port(), free_port(), free_port())
        self.receivers = receivers or {}
        self.hosts = hosts or {}
        self.ports = {receiver: free_port() for receiver in self.receivers}
        self.traces = folder / "traces"
        self.config = folder / f"{name}.yaml"
        self.env = env
        self.name = name
        self.process: Process | None = None
        if exporters is None:
            exporters = f"file: {{ directory: {self.traces} }}"
        self.write(exporters=exporters, lanes=lanes, extra=extra, grpc=grpc, statsd=statsd)

    def write(self, *, exporters: str, lanes: int, extra: str = "", grpc: str = "", statsd: str = ""):
        exporters = textwrap.dedent(exporters).strip()
        block = f"exporters:\n{textwrap.indent(exporters, '  ')}\n" if exporters != "{}" else "exporters: {}\n"
        others = "".join(
            f"  {receiver}: {{ listen: '{self.hosts.get(receiver, '127.0.0.1')}:{self.ports[receiver]}'{', ' + options if options else ''} }}\n"
            for receiver, options in self.receivers.items()
        )
        self.config.write_text(
            f"lanes: {lanes}\n"
            "receivers:\n"
            f"  grpc: {{ listen: 127.0.0.1:{self.grpc_port}{', ' + grpc if grpc else ''} }}\n"
            f"  statsd: {{ listen: 127.0.0.1:{self.statsd_port}{', ' + statsd if statsd else ''} }}\n"
            f"{others}"
            f"admin: {{ listen: 127.0.0.1:{self.admin_port} }}\n"
            f"{block}{textwrap.dedent(extra).strip()}\n"
        )

    def start(self, timeout: float = 2 * PATIENCE) -> "Weir":
        self.process = Process(
            self.name, [binary(), "run", "-c", self.config], self.folder / f"{self.name}.log", env=self.env, cwd=self.folder
        )
        self.process.wait_ready(lambda: answers(self.url("/-/ready")), timeout)
        return self

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.admin_port}{path}"

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def page(self, only: str = "") -> Page:
        answer = http(self.url("/metrics"), timeout=PATIENCE)
        assert answer.status == 200, answer.text
        return Page(answer.text, only)

    def own(self) -> Page:
        """What Weir says of itself, without the series that it makes."""
        return self.page("weir_")

    def reload(self) -> Answer:
        return http(self.url("/-/reload"), method="POST", body=b"")

    def ledger(self) -> Ledger:
        return read_ledger(self.own())

    def received(self) -> int:
        return int(self.own().sum("weir_spans_received_total"))

    def balance(self, *, received: int | None = None, held: bool = False, timeout: float = PATIENCE) -> Ledger:
        """Waits until nothing moves, then holds the balance against the families of /metrics.

        received  also wait until so many spans were accepted
        held      spans may stay held (their back end is away, their trace waits); otherwise wait until none is
        """
        last: list[Ledger] = []
        # What is held may be in a batch that is still open: longer than batch.max_age (200 ms) it is not.
        same = 5 if held else 2

        def quiet():
            ledger = self.ledger()
            last.append(ledger)
            return (
                (ledger.moving == 0 if held else ledger.held_anywhere == 0)
                and not any(ledger.imbalance.values())
                and (received is None or ledger.received >= received)
                and len(last) >= same
                and all(earlier == ledger for earlier in last[-same:])
            )

        what = lambda: "the ledger to balance:\n" + "\n".join(last[-1].lines())  # noqa: E731
        wait_until(quiet, what, timeout, every=0.1, progress=lambda: last[-1])
        ledger = last[-1]
        if received is not None:
            assert ledger.received == received, f"accepted {ledger.received}, sent {received}"
        for name in ledger.imbalance:
            assert ledger.missing(name) == 0, "\n".join(ledger.lines())
        assert ledger.held >= 0
        return ledger

    def emit(self, *options, spans: int, timeout: float = 280) -> dict:
        """Runs `weir emit` into this Weir; the object that --json prints."""
        done = run(
            [binary(), "emit", "--endpoint", self.endpoint, "--spans", spans, "--timeout", "60s", "--json", *options], timeout
        )
        assert done.returncode == 0, f"weir emit: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def cat(self, *paths, timeout: float = 280) -> list[dict]:
        done = run([binary(), "cat", *(paths or [self.traces])], timeout)
        assert done.returncode == 0, f"weir cat: exit {done.returncode}\n{done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM; its exit status."""
        return self.process.stop(timeout) if self.process else 0

    def kill(self):
        if self.process:
            self.process.kill()

    def cpu_seconds(self) -> float:
        return self.process.cpu_seconds()

    def send_statsd(self, *datagrams: bytes | str, pause_every: int = 200):
        """Sends datagrams, with a breath now and then so that a small buffer is not what is tested."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for index, datagram in enumerate(datagrams):
                udp.sendto(datagram.encode() if isinstance(datagram, str) else datagram, ("127.0.0.1", self.statsd_port))
                if index % pause_every == pause_every - 1:
                    time.sleep(0.005)
