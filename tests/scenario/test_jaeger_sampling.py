"""Jaeger's remote sampling: SDKs that nobody built for Weir ask what to sample, and follow it.

Rates are judged by what clients drew.
"""

import http.client
import json
import signal
import ssl
import time
from urllib.parse import quote

import pytest
from harness.certificates import TOKEN, Certificates
from harness.chance import drawn as chance_drew
from harness.jaeger import OPERATIONS, Client
from harness.net import http as ask_http
from harness.net import wait_until
from harness.process import PEERS, run
from harness.weir import Weir

DRAWS = 1000  # of each operation, for a rate to be seen


def policy(folder, text: str) -> str:
    (folder / "sampling.yaml").write_text(text)
    return f"sampling: {{ policy: {folder / 'sampling.yaml'} }}"


def client(start, one: Weir, language: str, service: str, folder) -> Client:
    asks = one.endpoint if language == "java" else f"http://127.0.0.1:{one.ports['sampling']}/sampling"
    return start(Client(language, folder, otlp=one.endpoint, sampling=asks, service=service))


def fetches(one: Weir, **labels) -> float:
    return one.own().sum("weir_policy_fetches_total", **labels)


def fits(drawn: list[tuple[int, int]], rates: list[float]):
    for operation, (made, sampled), rate in zip(OPERATIONS, drawn, rates, strict=True):
        chance_drew(sampled, made, rate, operation)


def has_asked_again(one: Weir, way: str):
    """Who asks for the third time has put to use what the second answer said, and that was given after this was called."""
    asked = fetches(one, way=way)
    wait_until(lambda: fetches(one, way=way) >= asked + 3, "the next questions")


def ask(one: Weir, service: str, **options):
    return ask_http(f"http://127.0.0.1:{one.ports['sampling']}/sampling?service={quote(service)}", **options)


SHOP = """
proxies:
  default: { rate: 0.5 }
  services:
    shop: { rate: 0.2, operations: { "GET /health": { rate: 0 }, "POST /orders": { rate: 1 } } }
"""


@pytest.mark.parametrize("language", ["go", "java"])
def test_a_client_follows_the_file(start, tmp_path, language):
    one = start(Weir(tmp_path / "weir", receivers={"sampling": ""}, extra=policy(tmp_path, SHOP)))
    way = "grpc" if language == "java" else "http"
    sdk = client(start, one, language, "shop", tmp_path)
    wait_until(lambda: sdk.lines() and any(sdk.lines()[-1][1]), lambda: f"the first trace: {sdk.process.tail()}")
    fits(sdk.draws(DRAWS), [0.2, 0, 1])

    # Another file: what the client asks for next is what it follows.
    policy(tmp_path, "proxies: { default: { rate: 0.05 } }\n")
    if language == "go":
        assert one.reload().status == 200
    else:
        before = one.own().value("weir_config_last_reload_success_timestamp_seconds")
        one.process.signal(signal.SIGHUP)
        wait_until(lambda: one.own().value("weir_config_last_reload_success_timestamp_seconds") > before, "the reload")
    has_asked_again(one, way)
    fits(sdk.draws(DRAWS), [0.05, 0.05, 0.05])
    assert fetches(one, way=way) == fetches(one, way=way, code="200")

    # Nobody answers: what it has been told last holds.
    ports = (one.grpc_port, one.statsd_port, one.admin_port)
    assert one.stop() == 0, one.process.tail()
    sdk.next_line(len(sdk.lines()) + 20)  # a question or two go unanswered
    fits(sdk.draws(DRAWS), [0.05, 0.05, 0.05])

    # And who comes back is asked again.
    again = Weir(tmp_path / "weir", ports=ports, receivers={"sampling": ""}, name="again", extra=policy(tmp_path, SHOP))
    again.ports = one.ports
    again.write(exporters=f"file: {{ directory: {again.traces} }}", lanes=2, extra=policy(tmp_path, SHOP))
    start(again)
    wait_until(lambda: fetches(again, way=way, code="200") > 1, lambda: f"the next questions: {sdk.process.tail()}")
    fits(sdk.draws(DRAWS), [0.2, 0, 1])
    sdk.stop()
    again.balance()
    assert again.stop() == 0


