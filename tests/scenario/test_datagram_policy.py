"""A sender of datagrams asks what to sample, is told, and follows: the sender is written by hand, on protobuf and sockets."""

import pytest
from harness.datagram import Sender
from harness.net import wait_until
from harness.weir import Weir

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
    def __init__(self, weir, folder, text: str = POLICY, options: str = "", **more):
        self.file = folder / "sampling.yaml"
        self.file.write_text(text)
        self.weir: Weir = weir(receivers={"datagram": options}, extra=f"sampling: {{ policy: {self.file} }}", **more)
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


def test_asks_and_follows(scene):
    one = scene()
    sender = one.sender(service="cart")
    sender.ask("GET /items", "GET /healthz", "GET /users/42", "GET /users/{id}", "GET /other")
    answer = sender.hear()
    assert answer and answer.nonce == sender.nonce and answer.version != 0
    assert answer.rate == 0.5
    assert answer.rates == [1, 0, 0.125, 0.125, 0.5]
