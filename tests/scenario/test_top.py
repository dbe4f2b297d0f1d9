"""`weir top`: a Weir under load on a terminal of its own, and what a person sees there and does."""

import http.server
import math
import os
import re
import signal
import subprocess
import threading
import time

import pytest
from harness.net import free_port, wait_until
from harness.net import http as ask
from harness.process import Process, run
from harness.screen import Terminal, columns
from harness.series import Page
from harness.weir import Weir, binary

TOLD = """
proxies:
  default: { rate: 5% }
  services:
    edge: { rate: 50%, operations: { "GET /healthz": { rate: 0 } } }
"""
KEYS = {"end": "\x1b[F", "enter": "\r", "escape": "\x1b"}


class Load:
    """`weir emit` for as long as it is needed."""

    def __init__(self, one: Weir, *options, rate: int = 2000):
        argv = [binary(), "emit", "--endpoint", one.endpoint, "--rate", rate, "--duration", "300s", "--quiet"]
        self.process = Process("emit", [*argv, "--allow-refused", "--timeout", "2s", *options], one.folder / "emit.log")

    def start(self):
        return self

    def stop(self):
        self.process.stop()


@pytest.fixture
def terminal():
    opened = []

    def begin(address, *options, **more) -> Terminal:
        argv = [binary(), "top", "--admin", address, "--interval", "300ms", *options]
        opened.append(Terminal(argv, **more))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


@pytest.fixture
def loaded(weir, start, tmp_path):
    """A Weir with a load, once spans of it are on its page."""

    def begin(*options, policy: str = "") -> Weir:
        (tmp_path / "sampling.yaml").write_text(policy)
        one = weir(extra=f"sampling: {{ policy: {tmp_path / 'sampling.yaml'} }}" if policy else "")
        start(Load(one, *options))
        # A Weir that tells rates waits, after its start, until it knows what spans stand for.
        wait_until(lambda: one.page("traces_").sum("traces_spanmetrics_calls_total") > 0, "spans")
        return one

    return begin


def address(one: Weir) -> str:
    return f"127.0.0.1:{one.admin_port}"


def once(where: str, *options, env: dict | None = None) -> subprocess.CompletedProcess:
    env = {**os.environ, "LC_ALL": "C.UTF-8", "COLUMNS": "80", **(env or {})}
    return run([binary(), "top", "--admin", where, "--once", *options], env=env)


def table(text: str) -> dict[str, dict[str, str]]:
    """The rows of a frame by name; columns by their titles."""
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if "ERR" in line and "REQ/S" in line)
    ends = {found.group().rstrip("▼▲"): found.end() for found in re.finditer(r"\S+", lines[head])}
    rows = {}
    for line in lines[head + 1 :]:
        if not line.strip() or line.startswith("q quit"):
            break
        first = re.split(r"\s{2,}", line)[0]
        rows[first] = {title: line[:end].split()[-1] for title, end in ends.items() if title not in ("SERVICE", "WHY")}
    return rows


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"([0-9.]+)(ns|µs|us|ms|s)", text).groups()
    return float(number) * {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1}[unit]


# ---- numbers ----


class Between:
    """Hands questions on to a Weir, and keeps what it answered; or answers what it is given."""

    def __init__(self, upstream: Weir | None = None, pages: list[bytes] | None = None, status: int = 200):
        self.kept: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                code, body = status, b""
                if upstream is not None:
                    answer = ask(upstream.url(self.path))
                    code, body = answer.status, answer.body
                    if self.path == "/metrics":
                        outer.kept.append(answer.text)
                elif self.path == "/metrics":
                    body = pages[min(len(outer.kept), len(pages) - 1)]
                    outer.kept.append("")
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.port = free_port()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.process = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def quantile(q: float, before: Page, after: Page, service: str) -> float:
    """As histogram_quantile() has it, of what fell into the buckets between two pages."""
    name, labels = "traces_spanmetrics_latency_bucket", {"service": service, "span_kind": "SPAN_KIND_SERVER"}
    early = before.by(name, "le", **labels)
    counts = sorted((float(le), value - early.get(le, 0)) for le, value in after.by(name, "le", **labels).items())
    rank, low, below = q * counts[-1][1], 0.0, 0.0
    for bound, count in counts:
        if count >= rank:
            return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    raise AssertionError("no +Inf")


