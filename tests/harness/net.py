"""Free ports, and an HTTP client that knows no proxy."""

import json
import os
import random
import socket
import time
import urllib.error
import urllib.parse
import urllib.request

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_given: set[int] = set()


def is_free(port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that has just ended holds nobody up
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def _ports() -> range:
    """Below the range that the kernel gives to clients. Scenarios that run side by side draw from ports of their own: what one
    has found free another would take before it is bound."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    return range(20000 + worker * 3000, 23000 + worker * 3000)


def free_port() -> int:
    """A port that neither TCP nor UDP holds on 127.0.0.1."""
    ports = _ports()
    for _ in range(1000):
        port = random.choice(ports)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port between {ports.start} and {ports.stop}")


class Answer:
    """Status, headers and body, whatever the status is."""

    def __init__(self, status: int, headers, body: bytes):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)


def http(url: str, *, method: str = "GET", body: bytes | None = None, headers: dict | None = None, timeout: float = 10) -> Answer:
    request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with _opener.open(request, timeout=timeout) as reply:
            return Answer(reply.status, reply.headers, reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def get_json(url: str, **query):
    if query:
        url += "?" + urllib.parse.urlencode(query)
    answer = http(url, timeout=30)
    assert answer.status == 200, f"GET {url}: {answer.status} {answer.text[:300]}"
    return answer.json()


def answers(url: str) -> bool:
    """Whether a GET gives 200 now."""
    try:
        return http(url, timeout=2).status == 200
    except OSError:
        return False


def wait_until(condition, what: str, timeout: float = 60, every: float = 0.05):
    """Calls condition() until it gives something true, and gives that back. what: for the message when it never does."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:.0f} s for {what() if callable(what) else what}")
        time.sleep(every)
