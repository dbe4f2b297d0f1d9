"""libweir_emit against a running Weir, driven from Python through ctypes: what is sent arrives, what Weir tells is followed."""

import importlib.util
import json
import math
import os
import shutil
import socket
import sys
import time

import pytest
from harness.chance import ERRORS, drawn
from harness.net import http, wait_until
from harness.process import ROOT, run
from harness.weir import binary

EXAMPLE = ROOT / "examples" / "emit" / "emit_ctypes.py"
KEY = b"a key for tests, not for use"
POLL_MS = 50


def library() -> str:
    return str(binary().parent / "emitter" / "libweir_emit.so.1")


def example():
    spec = importlib.util.spec_from_file_location("emit_ctypes", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def emitter():
    opened = []

    def begin(port: int, service: str = "shop", **options):
        one = example().Emitter(library(), f"127.0.0.1:{port}", service, **({"flush_ms": 20, "poll_ms": POLL_MS} | options))
        opened.append(one)
        return one

    yield begin
    for one in opened:
        one.close()


def requests(one, operation: str, count: int) -> int:
    """So many requests; those of them that were sampled."""
    sampled = 0
    for _ in range(count):
        start = time.time_ns()
        context, traced = one.begin(operation, {})
        if traced:
            sampled += 1
            assert one.span(operation, context, start, start + 1_000_000, url_path="/", http_response_status_code=200)
    assert one.library.weir_emit_flush(one.emit, 100_000)
    return sampled


def rate(one, operation: str) -> float:
    """The share that is sampled now: T is the first member of an operation."""
    threshold = example().c_uint64.from_address(one.operation(operation)).value
    return (2**56 - threshold) / 2**56


def admin(one, path: str) -> str:
    answer = http(one.url(path))
    assert answer.status == 200, answer.text
    return answer.text


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "signed"])
def test_the_example_in_python(weir, tmp_path, key):
    options, more = "", []
    if key:
        (tmp_path / "datagram.key").write_bytes(key + b"\n")
        options = f"hmac_key_file: {tmp_path / 'datagram.key'}"
        more = ["--key-file", tmp_path / "datagram.key"]
    one = weir(receivers={"datagram": options})
    count, share = 20_000, 0.1
    argv = [sys.executable, EXAMPLE, "--library", library(), "--to", f"127.0.0.1:{one.ports['datagram']}"]
    done = run([*argv, "--requests", count, "--rate", share, *more])
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["flushed"] and said["spans"] == said["sampled"] > 0 and said["dropped_full"] == said["unsent"] == 0
    one.balance(received=said["sampled"])
    page = one.page()
    assert page.sum("weir_datagrams_lost_total", reason="sequence") == page.sum("weir_datagrams_refused_total") == 0
    assert page.sum("emitter_requests_total", service="shop", operation="GET /items") == count
    assert page.sum("emitter_spans_total", service="shop") == said["sampled"]
    assert page.sum("shop_orders_total") == 2 * count
    assert page.sum("shop_request_seconds_count") == count
    assert page.sum("shop_request_seconds_bucket", le="0.01") == count
    assert page.sum("shop_request_seconds_sum") == pytest.approx(count * 0.005)
    # Each span stands for 1 / rate.
    estimate = page.sum("traces_spanmetrics_calls_total", service="shop")
    assert estimate == pytest.approx(said["sampled"] / share, rel=1e-6)
    drawn(said["sampled"], count, share)
    spans = one.cat()
    assert {span["name"] for span in spans} == {"GET /items"}


POLICY = """
proxies:
  default: {{ rate: {default} }}
  services:
    shop:
      rate: {rate}
      operations:
        "GET /health": {{ rate: 0 }}
        "POST /orders": {{ rate: 1 }}
"""


