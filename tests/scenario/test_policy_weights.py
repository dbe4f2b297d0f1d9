"""What spans of proxies that follow the policy stand for: the sum of their weights is the number of requests, at one rate, while it
changes, and at another."""

import functools
import math
import threading

import pytest
from harness.envoy import SPANS_PER_REQUEST, Mesh, shop_paths
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
        wait_until(lambda envoy=envoy: envoy.told_rate() == rate, lambda envoy=envoy: f"{rate}; it has {envoy.told_rate()}", 60)
    followers = functools.partial(get_json, policy.weir.url("/policy"))
    wait_until(lambda: [row.get("rate") for row in followers()["followers"]] == [rate] * 2, "Weir to know", 60)


def settled(policy, mesh: Mesh):
    sent = mesh.spans_sent()
    return policy.weir.balance(received=sent)


def stand_for_requests(policy, mesh: Mesh, service: str, requests: int) -> tuple[float, float]:
    """Its server spans, by weight, and their variance; within five standard errors of what its own counter says."""
    page = policy.weir.page()
    of = {"service": service, "span_kind": "SPAN_KIND_SERVER"}
    estimate, variance = page.sum(CALLS, **of), page.sum(VARIANCE, **of)
    assert abs(estimate - requests) <= 5 * math.sqrt(variance) + 1e-6, (
        f"{service}: {estimate} +- {math.sqrt(variance):.1f} for {requests} requests"
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
    _, variance = stand_for_requests(policy, mesh, "front", requests)
    assert variance > 0
    stand_for_requests(policy, mesh, "middle", requests)

    # While the rate falls and rises again. What a proxy drew between taking a rate and saying so is weighed by the rate before: on
    # a machine that is slow to hear of it that must be few beside what chance has, so no rise is tenfold.
    driving = threading.Thread(target=mesh.drive, args=(shop_paths(4000),))
    driving.start()
    for rate in (0.1, 0.4, 0.2, 0.25):
        before = mesh.front.requests()
        policy(rate)
        follow(policy, mesh, rate)
        wait_until(lambda before=before: mesh.front.requests() >= before + 500 or not driving.is_alive(), "500 requests more")
    driving.join()
    settled(policy, mesh)
    requests = mesh.front.requests()
    assert requests == 4600
    stand_for_requests(policy, mesh, "front", requests)
    stand_for_requests(policy, mesh, "middle", requests)

    # After.
    mesh.drive(shop_paths(1000))
    ledger = settled(policy, mesh)
    requests = mesh.front.requests()
    front, _ = stand_for_requests(policy, mesh, "front", requests)
    middle, _ = stand_for_requests(policy, mesh, "middle", requests)
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
    wait_until(lambda: policy.weir.own().sum("weir_policy_followers", state="current") == 2, "both to come again", timeout=60)
    mesh.drive(shop_paths(200))
    mesh.spans_sent()
    ledger = policy.weir.balance()
    page = policy.weir.own()
    assert ledger.received > 0
    assert page.sum("weir_spans_weight_source_total", source="policy") == ledger.received
    assert page.sum("weir_spans_weight_source_total") == ledger.received
