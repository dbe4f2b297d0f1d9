"""Envoys follow `proxies:` of sampling.yaml over RTDS: real ones, and where those have no reason to a proxy by hand."""

import http.client
import json
import re
import socket

import grpc
import pytest
from harness.chance import drawn
from harness.envoy import Envoy
from harness.fault_proxy import PASS, FaultProxy, garble
from harness.net import get_json, wait_until
from harness.process import PEERS, ROOT, run
from harness.weir import Weir
from harness.xds import RUNTIME, STREAM_AGGREGATED, Proxy, layers_of, open_and_leave

SPANS = 2  # of a traced request: Envoy's as a server, and as a client of its own app


@pytest.fixture
def policy(weir, tmp_path):
    """policy(text) writes sampling.yaml, and reloads the Weir of policy.weir(); which is started with the first."""

    class Policy:
        path = tmp_path / "weir" / "sampling.yaml"
        one: Weir | None = None

        def __call__(self, text: str):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(text)
            if self.one:
                answer = self.one.reload()
                assert answer.status == 200, answer.text

        def weir(self, text: str, extra: str = "", **options) -> Weir:
            self(text)
            self.one = weir(extra=f"sampling: {{ policy: {self.path} }}\n{extra}", **options)
            return self.one

    return Policy()


def rate_of(rate) -> str:
    return f"proxies: {{ default: {{ rate: {rate} }} }}\n"


def envoy_of(one: Weir, folder, service: str, **options) -> Envoy:
    if not options.get("ads"):
        options["rtds"] = True
    return Envoy(
        folder / "envoy", service, {"orders": 0}, otlp_port=one.grpc_port, statsd_port=one.statsd_port, app=True, **options
    )


def follows(envoy: Envoy, rate: float | None):
    wait_until(lambda: envoy.told_rate() == rate, lambda: f"{envoy.service} to be told {rate}; it has {envoy.told_rate()}")


def drive(envoy: Envoy, requests: int) -> int:
    """GETs; how many of them it decided to trace. None fails."""
    before = envoy.traced()
    connection = http.client.HTTPConnection("127.0.0.1", envoy.port, timeout=60)
    for _ in range(requests):
        connection.request("GET", "/orders/1")
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 200
    connection.close()
    return envoy.traced() - before


def settled_at(one: Weir, spans: int):
    wait_until(lambda: one.received() >= spans, lambda: f"{spans} spans; {one.received()} came")
    assert one.balance().received == spans


def pushes(one: Weir) -> int:
    return int(one.own().value("weir_rtds_pushes_total"))


def streams(one: Weir) -> int:
    return int(one.own().value("weir_rtds_streams"))


def follower(one: Weir, node: str) -> dict | None:
    found = [row for row in get_json(one.url("/policy"))["followers"] if row["id"] == node]
    assert len(found) <= 1
    return found[0] if found else None


# ---- real Envoys ----


@pytest.mark.parametrize("ads", [False, True], ids=["rtds", "ads"])
def test_an_envoy_follows_the_file(policy, start, tmp_path, ads):
    one = policy.weir(rate_of(1))
    envoy = start(envoy_of(one, tmp_path, "payments", ads=ads, sample=0))  # what its own configuration says counts no more
    follows(envoy, 1)
    spans = drive(envoy, 100) * SPANS
    assert spans == 100 * SPANS
    settled_at(one, spans)
    for rate, requests in ((0.1, 2000), (0, 300), ("2.5%", 3000)):
        share = 0.025 if rate == "2.5%" else rate
        policy(rate_of(rate))
        follows(envoy, share)
        traced = drive(envoy, requests)
        drawn(traced, requests, share)
        spans += traced * SPANS
        settled_at(one, spans)
    assert envoy.stats(r"^runtime\.(load_error|update_rejected|update_failure)") == {
        "runtime.load_error": 0,
        "runtime.update_rejected": 0,
        "runtime.update_failure": 0,
    }
    wait_until(lambda: one.own().value("weir_rtds_acks_total") == 4, "the last push to be taken")
    page = one.own()
    assert page.value("weir_rtds_streams") == 1
    assert page.value("weir_rtds_pushes_total") == 4
    assert page.value("weir_rtds_nacks_total") == 0
    wait_until(lambda: follower(one, "payments-1")["state"] == "current", "it to be known")
    followed = follower(one, "payments-1")
    assert (followed["way"], followed["service"], followed["rate"]) == ("rtds", "payments", 0.025)
    # What changes nothing for an Envoy is not told to it.
    policy("proxies: { default: { rate: 2.5% }, services: { other: { rate: 1 } } }")
    policy("proxies: { default: { rate: 2.5%, min_traces_per_second: 0 }, services: { other: { rate: 0.5 } } }")
    policy(rate_of(0.5))
    follows(envoy, 0.5)
    assert pushes(one) == 5