def test_what_weir_tells_is_followed(weir, tmp_path, emitter):
    policy = tmp_path / "sampling.yaml"
    policy.write_text(POLICY.format(default="1%", rate="50%"))
    one = weir(receivers={"datagram": ""}, extra=f"sampling: {{ policy: {policy} }}", lanes=1)
    mine = emitter(one.ports["datagram"], initial_rate=0.0)
    for name in ("GET /health", "POST /orders", "GET /items"):
        mine.operation(name)
    told = {"GET /health": 0, "POST /orders": 1, "GET /items": pytest.approx(0.5, abs=1e-6)}  # by the first answer or the next
    wait_until(lambda: {name: rate(mine, name) for name in told} == told, "answers", every=0.02)
    wait_until(lambda: mine.stats()["policy_version"] != 0, "a version to be followed", every=0.02)
    sampled = requests(mine, "GET /items", 4000)
    assert requests(mine, "GET /health", 100) == 0
    assert requests(mine, "POST /orders", 100) == 100

    policy.write_text(POLICY.format(default="1%", rate="10%"))
    assert one.reload().status == 200
    wait_until(lambda: rate(mine, "GET /items") == pytest.approx(0.1, abs=1e-6), "the new rate", every=0.02)
    sampled += requests(mine, "GET /items", 4000)
    wait_until(
        lambda: mine.operation("GET /late") and rate(mine, "GET /late") == pytest.approx(0.1, abs=1e-6),
        "an operation that came late",
    )

    one.balance(received=sampled + 100)
    page = one.page()
    assert page.sum("emitter_requests_total", service="shop", operation="GET /items") == 8000
    estimate = page.sum("traces_spanmetrics_calls_total", service="shop", span_name="GET /items")
    assert abs(estimate - 8000) < ERRORS * math.sqrt(4000 * 1 + 4000 * 9)
    wait_until(lambda: one.page().sum("emitter_answers_total", service="shop", verdict="taken") >= 2, "answers to be counted")
    page = one.page()
    for verdict in ("malformed", "signature", "large", "same"):  # a late one may be
        assert page.sum("emitter_answers_total", service="shop", verdict=verdict) == 0
    followers = json.loads(admin(one, "/policy"))["followers"]
    assert any(row["way"] == "datagram" and row["service"] == "shop" for row in followers)


def test_a_weir_that_is_away_changes_nothing_but_counters(weir, tmp_path, emitter):
    policy = tmp_path / "sampling.yaml"
    policy.write_text(POLICY.format(default="1%", rate="25%"))
    one = weir(receivers={"datagram": ""}, extra=f"sampling: {{ policy: {policy} }}", lanes=1)
    mine = emitter(one.ports["datagram"], initial_rate=0.0)
    wait_until(lambda: rate(mine, "GET /items") == pytest.approx(0.25, abs=1e-6), "the first answer", every=0.02)
    one.stop()
    sampled = requests(mine, "GET /items", 2000)
    assert rate(mine, "GET /items") == pytest.approx(0.25, abs=1e-6) and sampled > 0
    asked = mine.stats()["asks"]
    wait_until(lambda: mine.stats()["asks"] > asked + 2, "asks into the void")
    policy.write_text(POLICY.format(default="1%", rate="75%"))
    one.start()
    wait_until(lambda: rate(mine, "GET /items") == pytest.approx(0.75, abs=1e-6), "the rate of the Weir that came", every=0.02)
    sampled = requests(mine, "GET /items", 1000)
    one.balance(received=sampled)
    wait_until(lambda: one.page().sum("emitter_unsent_total", reason="refused") > 0, "the refusals to be told")


