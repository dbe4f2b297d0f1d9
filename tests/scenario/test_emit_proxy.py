"""Example proxies under load, on libweir_emit: what Weir makes of their spans is what really happened, whatever is sampled, and Weir's
own absence costs no request."""

import math
import time

import pytest
from harness.envoy import Envoy
from harness.load import Traffic
from harness.net import http, wait_until
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

    def follows(self, rate: float, seconds: float = 10):
        """Within that time spans arrive at this rate, over a second of the load."""
        end = time.monotonic() + seconds

        def share() -> float:
            spans, requests = self.weir.received(), self.load.answered
            time.sleep(1)
            return (self.weir.received() - spans) / SPANS / max(self.load.answered - requests, 1)

        seen = []
        while not seen or abs(seen[-1] - rate) > 0.25 * rate:
            assert time.monotonic() < end, f"after {seconds} s not {rate}: {seen}"
            seen.append(share())

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

    def held_against_the_truth(phase: str):
        """What spans of this phase stand for, within four standard errors of the requests of this phase."""
        one.quiet()
        for service, (before, variance_before, answered) in totals.items():
            estimate, variance = one.estimates(service)
            error = math.sqrt(max(variance - variance_before, 0))
            requests = one.load.answered - answered
            assert requests > 500
            assert abs(estimate - before - requests) <= 4 * error + 1e-6, (
                f"{phase}: {service}: {estimate - before} +- {error}, {requests}"
            )
            totals[service] = estimate, variance, one.load.answered
        one.load.start()

    one.follows(0.2)
    time.sleep(1)
    held_against_the_truth("before")

    for rate in (1, 0.05):
        one.tell(rate)
        one.follows(rate)
    held_against_the_truth("during")

    one.tell(0.5)
    one.follows(0.5)
    time.sleep(1)
    held_against_the_truth("after")

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
        assert said["dropped"] == said["unsent"] == said["answers_refused"] == 0 and said["answers"] >= 3


def test_what_is_lost_on_the_way_is_counted_to_the_datagram(scene):
    one = scene(1)
    one.follows(1)
    one.relay.lose(7)
    wait_until(lambda: one.relay.lost >= 30, lambda: f"30 datagrams lost: {one.relay.lost}", timeout=60)
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

    def goes_on(requests: int):
        before = one.load.answered
        wait_until(lambda: one.load.answered >= before + requests, f"{requests} requests more")

    assert one.weir.stop() == 0
    goes_on(1000)
    one.weir.start()
    goes_on(500)
    wait_until(lambda: one.weir.page().sum(REQUESTS, service="front") > 0, "counters after the start")
    one.tell(1)  # what it has to say is heard again
    one.follows(1)
    before = one.weir.page().sum(REQUESTS, service="front"), one.load.answered
    goes_on(500)
    one.load.stop()
    since = one.load.answered - before[1]
    wait_until(lambda: one.weir.page().sum(REQUESTS, service="front") - before[0] >= since, f"the counts of {since} requests")
    one.no_failure()
    # A Weir that was away refused what came, and the proxies did not stop for it.
    for proxy in (one.front, one.back):
        assert proxy.end()["dropped"] == 0


def test_it_goes_on_with_the_traces_of_an_envoy(weir, start, tmp_path):
    one = weir(receivers={"datagram": ""})
    nginx = start(Sink(tmp_path / "nginx", log=False))
    proxy = start(Proxy(tmp_path, "shop", to=nginx.port, weir=one.ports["datagram"], options=(*ROUTES, "--rate", "0")))
    envoy = start(Envoy(tmp_path, "edge", {"shop": proxy.port}, otlp_port=one.grpc_port, statsd_port=one.statsd_port))
    count = 50
    for id in range(count):
        assert http(f"http://127.0.0.1:{envoy.port}/orders/{id}").status == 202
    one.balance(received=count * SPANS)
    spans = {span["spanId"]: span for span in one.cat()}
    servers = [span for span in spans.values() if (span["service"], span["kind"]) == ("shop", SERVER)]
    assert len(servers) == count
    for span in servers:
        above = spans[span["parentSpanId"]]
        assert (above["service"], above["kind"], above["traceId"]) == ("edge", CLIENT, span["traceId"])
        assert span["name"] == "GET /orders/{id}"
        below = [other for other in spans.values() if other.get("parentSpanId") == span["spanId"]]
        assert [(other["service"], other["kind"]) for other in below] == [("shop", CLIENT)]
