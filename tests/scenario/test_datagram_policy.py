"""A sender of datagrams asks what to sample, is told, and follows: the sender is written by hand, on protobuf and sockets."""

import math
import re
import sys
import time

import pytest
from harness.datagram import Answer, Relay, Sender, schema
from harness.net import get_json, wait_until
from harness.process import ROOT, run
from harness.weir import Weir
from test_emitter import emitter, rate, requests  # noqa: F401 (emitter is a fixture)

POLICY = """
proxies:
  default: { rate: 0.25 }
  services:
    cart:
      rate: 0.5
      operations:
        "GET /items": { rate: 1 }
        "GET /healthz": { rate: 0 }
        "GET /users/{id}": { rate: 0.125 }
"""


class Scene:
    def __init__(self, weir, folder, text: str = POLICY, options: str = "", listen: str = "127.0.0.1", **more):
        self.file = folder / "sampling.yaml"
        self.file.write_text(text)
        extra = f"sampling: {{ policy: {self.file} }}"
        self.weir: Weir = weir(receivers={"datagram": options}, hosts={"datagram": listen}, extra=extra, **more)
        self.senders: list[Sender] = []

    def sender(self, **options) -> Sender:
        self.senders.append(Sender(self.weir.ports["datagram"], sender=len(self.senders) + 1, **options))
        return self.senders[-1]

    def say(self, text: str):
        self.file.write_text(text)
        answer = self.weir.reload()
        assert answer.status == 200, answer.text

    def asks(self, result: str) -> float:
        return self.weir.own().sum("weir_policy_asks_total", result=result)

    def counted(self, **results: int):
        wait_until(
            lambda: {result: self.asks(result) for result in results} == results,
            lambda: f"{results}; {self.weir.own().by('weir_policy_asks_total', 'result')}",
        )


@pytest.fixture
def scene(weir, tmp_path):
    scenes = []

    def make(**options) -> Scene:
        scenes.append(Scene(weir, tmp_path, **options))
        return scenes[-1]

    yield make
    for one in scenes:
        for sender in one.senders:
            sender.close()


def follower(one: Scene, sender: Sender) -> dict:
    rows = get_json(one.weir.url("/policy"))["followers"]
    return next((row for row in rows if row["id"] == f"{sender.sender:016x}"), {})


def becomes(one: Scene, sender: Sender, key: str, value):
    """Waits until Weir says so of it: an answer is there before the page has it."""
    wait_until(lambda: follower(one, sender).get(key) == value, lambda: f"{key} to be {value}: {follower(one, sender)}")


def test_asks_and_follows(scene):
    one = scene()
    sender = one.sender(service="cart")
    sender.ask("GET /items", "GET /healthz", "GET /users/42", "GET /users/{id}", "GET /other")
    answer = sender.hear()
    assert answer.nonce == sender.nonce and answer.version != 0
    assert answer.rate == 0.5
    assert answer.rates == [1, 0, 0.125, 0.125, 0.5]
    becomes(one, sender, "state", "behind")  # it was told, and may not have heard it

    # With the version in its datagrams it follows; asking on, it is not told again.
    sender.follow(answer)
    sender.send(sender.make(spans=10, policy_version=sender.version))
    becomes(one, sender, "state", "current")
    sender.ask("GET /items")
    assert sender.hear(timeout=0.5) is None
    one.counted(answered=1, current=1)

    # What is told to others may change: it is nothing to this one. Then its own rate changes.
    one.say(POLICY.replace("0.25", "0.125"))
    sender.ask("GET /items")
    one.counted(answered=1, current=2)
    one.say(POLICY.replace("rate: 0.5", "rate: 0.75"))
    sender.ask("GET /other")
    answer = sender.hear()
    assert (answer.rate, answer.rates) == (0.75, [0.75]) and answer.version != sender.version
    sender.follow(answer)
    sender.ask("GET /other")
    one.counted(answered=2, current=3)
    becomes(one, sender, "rate", 0.75)

    # It began 10 traces without saying a threshold: they are weighed by the version, GET /items at 1.
    one.weir.balance(received=10)
    assert one.weir.page().sum("traces_spanmetrics_calls_total", service="cart") == 10
    assert one.weir.own().sum("weir_spans_weight_source_total", source="policy") == 10


