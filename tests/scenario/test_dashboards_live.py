"""Every panel and every rule, asked of a real Prometheus while a mesh is at work: it answers, and answers with numbers.

traffic -> front -> middle -> its app      two Envoys that follow the policy, count over DogStatsD, send spans over OTLP
Weir -> files, Zipkin, Kafka, another Weir
Prometheus <- Weir, the Envoys' own pages, recorded pages of Linkerd 1, Namerd and Linkerd 2
"""

import contextlib
import math
import threading
import time

import grpc
import pytest
from grafana.expressions import boards, expressions, may_be_empty
from harness.certificates import Certificates
from harness.envoy import Mesh, shop_paths
from harness.jaeger import Client
from harness.kafka import Kafka
from harness.load import Traffic
from harness.net import http, wait_until
from harness.prometheus import Prometheus
from harness.recorded import Recorded
from harness.rules import hurried
from harness.senders import post, spans_of
from harness.weir import Weir

# Of exact the Envoys' own counters, as DogStatsD brings them.
POLICY = """
proxies:
  trust: policy
  poll_interval: 1s
  budget: {{ spans_per_second: 200 }}
  default: {{ rate: {rate}, min_traces_per_second: 0.1 }}
  services:
    front:
      exact: 'envoy_http_downstream_rq_total{{envoy_http_conn_manager_prefix="front"}}'
      budget: {{ spans_per_second: 100 }}
      operations: {{ "GET /orders/v1/{{id}}": {{ min_traces_per_second: 1 }} }}
keep:
  wait: 2s
  quiet: 300ms
  rules:
    - {{ name: errors, when: {{ error: true }} }}
    - {{ name: try-out, when: {{ service: middle }}, rate: 0.5, dry_run: true }}
    - {{ name: rest, rate: 0.5, dynamic: {{ keys: [service, operation], traces_per_second: 20 }} }}
"""
# What empty.yml excuses and this scene cannot bring about: an hour of history, a disk or brokers that fail.
NOT_HERE = {
    ("weir-overview", "All services", "F"),
    ("weir-self", "Disk: written, read, trouble", "C"),
    ("weir-self", "Disk: written, read, trouble", "D"),
    ("weir-self", "Kafka", "D"),
}
# Rules that ask for whole hours, of which there is none in a minute.
RULES_NOT_HERE = {"service:mesh_success_budget:left", "service:mesh_latency_budget:left"}
SLOW_MS = 600  # more than dashboards/objectives.yaml promises
# $__rate_interval is four scrapes and more.
VALUES = {"__rate_interval": "10s", "__interval": "2s", "__range": "1m"}
DEADLINE = 300

pytestmark = pytest.mark.timeout(1200)


