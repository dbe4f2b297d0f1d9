"""`weir tail` and the pages behind it: decided traces as they are decided, on a screen and as JSON lines."""

import collections
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from http.client import HTTPException

import pytest
from harness.net import http, wait_until
from harness.weir import Weir, binary

RULES = """
keep:
  wait: 10m
  quiet: 200ms
  rules:
    - { name: errors, when: { error: true } }
    - { name: slow, when: { duration: ">250ms" } }
    - { name: shop, when: { service: shop } }
    - { name: rest, rate: 0 }
"""
START_US = 1_700_000_000_123_456


def policy(folder, text: str) -> str:
    path = folder / "sampling.yaml"
    path.write_text(text)
    return f"sampling: {{ policy: {path} }}"


class Tail:
    """A running `weir tail`; its screen and what it complains about are files."""

    def __init__(self, one: Weir, folder, *options, name: str = "tail", **env):
        self.screen_file, self.complaints_file = folder / f"{name}.screen", folder / f"{name}.complaints"
        env = {"TZ": "UTC", "LC_ALL": "C.UTF-8", "COLUMNS": "80", **env}
        self.popen = subprocess.Popen(
            [binary(), "tail", "--admin", f"127.0.0.1:{one.admin_port}", *map(str, options)],
            stdin=subprocess.DEVNULL,
            stdout=self.screen_file.open("wb"),
            stderr=self.complaints_file.open("wb"),
            env={**os.environ, **env},
        )

    @property
    def screen(self) -> str:
        return self.screen_file.read_text()

    @property
    def complaints(self) -> str:
        return self.complaints_file.read_text()

    def wait(self, timeout: float = 120) -> int:
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"weir tail did not end; it showed:\n{self.screen}\n{self.complaints}") from None


def watchers(one: Weir) -> float:
    return one.page().sum("weir_tail_watchers")


def wait_watched(one: Weir, count: int):
    wait_until(lambda: watchers(one) == count, lambda: f"{count} watchers: there are {watchers(one)}")


def span(trace: int, number: int, parent: int | None, service: str, name: str, at_ms: float, ms: float, **more) -> dict:
    one = {
        "traceId": f"{trace:032x}",
        "id": f"{number:016x}",
        "name": name,
        "timestamp": START_US + int(at_ms * 1000),
        "duration": int(ms * 1000),
        "localEndpoint": {"serviceName": service},
        **more,
    }
    return {**one, "parentId": f"{parent:016x}"} if parent else one


def send(one: Weir, spans: list[dict]):
    answer = http(f"http://127.0.0.1:{one.ports['zipkin']}/api/v2/spans", method="POST", body=json.dumps(spans).encode())
    assert answer.status == 202, answer.text


def wait_asked_for_all(one: Weir, seen):
    """Each lane looks ten times a second whether dropped traces are asked for, too. Until all of some are told of, 32 at a time, so that
    each lane has some; seen(service): of how many of them whoever asked has heard."""
    for turn in range(30):
        service = f"probe-{turn}"
        send(one, [span(random.getrandbits(63) | 1, 1, None, service, "GET /probe", 0, 1) for _ in range(32)])
        end = time.monotonic() + 4
        while seen(service) < 32 and time.monotonic() < end:
            time.sleep(0.05)
        if seen(service) == 32:
            break
    else:
        raise AssertionError("lanes do not know that all is asked for")
    wait_until(lambda: held(one) == 0, "all to be decided")


def decided(one: Weir) -> float:
    return one.own().sum("weir_tail_traces_decided_total")


def held(one: Weir) -> float:
    return one.own().sum("weir_spans_held", where="tail")


FAILED, SLOW, SHOP, REST = 0xAAAA0000BBBB0001, (7 << 64) + 2, (7 << 64) + 3, (7 << 64) + 4


def four_traces() -> list[dict]:
    """One for each rule. Ids of the first are of 64 bits."""
    return [
        span(FAILED, 1, None, "edge", "GET /checkout", 0, 112, kind="SERVER"),
        span(FAILED, 2, 1, "cart", "GET /cart", 4, 12, kind="SERVER"),
        span(FAILED, 3, 1, "payments", "POST /v2/charge", 20, 80, kind="SERVER", tags={"error": "declined"}),
        span(FAILED, 4, 3, "bank\u001b[2J", "POST /authorize", 25, 70, kind="CLIENT", tags={"error": "declined"}),
        span(SLOW, 5, None, "edge", "GET /report", 0, 1240),
        span(SHOP, 6, None, "edge", "GET /", 0, 10),
        span(SHOP, 7, 6, "shop", "GET /", 2, 5),
        span(REST, 8, None, "edge", "GET /healthz", 0, 1),
    ]


SCREEN = """\
● 22:13:20.123 aaaa0000bbbb0001 edge GET /checkout 112ms 4 spans errors ×1 root
edge GET /checkout                                   112ms  ━━━━━━━━━━━━━━━━━━━━
├─cart GET /cart                                    12.0ms  ╺━━
└─payments POST /v2/charge                        ✗ 80.0ms     ╺━━━━━━━━━━━━━━
  └─bank\ufffd[2J POST /authorize                      ✗ 70.0ms      ━━━━━━━━━━━━━
"""


