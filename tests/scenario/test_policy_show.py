"""One file says what tracing may cost, and all follow it: two real Envoys in a row and an OpenTelemetry SDK, under load.

    traffic -> edge -> behind -> its app       traffic -> behind       shop (the SDK for Go; asks once a second)

What Weir makes of spans is held against what the proxies and the client counted themselves, in bands that hold but for an accident.
"""

import math
import time
from collections import Counter

from harness.chance import ERRORS, drawn
from harness.envoy import SPANS_PER_REQUEST, Envoy, Mesh
from harness.jaeger import OPERATIONS, Client
from harness.load import Traffic
from harness.net import get_json, wait_until
from harness.stored import is_root
from harness.weir import Weir

SERVER = "SPAN_KIND_SERVER"
PATHS = [f"/{name}/v1/{i}" for i in range(25) for name in ("orders", "payments", "inventory", "users")]


class Scene:
    """Weir, the two Envoys, what is sent to them, and the file that all follow."""

    def __init__(self, start, weir, folder, text: str, **load: float):
        self.folder, self.file, self._start = folder, folder / "sampling.yaml", start
        self.file.write_text(text)
        self.weir: Weir = weir(receivers={"sampling": ""}, extra=f"sampling: {{ policy: {self.file} }}")
        ports = {"otlp_port": self.weir.grpc_port, "statsd_port": self.weir.statsd_port}
        self.mesh: Mesh = start(Mesh(folder / "mesh", **ports, names=("edge", "behind"), rtds=True))
        self.edge, self.behind = self.mesh.front, self.mesh.middle
        self.envoys: dict[str, Envoy] = {"edge": self.edge, "behind": self.behind}
        self.loads = {name: Traffic(self.envoys[name].port, PATHS, rate) for name, rate in load.items()}

    def sdk(self) -> Client:
        asks = f"http://127.0.0.1:{self.weir.ports['sampling']}/sampling"
        client = self._start(Client("go", self.folder, otlp=self.weir.endpoint, sampling=asks, service="shop"))
        wait_until(lambda: client.lines() and any(client.lines()[-1][1]), lambda: f"a trace of {client.process.tail()}")
        return client

    def say(self, text: str):
        self.file.write_text(text)
        answer = self.weir.reload()
        assert answer.status == 200, answer.text

    def followed(self, **rates: float):
        for name, rate in rates.items():
            envoy = self.envoys[name]
            wait_until(lambda envoy=envoy, rate=rate: envoy.told_rate() == rate, f"{name} to follow", every=0.02)
            wait_until(lambda name=name, rate=rate: follower(self.weir, name).get("rate") == rate, f"Weir to know of {name}")

    def requests(self) -> dict[str, int]:
        return {name: envoy.requests() for name, envoy in self.envoys.items()}

    def drive(self, requests: int):
        """Until each proxy has had so many more."""
        before = self.requests()
        wait_until(lambda: all(now - before[name] >= requests for name, now in self.requests().items()), "requests", every=0.2)

    def run(self, requests: int, meanwhile=lambda: None) -> "Tally":
        """Under load, in the middle of which something happens; then all that was sent has come."""
        for load in self.loads.values():
            load.start()
        self.drive(requests // 2)
        meanwhile()
        self.drive(requests // 2)
        return self.settle()

    def settle(self) -> "Tally":
        """All has come when what proxies have sent, and what Weir makes of it, is the same for a while in which both do answer."""
        self.stop_loads()
        name, seen = "traces_spanmetrics_calls_total", []

        def still() -> bool:
            sent = [envoy.spans_sent() for envoy in self.envoys.values()]
            seen.append((sent, self.weir.page(name).by(name, "service", span_kind=SERVER)))
            return len(seen) >= 12 and seen[-12:] == seen[-1:] * 12

        wait_until(still, "all to have come", every=0.1)
        return Tally(self)

    def stop_loads(self):
        for load in self.loads.values():
            load.stop()
            assert not load.failed and set(load.statuses) <= {200}, f"{load.statuses} {load.failed[:3]}"


class Tally:
    """What each proxy counted itself, and what Weir makes of its server spans."""

    def __init__(self, scene: Scene):
        calls, variance = scene.weir.page("traces_spanmetrics_calls"), scene.weir.page("weir_spanmetrics_calls")
        self.requests = {name: envoy.requests() for name, envoy in scene.envoys.items()}
        self.traced = {name: envoy.traced() for name, envoy in scene.envoys.items()}
        self.calls = calls.by("traces_spanmetrics_calls_total", "service", span_kind=SERVER)
        self.variance = variance.by("weir_spanmetrics_calls_variance_total", "service", span_kind=SERVER)

    def true_since(self, before: "Tally", unsure: dict[str, float] | None = None):
        """unsure: by how much each may be off, for what it had begun while Weir did not know its rate."""
        for name in self.requests:
            exact = self.requests[name] - before.requests[name]
            estimated = self.calls.get(name, 0) - before.calls.get(name, 0)
            error = math.sqrt(self.variance.get(name, 0) - before.variance.get(name, 0))
            more = (unsure or {}).get(name, 0)
            said = f"{name}: {exact} requests, {estimated:.0f} estimated, standard error {error:.1f}, unsure {more:.0f}"
            print(said)
            assert exact > 400, said
            assert abs(estimated - exact) <= ERRORS * error + more, said

    def at_rate_since(self, before: "Tally", **rates: float):
        """By Envoy's own statistics, which count as traced what it drew itself."""
        for name, rate in rates.items():
            drawn(self.traced[name] - before.traced[name], self.requests[name] - before.requests[name], rate, name)


def follower(one: Weir, name: str) -> dict:
    return next((row for row in get_json(one.url("/policy"))["followers"] if row["id"] == name or row["service"] == name), {})


def rates(edge: float, behind: float, shop: float) -> str:
    return f"""
proxies:
  trust: policy
  poll_interval: 1s
  default: {{ rate: 0 }}
  services:
    edge:
      rate: {edge}
      envoy: {{ min_flush_spans: 50, flush_interval: 300ms }}
      exact: envoy_http_downstream_rq_total{{envoy_http_conn_manager_prefix="edge"}}
    behind: {{ rate: {behind} }}
    shop: {{ rate: {shop}, operations: {{ "GET /health": {{ rate: 0 }} }} }}
"""


def test_all_follow_the_file_and_the_numbers_stay_true(start, weir, tmp_path):
    scene = Scene(start, weir, tmp_path, rates(edge=0.5, behind=0.2, shop=0.5), edge=250, behind=150)
    sdk = scene.sdk()
    scene.followed(edge=0.5, behind=0.2)
    began = scene.settle()
    before = scene.run(1200)
    before.true_since(began)
    # `behind` draws as well for what `edge` has drawn already; it is the same number, that of the request's id.
    before.at_rate_since(began, edge=0.5)

    unsure = {}

    def change():
        asked, first = time.monotonic(), scene.requests()
        scene.say(rates(edge=0.1, behind=0.4, shop=0.1))
        scene.followed(edge=0.1, behind=0.4)
        print(f"followed {1000 * (time.monotonic() - asked):.0f} ms after the reload was asked for")
        # What a proxy drew before it said that it follows is weighed by the rate before: of `edge` a request may count for 4/5 less
        # than one, and of `behind` for one more.
        unsure.update((name, count - first[name]) for name, count in scene.requests().items())
        wait_until(lambda: follower(scene.weir, "shop").get("rate") == 0.1, "the client to have asked")

    during = scene.run(2000, change)
    during.true_since(before, unsure)
    asked = scene.weir.own().sum("weir_policy_fetches_total", way="http")  # who asks again has put to use what it heard
    wait_until(lambda: scene.weir.own().sum("weir_policy_fetches_total", way="http") >= asked + 2, "the client to ask again")
    for (made, sampled), rate, operation in zip(sdk.draws(1000), (0.1, 0, 0.1), OPERATIONS, strict=True):
        drawn(sampled, made, rate, operation)
    after = scene.run(2000)
    after.true_since(during)
    after.at_rate_since(during, edge=0.1)

    def true_by_its_counter() -> (
        bool
    ):  # of the last minute or so; a counter that comes by UDP may lose a part where Weir stands still
        own = scene.weir.own()
        ratio, error = (own.sum(f"weir_sampling_estimate_{what}", service="edge") for what in ("ratio", "error_ratio"))
        print(f"edge: its counter by DogStatsD times {ratio:.3f}, error {error:.3f}")
        return 0 < error < 0.2 and abs(ratio - 1) <= 5 * error

    if not true_by_its_counter():
        for load in scene.loads.values():
            load.start()
        wait_until(true_by_its_counter, "an estimate that holds", 200, every=1)
        scene.settle()

    assert sdk.stop() == 0
    made, sampled = sdk.lines()[-1]
    sent = scene.mesh.spans_sent() + 2 * sum(sampled)
    scene.weir.balance(received=sent)
    page = scene.weir.page("traces_spanmetrics_calls")
    for operation, count, some in zip(OPERATIONS, made, sampled, strict=True):
        estimated = page.sum("traces_spanmetrics_calls_total", service="shop", span_name=operation)
        if some == 0:
            assert estimated == 0  # told not to, it sent none
            continue
        assert abs(estimated - count) <= ERRORS * math.sqrt(some * 10 * 9), f"{operation}: {estimated} of {count}"
    assert scene.edge.stats("^runtime.(load_error|update_rejected)") == {"runtime.load_error": 0, "runtime.update_rejected": 0}


BUDGET, FLOOR = 300, 15
BUDGETED = f"""
proxies:
  trust: policy
  poll_interval: 1s
  incident: false
  budget: {{ spans_per_second: {BUDGET} }}
  default: {{ min_traces_per_second: 1 }}
  services:
    edge: {{ min_traces_per_second: {FLOOR} }}
"""


def test_a_surge_costs_no_more_than_the_budget(start, weir, tmp_path):
    """Ten times the load on one service: spans stay within the budget, and each operation keeps its floor."""
    scene = Scene(start, weir, tmp_path, BUDGETED, edge=30)
    scene.sdk()
    traffic = scene.loads["edge"].start()
    wait_until(lambda: sum(follower(scene.weir, name).get("rate", 0) > 0.02 for name in ("edge", "shop")) == 2, "rates")
    time.sleep(10)

    traffic.rate = 300
    time.sleep(4)  # two polling intervals, and a step of the controller
    # What is held to is a rate: where a program stands still for seconds there is none, and the next half minute is looked at.
    wrong = [half_a_minute(scene, traffic)]
    while wrong[-1] and len(wrong) < 8:
        wrong.append(half_a_minute(scene, traffic))
    assert not wrong[-1], "\n".join(wrong)
    scene.stop_loads()
    assert scene.weir.stop() == 0


def half_a_minute(scene: Scene, traffic: Traffic) -> str:
    """What was wrong in it; "" when nothing."""
    began, spans, answered = time.time(), scene.weir.received(), traffic.answered
    time.sleep(30)
    ended, came, answered = time.time(), scene.weir.received(), traffic.answered - answered
    spans, seconds = came - spans, ended - began
    told = f"{spans / seconds:.0f} spans of {answered / seconds:.0f} requests a second; edge has {scene.edge.told_rate()}"
    wait_until(lambda: scene.weir.ledger().delivered("file") >= came, "the file to have what came")
    roots = [span for span in scene.weir.cat() if span["service"] == "edge" and is_root(span)]
    kept = Counter(span["name"].split("/")[1] for span in roots if began <= int(span["startTimeUnixNano"]) / 1e9 < ended)
    print(told, kept)
    wanted = FLOOR * seconds
    if answered / seconds <= 100:
        return f"{told}: no surge"
    if spans > 1.05 * BUDGET * seconds + 4 * math.sqrt(BUDGET * seconds * SPANS_PER_REQUEST):
        return f"{told}: beyond the budget"
    if spans < 0.8 * BUDGET * seconds:
        return f"{told}: less than may be spent"
    few = {name: count for name, count in kept.items() if count < 0.95 * wanted - 4 * math.sqrt(wanted)}
    return f"{few} traces of {kept} in {seconds:.0f} s" if few or len(kept) != 4 else ""


def test_a_weir_that_is_away_changes_nothing(start, weir, tmp_path):
    scene = Scene(start, weir, tmp_path, rates(edge=0.25, behind=0.25, shop=0), edge=250, behind=100)
    scene.followed(edge=0.25, behind=0.25)
    began = scene.settle()
    before = scene.run(750)
    before.true_since(began)
    moves = "^runtime.(load_success|update_success)"
    told = {name: envoy.stats(moves) for name, envoy in scene.envoys.items()}

    for load in scene.loads.values():
        load.start()
    assert scene.weir.stop() == 0
    scene.drive(1000)
    assert [envoy.told_rate() for envoy in scene.envoys.values()] == [0.25, 0.25]
    traced = scene.edge.traced()  # of a request or two between the two questions it is not known how they were decided
    drawn(traced - before.traced["edge"], scene.edge.requests() - before.requests["edge"], 0.25)
    scene.weir.start()
    for name in ("edge-1", "behind-1"):
        wait_until(lambda name=name: follower(scene.weir, name).get("state") == "current", f"{name} to come again")
    scene.stop_loads()

    again = scene.settle()
    after = scene.run(1500)
    after.true_since(again)
    after.at_rate_since(again, edge=0.25)
    assert scene.weir.own().value("weir_rtds_pushes_total") == 0, "who has it already is not told again"
    assert {name: envoy.stats(moves) for name, envoy in scene.envoys.items()} == told