class Scene:
    """All of it, at work until the end of the file."""

    def __init__(self, stack: contextlib.ExitStack, folder):
        self.stack, self.folder = stack, folder
        self.answered: set[str] = set()  # expressions; marks of what happened once last two minutes
        self.policy = folder / "sampling.yaml"
        self.policy.write_text(POLICY.format(rate=0.5))
        self.kafka = Kafka(folder / "kafka")
        stack.callback(self.kafka.stop)
        self.kafka.launch()  # it takes its seconds while the others start
        self.behind = self.start(Weir(folder / "behind", lanes=1))
        self.weir = self.start(self._weir())
        ports = {"otlp_port": self.weir.grpc_port, "statsd_port": self.weir.statsd_port}
        self.mesh = self.start(Mesh(folder / "mesh", **ports, rtds=True, slow_ms=SLOW_MS))
        self.traffic = self.start(Traffic(self.mesh.front.port, shop_paths(3000), 60))
        self.prometheus = self.start(self._prometheus())
        self.kafka.process.wait_ready(self.kafka.answers)
        self.kafka.make("zipkin")
        asks = f"http://127.0.0.1:{self.weir.ports['sampling']}/sampling"
        self.start(Client("go", folder, otlp=self.weir.endpoint, sampling=asks, service="shop"))
        wait_until(lambda: len(self.prometheus.query("weir_build_info")) == 2, "a scrape of both Weirs")
        self._operate()
        # Before anything else is asked, however long that takes: they last two minutes.
        marks = {one.expr for one in expressions("middle", **VALUES) if one.panel.startswith("annotation ")}
        assert marks
        wait_until(lambda: all([numbers(self, mark) for mark in marks]), "what happened once to be seen")
        self.over = threading.Event()
        disturbing = threading.Thread(target=self._disturb)
        disturbing.start()
        stack.callback(disturbing.join)
        stack.callback(self.over.set)
        self.deadline = time.monotonic() + DEADLINE

    def start(self, thing):
        self.stack.callback(thing.stop)
        return thing.start()

    def _weir(self) -> Weir:
        certificates = Certificates(self.folder / "certificates")
        return Weir(
            self.folder / "weir",
            exporters=(
                f"file: {{ directory: {self.folder}/traces }}\n"
                f'kafka: {{ brokers: "{self.kafka.brokers}", topic: zipkin }}\n'
                f"otlp: {{ endpoints: ['grpc://{self.behind.endpoint}'] }}\n"
                'zipkin: { url: "http://127.0.0.1:1/api/v2/spans", retry_max: 1s, max_age: 5s, spool: false }\n'
            ),
            extra=(
                f"sampling: {{ policy: {self.policy} }}\n"
                f"spool: {{ directory: {self.folder}/spool, durable: true, memory_age: 1s, max_bytes: 64MiB }}\n"
                f"render: [{{ for: otel-env, service: front, path: {self.folder}/front.env }}]"
            ),
            receivers={
                "otlp_http": certificates.server(),
                "zipkin": "",
                "scribe": "",
                "datagram": "",
                "access_log": "",
                "sampling": "",
            },
        )

    def _disturb(self):
        """Each second some of what receivers refuse."""
        nobody = spans_of(1, [1], error=False)[0] | {"id": "0" * 16}
        with grpc.insecure_channel(self.weir.endpoint) as channel:
            unknown = channel.unary_unary("/weir.Nobody/Asks")
            while not self.over.wait(1):
                with contextlib.suppress(grpc.RpcError, OSError):  # late: another one in a second
                    self.weir.send_statsd("no line of StatsD", "shop.depth:1|g", "shop.depth:1|c")
                    http(f"http://127.0.0.1:{self.weir.ports['zipkin']}/api/v2/spans", method="POST", body=b"[{]")
                    post(self.weir, [nobody])
                    unknown(b"")

    def _operate(self):
        """A reload with another policy, and a restart."""
        self.policy.write_text(POLICY.format(rate=0.6))
        assert self.weir.reload().status == 200
        assert self.behind.stop() == 0
        self.behind.start()

    def _prometheus(self) -> Prometheus:
        envoys = [f"127.0.0.1:{one.admin_port}" for one in (self.mesh.front, self.mesh.middle)]
        return Prometheus(
            self.folder / "prometheus",
            self.weir.admin_port,
            rules=hurried(self.folder / "rules"),
            every="1s",
            jobs=(
                {"job_name": "envoy", "metrics_path": "/stats/prometheus", "static_configs": [{"targets": envoys}]},
                {
                    "job_name": "weir-behind",
                    "honor_labels": True,
                    "static_configs": [{"targets": [f"127.0.0.1:{self.behind.admin_port}"]}],
                },
                self.start(Recorded()).job(),
            ),
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Scene(stack, tmp_path_factory.mktemp("live"))


def numbers(scene: Scene, expr: str) -> bool:
    """Has it ever answered with one?"""
    if expr not in scene.answered and any(not math.isnan(value) for _, value in scene.prometheus.query(expr)):
        scene.answered.add(expr)
    return expr in scene.answered


def silent(scene: Scene, asked: dict) -> dict:
    """Of {what: expression} those that have given no number by the scene's deadline."""
    while True:
        asked = {what: expr for what, expr in asked.items() if not numbers(scene, expr)}
        if not asked or time.monotonic() > scene.deadline:
            return asked
        time.sleep(1)


def test_everybody_is_scraped(scene):
    wait_until(
        lambda: all(target["health"] == "up" for target in scene.prometheus.targets()),
        lambda: str([(t["scrapeUrl"], t["lastError"]) for t in scene.prometheus.targets()]),
        DEADLINE,
    )


@pytest.mark.parametrize("uid", boards())
def test_every_panel_has_data(scene, uid):
    """Those that empty.yml excuses too, since here there is trouble; but for those that this scene cannot bring about."""
    excused = may_be_empty()
    assert {entry for entry in NOT_HERE if entry in excused} == NOT_HERE
    asked = {(one.panel, one.query): one.expr for one in expressions("middle", **VALUES) if one.dashboard == uid}
    must = {what: expr for what, expr in asked.items() if (uid, *what) not in NOT_HERE}
    assert must
    left = silent(scene, must)
    assert not left, f"{len(left)} of {len(asked)} without data:\n" + "\n".join(f"{what}: {expr}" for what, expr in left.items())


def test_every_rule_is_evaluated(scene):
    def evaluated():
        return all(rule["health"] != "unknown" for rule in scene.prometheus.evaluated())

    wait_until(evaluated, "all rules to be evaluated", DEADLINE)
    rules = scene.prometheus.evaluated()
    alerts = [rule for rule in rules if rule["type"] == "alerting"]
    assert alerts and len(alerts) < len(rules)
    wrong = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]
    assert not wrong, "\n".join(wrong)


def test_every_recording_rule_has_data(scene):
    records = {rule["name"]: rule["name"] for rule in scene.prometheus.evaluated() if rule["type"] == "recording"}
    assert RULES_NOT_HERE <= records.keys()
    left = silent(scene, {name: name for name in records.keys() - RULES_NOT_HERE})
    assert not left, sorted(left)
