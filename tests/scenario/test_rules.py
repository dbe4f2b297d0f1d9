"""Rules of dashboards/rules beside what promtool tries (test_prometheus.py): they are what objectives.yaml says, ask for what there is,
and lead to somebody who does something."""

import pathlib
import re
import sys
from collections.abc import Iterator

import make_rules
import objectives
import pytest
import yaml
from harness.process import ROOT, run
from harness.prometheus import promtool
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from test_dashboards import FUNCTIONS, known, selectors  # noqa: F401 (known is a fixture)

FOLDER = ROOT / "dashboards"
SCRIPT = (sys.executable, FOLDER / "make_rules.py")
RULES = sorted((FOLDER / "rules").glob("*.yml"))
PROMISED = FOLDER / "tests" / "promised"
MADE = ((FOLDER / "objectives.yaml", FOLDER / "rules" / "objectives.yml"), (PROMISED / "objectives.yaml", PROMISED / "rules.yml"))


def rules_of(*paths: pathlib.Path) -> list[dict]:
    return [rule for path in paths for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


# ---- what the team promises ----


@pytest.mark.parametrize(("promises", "rules"), MADE, ids=lambda path: path.name)
def test_rules_are_what_the_promises_say(promises, rules):
    done = run([*SCRIPT, "--objectives", promises, "--out", rules, "--check"])
    assert done.returncode == 0, f"{done.stderr}\nrun dashboards/make_rules.py --objectives {promises} --out {rules}"


def test_stale_rules_are_told_of(tmp_path):
    made = tmp_path / "rules.yml"
    made.write_text(MADE[0][1].read_text().replace("14.4", "15"))
    done = run([*SCRIPT, "--out", made, "--check"])
    assert done.returncode == 1 and "run make_rules.py" in done.stderr


def test_what_promtool_tries_is_what_is_shipped():
    """The tests have promises of their own; but for the numbers the rules are the same."""

    def shape(path):
        return [(rule.get("record") or rule["alert"], rule.get("labels")) for rule in rules_of(path)]

    assert shape(MADE[0][1]) == shape(MADE[1][1])


WRONG = (
    ("", 1, "is empty"),
    ("window: [", 1, "expected the node content"),
    ("- window: 30d", 1, "keys and values are expected"),
    ("window: 30d", 1, "default: is missing"),
    ("default: {}\nwindows: 30d", 2, "no key 'windows'"),
    ("default: {}\nwindow: 30", 2, "a time with its unit"),
    ("default: {}\nwindow: 1d", 2, "7d to 90d"),
    ("default: {}\nwindow: 7d\nwindow: 30d", 3, "window is here twice"),
    ("window: 30d\ndefault:\n  success: 101%", 3, "default.success: a share above 0 and below 100%"),
    ("window: 30d\ndefault:\n  success: 100%", 3, "default.success: a share above 0 and below 100%"),
    ("window: 30d\ndefault:\n  success: 99", 3, "not '99'"),
    ("window: 30d\ndefault:\n  latency: { share: 95% }", 3, "under is missing"),
    ("window: 30d\ndefault:\n  latency: 300ms", 3, "keys and values are expected"),
    ("window: 30d\ndefault:\n  latency: { share: 95%, under: 300 }", 3, "default.latency.under: a time with its unit"),
    ("window: 30d\ndefault:\n  latency: { share: 95%, under: 20s }", 3, "beyond the last of latency_buckets, 10 s"),
    ("window: 30d\ndefault: {}\nservices:\n  pay: { sucess: 99% }", 4, "services.pay: no key 'sucess'"),
    ("window: 30d\ndefault: {}\nservices:\n  pay:\n    may_be_silent: yes", 5, "true or false is expected"),
    ("window: 30d\ndefault: {}\nlatency_buckets: [1s, 500ms]", 3, "they ascend"),
    ("window: 30d\ndefault: {}\nenough: { requests: few }", 3, "enough.requests: a whole number"),
)


@pytest.mark.parametrize(("text", "line", "reason"), WRONG)
def test_what_is_wrong_is_named_by_its_line(tmp_path, text, line, reason):
    file, out = tmp_path / "objectives.yaml", tmp_path / "rules.yml"
    file.write_text(text)
    done = run([*SCRIPT, "--objectives", file, "--out", out])
    assert done.returncode == 1 and not out.exists()
    assert done.stderr.startswith(f"{file}:{line}: ") and reason in done.stderr


TAKEN = (
    ("window: 7d\ndefault: { success: 99% }", {"success"}),
    ("window: 90d\ndefault: { latency: { share: .9, under: 1m } }\nlatency_buckets: [0.5, 2s, 120s]", {"latency"}),
    ("window: 30d\ndefault: { success: off, latency: off }", set()),
    (
        "window: 30d\ndefault: {}\nservices: { 'a\"b': { success: 0.5, latency: { share: 50%, under: 1ms } } }",
        {"success", "latency"},
    ),
)


@pytest.mark.parametrize(("text", "promised"), TAKEN)
def test_what_is_promised_to_nobody_is_not_watched(tmp_path, text, promised):
    file, out = tmp_path / "objectives.yaml", tmp_path / "rules.yml"
    file.write_text(text)
    done = run([*SCRIPT, "--objectives", file, "--out", out])
    assert done.returncode == 0, done.stderr
    assert "SUCCESS" in promtool("check", "rules", out)
    burns = {rule["alert"] for rule in rules_of(out) if "Burn" in rule.get("alert", "")}
    assert burns == {f"Mesh{what.title()}Burn{speed}" for what in promised for speed in ("Fast", "Slow")}


def test_a_shorter_window_has_a_smaller_budget(tmp_path):
    """2 % of a month in an hour are 14.4 times the rate that uses it up evenly; of a week, 3.36 times."""
    file = tmp_path / "objectives.yaml"
    for window, factor in (("30d", "14.4"), ("7d", "3.36")):
        file.write_text(f"window: {window}\ndefault: {{ success: 99% }}")
        fast = next(r for r in rules_of_text(make_rules.make(objectives.read(file))) if r.get("alert") == "MeshSuccessBurnFast")
        assert f"clamp_max({factor} * (1 - service:mesh_objective_success:ratio), 0.9)" in fast["expr"]


def test_a_demo_need_not_wait(tmp_path):
    out = tmp_path / "rules.yml"
    assert run([*SCRIPT, "--out", out, "--faster", 60]).returncode == 0
    assert "SUCCESS" in promtool("check", "rules", out)
    groups = {group["name"]: group for group in yaml.safe_load(out.read_text())["groups"]}
    assert groups["mesh_objectives"]["interval"] == "1s" and groups["mesh_objective_days"]["interval"] == "3s"
    by_name = {rule.get("record"): rule["expr"] for rule in rules_of(out)}
    assert "[5s]" in by_name["service:mesh_requests:rate5m"] and "[1m]" in by_name["service:mesh_failures:ratio1h"]
    # Five minutes' rates are a sum of as many requests in five seconds.
    assert "(1 * sum_over_time(service:mesh_requests:rate5m[1m]))" in by_name["service:mesh_failures:ratio1h_lower95"]


# ---- what the rules ask for ----

LABELS = {"envoy_cluster_name"}


@pytest.fixture(scope="module")
def there(known) -> set[str]:  # noqa: F811
    """Names of series: those that dashboards know, what an Envoy sent over OTLP as Weir calls it, what libweir_emit counts of itself,
    and what rules record."""
    recorded = {rule["record"] for rule in rules_of(*RULES) if "record" in rule}
    emitters = set(re.findall(r'"(emitter_\w+_total)"', (ROOT / "emitter" / "register.c").read_text()))
    assert emitters
    return known | recorded | emitters | set(of_otlp())


def of_otlp() -> Iterator[str]:
    for path in (ROOT / "tests" / "data" / "envoy-live").glob("otlp-metrics-request-*.bin"):
        for resource in ExportMetricsServiceRequest.FromString(path.read_bytes()).resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                name = re.sub(r"\W", "_", metric.name)
                yield f"{name}_total" if metric.sum.is_monotonic and not name.endswith("_total") else name


def names_in(expr: str) -> set[tuple[str, bool]]:
    """(name, whether it is a pattern) of all that an expression selects."""
    found, rest = selectors(expr)
    out = set()
    for name, matchers in found:
        by_name = re.search(r'__name__(=~?)"((?:[^"\\]|\\.)*)"', matchers)
        out.add((by_name[2], by_name[1] == "=~") if by_name else (name, False))
    rest = re.sub(r'(?:by|on|ignoring|without|group_left) ?\([^)]*\)|\[[^\]]*\]|offset \w+|"(?:[^"\\]|\\.)*"', " ", rest)
    words = set(re.findall(r"\b[A-Za-z_:][\w:]*\b(?!\s*\()", rest))
    return out | {(word, False) for word in words - FUNCTIONS}


def test_every_name_is_known(there):
    asked = {
        (name, pattern, rule.get("alert") or rule["record"])
        for rule in rules_of(*RULES)
        for name, pattern in names_in(rule["expr"])
    }
    assert len({name for name, _, _ in asked}) > 80
    nobody = [
        f"{name}: {where}"
        for name, pattern, where in asked
        if not (any(re.fullmatch(name, other) for other in there) if pattern else name in there)
    ]
    assert not nobody, "nobody has\n" + "\n".join(sorted(nobody))


IN_RUNBOOKS = r"(?<![\w:/])(?:weir|traces|envoy|process|rt|proxy|service|client_server)[_:][\w:]+"


def code_of_runbooks() -> list[str]:
    return re.findall(r"`([^`]+)`", (ROOT / "docs" / "runbooks.md").read_text())


def test_runbooks_ask_for_what_there_is(there):
    asked = set(re.findall(IN_RUNBOOKS, " ".join(code_of_runbooks())))
    assert len(asked) > 50
    assert asked <= there | LABELS, asked - there


def test_what_runbooks_ask_can_be_pasted(tmp_path):
    queries = [" ".join(code.split()) for code in code_of_runbooks() if re.search(IN_RUNBOOKS, code)]
    assert len(queries) > 60
    file = tmp_path / "runbooks.yml"
    rules = [{"record": f"query_{at}", "expr": query} for at, query in enumerate(queries)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": rules}]}))
    assert "SUCCESS" in promtool("check", "rules", file)


def test_no_histogram_of_linkerd_1_is_taken_for_a_counter():
    """Its counts and sums are of the last minute."""
    names = {name for rule in rules_of(*RULES) for name, _ in names_in(rule["expr"]) if name.startswith("rt:")}
    assert names and not [name for name in names if re.search(r"_(count|sum|avg|ms|us)$", name)]


# ---- who is told ----


def test_every_section_says_what_it_means_how_to_confirm_and_what_to_do():
    page = (ROOT / "docs" / "runbooks.md").read_text()
    for name, text in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        assert re.match(r"\n\*\*[^*]+\*\*", text), f"{name}: what does it mean?"
        assert "`" in text, f"{name}: which query or command confirms it?"
    inside = set(re.findall(r"\]\(#(\w+)\)", page))
    assert inside <= {name.lower() for name in re.findall(r"^## (\w+)$", page, re.MULTILINE)}
    alerts = {rule["alert"].lower() for rule in rules_of(*RULES) if "alert" in rule}
    assert alerts <= inside, f"not in the list at the top: {alerts - inside}"


@pytest.mark.parametrize(("severity", "receiver"), [("page", "pager"), ("ticket", "tickets"), ("info", "nobody")])
def test_alertmanager_tells_whom_it_should(severity, receiver):
    config = FOLDER / "alertmanager.yml"
    assert run(["amtool", "check-config", config]).returncode == 0
    done = run(
        ["amtool", "config", "routes", "test", f"--config.file={config}", f"severity={severity}", "alertname=MeshServiceSilent"]
    )
    assert done.stdout.split() == [receiver], done.stdout + done.stderr


def test_alertmanager_silences_only_what_there_is():
    alerts = {rule["alert"] for rule in rules_of(*RULES) if "alert" in rule}
    config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            how, name = re.fullmatch(r'alertname(=|=~|!=)"([^"]+)"', matcher).groups()
            assert any(re.fullmatch(name, alert) if how == "=~" else name == alert for alert in alerts), matcher


def rules_of_text(text: str) -> list[dict]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
