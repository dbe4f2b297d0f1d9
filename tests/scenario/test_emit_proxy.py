"""Example proxies under load, on libweir_emit: what Weir makes of their spans is what really happened, whatever is sampled, and Weir's
own absence costs no request."""

import functools
import math

import pytest
from harness.chance import drawn
from harness.envoy import Envoy
from harness.load import Traffic
from harness.net import get_json, http, wait_until
from harness.proxy import Proxy, Relay
from harness.sink import Sink

SPANS = 4  # of a request that is sampled: server and client of both proxies
ROUTES = ("--route", "/orders/{id}", "--route", "/cart/*")
PATHS = [f"/orders/{id}" for id in range(20)] + [f"/cart/{id}/items" for id in range(10)] + ["/status"]
CALLS, VARIANCE = "traces_spanmetrics_calls_total", "weir_spanmetrics_calls_variance_total"
REQUESTS = "emitter_requests_total"
SERVER, CLIENT = 2, 3


class Scene:
    """client -> front -> back -> nginx, and a Weir that says what is sampled, behind a relay."""

    def __init__(self, weir, start, folder, rate: float):
        self.policy = folder / "sampling.yaml"
        self.say(rate)
        self.weir = weir(receivers={"datagram": ""}, extra=f"sampling: {{ policy: {self.policy} }}")
        self.relay = start(Relay(self.weir.ports["datagram"]))
        self.nginx = start(Sink(folder / "nginx", log=False))
        options = (*ROUTES, "--poll", "500", "--threads", "2", "--rate", str(rate))
        self.back = start(Proxy(folder, "back", to=self.nginx.port, weir=self.relay.port, options=options))
        self.front = start(Proxy(folder, "front", to=self.back.port, weir=self.relay.port, options=options))
        self.load = start(Traffic(self.front.port, PATHS, rate=400))

    def say(self, rate: float):
        exact = "exact: 'emitter_requests_total{service=\"front\"}'"
        self.policy.write_text(f"proxies: {{ default: {{ rate: {rate} }}, services: {{ front: {{ rate: {rate}, {exact} }} }} }}\n")

    def tell(self, rate: float):
        self.say(rate)
        answer = self.weir.reload()
        assert answer.status == 200, answer.text

    def goes_on(self, requests: int):
        before = self.load.answered
        wait_until(lambda: self.load.answered >= before + requests, f"{requests} requests more")

    def follows(self, rate: float):
        """Spans arrive at this rate, over some hundred requests of the load; it polls twice a second."""
        seen: list[float] = []

        def share() -> bool:
            spans, requests = self.weir.received(), self.load.answered
            self.goes_on(400)
            seen.append((self.weir.received() - spans) / SPANS / (self.load.answered - requests))
            return abs(seen[-1] - rate) <= 0.3 * rate

        wait_until(share, lambda: f"a share of {rate}: {seen}")

    def quiet(self):
        """No request is under way, and all that was told has arrived."""
        self.load.stop()
        self.exactly(self.load.answered)
        self.weir.balance()

    def exactly(self, requests: int):
        """Weir's counters of requests of both proxies, sampled or not."""

        def counted() -> dict:
            return {service: self.weir.page().sum(REQUESTS, service=service) for service in ("front", "back")}

        wait_until(lambda: set(counted().values()) == {requests}, lambda: f"{requests} requests: {counted()}")

    def estimates(self, service: str) -> tuple[float, float]:
        of, page = {"service": service, "span_kind": "SPAN_KIND_SERVER"}, self.weir.page()
        return page.sum(CALLS, **of), page.sum(VARIANCE, **of)

    def no_failure(self):
        assert self.load.failed == [] and set(self.load.statuses) == {202}, (self.load.failed[:3], self.load.statuses)


@pytest.fixture
def scene(weir, start, tmp_path):
    return lambda rate: Scene(weir, start, tmp_path, rate)


def test_a_rate_is_changed_under_load(scene):
    one = scene(0.2)
    totals: dict[str, tuple[float, float, int]] = dict.fromkeys(("front", "back"), (0, 0, 0))

    def held_against_the_truth(phase: str, lowest: float):
        """What spans of this phase stand for, within its band of the requests of this phase. Of few spans the variance that
        they tell is itself a guess: then the band is what it is at the lowest rate of the phase."""
        one.quiet()
        for service, (before, variance_before, answered) in totals.items():
            estimate, variance = one.estimates(service)
            requests = one.load.answered - answered
            assert requests > 500
            error = math.sqrt(max(variance - variance_before, requests * (1 - lowest) / lowest))
            assert abs(estimate - before - requests) <= 8 * error, f"{phase}: {service}: {estimate - before} +- {error}, {requests}"
            totals[service] = estimate, variance, one.load.answered
        one.load.start()

    one.follows(0.2)
    one.goes_on(500)
    held_against_the_truth("before", 0.2)

    for rate in (1, 0.05):
        one.tell(rate)
        one.follows(rate)
    held_against_the_truth("during", 0.05)

    one.tell(0.5)
    one.follows(0.5)
    one.goes_on(500)
    held_against_the_truth("after", 0.05)  # from the rate before on

    def ratio() -> bool:
        page = one.weir.own()
        value = page.sum("weir_sampling_estimate_ratio", service="front")
        error = page.sum("weir_sampling_estimate_error_ratio", service="front")
        return 0 < error < 0.5 and abs(value - 1) <= 4 * error

    wait_until(ratio, lambda: [line for line in one.weir.own().text.splitlines() if "sampling_estimate" in line])
    one.quiet()
    one.no_failure()
    assert one.weir.own().sum("weir_datagrams_lost_total", reason="sequence") == 0
    for proxy in (one.front, one.back):
        said = proxy.end()
        assert said["dropped"] == said["unsent"] == 0 and said["answers"] >= 3


