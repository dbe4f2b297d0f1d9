"""`weir explain`, `weir replay` and `weir import` end to end: a real Weir writes trace files, and what the commands say of them
is what is counted from `weir cat` here."""

import collections
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import time

import pytest
from harness.net import PATIENCE, answers, free_port, wait_until
from harness.process import PEERS, Process, run, settled
from harness.weir import Weir, binary

TRACES, SPANS_A_TRACE = 2500, 8
R_MAX = 2**56

POLICY = """
keep:
  wait: 5s
  quiet: 1s
  rules:
    - { name: errors, when: { error: true } }
    - { name: long, when: { duration: ">40ms" }, rate: 0.5 }
    - { name: dry, when: { service: edge }, dry_run: true }
    - { name: rest, rate: 0.1 }
"""
IN_FORCE = """
keep:
  rules:
    - { name: tenth, rate: 0.1 }
"""


def cli(*arguments, status: int = 0, timeout: float = PATIENCE, env: dict | None = None) -> subprocess.CompletedProcess:
    done = run([binary(), *arguments], timeout, env=env)
    assert done.returncode == status, f"weir {arguments}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


def threshold(rate: float) -> int:
    return round((1 - rate) * R_MAX)


class Trace:
    """A trace as the rules see it, from the JSON lines of `weir cat`."""

    def __init__(self, spans: list[dict]):
        self.spans = spans
        self.id = spans[0]["traceId"]
        self.r = int(self.id, 16) % R_MAX
        starts = [int(span["startTimeUnixNano"]) for span in spans]
        ends = [int(span["endTimeUnixNano"]) for span in spans]
        self.duration_ms = (max(ends) - min(starts)) / 1e6
        self.error = any(span.get("status", {}).get("code") == 2 or self.http(span) >= 500 for span in spans)

    @staticmethod
    def http(span: dict) -> int:
        for attribute in span.get("attributes", []):
            if attribute["key"] in ("http.status_code", "http.response.status_code"):
                return int(next(iter(attribute["value"].values())))
        return 0

    def rule(self) -> tuple[str, float]:
        if self.error:
            return "errors", 1
        return ("long", 0.5) if self.duration_ms > 40 else ("rest", 0.1)


@pytest.fixture
def files(weir, tmp_path):
    """A folder of trace files, everything kept, and its traces by id."""
    one = weir(lanes=2)
    one.emit("--seed", 11, "--errors", "0.02", "--rate", 10000, spans=TRACES * SPANS_A_TRACE)
    one.balance(received=TRACES * SPANS_A_TRACE)
    assert one.stop() == 0
    spans = collections.defaultdict(list)
    for span in one.cat():
        spans[span["traceId"]].append(span)
    traces = {trace: Trace(of) for trace, of in spans.items()}
    assert len(traces) == TRACES
    policy, in_force = tmp_path / "new.yaml", tmp_path / "old.yaml"
    policy.write_text(POLICY)
    in_force.write_text(IN_FORCE)
    return one.traces, traces, policy, in_force


