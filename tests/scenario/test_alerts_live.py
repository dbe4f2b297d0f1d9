"""A fault goes in, its alert arrives at Alertmanager's webhook and names its runbook; the fault goes out, and so does the alert.

The rules are those of dashboards/rules, in a copy in which time runs 30 times faster (harness/rules.py): an hour's window is two
minutes, five minutes of `for` are ten seconds. What is compared with what is as it is.
"""

import re

import pytest
from harness.alertmanager import Alertmanager, Note, Webhook
from harness.envoy import Mesh
from harness.load import Traffic
from harness.net import wait_until
from harness.process import ROOT
from harness.prometheus import Prometheus
from harness.rules import hurried, hurried_text
from harness.sink import Sink

WELL = [f"/{name}/v1/{i}" for i in range(25) for name in ("orders", "payments", "inventory", "users")]
FAILING = [path.replace("v1", "fail") for path in WELL]
TIMES = 30
# No promise of latency: how busy the machine is, is not what is tried.
OBJECTIVES = "window: 30d\ndefault: { success: 99.9%, latency: off }\n"
EXPORTER, SUCCESS = ("WeirExporterFailing", {"exporter": "zipkin"}), ("MeshSuccessBurnFast", {"service": "front", "window": "1h"})


def test_a_copy_is_hurried_where_time_is_meant():
    rules = """
    interval: 1m
      - expr: increase(x[5m] offset 10m) > 60 and avg_over_time(y[1h]) > 300 # 5m
        for: 2m
        labels: { window: 1h }
"""
    assert (
        hurried_text(rules, 60)
        == """
    interval: 1s
      - expr: increase(x[5s] offset 10s) > 60 and avg_over_time(y[60s]) > 300 # 5m
        for: 3s
        labels: { window: 1h }
"""
    )
    assert hurried_text(rules, 1) == rules.replace("interval: 1m", "interval: 1s")


@pytest.mark.timeout(1200)
def test_a_fault_is_told_and_so_is_its_end(start, weir, tmp_path):
    objectives = tmp_path / "objectives.yaml"
    objectives.write_text(OBJECTIVES)
    sink = start(Sink(tmp_path / "sink"))
    one = weir(exporters=f'zipkin: {{ url: "{sink.endpoint}", retry_initial: 100ms, retry_max: 500ms }}')
    mesh = start(Mesh(tmp_path / "mesh", otlp_port=one.grpc_port, statsd_port=one.statsd_port))
    traffic = start(Traffic(mesh.front.port, WELL, 80))
    webhook = start(Webhook())
    manager = start(Alertmanager(tmp_path / "alertmanager", webhook.url))
    prometheus = start(
        Prometheus(
            tmp_path / "prometheus",
            one.admin_port,
            rules=hurried(tmp_path / "rules", TIMES, objectives),
            every="2s",  # the shortest window has five of them: a scrape or two may be late
            alertmanager=manager.port,
        )
    )

    def of(name: str, labels: dict) -> list[Note]:
        """What was told of it. On a machine that is out of breath things do fail, and windows of seconds have gaps: that all is silent
        while all is well is for promtool to say."""
        return [note for note in webhook.notes if note.name == name and labels.items() <= note.labels.items()]

    def told(status: str, name: str, labels: dict) -> Note:
        return wait_until(
            lambda: next((note for note in of(name, labels)[-1:] if note.status == status), None),
            lambda: f"{name} to be {status}; told: {[(n.status, n.labels) for n in webhook.notes]}; firing: {prometheus.firing()}",
            timeout=240,
        )

    wait_until(lambda: prometheus.query("service:mesh_requests:rate5m > 20"), "rules to see the load", timeout=240)

    sink.down()
    traffic.paths = FAILING
    for name, labels in (EXPORTER, SUCCESS):
        note = told("firing", name, labels)
        assert note.annotations["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
        assert re.search(rf"^## {name}$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
        assert note.annotations["summary"] and note.annotations["description"] and "{{" not in str(note.annotations)

    sink.down(False)
    traffic.paths = WELL
    for name, labels in (EXPORTER, SUCCESS):
        told("resolved", name, labels)
    traffic.stop()
    one.balance(received=mesh.spans_sent())
