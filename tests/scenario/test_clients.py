"""Clients of other people send OTLP while Weir is drained and started again: what was acknowledged is never lost.

Each prints the span ids of every export that it was told is good (tests/peers/clients); Weir's files must hold all of
them. WEIR_CLIENTS_SECONDS=60 makes it the long run.
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
    return [line[4:] for line in process.text().splitlines() if line.startswith("ack ")]


@pytest.mark.timeout(SECONDS + 180)
def test_nothing_acknowledged_is_lost_over_a_drain_and_a_restart(start, tmp_path):
    first = start(Weir(tmp_path / "weir"))
    ports = (first.grpc_port, first.statsd_port, first.admin_port)
    clients = {
        name: Process(f"client-{name}", [*argv, first.endpoint, str(SECONDS)], tmp_path / f"{name}.log")
        for name, argv in CLIENTS.items()
    }
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
            wait_until(lambda name=name, process=process: len(acknowledged(process)) > before[name],
                       f"{name} to come back", timeout=SECONDS + 60)  # fmt: skip
        for name, process in clients.items():
            assert process.wait(SECONDS + 120) == 0, f"{name}:\n{process.tail()}"
    finally:
        for process in clients.values():
            process.stop()
    second.balance()
    assert second.stop() == 0
    kept = {span["spanId"] for span in second.cat(first.traces)}
    for name, process in clients.items():
        ids = acknowledged(process)
        assert len(ids) == len(set(ids))
        lost = [span for span in ids if span not in kept]
        assert not lost, f"{name}: {len(lost)} of {len(ids)} acknowledged spans are nowhere, such as {lost[:3]}"
        assert len(ids) > SECONDS * 100, f"{name}: only {len(ids)} were acknowledged"