def test_replay_counts_what_python_counts(files):
    folder, traces, policy, in_force = files
    said = json.loads(cli("replay", folder, "--policy", policy, "--against", in_force, "--json", "--all").stdout)
    assert said["traces"] == TRACES
    assert said["spans"] == TRACES * SPANS_A_TRACE
    assert said["late_spans"] == said["decided_early"] == 0
    assert said["file_bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    new, old = said["policies"]

    rows = {row["rule"]: row for row in new["rules"]}
    matched, kept = collections.Counter(), collections.Counter()
    estimate = 0.0
    for trace in traces.values():
        rule, rate = trace.rule()
        matched[rule] += 1
        if trace.r >= threshold(rate):
            kept[rule] += 1
            estimate += 1 / rate
    assert matched["errors"] > 20 and matched["long"] > 20 and matched["rest"] > 20, f"a poor mesh: {matched}"
    for rule in ("errors", "long", "rest"):
        assert (rows[rule]["traces"], rows[rule]["kept_traces"]) == (matched[rule], kept[rule]), rule
        assert rows[rule]["kept_spans"] == SPANS_A_TRACE * kept[rule]
    assert rows["dry"]["dry_traces"] == sum(
        not trace.error and trace.duration_ms <= 40 and any(span["service"] == "edge" for span in trace.spans)
        for trace in traces.values()
    )
    assert new["stands_for"] == pytest.approx(TRACES)
    assert new["estimate"] == pytest.approx(estimate)
    assert abs(new["estimate"] - TRACES) < 5 * new["variance"] ** 0.5
    assert new["kept_bytes"] < new["bytes"] == said["bytes"] == old["bytes"]
    assert new["error_traces"] == matched["errors"]
    assert new["error_traces_lost"] == 0 and said["lost"] == []

    # Against the one in force, and the other way round: what each loses.
    tenth = {trace.id for trace in traces.values() if trace.r >= threshold(0.1)}
    ours = {trace.id for trace in traces.values() if trace.r >= threshold(trace.rule()[1])}
    assert said["kept_by"] == {
        "both": len(ours & tenth),
        "new": len(ours - tenth),
        "old": len(tenth - ours),
        "neither": TRACES - len(ours | tenth),
    }
    said = json.loads(cli("replay", folder, "--policy", in_force, "--json", "--all").stdout)
    lost = {trace.id for trace in traces.values() if trace.error} - tenth
    assert {one["trace_id"] for one in said["lost"]} == lost and len(lost) == said["lost_count"]
    for one in said["lost"]:
        assert any((span["service"], span["name"]) == (one["service"], one["operation"]) for span in traces[one["trace_id"]].spans)

    # A page for people: the same numbers, 80 columns, no colour where nobody looks.
    page = cli("replay", folder, "--policy", policy).stdout
    assert f"errors{matched['errors']:>27,}{kept['errors']:>11,}" in page
    assert max(map(len, page.splitlines())) <= 80 and "\033" not in page


def test_what_a_tail_kept_is_weighed(weir, tmp_path):
    """A Weir keeps a quarter; a replay of its files knows what they stand for, and `explain` which rule kept them."""
    kept_by = tmp_path / "kept.yaml"
    kept_by.write_text(
        "keep: { wait: 60s, quiet: 200ms, rules: [ { name: errors, when: { error: true } }, { name: quarter, rate: 0.25 } ] }\n"
    )
    one = weir(lanes=2, extra=f"sampling: {{ policy: {kept_by} }}")
    one.emit("--seed", 12, "--rate", 10000, spans=TRACES * SPANS_A_TRACE)
    one.balance(received=TRACES * SPANS_A_TRACE)
    assert one.stop() == 0
    spans = one.cat()
    weights = {}
    for span in spans:
        for attribute in span.get("attributes", []):
            if attribute["key"] == "weir.weight":
                weights[span["traceId"]] = attribute["value"]["doubleValue"]
    assert len(weights) == len({span["traceId"] for span in spans})

    said = json.loads(cli("replay", one.traces, "--policy", kept_by, "--json").stdout)
    (policy,) = said["policies"]
    assert said["traces"] == policy["kept_traces"] == len(weights), "the same policy keeps again what it kept"
    assert policy["stands_for"] == pytest.approx(sum(weights.values()))
    assert policy["estimate"] == pytest.approx(sum(weights.values()))
    assert abs(policy["stands_for"] - TRACES) < 5 * (12 * TRACES / 4) ** 0.5
    assert "They were thinned before and stand for" in cli("replay", one.traces, "--policy", kept_by).stdout

    config = tmp_path / "weir.yaml"
    config.write_text(f"sampling: {{ policy: {kept_by} }}\n")
    page = cli("explain", one.traces, "-c", config).stdout
    assert page.count("would be kept by rule") == len(weights)
    assert "left out" not in page
    rules = re.findall(r"  was kept by rule (\w+), and stands for (\d+)\n", page)
    assert sorted(float(weight) for _, weight in rules) == sorted(weights.values())
    assert {rule for rule, _ in rules} == {"errors", "quarter"}

    # With less patience than spans take: what comes behind a decision makes no second trace.
    hasty = tmp_path / "hasty.yaml"
    hasty.write_text(kept_by.read_text().replace("wait: 60s, quiet: 200ms", "wait: 100ms, quiet: 10ms"))
    done = cli("explain", one.traces, "--policy", hasty)
    headings = re.findall(r"^([0-9a-f]{32}) ", done.stdout, re.MULTILINE)
    assert len(headings) == len(set(headings)) == len(weights)
    late = re.search(r"weir explain: (\d+) spans came after their trace was decided", done.stderr)
    assert late and 0 < int(late[1]) < len(spans) - len(weights)


def test_explain_says_what_replay_does(files):
    folder, traces, policy, _ = files
    page = cli("explain", folder, "--policy", policy).stdout
    assert max(map(len, page.splitlines())) <= 80 and "\033" not in page
    fate = {}
    for block in page.split("\n\n"):
        trace = block.split(" ", 1)[0]
        said = re.search(r"would be (kept|left out) by rule (\w+)", block)
        assert said, block
        fate[trace] = (said[1], said[2])
    assert fate == {
        trace.id: ("kept" if trace.r >= threshold(trace.rule()[1]) else "left out", trace.rule()[0]) for trace in traces.values()
    }
    one = next(trace for trace in traces.values() if trace.rule()[0] == "long")
    alone = cli("explain", folder, "--policy", policy, "--trace", one.id).stdout
    assert alone.count("rule long: the first that matches") == 1 and alone.startswith(one.id)
    assert re.search(r"    yes  duration: >40ms \([\d.]+m?s\)\n", alone)
    missing = cli("explain", folder, "--trace", "0123456789abcdef", status=1)
    assert "0123456789abcdef: not in these files" in missing.stderr


def test_explain_asks_a_running_weir(start, tmp_path):
    policy = tmp_path / "sampling.yaml"
    policy.write_text(
        "keep: { wait: 300s, quiet: 200s, rules: [ { name: slow, when: { duration: '>10s' } }, { name: rest, rate: 1 } ] }\n"
    )
    one = start(Weir(tmp_path / "weir", lanes=2, extra=f"sampling: {{ policy: {policy} }}"))
    one.emit("--seed", 3, spans=SPANS_A_TRACE)
    admin = f"127.0.0.1:{one.admin_port}"
    nobody = cli("explain", "00000000000000000000000000000007", "--admin", admin, status=1)
    assert f"weir explain: {admin}: 404" in nobody.stderr
    assert cli("explain", "7" * 32, "--admin", "127.0.0.1:1", status=1).stderr.startswith("weir explain: 127.0.0.1:1: ")
    assert one.stop() == 0
    (trace,) = {span["traceId"] for span in one.cat()}
    again = start(Weir(tmp_path / "again", lanes=2, extra=f"sampling: {{ policy: {policy} }}"))
    again.emit("--seed", 3, spans=SPANS_A_TRACE)
    assert again.balance(received=SPANS_A_TRACE, held=True).held == SPANS_A_TRACE
    answer = cli("explain", trace, "--admin", f"127.0.0.1:{again.admin_port}").stdout
    assert "rule rest: the first that matches now" in answer and "duration: >10s" in answer
    assert again.stop() == 0


def on_a_screen(arguments: list, columns: int = 80, env: dict | None = None) -> str:
    """What a terminal gets that is so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    running = subprocess.Popen(
        [binary(), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm", **(env or {})},
    )
    os.close(theirs)
    seen = b""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            got = os.read(ours, 65536)
        except OSError:  # it is closed
            break
        if not got:
            break
        seen += got
    os.close(ours)
    assert running.wait(PATIENCE) in (0, 1)
    return seen.decode()


def test_on_a_terminal(files, tmp_path):
    folder, _, policy, in_force = files
    screen = on_a_screen(["replay", folder, "--policy", in_force])
    assert "\033[1m" in screen and "\033[31m" in screen, "headings, and what is lost"
    plain = re.sub(r"\033\[[0-9;]*[mK]", "", screen)
    lines = [line.split("\r")[-1] for line in plain.replace("\r\n", "\n").splitlines()]
    assert max(map(len, lines)) <= 80
    assert "\033[3" not in on_a_screen(["replay", folder, "--policy", in_force], env={"NO_COLOR": "1"})
    assert "\033[32m" in on_a_screen(["explain", folder, "--policy", policy])
    assert "\033" not in on_a_screen(["explain", folder, "--policy", policy], env={"TERM": "dumb"})


@pytest.mark.parametrize(
    ("text", "options", "left_out"),
    [
        (
            "processors: { tail_sampling: { policies: [ { name: errors, type: status_code, status_code: { status_codes: "
            "[ERROR] } }, { name: some, type: probabilistic, probabilistic: { sampling_percentage: 10 } } ] } }",
            [],
            0,
        ),
        ("policies: [ { name: state, type: trace_state, trace_state: { key: a, values: [b] } } ]", [], 1),
        (
            "RulesVersion: 2\nSamplers: { __default__: { RulesBasedSampler: { Rules: [ { Name: slow, SampleRate: 1, "
            "Conditions: [ { Field: root.duration_ms, Operator: '>', Value: 500 } ] }, { Name: rest, SampleRate: 10 } ] } } }",
            ["--from", "refinery"],
            0,
        ),
        ('{ "default_strategy": { "type": "probabilistic", "param": 0.5 } }', [], 0),
        ('{ "default_strategy": { "type": "probabilistic", "param": 0.5 }, "adaptive": {} }', [], 1),
    ],
)
def test_what_is_imported_passes_check(tmp_path, text, options, left_out):
    there, policy, config = tmp_path / "there.yaml", tmp_path / "sampling.yaml", tmp_path / "weir.yaml"
    there.write_text(text + "\n")
    config.write_text(f"sampling: {{ policy: {policy} }}\n")
    done = cli("import", there, "-o", policy, *options)
    assert done.stdout == ""
    assert done.stderr.count(": left out: ") == left_out
    cli("check", "-c", config)
    cli("import", there, "-o", policy, status=1)  # it is there: nothing is overwritten
    strict = cli("import", there, "-o", policy, "--force", "--strict", status=3 if left_out else 0)
    assert strict.stderr == done.stderr


def test_check_says_what_proxies_would_be_told(tmp_path):
    policy, config = tmp_path / "sampling.yaml", tmp_path / "weir.yaml"
    config.write_text("sampling: { policy: sampling.yaml }\n")
    policy.write_text(
        "proxies:\n"
        "  default: { rate: 1%, min_traces_per_second: 0.1 }\n"
        "  services:\n"
        "    payments: { rate: 10%, operations: { GET /healthz: { rate: 0 } } }\n"
        "    probes: { rate: 0, min_traces_per_second: 1 }\n"
        "  budget: { spans_per_second: 2000, proxy_cpu: 1% }\n"
    )
    done = cli("check", "-c", config)
    told = [line.split(maxsplit=1) for line in done.stdout.splitlines() if "begins" in line or "may cost" in line]
    assert told == [
        ["payments", "begins at most 10 %, 1 operation apart"],
        ["probes", "begins 0 %"],
        ["default", "begins at most 1 %, at least 0.1 traces/s of each operation"],
        ["all", "together         may cost 2000 spans/s, 1 % of a core of each proxy"],
    ]
    assert done.stderr == (f"{policy}:5: warning: min_traces_per_second: has no effect: a rate of 0 is never raised\n")
    policy.write_text("proxies:\n  default: { rate: 1% }\n")
    assert cli("check", "-c", config).stderr == ""
    config.write_text("receivers: { zipkin: {} }\nsampling: { policy: sampling.yaml }\n")
    assert f"{policy}:1: warning: proxies: nobody is told" in cli("check", "-c", config).stderr
    policy.write_text("proxies:\n  default: { min_traces_per_second: 1 }\n")
    done = cli("check", "-c", config, status=1)
    assert done.stderr == (f"{policy}:2: default: has no rate, and there is no budget that would work one out\n")


def test_check_says_what_is_kept(tmp_path):
    policy, config = tmp_path / "sampling.yaml", tmp_path / "weir.yaml"
    config.write_text("sampling: { policy: sampling.yaml }\n")
    for text, said in (
        ("", "everything is kept: there is no `keep:`"),
        ("collector: { rate: 1 }\n", "everything is kept: there is no `keep:`"),
        ("collector: { services: { edge: { rate: 5% } } }\n", "kept or left out by the rates of `collector:`"),
        ("keep: { rules: [{ name: errors, when: { error: true } }] }\n", "errors               keeps 100 %"),
    ):
        policy.write_text(text)
        assert said in cli("check", "-c", config).stdout


def test_errors_name_the_place(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("keep:\n  rules:\n    - { name: a, when: { errors: true } }\n")
    assert f"{broken}:3: " in cli("replay", tmp_path, "--policy", broken, status=1).stderr
    assert f"{broken}:3: " in cli("explain", tmp_path, "--policy", broken, status=1).stderr
    assert f"{broken}:1: neither" in cli("import", broken, status=1).stderr
    good = tmp_path / "good.yaml"
    good.write_text("keep: {}\n")
    assert f"{tmp_path}: no traces-*.otlp.zst in this folder" in cli("replay", tmp_path, "--policy", good, status=1).stderr
    assert "/no/such: No such file" in cli("replay", "/no/such", "--policy", good, status=1).stderr
    file = tmp_path / "traces-1.otlp.zst"
    file.write_bytes(b"this is no trace file at all")
    assert f"{file}: offset 0: " in cli("replay", file, "--policy", good, status=1).stderr
    for command in ("import", "explain", "replay"):
        assert cli(command, "--help").stdout.startswith(f"usage: weir {command} ")
        assert max(map(len, cli(command, "--help").stdout.splitlines())) <= 80
        assert "usage: " in cli(command, status=2).stderr
        assert "unknown argument" in cli(command, "x", "--nonsense=1", status=2).stderr


MESH = ["--seed", 21, "--errors", "0.01", "--start-time", 1_760_000_000]
POLICIES = """
      - { name: slow, type: latency, latency: { threshold_ms: 60 } }
      - { name: errors, type: status_code, status_code: { status_codes: [ERROR] } }
      - name: writes
        type: and
        and:
          and_sub_policy:
            - { name: ledger, type: string_attribute, string_attribute: { key: upstream_cluster.name, values: [ledger, "l*"] } }
            - { name: puts, type: string_attribute, string_attribute: { key: http.method, values: ["^PU"], enabled_regex_matching: true } }
      - name: elsewhere
        type: and
        and:
          and_sub_policy:
            - { name: quick, type: not, not: { not_sub_policy: { name: q, type: latency, latency: { threshold_ms: 12 } } } }
            - { name: nobody, type: string_attribute, string_attribute: { key: service.name, values: [ledger, users], invert_match: true } }
            - { name: whole, type: span_count, span_count: { min_spans: 3, max_spans: 30 } }
      - name: told
        type: ottl_condition
        ottl_condition:
          span:
            - 'kind == SPAN_KIND_CLIENT and attributes["http.method"] != "GET" and IsMatch(attributes["http.url"], "users/[a-h]")'
            - 'IsRootSpan() and attributes["response_flags"] != "-"'
      - name: lists
        type: drop
        drop:
          drop_sub_policy:
            - { name: url, type: string_attribute, string_attribute: { key: http.url, values: ["/list$"], enabled_regex_matching: true } }
            - { name: edge, type: string_attribute, string_attribute: { key: component, values: [proxy] } }
"""


def test_the_collector_and_the_import_of_its_policies_keep_the_same(weir, start, tmp_path):
    """The OpenTelemetry Collector's tail_sampling and, of the same file and the same traces, what was imported: each trace."""

    class Collector:
        def __init__(self):
            self.port, self.health = free_port(), free_port()
            self.config, self.out = tmp_path / "collector.yaml", tmp_path / "kept.json"
            self.config.write_text(f"""
receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: 127.0.0.1:{self.port} }} }} }} }}
processors:
  tail_sampling:
    decision_wait: 15s
    policies:{POLICIES}
exporters: {{ file: {{ path: '{self.out}' }} }}
extensions: {{ health_check: {{ endpoint: 127.0.0.1:{self.health} }} }}
service:
  extensions: [health_check]
  telemetry: {{ logs: {{ level: warn }}, metrics: {{ level: none }} }}
  pipelines: {{ traces: {{ receivers: [otlp], processors: [tail_sampling], exporters: [file] }} }}
""")

        def start(self):
            self.process = Process("otelcol", [PEERS / "bin" / "otelcol", "--config", self.config], tmp_path / "otelcol.log")
            self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.health}/"))

        def stop(self):
            self.process.stop()

        def kept(self) -> set:
            return {
                span["traceId"]
                for line in self.out.read_text().splitlines(keepends=True)
                if line.endswith("\n")  # it may be writing
                for resource in json.loads(line)["resourceSpans"]
                for scope in resource["scopeSpans"]
                for span in scope["spans"]
            }

    collector = Collector()
    start(collector)
    played = cli("emit", "--endpoint", f"127.0.0.1:{collector.port}", "--spans", TRACES * SPANS_A_TRACE, "--json", *MESH)
    assert json.loads(played.stdout)["acknowledged"] == TRACES * SPANS_A_TRACE

    one = weir(lanes=2)
    one.emit(*MESH, spans=TRACES * SPANS_A_TRACE)
    one.balance(received=TRACES * SPANS_A_TRACE)
    assert one.stop() == 0
    policy = tmp_path / "sampling.yaml"
    assert "; nothing is left out" in cli("import", collector.config, "-o", policy, "--strict").stderr
    page = cli("explain", one.traces, "--policy", policy).stdout
    fates = dict(re.findall(r"^([0-9a-f]{32}) .*?would be (kept|left out) by rule", page, re.MULTILINE | re.DOTALL))
    assert len(fates) == TRACES
    ours = {trace for trace, fate in fates.items() if fate == "kept"}
    wait_until(lambda: len(collector.kept()) >= len(ours), lambda: f"{len(ours)} traces there: {len(collector.kept())}", every=1)
    settled(lambda: collector.out.stat().st_size, still=5)
    collector.stop()
    theirs = collector.kept()
    assert 100 < len(theirs) < TRACES - 100
    assert ours == theirs, f"{len(ours - theirs)} only here, {len(theirs - ours)} only there"
