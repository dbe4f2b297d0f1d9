"""What spans of proxies that follow the policy stand for: the sum of their weights is the number of requests, at one rate, while it
changes, and at another."""

import functools
import math

import pytest
from harness.chance import ERRORS
from harness.envoy import SPANS_PER_REQUEST, Mesh, shop_paths
from harness.load import Traffic
from harness.net import get_json, wait_until

CALLS = "traces_spanmetrics_calls_total"
VARIANCE = "weir_spanmetrics_calls_variance_total"


@pytest.fixture
def policy(weir, tmp_path):
    """policy(rate) writes sampling.yaml, and has it read again by policy.weir, which is started with the first."""

    class Policy:
        path = tmp_path / "weir" / "sampling.yaml"
        weir = None

        def __call__(self, rate):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(f"proxies: {{ default: {{ rate: {rate} }} }}\n")
            if self.weir:
                answer = self.weir.reload()
                assert answer.status == 200, answer.text
            else:
                self.weir = weir(extra=f"sampling: {{ policy: {self.path}, weight_wait: 60s }}")

    return Policy()


def follow(policy, mesh: Mesh, rate: float):
    """Both have it, and Weir has heard so: what they draw from here on is weighed by it."""
    for envoy in (mesh.front, mesh.middle):
        wait_until(
            lambda envoy=envoy: envoy.told_rate() == rate, lambda envoy=envoy: f"{rate}; it has {envoy.told_rate()}", every=0.02
        )
    followers = functools.partial(get_json, policy.weir.url("/policy"))
    wait_until(lambda: [row.get("rate") for row in followers()["followers"]] == [rate] * 2, "Weir to know", every=0.02)


def settled(policy, mesh: Mesh):
    """The first decides, and of each trace both send all of their spans."""
    return policy.weir.balance(received=SPANS_PER_REQUEST * mesh.front.traced())


def stand_for_requests(policy, service: str, requests: int, unsure: float = 0) -> tuple[float, float]:
    """Its server spans, by weight, and their variance; as many as its own counter says, but for chance and for what is unsure."""
    page = policy.weir.page()
    of = {"service": service, "span_kind": "SPAN_KIND_SERVER"}
    estimate, variance = page.sum(CALLS, **of), page.sum(VARIANCE, **of)
    assert abs(estimate - requests) <= ERRORS * math.sqrt(variance) + unsure + 1e-6, (
        f"{service}: {estimate} +- {math.sqrt(variance):.1f} for {requests} requests, {unsure} unsure"
    )
    return estimate, variance


def test_totals_hold_over_a_change(policy, start, tmp_path):
    policy(0.5)
    mesh = start(Mesh(tmp_path / "mesh", otlp_port=policy.weir.grpc_port, statsd_port=policy.weir.statsd_port, rtds=True))
    follow(policy, mesh, 0.5)

    # Before.
    mesh.drive(shop_paths(600))
    settled(policy, mesh)
    requests = mesh.front.requests()
    assert requests == 600
    _, variance = stand_for_requests(policy, "front", requests)
    assert variance > 0
    stand_for_requests(policy, "middle", requests)

    # While the rate falls and rises again. What a proxy drew between taking a rate and saying so is weighed by the rate before: for
    # that many requests, at most those until both have said so, the sum is unsure. They must be few beside what chance has, so
    # they do not come as fast as they can.
    traffic = Traffic(mesh.front.port, shop_paths(400), rate=250, connections=16).start()
    unsure, old = 0.0, 0.5
    for rate in (0.1, 0.4, 0.2, 0.25):
        before = mesh.front.requests()
        policy(rate)
        follow(policy, mesh, rate)
        unsure += (mesh.front.requests() - before) * abs(rate / old - 1)
        old = rate
        wait_until(lambda before=before: mesh.front.requests() >= before + 400, "400 requests more")
    traffic.stop()
    settled(policy, mesh)
    requests = mesh.front.requests()
    assert requests == 600 + traffic.answered and not traffic.failed
    stand_for_requests(policy, "front", requests, unsure)
    stand_for_requests(policy, "middle", requests, unsure)

    # After.
    mesh.drive(shop_paths(1000))
    ledger = settled(policy, mesh)
    requests += 1000
    assert mesh.front.requests() == requests
    front, _ = stand_for_requests(policy, "front", requests, unsure)
    middle, _ = stand_for_requests(policy, "middle", requests, unsure)
    assert front == pytest.approx(middle)  # they are of the same traces, and stand for the same

    # All of them were weighed by what their root's proxy had: it says so of each span, and so does what is stored.
    page = policy.weir.own()
    assert page.sum("weir_spans_weight_source_total", source="policy") == ledger.received
    assert page.sum("weir_spans_weight_source_total") == ledger.received
    assert ledger.received % SPANS_PER_REQUEST == 0


def test_a_restart_forgets_no_rate(policy, start, tmp_path):
    """Spans come before their proxies have connected again, and wait until these say what they have."""
    policy(0.5)
    mesh = start(Mesh(tmp_path / "mesh", otlp_port=policy.weir.grpc_port, statsd_port=policy.weir.statsd_port, rtds=True))
    follow(policy, mesh, 0.5)
    mesh.drive(shop_paths(200))
    settled(policy, mesh)
    policy.weir.stop()
    policy.weir.start()
    mesh.drive(shop_paths(600))  # until they are connected to it, what they send is lost
    mesh.spans_sent()
    wait_until(lambda: policy.weir.own().sum("weir_policy_followers", state="current") == 2, "both to come again")
    mesh.drive(shop_paths(200))
    mesh.spans_sent()
    policy.weir.balance()

    def known() -> bool:
        page = policy.weir.own()
        received = page.sum("weir_spans_received_total")
        return received > 0 and page.sum("weir_spans_weight_source_total", source="policy") == received

    wait_until(known, "all to be weighed by what their proxies were told")
    page = policy.weir.own()
    assert page.sum("weir_spans_weight_source_total") == page.sum("weir_spans_weight_source_total", source="policy")
