"""One file says what tracing may cost, and all follow it: two real Envoys in a row and an OpenTelemetry SDK, under load.

    traffic -> edge -> behind -> its app          traffic -> behind           shop (SDK for Go, asks once a second)

What is estimated of spans is held against what the proxies counted themselves, in bands of four standard errors.
"""

import math
import time

import pytest
from harness.envoy import Envoy, Mesh
from harness.jaeger import OPERATIONS, Client
from harness.load import Traffic
from harness.net import get_json, wait_until
from harness.weir import Weir

SERVER = "SPAN_KIND_SERVER"
PATHS = [f"/{name}/v1/{i}" for i in range(25) for name in ("orders", "payments", "inventory", "users")]


class Scene:
    """Weir, the two Envoys and the SDK, and the file that they follow."""

    def __init__(self, start, weir, folder, text: str):
        self.folder, self.file = folder, folder / "sampling.yaml"
        self.file.write_text(text)
        self.weir: Weir = weir(receivers={"sampling": ""}, extra=f"sampling: {{ policy: {self.file} }}")
        self.mesh: Mesh = start(
            Mesh(
                folder / "mesh",
                otlp_port=self.weir.grpc_port,
                statsd_port=self.weir.statsd_port,
                names=("edge", "behind"),
                rtds=True,
            )
        )
        self.edge, self.behind = self.mesh.front, self.mesh.middle
        self._start = start

    def sdk(self) -> Client:
        asks = f"http://127.0.0.1:{self.weir.ports['sampling']}/sampling"
        return self._start(Client("go", self.folder, otlp=self.weir.endpoint, sampling=asks, service="shop"))

    def say(self, text: str):
        self.file.write_text(text)
        answer = self.weir.reload()
        assert answer.status == 200, answer.text

    def followed(self, rates: dict[str, float]) -> float:
        """Waits until the Envoys have what they are told; how long the slower one took."""
        began = time.monotonic()
        for envoy in (self.edge, self.behind):
            rate = rates[envoy.service]
            wait_until(lambda envoy=envoy, rate=rate: envoy.told_rate() == rate, f"{envoy.service} to follow", every=0.02)
        return time.monotonic() - began


class Tally:
    """What each proxy counted itself, and what Weir makes of its spans."""

    def __init__(self, scene: Scene):
        page = scene.weir.page()
        self.requests = {envoy.service: envoy.requests() for envoy in (scene.edge, scene.behind)}
        self.traced = {envoy.service: envoy.traced() for envoy in (scene.edge, scene.behind)}
        self.calls = page.by("traces_spanmetrics_calls_total", "service", span_kind=SERVER)
        self.variance = page.by("weir_spanmetrics_calls_variance_total", "service", span_kind=SERVER)

    def since(self, before: "Tally", service: str) -> tuple[int, float, float]:
        """(exact, estimated, standard error)"""
        exact = self.requests[service] - before.requests[service]
        estimated = self.calls.get(service, 0) - before.calls.get(service, 0)
        variance = self.variance.get(service, 0) - before.variance.get(service, 0)
        return exact, estimated, math.sqrt(variance)

    def holds(self, before: "Tally"):
        for service in self.requests:
            exact, estimated, error = self.since(before, service)
            print(f"{service}: {exact} requests, {estimated:.0f} estimated, standard error {error:.0f}")
            assert exact > 500
            assert abs(estimated - exact) <= 4 * error, f"{service}: {estimated:.0f} of {exact}, error {error:.0f}"


def within(count: int, of: int, rate: float):
    band = 5 * math.sqrt(of * rate * (1 - rate))
    assert abs(count - of * rate) <= band, f"{count} of {of} at {rate}"


def rates(edge: float, behind: float, shop: float) -> str:
    return f"""
proxies:
  trust: policy
  poll_interval: 1s
  default: {{ rate: 0 }}
  services:
    edge: {{ rate: {edge} }}
    behind: {{ rate: {behind}, envoy: {{ min_flush_spans: 50, flush_interval: 300ms }} }}
    shop: {{ rate: {shop}, operations: {{ "GET /health": {{ rate: 0 }} }} }}
"""


def test_all_follow_the_file_and_the_numbers_stay_true(start, weir, tmp_path):
    scene = Scene(start, weir, tmp_path, rates(edge=0.5, behind=0.2, shop=0.5))
    sdk = scene.sdk()
    scene.followed({"edge": 0.5, "behind": 0.2})
    wait_until(lambda: sdk.lines() and any(sdk.lines()[-1][1]), lambda: f"its first trace: {sdk.process.tail()}", 60)
    loads = [Traffic(scene.edge.port, PATHS, rate=250), Traffic(scene.behind.port, PATHS, rate=150)]

    def settle() -> Tally:
        """What was sent has come, and nothing waits for its root any more."""
        for load in loads:
            load.stop()
        sent = scene.mesh.spans_sent()
        page = wait_until(
            lambda: (page := scene.weir.page())
            and page.sum("weir_spans_received_total", receiver="grpc") >= sent
            and page,
            "all spans",
        )
        assert page
        time.sleep(0.5)
        return Tally(scene)

    def run(seconds: float, meanwhile=lambda: None) -> Tally:
        for load in loads:
            load.start()
        time.sleep(seconds / 2)
        meanwhile()
        time.sleep(seconds / 2)
        return settle()

    began = settle()
    before = run(5)
    before.holds(began)
    for service, rate in (("edge", 0.5), ("behind", 0.2)):
        print(service, before.traced[service] - began.traced[service], before.requests[service] - began.requests[service])

    took = []

    def change():
        scene.say(rates(edge=0.1, behind=0.4, shop=0.1))
        took.append(scene.followed({"edge": 0.1, "behind": 0.4}))

    during = run(8, change)
    print("took", took)
    during.holds(before)
    after = run(8)
    after.holds(during)
    for service, rate in (("edge", 0.1), ("behind", 0.4)):
        print(service, after.traced[service] - during.traced[service], after.requests[service] - during.requests[service])
    print(sdk.lines()[-1], scene.weir.page().select("traces_spanmetrics_calls_total", service="shop"))
    print([ (l.statuses, l.failed) for l in loads])
    print(scene.weir.own().select("weir_spans_weight_source_total"))
    print(get_json(scene.weir.url("/policy")))