LIMITED = """
proxies:
  trust: policy
  poll_interval: 1s
  default: { rate: 0.25 }
  services:
    shop: { rate: 0.25, operations: { "GET /health": { rate: 0 }, "POST /orders": { rate: 1 } } }
    limited: { max_traces_per_second: 5 }
"""


def attributes(span: dict) -> dict:
    """Those of its sender: weir.prior_weight is what Weir found out."""
    pairs = {one["key"]: next(iter(one["value"].values())) for one in span.get("attributes", [])}
    return {key: value for key, value in pairs.items() if key != "weir.prior_weight"}


def test_what_roots_record_is_their_weight(start, tmp_path):
    """Of what the samplers write (docs/policy.md), a probability is a weight, of the whole trace; nothing else is. Where nothing is
    written, what the client was told weighs."""
    one = start(Weir(tmp_path / "weir", receivers={"sampling": ""}, extra=policy(tmp_path, LIMITED)))
    began = time.monotonic()
    sdks = [
        client(start, one, language, service, tmp_path)
        for language, service in [("go", "shop"), ("go", "limited"), ("java", "limited"), ("java", "plain")]
    ]
    # Until they have been told they sample nothing; those with a limit could have sampled far more than it allows.
    enough = {"shop": (1500, 700), "limited": (6000, 10), "plain": (1500, 300)}
    for sdk in sdks:
        made, some = enough[sdk.service]
        wait_until(
            lambda sdk=sdk, made=made, some=some: sdk.lines()
            and sum(sdk.lines()[-1][0]) > made
            and sum(sdk.lines()[-1][1]) >= some,
            lambda sdk=sdk: f"traces: {sdk.process.tail()}",
        )
    for sdk in sdks:
        assert sdk.stop() in (0, 143), sdk.process.tail()  # Java's, for a SIGTERM that it heeded
    seconds = time.monotonic() - began
    sampled = {(sdk.language, sdk.service): sdk.lines()[-1] for sdk in sdks}
    one.balance(received=2 * sum(sum(last[1]) for last in sampled.values()))
    calls = one.page().by("traces_spanmetrics_calls_total", "service", "span_name")
    assert one.stop() == 0
    said: dict[tuple, int] = {}
    for span in one.cat():
        kind = "child" if span.get("parentSpanId") else span["name"]
        key = (span["service"], kind, *sorted(attributes(span).items()))
        said[key] = said.get(key, 0) + 1

    made, drawn = sampled["go", "shop"]
    go, param = ("jaeger.sampler.type", "probabilistic"), "jaeger.sampler.param"
    assert {key: count for key, count in said.items() if key[0] == "shop"} == {
        ("shop", "GET /carts", (param, 0.25), go): drawn[0],
        ("shop", "POST /orders", (param, 1), go): drawn[2],
        ("shop", "child"): drawn[0] + drawn[2],
    }
    assert calls["shop", "GET /carts"] == 4 * drawn[0]  # each stands for as many as its rate says
    chance_drew(drawn[0], made[0] - (made[2] - drawn[2]), 0.25)  # orders are all sampled once it has been told
    assert calls["shop", "POST /orders"] == drawn[2]
    assert calls["shop", "SELECT"] == 4 * drawn[0] + drawn[2]

    # A rate limit is no probability: Go and Java record it under different names, and it weighs nothing.
    forms = {key[2:] for key in said if key[0] == "limited" and key[1] != "child"}
    assert forms == {
        (("jaeger.sampler.param", 5), ("jaeger.sampler.type", "ratelimiting")),
        (("sampler.param", 5), ("sampler.type", "ratelimiting")),
    }
    roots = sum(count for key, count in said.items() if key[0] == "limited" and key[1] != "child")
    assert sum(calls["limited", operation] for operation in OPERATIONS) == roots
    # Five a second of each of both; a limiter may begin anew, with five saved up, each time that it is told, once a second.
    assert 0 < roots <= 2 * (10 * seconds + 12)

    # Java records no probability at all: only what it was told tells it.
    assert {key[2:] for key in said if key[0] == "plain"} == {()}
    for i, operation in enumerate(OPERATIONS):
        assert calls["plain", operation] == 4 * sampled["java", "plain"][1][i]
    assert calls["plain", "SELECT"] == 4 * sum(sampled["java", "plain"][1])