def test_each_service_has_its_own_rate(policy, start, tmp_path):
    rules = """
proxies:
  default: { rate: 0.5 }
  services:
    payments: { rate: 1 }
    users: { rate: 0, nodes: ["edge-*", "special-7"] }
"""
    one = policy.weir(rules)
    nodes = {
        "payments": (("a", "payments"), 1),
        "edge": (("b", "edge-eu"), 0),
        "special": (("special-7", "payments-canary"), 0),
        "other": (("c", "other"), 0.5),
    }
    envoys = {name: start(envoy_of(one, tmp_path / name, name, node=node)) for name, (node, _) in nodes.items()}
    for name, (_, rate) in nodes.items():
        follows(envoys[name], rate)
    policy(rules.replace("edge-*", "edge-us"))  # a node may be another service's now, though no rate is another
    follows(envoys["edge"], 0.5)
    assert envoys["special"].told_rate() == 0
    assert drive(envoys["payments"], 50) == 50
    assert drive(envoys["special"], 50) == 0


def test_a_weir_that_restarts_does_not_reset_a_proxy(policy, start, tmp_path):
    one = policy.weir(rate_of(0.25))
    envoy = start(envoy_of(one, tmp_path, "payments"))
    follows(envoy, 0.25)
    moves = r"^runtime\.(load_success|update_success)"
    before = envoy.stats(moves)
    assert one.stop() == 0
    drawn(drive(envoy, 400), 400, 0.25)  # it keeps what it was told, and serves
    assert envoy.told_rate() == 0.25
    one.start()
    wait_until(lambda: streams(one) == 1, "the Envoy to come again")
    wait_until(lambda: (follower(one, "payments-1") or {}).get("state") == "current", "its rate to be known")
    assert follower(one, "payments-1")["rate"] == 0.25
    drawn(drive(envoy, 400), 400, 0.25)
    assert pushes(one) == 0
    assert envoy.stats(moves) == before
    # Another policy at the next start is told.
    assert one.stop() == 0
    policy.one = None
    policy(rate_of(0.75))
    policy.one = one.start()
    wait_until(lambda: envoy.told_rate() == 0.75, "the new policy")
    assert pushes(one) == 1


def test_a_policy_that_goes_away_leaves_what_it_told(policy, start, tmp_path):
    one = policy.weir("collector: { rate: 1 }\n")
    envoy = envoy_of(one, tmp_path, "payments")
    layer = envoy.config["layered_runtime"]["layers"][-1]["rtds_layer"]
    layer["rtds_config"]["initial_fetch_timeout"] = "300s"  # longer than it is waited for to be ready
    start(envoy)
    assert envoy.told_rate() is None
    assert envoy.stats(r"^runtime\.init_fetch_timeout") == {"runtime.init_fetch_timeout": 0}  # its start was not held up
    assert pushes(one) == 1
    policy(rate_of(0.25))
    follows(envoy, 0.25)
    policy("collector: { rate: 1 }\n")
    policy("collector: { rate: 0.5 }\n")
    assert envoy.told_rate() == 0.25
    assert pushes(one) == 2


def test_an_envoy_says_why_it_refuses(policy, start, tmp_path):
    """Between the two stands a wire that makes a list of the fraction."""
    one = policy.weir(rate_of(0.25))
    wire = start(FaultProxy(one.grpc_port, http=False))
    envoy = start(envoy_of(one, tmp_path, "payments", rtds_port=wire.port))
    follows(envoy, 0.25)
    wire.set(garble(b"tracing.random_sampling\x129*7", b"tracing.random_sampling\x12927"))
    policy(rate_of(0.5))
    wait_until(lambda: one.own().value("weir_rtds_nacks_total") == 1, "a refusal")
    wait_until(lambda: follower(one, "payments-1")["state"] == "refused", "it to be known")
    refused = follower(one, "payments-1")
    assert wire.counts["garble"] == 1
    assert "tracing.random_sampling" in refused["reason"]
    assert refused["rate"] == 0.25  # which is what it goes on with
    assert envoy.told_rate() == 0.25
    wait_until(lambda: envoy.stats(r"^runtime\.update_rejected") == {"runtime.update_rejected": 1}, "Envoy to count it")
    one.process.says('event=rtds_refused node="payments-1" cluster="payments" version="v1:rate=0.5000" reason="')
    assert pushes(one) == 2  # it is not told again, until there is something else to tell
    wire.set(PASS)
    policy(rate_of(0.75))
    follows(envoy, 0.75)
    wait_until(lambda: follower(one, "payments-1")["state"] == "current", "the next one to be taken")
    assert pushes(one) == 3