def test_spans_carry_what_they_were_decided_by(scene):
    """Spans with ot=th are weighed by it, whatever the version says; those without it by the version."""
    one = scene()
    sender = one.sender(service="stock")
    sender.ask("GET /a")
    answer = sender.hear()
    assert answer.rates == [0.25]
    sender.follow(answer)
    sender.send(sender.make(spans=5, state="ot=th:8", policy_version=sender.version))  # T = 8/16: one of two
    sender.send(sender.make(spans=5, policy_version=sender.version))
    one.weir.balance(received=10)
    assert one.weir.page().sum("traces_spanmetrics_calls_total", service="stock") == 5 * 2 + 5 * 4


def test_who_is_not_answered(scene):
    one = scene()
    sender, strangers = one.sender(service="cart"), [one.sender(service="cart") for _ in range(8)]
    sender.ask("GET /items", size=1199)
    sender.ask("GET /items", nonce=0)
    one.counted(short=1, nonce=1)
    replayed = sender.make_ask("GET /items")
    sender.send(*[replayed] * 20)
    assert sender.hear() is not None
    one.counted(answered=1)
    for stranger in strangers:  # by other ports they come to other lanes, which do not know that they were there
        stranger.send(replayed)

    def copies():
        page = one.weir.own()
        return page.sum("weir_datagrams_duplicate_total") + page.sum("weir_policy_asks_total", result="repeated")

    wait_until(lambda: copies() == 19 + len(strangers), "the replays to be counted")
    sender.send(sender.make_ask("GET /items", sequence=sender.sequence + 100))
    assert sender.hear() is not None
    sender.send(sender.make_ask("GET /items", sequence=1 + sender.sequence - 80))
    wait_until(lambda: one.weir.own().sum("weir_datagrams_refused_total", reason="behind") == 1, "it to be too old")
    one.counted(answered=2, short=1, nonce=1, current=0, limited=0, unsigned=0, failed=0, no_policy=0)
    assert sender.hear(timeout=0.3) is None
    assert all(stranger.hear(timeout=0.05) is None for stranger in strangers)


def test_signed_both_ways(scene, tmp_path):
    key = b"a key for tests, not for use"
    (tmp_path / "datagram.key").write_bytes(key + b"\n")
    one = scene(options=f"hmac_key_file: {tmp_path / 'datagram.key'}")
    unsigned, forger = one.sender(service="cart"), one.sender(service="cart", key=b"the key of somebody else")
    sender = one.sender(service="cart", key=key)
    unsigned.ask("GET /items")
    forger.ask("GET /items")
    one.counted(unsigned=2, answered=0)
    assert unsigned.hear(timeout=0.3) is None and forger.hear(timeout=0.3) is None
    sender.ask("GET /items")
    answer = sender.hear()  # its signature is checked there
    assert answer.nonce == sender.nonce and answer.rates == [1]
    one.counted(unsigned=2, answered=1)


def test_no_answer_is_longer_than_its_ask(scene):
    one = scene()
    sender = one.sender(service="cart")
    for size in (1200, 1250, 1400, 2000):
        for operations in (0, 1, 100, 200):
            sender.send(asked := sender.make_ask(*["" if i % 2 else "x" for i in range(operations)], size=size))
            answer = sender.hear()
            assert answer.size <= len(asked)
            assert len(answer.rates) == operations or answer.size > len(asked) - 64
    assert len(answer.rates) == 200


def test_a_flood_is_bounded(scene):
    """Who asks much is answered 64 times at once, then ten times a second; others are answered beside it."""
    one = scene(lanes=1)
    flood, other = one.sender(service="cart"), one.sender(service="cart")
    began = time.monotonic()
    for _ in range(20):
        flood.send(*[flood.make_ask("GET /items") for _ in range(50)])
        other.ask("GET /items")
        assert other.hear() is not None
    wait_until(lambda: one.asks("answered") + one.asks("limited") == 1020, "all asks to be read")
    seconds = time.monotonic() - began
    assert 64 + 20 <= one.asks("answered") <= 64 + 20 + 10 * seconds + 1