@pytest.mark.sanitized
def test_an_answer_has_a_tag_and_a_head(weir, tmp_path):
    one = weir(receivers={"sampling": ""}, extra=policy(tmp_path, SHOP))
    answer = ask(one, "shop")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json()["operationSampling"]["perOperationStrategies"] == [
        {"operation": "GET /health", "probabilisticSampling": {"samplingRate": 0}},
        {"operation": "POST /orders", "probabilisticSampling": {"samplingRate": 1}},
    ]
    tag = answer.headers["ETag"]
    same = ask(one, "shop", headers={"If-None-Match": tag})
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
    head = ask(one, "shop", method="HEAD")
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", tag)
    assert int(head.headers["Content-Length"]) == len(answer.body)
    assert ask_http(f"http://127.0.0.1:{one.ports['sampling']}/").status == 400
    assert ask_http(one.url("/sampling?service=shop")).body == answer.body
    assert ask_http(one.url("/sampling?service=shop"), headers={"If-None-Match": tag}).status == 304
    assert ask_http(one.url("/sampling")).status == 400
    assert fetches(one, way="http") == 4, "whoever looks at the admin's page follows nothing"

    policy(tmp_path, SHOP.replace("0.2", "0.3"))
    assert one.reload().status == 200
    other = ask(one, "shop", headers={"If-None-Match": tag})
    assert other.status == 200 and other.headers["ETag"] != tag
    assert other.json()["probabilisticSampling"] == {"samplingRate": 0.3}
    policy(tmp_path, SHOP)
    assert one.reload().status == 200
    assert ask(one, "shop", headers={"If-None-Match": tag}).status == 304, "a tag is of what is told, not of when"

    policy(tmp_path, "collector: { rate: 1 }\n")
    assert one.reload().status == 200
    assert ask(one, "shop").status == 404
    called = run([PEERS / "bin" / "grpcurl", "-plaintext", "-connect-timeout", "60", "-d", json.dumps({"serviceName": "shop"}),
                  one.endpoint, "jaeger.api_v2.SamplingManager/GetSamplingStrategy"])  # fmt: skip
    assert called.returncode != 0 and "NotFound" in called.stderr, called.stderr
    assert ask_http(one.url("/sampling?service=shop")).status == 404
    assert [fetches(one, way="http", code=code) for code in ("200", "304", "400", "404")] == [3, 2, 1, 1]


@pytest.mark.sanitized
def test_who_asks_over_tls_is_known_by_its_address(weir, tmp_path):
    certificates = Certificates(tmp_path / "certificates")
    options = f"{certificates.server()}, {certificates.tokens()}"
    one = weir(receivers={"sampling": options}, extra=policy(tmp_path, SHOP))

    def fetch(token: str) -> int:
        context = ssl.create_default_context(cafile=str(certificates.path("ca.pem")))
        connection = http.client.HTTPSConnection("127.0.0.1", one.ports["sampling"], timeout=60, context=context)
        connection.request("GET", "/sampling?service=shop", headers={"Authorization": f"Bearer {token}"})
        status = connection.getresponse().status
        connection.close()
        return status

    def followers() -> list[tuple]:
        found = ask_http(one.url("/policy")).json()["followers"]
        return [(follower["way"], follower["id"], follower["service"]) for follower in found]

    assert fetch("guess") == 401
    assert followers() == []
    assert fetch(TOKEN) == 200
    assert followers() == [("poll", "127.0.0.1", "shop")]