def test_what_is_lost_on_the_way_is_counted_to_the_datagram(scene):
    one = scene(1)
    one.follows(1)
    one.relay.lose(7)
    wait_until(lambda: one.relay.lost >= 30, lambda: f"30 datagrams lost: {one.relay.lost}")
    one.relay.lose(0)
    one.load.stop()

    def counted() -> float:
        return one.weir.own().sum("weir_datagrams_lost_total", reason="sequence")

    wait_until(lambda: counted() == one.relay.lost, lambda: f"{one.relay.lost} lost; counted are {counted()}")
    received = one.weir.own().sum("weir_datagrams_received_total", receiver="datagram")
    passed = one.relay.passed
    assert received <= passed
    # Proxies go on telling that they live; what is lost stays what it was.
    wait_until(lambda: one.relay.passed > passed + 3, "more datagrams")
    assert counted() == one.relay.lost
    assert one.weir.own().sum("weir_datagrams_refused_total") == one.weir.own().sum("weir_datagrams_duplicate_total") == 0
    one.no_failure()


def test_weir_is_stopped_and_started_under_load(scene):
    one = scene(0.2)
    one.follows(0.2)

    assert one.weir.stop() == 0
    one.goes_on(1000)
    one.weir.start()
    one.goes_on(500)
    wait_until(lambda: one.weir.page().sum(REQUESTS, service="front") > 0, "counters after the start")
    one.tell(1)  # what it has to say is heard again
    one.follows(1)
    before = one.weir.page().sum(REQUESTS, service="front"), one.load.answered
    one.goes_on(500)
    one.load.stop()
    since = one.load.answered - before[1]
    wait_until(lambda: one.weir.page().sum(REQUESTS, service="front") - before[0] >= since, f"the counts of {since} requests")
    one.no_failure()
    # A Weir that was away refused what came, and the proxies did not stop for it.
    for proxy in (one.front, one.back):
        assert proxy.end()["dropped"] == 0


class Row:
    """client -> Envoy front -> weir_proxy shop -> Envoy middle -> its own answers: a trace is six spans of three services."""

    def __init__(self, start, folder, weir, **envoys):
        same = {"otlp_port": weir.grpc_port, "statsd_port": weir.statsd_port, **envoys}
        options = ("--route", "/orders/v1/{id}", "--rate", "0")  # no trace begins here
        middle = start(Envoy(folder, "middle", dict.fromkeys(("orders", "users"), 0), app=True, **same))
        self.shop = start(Proxy(folder, "shop", to=middle.port, weir=weir.ports["datagram"], options=options))
        self.front = start(Envoy(folder, "front", {"shop": self.shop.port}, **same))

    def ask(self, count: int):
        for number in range(count):
            assert http(f"http://127.0.0.1:{self.front.port}/orders/v1/{number}").status == 200


def test_it_goes_on_with_the_traces_of_an_envoy(weir, start, tmp_path):
    one = weir(receivers={"datagram": ""})
    count, hops = 50, [(service, kind) for service in ("front", "shop", "middle") for kind in (SERVER, CLIENT)]
    Row(start, tmp_path, one).ask(count)
    one.balance(received=count * len(hops))
    spans = {span["spanId"]: span for span in one.cat()}
    last = [span for span in spans.values() if (span["service"], span["kind"]) == hops[-1]]
    assert len(last) == count
    for span in last:
        way = [span]
        while above := spans.get(way[0].get("parentSpanId")):
            way.insert(0, above)
        assert [(hop["service"], hop["kind"]) for hop in way] == hops
        assert {hop["traceId"] for hop in way} == {span["traceId"]}
        assert way[2]["name"] == way[3]["name"] == "GET /orders/v1/{id}"


def test_behind_an_envoy_its_spans_stand_for_what_the_envoy_told(weir, start, tmp_path):
    (tmp_path / "sampling.yaml").write_text("proxies: { default: { rate: 0.5 } }\n")
    one = weir(receivers={"datagram": ""}, extra=f"sampling: {{ policy: {tmp_path / 'sampling.yaml'} }}")
    row = Row(start, tmp_path, one, rtds=True)
    wait_until(lambda: row.front.told_rate() == 0.5, "the Envoy to follow")
    followers = functools.partial(get_json, one.url("/policy"))
    known = {"way": "rtds", "rate": 0.5}
    wait_until(lambda: any(known.items() <= row.items() for row in followers()["followers"]), "Weir to know of it")
    count = 400
    row.ask(count)
    wait_until(lambda: one.page().sum(REQUESTS, service="shop") == count, "the exact count")
    wait_until(lambda: one.received() >= row.front.traced() * 6, "all spans")
    one.balance()
    page, traced = one.page(), row.front.traced()
    of = {"service": "shop", "span_kind": "SPAN_KIND_SERVER"}
    drawn(traced, count, 0.5)
    # Each stands for w = 2, with a variance of w (w - 1).
    assert page.sum(CALLS, **of) == page.sum(VARIANCE, **of) == pytest.approx(2 * traced)