def test_it_comes_from_the_address_that_was_spoken_to(scene):
    one = scene(listen="0.0.0.0")
    sender = one.sender(service="cart", host="127.0.0.2")
    sender.socket.connect(sender.to)  # hears nobody else
    sender.socket.send(sender.make_ask("GET /items"))
    answer = sender.hear()
    assert answer.source == ("127.0.0.2", one.weir.ports["datagram"])
    assert answer.rates == [1]


def test_v6(scene):
    one = scene(listen="[::]")
    for host in ("::1", "127.0.0.1"):
        sender = one.sender(service="cart", host=host)
        sender.socket.connect(sender.to)
        sender.socket.send(sender.make_ask("GET /items"))
        assert sender.hear().rates == [1]


def test_nobody_tells_anything(scene):
    """Without proxies: nothing is told, and a Weir that is away is silence. What comes back is answered again."""
    one = scene(text="collector: { rate: 1 }\n")
    sender = one.sender(service="cart")
    sender.ask("GET /items")
    one.counted(no_policy=1)
    assert sender.hear(timeout=0.3) is None
    one.say(POLICY)
    sender.ask("GET /items")
    sender.follow(sender.hear())
    one.weir.stop()
    sender.ask("GET /items")
    assert sender.hear(timeout=0.3) is None
    one.weir.start()
    sender.ask("GET /items")  # the same plan has the same version in every process
    one.counted(current=1)
    assert sender.hear(timeout=0.3) is None
    becomes(one, sender, "state", "current")


def test_a_canary_is_told_its_own(scene, tmp_path):
    """Senders fall on one of the two sides by their id, and keep to it."""
    one = scene()
    senders = [one.sender(service="cart") for _ in range(40)]
    (tmp_path / "canary.yaml").write_text(POLICY.replace("rate: 0.5", "rate: 0.0625"))
    one.weir.write(
        exporters="{}",
        lanes=2,
        extra=f"sampling: {{ policy: {one.file}, canary: {{ policy: {tmp_path / 'canary.yaml'}, share: 50% }} }}",
    )
    assert one.weir.reload().status == 200
    told = set()
    for sender in senders:
        sender.ask()
        answer = sender.hear()
        told.add(answer.rate)
        becomes(one, sender, "side", {0.5: "policy", 0.0625: "canary"}[answer.rate])
    assert told == {0.5, 0.0625}


# ---- what the documentation says ----

PAGE = (ROOT / "docs" / "datagram.md").read_text()


def bytes_of(block: str) -> bytes:
    """The hex digits at the beginning of each line."""
    return b"".join(bytes.fromhex(re.match(r"\s*((?:[0-9a-f]{2} )*)", line)[1]) for line in block.splitlines())


def test_the_bytes_of_the_documentation():
    ask, answer = (
        bytes_of(block) for block in re.findall(r"```\n(.*?)```", PAGE.split("### Asking what to sample")[1], re.DOTALL)[:2]
    )
    asked = schema()["weir.v1.Datagram"].FromString(ask).ask
    assert (asked.nonce, list(asked.operations)) == (0x1122334455667788, ["GET /items"])
    told = Answer(answer.removesuffix(b"\x7a\x10"), ("", 0), b"")
    assert (told.nonce, told.rate, told.rates) == (asked.nonce, 0.5, [1])


def test_the_asking_sender_of_the_documentation(scene, tmp_path):
    one = scene()
    sender, ask = (block.split("```")[0] for block in PAGE.split("```python\n")[1:3])
    before, sends, after = sender.partition("    out.sendto")
    ask = "".join(f"    {line}\n" for line in ask.splitlines())
    heard = "out.settimeout(100)\nprint(first, out.recv(2000).hex())\n"
    ask += "    first = nonce if sequence == 1 else first\n"
    (tmp_path / "sender.py").write_text(f"{before}{ask}{sends}{after}{heard}")
    done = run([sys.executable, tmp_path / "sender.py", one.weir.ports["datagram"]])
    assert done.returncode == 0, done.stderr
    nonce, body = done.stdout.split()
    answer = Answer(bytes.fromhex(body), ("", 0), b"")
    assert answer.nonce == int(nonce)
    assert (answer.rate, answer.rates) == (0.5, [1])