def test_the_numbers_are_those_of_the_page(loaded, start):
    one = loaded(policy=TOLD)
    name, kind = "traces_spanmetrics_calls_total", {"span_kind": "SPAN_KIND_SERVER"}
    for _ in range(20):
        between, began = start(Between(one)), time.monotonic()
        done = once(between.address, "--interval", "2s")
        took = time.monotonic() - began
        if done.returncode != 0:  # the machine stood still for longer than it waits for an answer
            continue
        text0, text1 = between.kept
        before, after = Page(text0), Page(text1)
        calls0, calls1 = before.by(name, "service", **kind), after.by(name, "service", **kind)
        # What stood still has no errors of a hundred, and no latency.
        if all(calls > calls0.get(service, 0) for service, calls in calls1.items()) and "TELEMETRY complete" in done.stdout:
            break
    assert done.returncode == 0, done.stderr
    calls0, calls1 = before.by(name, "service", **kind), after.by(name, "service", **kind)
    bad = {"status_code": "STATUS_CODE_ERROR", **kind}
    failed0, failed1 = before.by(name, "service", **bad), after.by(name, "service", **bad)
    rows = table(done.stdout)
    assert set(rows) == {service for service in after.by(name, "service")}
    passed = (calls1["edge"] - calls0["edge"]) / float(rows["edge"]["REQ/S"])
    assert 1.9 <= passed <= 1.02 * took, "seconds: as many as it was told, and not more than it ran"
    for service, row in rows.items():
        calls = calls1[service] - calls0.get(service, 0)
        assert float(row["REQ/S"]) == pytest.approx(calls / passed, rel=0.02, abs=0.06), (service, row)
        errors = (failed1.get(service, 0) - failed0.get(service, 0)) / calls
        assert float(row["ERR"].rstrip("%")) == pytest.approx(100 * errors, abs=0.06), (service, row)
        for column, q in (("P50", 0.5), ("P95", 0.95), ("P99", 0.99)):
            assert seconds(row[column]) == pytest.approx(quantile(q, before, after, service), rel=0.02), (service, row)
    received = after.sum("weir_spans_received_total") - before.sum("weir_spans_received_total")
    told = float(re.search(r"TELEMETRY complete +([0-9,.]+) spans/s", done.stdout).group(1).replace(",", ""))
    assert told == pytest.approx(received / passed, rel=0.02)
    assert rows["edge"]["SAMPLED"] == "50%" and rows["payments"]["SAMPLED"] == "5%"


def test_what_sampling_leaves_unsure_is_told(loaded):
    one = loaded("--sample", "0.05")
    band = wait_until(lambda: re.search(r"±>?(\d+)%", once(address(one), "--interval", "1s").stdout), "a band")
    assert 1 <= int(band.group(1)) <= 99
    assert "±" not in once(address(one), "--interval", "1s", "--ascii").stdout


def test_nobody_and_somebody_else(start, tmp_path):
    away = once(f"127.0.0.1:{free_port()}")
    assert away.returncode == 1 and away.stdout == "" and "onnect" in away.stderr
    other = start(Between(pages=[b"<html>\n# hello\nup 1\n"]))
    done = once(other.address)
    assert done.returncode == 1 and "what answers there is no Weir" in done.stderr
    refusing = start(Between(pages=[b"no\x1b[2J way\n"], status=403))
    done = once(refusing.address)
    assert done.returncode == 1 and "403" in done.stderr
    assert once("x", "--interval", "1").returncode == 2


