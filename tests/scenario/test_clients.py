"""Clients of other people send OTLP while Weir is drained and started again: what was acknowledged is never lost.

Each prints the span ids of every export that it was told is good (tests/peers/clients); Weir's files must hold all of
them. WEIR_CLIENTS_SECONDS=60 makes it the long run. How long a client takes to start or to come back is its own affair: all of them
send until the last has come back. That they end well is seen of others, which have a second.
"""

import os
import shutil
import sys
import time

import pytest
from harness.net import wait_until
from harness.process import PEERS, ROOT, Process
from harness.weir import Weir

SECONDS = int(os.environ.get("WEIR_CLIENTS_SECONDS") or 15)
JAVA = shutil.which("java") or "java"
CLIENTS = {
    "go": [PEERS / "bin" / "otlp-go"],
    "java": [JAVA, "-Xmx256m", "-cp", PEERS / "otlp-java" / "*", "Sender"],
    "python": [sys.executable, ROOT / "tests" / "peers" / "clients" / "otlp_python.py"],
}
if (PEERS / "bin" / "otlp-rust").exists():  # it needs a newer cargo than Debian 12 has (tools/deps.sh)
    CLIENTS["rust"] = [PEERS / "bin" / "otlp-rust"]


def acknowledged(process: Process) -> list[str]:
    """In whole lines: it may be writing, or was killed while it did."""
    return [line[4:-1] for line in process.text().splitlines(keepends=True) if line.startswith("ack ") and line.endswith("\n")]


@pytest.mark.timeout(SECONDS + 900)
def test_nothing_acknowledged_is_lost_over_a_drain_and_a_restart(start, tmp_path):
    first = start(Weir(tmp_path / "weir"))
    ports = (first.grpc_port, first.statsd_port, first.admin_port)
    clients = {
        name: Process(f"client-{name}", [*argv, first.endpoint, "3600"], tmp_path / f"{name}.log") for name, argv in CLIENTS.items()
    }
    last: dict[str, Process] = {}
    try:
        for name, process in clients.items():
            wait_until(lambda process=process: acknowledged(process), f"the first acknowledgement of {name}: {process.tail()}")
        time.sleep(SECONDS / 3)
        ledger = first.ledger()
        assert ledger.received > 0
        assert first.stop() == 0, first.process.tail()
        before = {name: len(acknowledged(process)) for name, process in clients.items()}
        time.sleep(0.5)  # a deployment takes a moment
        second = start(Weir(tmp_path / "weir", ports=ports, name="again"))
        for name, process in clients.items():
            wait_until(lambda name=name, process=process: len(acknowledged(process)) > before[name], f"{name} to come back")
        for name, argv in CLIENTS.items():
            last[name] = Process(f"client-{name}", [*argv, second.endpoint, "1"], tmp_path / f"{name}-last.log")
        for name, process in last.items():
            assert process.wait() == 0, f"{name}:\n{process.tail()}"
    finally:
        for process in (*clients.values(), *last.values()):
            process.stop()
    second.balance()
    assert second.stop() == 0
    kept = {span["spanId"] for span in second.cat(first.traces)}
    for name, process in (*clients.items(), *last.items()):
        ids = acknowledged(process)
        assert len(ids) == len(set(ids))
        lost = [span for span in ids if span not in kept]
        assert not lost, f"{name}: {len(lost)} of {len(ids)} acknowledged spans are nowhere, such as {lost[:3]}"
        assert ids, f"{name}: nothing was acknowledged"