# ---- libweir_emit, over a network that loses ----

SHOP = """
proxies:
  default: {{ rate: 1% }}
  services:
    shop: {{ rate: {rate}, operations: {{ "GET /healthz": {{ rate: 0 }}, "POST /orders": {{ rate: 1 }} }} }}
"""


def test_estimates_of_emitters_are_held_against_their_counters(scene, start, emitter):  # noqa: F811
    """No `exact:` is written; GET /healthz is counted and never traced. A fifth of all datagrams is lost for a while."""
    one = scene(text=SHOP.format(rate=0.5), lanes=1)
    relay = start(Relay(one.weir.ports["datagram"]))
    mine = emitter(relay.port, initial_rate=0.0)
    for name in ("GET /items", "POST /orders", "GET /healthz"):
        mine.operation(name)
    sent, lossy, sampled, variance = 0, 0, 0, 0.0
    for share, drop in ((0.5, 0), (0.1, 0), (0.1, 5), (0.25, 0)):
        one.say(SHOP.format(rate=share))
        wait_until(lambda share=share: rate(mine, "GET /items") == pytest.approx(share, abs=1e-6), "the rate", every=0.02)
        relay.drop = drop
        rounds, before = 0, relay.dropped
        while rounds < 15 or (drop and relay.dropped <= before + 10):
            sampled += requests(mine, "GET /items", 200) + requests(mine, "POST /orders", 10)
            assert requests(mine, "GET /healthz", 50) == 0
            time.sleep(0.1)
            rounds += 1
        relay.drop = 0
        sent += rounds * 260
        lossy += rounds * 260 if drop else 0
        variance += rounds * 200 * (1 - share) / share
    assert relay.answers >= 3

    # What was lost is told to the datagram, and no request of those that arrived is missing.
    requests(mine, "POST /orders", 1)
    sent, sampled = sent + 1, sampled + 1
    wait_until(
        lambda: one.weir.own().sum("weir_datagrams_lost_total", reason="sequence") == relay.dropped,
        lambda: f"{relay.dropped} to be lost; {one.weir.own().by('weir_datagrams_lost_total', 'reason')}",
    )
    page = one.weir.page()
    counted = page.sum("emitter_requests_total", service="shop")
    traced = counted - page.sum("emitter_requests_total", service="shop", operation="GET /healthz")
    assert sent - lossy <= counted < sent and one.weir.received() < sampled
    estimate = page.sum("traces_spanmetrics_calls_total", service="shop", span_kind="SPAN_KIND_SERVER")
    # A datagram that was lost had the counters of some requests and the spans of others: the band is wider than five of these.
    assert abs(estimate - traced) < 8 * math.sqrt(variance)

    def ratio():
        page = one.weir.own()
        off = page.sum("weir_sampling_estimate_ratio", service="shop") - 1
        return abs(off) < 5 * page.sum("weir_sampling_estimate_error_ratio", service="shop") > 0

    wait_until(ratio, lambda: f"{one.weir.page('weir_sampling_estimate').samples}")
    one.weir.balance()
    known = {"way": "datagram", "service": "shop", "state": "current", "rate": 0.25}
    wait_until(
        lambda: any(known.items() <= row.items() for row in get_json(one.weir.url("/policy"))["followers"]), "it to be current"
    )
    wait_until(lambda: one.asks("current") > 0, "an ask that needs no answer")
    asked = one.weir.own().by("weir_policy_asks_total", "result")
    assert asked["answered"] >= 3
    assert not any(asked[result] for result in ("short", "nonce", "repeated", "limited", "unsigned", "failed", "no_policy"))