def test_a_child_of_fork_is_a_sender_of_its_own(weir, emitter):
    one = weir(receivers={"datagram": ""}, lanes=1)
    mine = emitter(one.ports["datagram"], initial_rate=1.0, poll_ms=0, flush_ms=60_000)
    count = 50
    for _ in range(count):  # in the parent's ring and cells when it forks
        start = time.time_ns()
        context, _ = mine.begin("GET /parent", {})
        mine.span("GET /parent", context, start, start + 1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            requests(mine, "GET /child", count)
            status = 0 if mine.stats()["restarts"] == 1 and mine.stats()["spans"] == count else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert mine.library.weir_emit_flush(mine.emit, 100_000)
    one.balance(received=2 * count)
    page = one.page()
    for operation in ("GET /parent", "GET /child"):
        assert page.sum("emitter_requests_total", operation=operation) == count
    wait_until(lambda: one.own().sum("weir_datagram_senders") == 2, "two senders")
    assert len({(span["traceId"], span["spanId"]) for span in one.cat()}) == 2 * count


@pytest.fixture
def installed(tmp_path):
    """What `cmake --install` leaves: where, its pkg-config file, and the program of its man page."""
    prefix = tmp_path / "usr"
    done = run(["cmake", "--install", binary().parent, "--prefix", prefix])
    assert done.returncode == 0, done.stderr
    (description,) = prefix.glob("lib/**/pkgconfig/weir_emit.pc")
    text = (prefix / "share/man/man3/weir_emit.3").read_text()
    program = tmp_path / "example.c"
    program.write_text(text[text.index(".EX\n") + 4 : text.index(".EE\n")].replace("\\e", "\\"))
    return prefix, description, program


@pytest.mark.parametrize("how", ["shared", "static"])
def test_what_is_installed_and_the_man_page(weir, tmp_path, installed, how):
    """The example of the man page, built by pkg-config; static: it needs no library when it runs."""
    _, description, source = installed
    folder, program = description.parent.parent, tmp_path / how
    argv = ["env", f"PKG_CONFIG_PATH={description.parent}", "pkg-config"]  # the package was configured for another prefix
    linking = {"shared": ([], []), "static": (["--static"], ["-static"])}[how]
    flags = run([*argv, *linking[0], "--cflags", "--libs", "weir_emit"]).stdout.split()
    strict = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    done = run(["cc", *strict, *linking[1], source, "-o", program, *flags])
    assert done.returncode == 0, done.stderr
    assert ("(NEEDED)" in run(["readelf", "-d", program]).stdout) == (how == "shared")
    one = weir(receivers={"datagram": ""}, lanes=1)
    environment = [f"LD_LIBRARY_PATH={folder}"] if how == "shared" else []
    done = run(["env", *environment, program, f"127.0.0.1:{one.ports['datagram']}"])
    assert done.returncode == 0 and done.stdout.startswith("traceparent: 00-"), done.stderr
    one.balance(received=1)
    (span,) = one.cat()
    assert (span["service"], span["name"]) == ("edge", "GET /items/{id}")
    assert span["traceId"] == done.stdout.split("-")[1]


def test_the_shared_object(installed):
    folder = installed[1].parent.parent
    names = run(["nm", "-D", "--defined-only", folder / "libweir_emit.so"]).stdout.split("\n")
    assert all("weir_emit_" in name or "WEIR_EMIT_1" in name for name in names if name)
    dynamic = run(["readelf", "-d", folder / "libweir_emit.so"]).stdout
    assert "Library soname: [libweir_emit.so.1]" in dynamic and "NODELETE" in dynamic
    needed = {line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "(NEEDED)" in line}
    assert all(name.startswith(("libc.so", "libpthread", "ld-linux")) for name in needed)


@pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler of C++")
def test_the_header_is_cplusplus_too(tmp_path):
    program = tmp_path / "example.cc"
    program.write_text('#include "emitter/weir_emit.h"\nint main() { return weir_emit_int("a", 1).value.integer != 1; }\n')
    strict = ["-std=c++11", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    done = run(["c++", *strict, f"-I{ROOT}", program, "-o", tmp_path / "example"])
    assert done.returncode == 0, done.stderr
    assert run([tmp_path / "example"]).returncode == 0


def test_disabled_opens_nothing(emitter):
    before = set(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(0.3)
        mine = emitter(heard.getsockname()[1], disabled=True, initial_rate=1.0)
        context, traced = mine.begin("GET /", {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
        assert not traced and not mine.span("GET /", context, 1, 2)
        assert mine.headers(context)["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        assert len(set(os.listdir("/proc/self/fd")) - before) <= 1
        with pytest.raises(TimeoutError):
            heard.recv(2000)