@pytest.fixture
def deciding(weir, tmp_path):
    return weir(lanes=2, extra=policy(tmp_path, RULES), receivers={"zipkin": ""})


@pytest.mark.sanitized
def test_a_screen_of_80_columns(deciding, tmp_path):
    tail = Tail(deciding, tmp_path, "--rule", "errors", "--limit", "1")
    ascii_one = Tail(deciding, tmp_path, "--rule", "errors", "--limit", "1", name="ascii", LC_ALL="C")
    wait_watched(deciding, 2)
    send(deciding, four_traces())
    assert tail.wait() == ascii_one.wait() == 0
    assert tail.screen == SCREEN
    drawn = {"━": "=", "╸": "=", "╺": "=", "├─": "|-", "└─": "`-", "●": "+", "✗": "!", "×": "x", "\ufffd": "?"}
    plain = SCREEN
    for one, other in drawn.items():
        plain = plain.replace(one, other)
    assert ascii_one.screen == plain
    assert tail.complaints == ascii_one.complaints == ""
    wait_watched(deciding, 0)


def test_filters(deciding, tmp_path):
    rows = {
        (): {FAILED, SLOW, SHOP},
        ("--dropped",): {FAILED, SLOW, SHOP, REST},
        ("--service", "shop"): {SHOP},
        ("--service=edge", "--dropped"): {FAILED, SLOW, SHOP, REST},
        ("--rule", "slow"): {SLOW},
        ("--errors",): {FAILED},
        ("--min-duration", "112ms"): {FAILED, SLOW},
        ("--min-duration", "113ms", "--dropped", "--service", "shop"): set(),
    }
    tails = {options: Tail(deciding, tmp_path, "--json", *options, name=str(n)) for n, options in enumerate(rows)}
    wait_watched(deciding, len(rows))
    assert http(deciding.url("/tail")).status == 503, "eight are enough"

    def told(options) -> list[dict]:
        lines = [json.loads(line) for line in tails[options].screen.splitlines(keepends=True) if line.endswith("\n")]
        assert lines[:1] in ([], [{"weir": "tail", "deciding": True}])
        return [line for line in lines if "trace" in line]

    wait_asked_for_all(deciding, lambda service: sum(one["service"] == service for one in told(("--dropped",))))
    send(deciding, four_traces())
    wait_until(lambda: held(deciding) == 0 and decided(deciding) % 32 == 4, "decisions")
    for options, expected in rows.items():

        def of_us(options=options) -> list[dict]:
            return [one for one in told(options) if not one["service"].startswith("probe-")]

        wait_until(lambda of_us=of_us, expected=expected: len(of_us()) >= len(expected), lambda of_us=of_us: f"{of_us()}")
    time.sleep(0.3)  # for what should not come
    for options, expected in rows.items():
        tails[options].popen.send_signal(signal.SIGINT)
        assert tails[options].wait() == 0
        traces = [one for one in told(options) if not one["service"].startswith("probe-")]
        assert {int(one["trace"], 16) for one in traces} == expected and len(traces) == len(expected), options
        for one in traces:
            assert one["kept"] == (int(one["trace"], 16) != REST)
            assert one["span_count"] == len(one["spans"]), "dropped ones have their spans too"
            assert one["cause"] == "root"
            assert int(one["start_unix_ns"]) == START_US * 1000
    wait_watched(deciding, 0)


def test_without_keep_and_after_a_reload(weir, tmp_path):
    one = weir(lanes=2, extra=policy(tmp_path, "collector: { rate: 1 }\n"), receivers={"zipkin": ""})
    tail = Tail(one, tmp_path, "--limit", "1")
    wait_until(lambda: "no keep:" in tail.complaints, "what it waits for")
    send(one, four_traces())  # kept, and never decided
    policy(tmp_path, RULES)
    assert one.reload().status == 200
    wait_until(lambda: "has a keep: now" in tail.complaints, "the news")
    later = [{**row, "traceId": f"{int(row['traceId'], 16) + 100:032x}"} for row in four_traces()]
    send(one, [row for row in later if row["name"] == "GET /report"])
    assert tail.wait() == 0
    assert tail.screen.count("\n") == 2 and f"{SLOW + 100:032x}" in tail.screen