def test_larger_flushes_are_fewer_requests(policy, start, tmp_path):
    one = policy.weir(rate_of(1))
    envoy = start(envoy_of(one, tmp_path, "payments"))
    exports = {"method": "opentelemetry.proto.collector.trace.v1.TraceService/Export"}

    def requests_of(spans_before: int) -> int:
        before = one.own().sum("weir_grpc_requests_total", **exports)
        traced = drive(envoy, 1000)
        settled_at(one, spans_before + traced * SPANS)
        return int(one.own().sum("weir_grpc_requests_total", **exports) - before)

    follows(envoy, 1)
    many = requests_of(0)
    policy("proxies: { default: { rate: 1, envoy: { min_flush_spans: 400, flush_interval: 10s } } }")
    wait_until(lambda: envoy.runtime("tracing.opentelemetry.min_flush_spans") == "400", "the batching")
    assert envoy.runtime("tracing.opentelemetry.flush_interval_ms") == "10000"
    few = requests_of(1000 * SPANS)
    # 5 spans a request before; 400 after, or what there is when the interval is over.
    assert many >= 1000 * SPANS / 5 * 0.9
    assert few <= many / 10
    policy(rate_of(1))  # what is not said any more is Envoy's own again
    wait_until(lambda: envoy.runtime("tracing.opentelemetry.min_flush_spans") is None, "its own batching")


def test_weir_ends_with_proxies_connected(policy, start, tmp_path):
    one = policy.weir(rate_of(1), "drain_timeout: 10m", lanes=2)
    for name in ("one", "two"):
        follows(start(envoy_of(one, tmp_path / name, name)), 1)
    assert streams(one) == 2
    assert one.stop(timeout=120) == 0  # not at the end of drain_timeout


def test_a_token_is_asked_of_envoys_too(policy, start, tmp_path):
    (tmp_path / "token").write_text("open-sesame\n")
    one = policy.weir(rate_of(0.5), grpc=f"bearer_token_file: {tmp_path / 'token'}")
    stranger = start(envoy_of(one, tmp_path / "stranger", "stranger"))
    known = envoy_of(one, tmp_path / "known", "known")
    source = known.config["layered_runtime"]["layers"][-1]["rtds_layer"]["rtds_config"]["api_config_source"]
    source["grpc_services"][0]["initial_metadata"] = [{"key": "authorization", "value": "Bearer open-sesame"}]
    follows(start(known), 0.5)
    assert stranger.told_rate() is None
    method = "envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime"
    wait_until(
        lambda: one.own().sum("weir_grpc_requests_total", method=method, code="UNAUTHENTICATED") >= 1, "the stranger to be refused"
    )
    assert streams(one) == 1


def test_the_example(policy, start, tmp_path):
    """The bootstrap that docs/policy.md tells to paste from, on other ports."""
    one = policy.weir("collector: { rate: 1 }\n")
    envoy = envoy_of(one, tmp_path, "ingress")
    text = (ROOT / "examples" / "envoy" / "envoy-policy.yaml").read_text()
    assert text.count("timeout: 2s }") == 1
    text = text.replace("timeout: 2s }", "timeout: 60s }")  # of spans; it may be the machine that stands still
    for told, port in ((9901, envoy.admin_port), (10000, envoy.port), (8080, one.admin_port), (4317, one.grpc_port)):
        text, count = re.subn(rf"port_value: {told}\b", f"port_value: {port}", text)
        assert count == 1
    envoy.config = text
    start(envoy)
    assert envoy.told_rate() == 0.01  # what its own layer says
    policy(rate_of(1))
    follows(envoy, 1)
    connection = http.client.HTTPConnection("127.0.0.1", envoy.port, timeout=60)
    connection.request("GET", "/-/healthy")
    assert connection.getresponse().status == 200
    assert envoy.traced() == 1
    settled_at(one, SPANS)
    wait_until(lambda: (follower(one, "payments-sidecar-1") or {}).get("state") == "current", "its rate to be known")
    assert 'service="payments"' in one.page("traces_spanmetrics_calls_total").text


# ---- a proxy by hand ----


@pytest.fixture
def proxy(start):
    class Started(Proxy):
        def start(self):
            return self

    return lambda *args, **options: start(Started(*args, **options))


def test_what_is_told_reads_as_protobuf(policy, proxy):
    one = policy.weir(
        "proxies: { default: { rate: 1%, envoy: { min_flush_spans: 500 } }, services: { big: { rate: 0.00012345 } } }"
    )
    small = proxy(one.endpoint, "small-1", "small")
    small.ask("a", "b")
    told = small.told()
    assert told.version_info == "v1:rate=0.0100,flush=500"
    assert told.control_plane.identifier == "weir"
    fraction = {"numerator": 100.0, "denominator": "TEN_THOUSAND"}
    layer = {"tracing.random_sampling": fraction, "tracing.opentelemetry.min_flush_spans": 500.0}
    assert layers_of(told) == {"a": layer, "b": layer}
    small.take("a", "b")
    big = proxy(one.endpoint, "big-1", "big", path=STREAM_AGGREGATED)
    big.ask("only")
    assert layers_of(big.told())["only"]["tracing.random_sampling"] == {"numerator": 1.0, "denominator": "TEN_THOUSAND"}
    big.take("only")
    wait_until(lambda: (follower(one, "big-1") or {}).get("rate") == 0.0001, "what it makes of it")  # not 0.000123