def test_a_token_is_asked_for(start, tmp_path):
    (tmp_path / "tokens").write_text("open-sesame\n")
    one = Weir(tmp_path / "weir", lanes=1)
    text, listen = one.config.read_text(), f"admin: {{ listen: 127.0.0.1:{one.admin_port}"
    one.config.write_text(text.replace(listen, f"{listen}, bearer_token_file: {tmp_path / 'tokens'}"))
    start(one)
    done = once(address(one))
    assert done.returncode == 1 and "401" in done.stderr
    done = once(address(one), "--interval", "200ms", "--token-file", str(tmp_path / "tokens"))
    assert done.returncode == 0 and "no proxy has sent a span yet" in done.stdout


# ---- a screen ----


def fits(screen: Terminal):
    assert not screen.trouble, screen.trouble[0]
    assert not screen.screen.wrapped, screen.screen.wrapped[0]
    for line in screen.screen.lines():
        assert columns(line) <= screen.screen.width


def test_a_person_looks_around(loaded, terminal):
    one = loaded()
    look = terminal(address(one))
    look.sees("MESH", "TELEMETRY complete", "TRACING", "SERVICES  10 by REQ/S", "edge", "? help")
    fits(look)
    look.press(KEYS["enter"])
    look.sees("OPERATIONS of edge")
    look.press("o")
    look.sees("OPERATIONS of all services  50")
    look.press(KEYS["end"])
    wait_until(lambda: not any(line.startswith("edge ") for line in look.screen.lines()), "the end of the table")
    look.press(KEYS["escape"])
    look.sees("SERVICES  10")
    look.press("e")
    look.sees("CALLS", "edge → ")
    look.press("/PAYm")
    look.sees("filter: PAYm_", "Enter keeps it")
    wait_until(lambda: all("payments" in name for name in table(look.screen.text())), "the filter")
    look.press(KEYS["enter"] + KEYS["escape"])
    look.sees("CALLS  4")
    look.press("e/nothing has this name" + KEYS["enter"])
    look.sees("the filter lets nothing through", "0 of 10")
    look.press(KEYS["escape"] + "<")
    look.sees("by name")
    wait_until(lambda: list(table(look.screen.text())) == sorted(table(look.screen.text())), "order by name")
    look.press("r")
    wait_until(lambda: next(iter(table(look.screen.text()))) == "users", "the other way round")
    look.press("?")
    look.sees("q, Ctrl-C", "SPANS/S CPU", "is what the service sends")
    fits(look)
    look.press("x")
    look.sees("SERVICES  10")
    for width, height in ((120, 40), (60, 14), (20, 5), (80, 24)):
        look.resize(width, height)
        look.changes()
        look.sees("MESH")
        fits(look)
    look.press("q")
    assert look.wait() == 0
    wait_until(look.as_it_was, "the terminal as it was")
    assert look.raw.count(b"\x1b[?1049h") == look.raw.count(b"\x1b[?1049l") == 1


def test_a_pause_holds_the_numbers(loaded, terminal):
    one = loaded()
    look = terminal(address(one))
    look.sees("TELEMETRY complete")
    look.press("p")
    look.sees("PAUSED")
    look.changes()
    held = table(look.screen.text())
    time.sleep(1.5)
    assert table(look.screen.text()) == held
    look.press("p")
    wait_until(lambda: table(look.screen.text()) != held, "other numbers")
    assert "PAUSED" not in look.screen.text()


@pytest.mark.parametrize("how", ["Ctrl-C", "TERM", "INT", "HUP", "SEGV", "ABRT", "QUIT"])
def test_the_terminal_is_left_as_it_was(weir, terminal, how):
    look = terminal(address(weir()))
    look.sees("MESH")
    assert look.screen.modes == {"1049"} and not look.as_it_was()
    if how == "Ctrl-C":
        look.press("\x03")
    else:
        os.kill(look.popen.pid, getattr(signal, f"SIG{how}"))
    status = look.wait()
    wait_until(look.as_it_was, lambda: f"the terminal as it was: {look.screen.modes}")
    assert status == (-getattr(signal, f"SIG{how}") if how in ("SEGV", "ABRT", "QUIT") else 0)