def test_who_reads_slowly_loses_and_holds_nobody_up(deciding):
    """It reads nothing while 40,000 traces are decided. Then: what came and what it was told it lost are all of them."""
    watcher = socket.create_connection(("127.0.0.1", deciding.admin_port))
    watcher.settimeout(0.1)
    watcher.sendall(b"GET /tail?dropped=true HTTP/1.0\r\n\r\n")
    wait_watched(deciding, 1)
    told: collections.Counter = collections.Counter()
    rest = b""

    def read():
        nonlocal rest
        try:
            rest += watcher.recv(1 << 16)
        except TimeoutError:
            return
        *lines, rest = rest.split(b"\n")
        for row in (json.loads(line) for line in lines if line.startswith(b"{")):
            told["lost"] += row.get("lost", 0)
            told["shown"] += "trace" in row
            told[row.get("service")] += 1

    wait_asked_for_all(deciding, lambda service: read() or told[service])
    before, first = decided(deciding), told["shown"]
    deciding.emit("--seed", 3, "--rate", 80_000, spans=320_000)
    ledger = deciding.balance()
    assert ledger.received == before + 320_000
    count = decided(deciding) - before
    lost = deciding.own().sum("weir_tail_watch_lost_total")
    assert ledger.sampled_out > 0 and count >= 40_000 and 0 < lost < count

    def all_told() -> bool:
        read()
        return told["lost"] + told["shown"] - first >= count

    wait_until(all_told, lambda: f"{told.most_common(2)} of {count}", every=0)
    watcher.close()
    assert (told["lost"], told["shown"] - first) == (lost, count - lost)
    wait_watched(deciding, 0)


def test_a_token_is_asked_for(start, tmp_path):
    secret = tmp_path / "tokens"
    secret.write_text("# who may look\nopen-sesame\n")
    one = Weir(tmp_path / "weir", lanes=1, extra=policy(tmp_path, RULES), receivers={"zipkin": ""})
    listen = f"admin: {{ listen: 127.0.0.1:{one.admin_port}"
    text = one.config.read_text()
    one.config.write_text(text.replace(listen, f"{listen}, bearer_token_file: {secret}"))
    assert one.config.read_text() != text
    start(one)
    for path in ("/tail", "/explain?trace_id=00000000000000aa"):
        assert http(one.url(path)).status == 401
    tail = Tail(one, tmp_path)
    assert tail.wait() == 1
    assert tail.screen == "" and "401: a bearer token is asked for" in tail.complaints
    tail = Tail(one, tmp_path, "--token-file", secret, "--limit", "1", "--errors")
    allowed = {"Authorization": "Bearer open-sesame"}
    wait_until(lambda: "weir_tail_watchers 1" in http(one.url("/metrics"), headers=allowed).text, "the watcher")
    send(one, four_traces())
    assert tail.wait() == 0 and tail.screen == SCREEN


def test_the_collector_ends(deciding, tmp_path):
    """What waits is decided at the end, and still shown; then the stream is over, which is not what was asked for."""
    tail = Tail(deciding, tmp_path)
    wait_watched(deciding, 1)
    send(deciding, [span(SLOW, 5, 99, "edge", "GET /report", 0, 1240)])  # no root: it would wait for 10 min
    wait_until(lambda: held(deciding) == 1, "it to wait")
    assert deciding.stop() == 0
    assert tail.wait() == 1
    assert "slow ×1 drain" in tail.screen and "(parent 0000000000000063 did not come)" in tail.screen
    assert "the collector ended the stream" in tail.complaints
    again = Tail(deciding, tmp_path, name="again")
    assert again.wait() == 1
    assert "127.0.0.1" in again.complaints and again.screen == ""


def explain(one: Weir, trace_id: str):
    return http(one.url(f"/explain?trace_id={trace_id}"))


def test_explain(deciding):
    for bad in ("", "12", "x" * 32, "0" * 32, "0" * 17, "-" + "1" * 15):
        answer = explain(deciding, bad)
        assert answer.status == 400 and answer.text.startswith("trace_id: "), bad
    assert http(deciding.url("/explain")).status == 400
    answer = explain(deciding, "ab" * 16)
    assert answer.status == 404 and answer.text.startswith("no such trace here")
    send(deciding, [*four_traces(), span(SLOW + 50, 5, 99, "edge", "GET /report", 0, 1240)])
    wait_until(lambda: explain(deciding, f"{SLOW + 50:032x}").status == 200, "it to be there")
    waits = explain(deciding, f"{SLOW + 50:032x}")
    assert "its root has not come" in waits.text and "slow" in waits.text
    wait_until(lambda: explain(deciding, f"{SLOW:032x}").text.startswith("kept by rule slow"), "the decision")
    wait_until(lambda: explain(deciding, f"{FAILED:016x}").text.startswith("kept by rule errors"), "the decision")
    wait_until(lambda: explain(deciding, f"{REST:032x}").text.startswith("left out"), "the decision")


def test_explain_while_it_reloads_and_ends(deciding):
    """Both give orders to lanes, on threads of their own; none may wait for ever."""
    over = threading.Event()
    statuses: set = set()

    def ask():
        while not over.is_set():
            try:
                statuses.add(explain(deciding, f"{os.urandom(16).hex()}").status)
            except (OSError, HTTPException):
                return

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for one in threads:
        one.start()
    for _ in range(100):
        os.kill(deciding.process.pid, signal.SIGHUP)
        time.sleep(0.01)
    assert deciding.reload().status == 200
    assert deciding.stop() == 0
    over.set()
    for one in threads:
        one.join(120)
        assert not one.is_alive()
    assert statuses == {404}