def test_what_would_be_told(policy):
    """The line of docs/policy.md: grpcurl knows by reflection what is in a response."""
    one = policy.weir(rate_of(0.5))
    ask = {"node": {"id": "look", "cluster": "payments"}, "resource_names": ["weir"]}
    method = "envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime"
    done = run([PEERS / "bin" / "grpcurl", "-plaintext", "-connect-timeout", "60", "-d", json.dumps(ask), one.endpoint, method])
    assert done.returncode == 0, done.stderr
    (resource,) = json.loads(done.stdout)["resources"]
    fraction = {"numerator": 5000, "denominator": "TEN_THOUSAND"}
    assert resource == {"@type": RUNTIME, "name": "weir", "layer": {"tracing.random_sampling": fraction}}


def test_refusals_and_second_streams(policy, proxy):
    one = policy.weir(rate_of(0.5), lanes=2)
    first = proxy(one.endpoint, "n-1", "shop")
    first.ask()
    first.told()
    first.refuse('no "such" layer\n')
    wait_until(lambda: (follower(one, "n-1") or {}).get("reason") == 'no "such" layer\n', "its reason")
    second = proxy(one.endpoint, "n-1", "shop")
    second.ask()
    second.told()
    second.take()
    wait_until(lambda: follower(one, "n-1")["state"] == "current", "the last to count")
    first.stop()
    wait_until(lambda: streams(one) == 1, "the first to leave")
    assert follower(one, "n-1")["state"] == "current"  # its other stream is there
    policy(rate_of(0.25))
    assert second.told().version_info == "v1:rate=0.2500"
    second.stop()
    wait_until(lambda: (follower(one, "n-1") or {}).get("state") == "gone", "it to be gone")


@pytest.mark.sanitized
def test_requests_beyond_the_bounds_end_their_stream(policy, proxy):
    one = policy.weir(rate_of(0.5), lanes=1)
    large = proxy(one.endpoint, "large-1", "shop")
    large.ask()
    large.told()
    for _ in range(20):  # its metadata is stepped over, 3 MB each time
        node = b"\x0a\x07large-1" + b"\x1a" + varint(3_000_000) + bytes(3_000_000)
        large.send(b"\x12" + varint(len(node)) + node + b"\x22" + varint(len(RUNTIME)) + RUNTIME.encode() + b"\x2a\x019")
    wait_until(lambda: one.own().value("weir_rtds_ignored_total", reason="nonce") == 20, "all of them to be read")
    large.stop()

    for names, code in (([f"name-{i}" for i in range(10_000)], "bounds"), (["x" * 257], "bounds")):
        greedy = proxy(one.endpoint, "greedy-1", "shop")
        greedy.ask(*names)
        assert greedy.ended() == grpc.StatusCode.INVALID_ARGUMENT
        wait_until(lambda code=code: one.own().value("weir_rtds_refused_total", reason=code) > 0, "it to be counted")
    silent = proxy(one.endpoint, "", "shop")
    silent.ask()
    assert silent.ended() == grpc.StatusCode.INVALID_ARGUMENT
    wait_until(lambda: streams(one) == 0, "all to be gone")


def test_streams_that_are_left_cost_little(policy, proxy):
    one = policy.weir(rate_of(0.5), lanes=1)
    honest = proxy(one.endpoint, "honest-1", "shop")
    honest.ask()
    assert honest.told().version_info == "v1:rate=0.5000"
    honest.take()
    resting = one.process.rss_bytes()
    left: list[socket.socket] = [open_and_leave(one.grpc_port, 100, first=100 * i) for i in range(42)]
    wait_until(lambda: one.own().value("weir_rtds_refused_total", reason="streams") >= 100, "the bound of streams")
    assert streams(one) == 4096
    grown = one.process.rss_bytes() - resting
    assert grown < 64 * 1024 * 1024, f"{grown} bytes more"
    policy(rate_of(0.25))
    assert honest.told().version_info == "v1:rate=0.2500"  # and those that do not read hold nobody up
    for connection in left:
        connection.close()
    wait_until(lambda: streams(one) == 1, lambda: f"{streams(one)} streams to leave")
    honest.take()
    policy(rate_of(0.125))
    assert honest.told().version_info == "v1:rate=0.1250"


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