def test_it_is_stopped_and_goes_on(weir, terminal):
    look = terminal(address(weir()))
    look.sees("MESH")
    os.kill(look.popen.pid, signal.SIGTSTP)
    wait_until(look.as_it_was, "the terminal as it was")
    os.kill(look.popen.pid, signal.SIGCONT)
    wait_until(lambda: look.screen.modes == {"1049"}, "the other screen")
    look.sees("MESH")
    look.press("q")
    assert look.wait() == 0
    wait_until(look.as_it_was, "the terminal as it was")


def test_colour_is_a_matter_of_taste(weir, terminal):
    one = weir()
    colours = {"32", "33", "1;31"}
    look = terminal(address(one))
    look.sees("TELEMETRY complete")
    assert look.screen.sgr & colours
    for more in ({"env": {"NO_COLOR": "1"}}, {"options": ["--no-color"]}):
        plain = terminal(address(one), *more.get("options", []), env=more.get("env"))
        plain.sees("TELEMETRY complete")
        assert not plain.screen.sgr & colours


def test_a_weir_goes_away_and_comes_back(loaded, start, terminal):
    one = loaded()
    look = terminal(address(one))
    look.sees("TELEMETRY complete", "edge")
    one.stop()
    look.sees("NO ANSWER, numbers are ", "tries again", "TELEMETRY no answer", "edge")
    fits(look)
    wait_until(lambda: re.search(r"numbers are ([2-9]|\d\d+)s old", look.screen.text()), "older numbers")
    frames = []
    one.start()
    start(Load(one))
    wait_until(lambda: frames.append(look.screen.text()) or "NO ANSWER" not in frames[-1], "an answer")
    wait_until(lambda: frames.append(look.screen.text()) or re.search(r"\nedge .*%", frames[-1]), "rates")
    for frame in frames:
        assert not re.search(r"\s-\d", frame), frame
    fits(look)


# ---- names of strangers ----


def page_of(names: list[str], calls: int) -> bytes:
    own = f"weir_spans_received_total {calls}\nprocess_start_time_seconds 1\n"
    labels = 'service="{}",span_kind="SPAN_KIND_SERVER",span_name="x",status_code="STATUS_CODE_UNSET"'
    rows = "".join(f"traces_spanmetrics_calls_total{{{labels.format(name)}}} {calls}\n" for name in names)
    return (own + rows).encode("utf-8", errors="surrogateescape")


NAMES = [
    "plain",
    "支払いサービス",
    "cafe\u0301",
    "\x1b[2J\x1b[31mred",
    "\x07bell\x00nul\x9bcsi",
    "right\u202eleft",
    "🚀rocket",
    "not\udcffutf8",
    "n" * 300,
    'quote\\"back\\\\slash\\nline',
]


def test_names_of_strangers_are_harmless(start, terminal):
    pages = [page_of(NAMES, 10 * step) for step in range(1, 400)]
    other = start(Between(pages=pages))
    look = terminal(other.address, "--sort", "name")
    look.sees("plain", "支払いサービス", "rocket", "SERVICES  10")
    look.changes()
    fits(look)
    lines = [line for line in look.screen.lines() if re.search(r"\d\.\d .*-$|\d .*-\s+-\s+-", line)]
    starts = {columns(line[: line.index("0%")]) for line in lines if "0%" in line}
    assert len(starts) == 1, look.screen.text()


def test_a_line_without_end_is_passed_over(start):
    pages = [b"weir_spans_received_total 0\n" + b"y" * (8 << 20)]
    other = start(Between(pages=pages))
    done = once(other.address, "--interval", "200ms")
    assert done.returncode == 0 and "no proxy has sent a span yet" in done.stdout
