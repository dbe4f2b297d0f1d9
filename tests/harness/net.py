"""Free ports, and an HTTP client that knows no proxy."""

import fcntl
import functools
import json
import os
import pathlib
import random
import socket
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PATIENCE = 120  # seconds: so long anything may take on a machine that is out of breath, in which a program may stand still for some


def is_free(port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that has just ended holds nobody up
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


@functools.cache
def _ports() -> list[int]:
    """Outside of what the kernel gives to clients: one of their connections would take what has been found free before it is bound."""
    first, last = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    outside = [port for port in range(20000, 65536) if not first <= port <= last][:12000]
    return outside if len(outside) >= 3000 else list(range(20000, 32000))


@functools.cache
def _locks() -> int:
    """A file with a byte for each port. Who has locked it may use the port: so do scenarios that run side by side, in whatever
    process, and none takes what another has found free and has not bound yet. The kernel gives all back when the process ends."""
    path = pathlib.Path(tempfile.gettempdir()) / f"weir-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


_given: set[int] = set()


def _is_ours(port: int) -> bool:
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def hold_much(udp: socket.socket):
    """While its reader stands still for some seconds, this socket loses no datagram."""
    try:
        udp.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE, for root
    except PermissionError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)


def free_port() -> int:
    """A port that neither TCP nor UDP holds on 127.0.0.1, and that nobody else gets as long as this process lives."""
    ports = _ports()
    for _ in range(2000):
        port = random.choice(ports)
        if port not in _given and _is_ours(port) and is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port between {ports[0]} and {ports[-1]}")


class Answer:
    """Status, headers and body, whatever the status is."""

    def __init__(self, status: int, headers, body: bytes):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)


def http(url: str, *, method: str = "GET", body: bytes | None = None, headers: dict | None = None, timeout: float = 60) -> Answer:
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
    answer = http(url, timeout=PATIENCE)
    assert answer.status == 200, f"GET {url}: {answer.status} {answer.text[:300]}"
    return answer.json()


def answers(url: str) -> bool:
    """Whether a GET gives 200 now."""
    try:
        return http(url, timeout=10).status == 200
    except (OSError, HTTPException):
        return False


def wait_until(condition, what: str, timeout: float = PATIENCE, every: float = 0.05, progress=None):
    """Calls condition() until it gives something true, and gives that back. what: for the message when it never does. While what
    progress() gives changes, there is all the time of the world."""
    end, last = time.monotonic() + timeout, None
    while True:
        over = time.monotonic() > end  # before it is asked: who stood still for so long asks once more
        value = condition()
        if value:
            return value
        now = progress() if progress else None
        if now != last:
            last, end, over = now, time.monotonic() + timeout, False
        if over:
            raise AssertionError(f"waited {timeout:.0f} s for {what() if callable(what) else what}")
        time.sleep(every)
