"""`weir policy show`, `diff` and `simulate` end to end, and a canary: what they say is what a running Weir does."""

import http.client
import json
import math
import re
import subprocess

import pytest
from harness.load import Load
from harness.net import free_port, wait_until
from harness.net import http as ask
from harness.process import ROOT, run
from harness.weir import binary

BUDGET = """
proxies:
  default: { rate: 50%, min_traces_per_second: 0.5 }
  services:
    edge: { operations: { "GET /cards/list": { rate: 0 } } }
  budget: { spans_per_second: 400 }
  poll_interval: 1m
"""
TENTH = "proxies: { default: { rate: 10% } }\n"


def cli(*arguments, status: int = 0) -> subprocess.CompletedProcess:
    done = run([binary(), *arguments])
    assert done.returncode == status, f"weir {arguments}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


def said(*arguments, status: int = 0) -> dict:
    return json.loads(cli(*arguments, "--json", status=status).stdout)


def fits(text: str):
    wide = [line for line in text.splitlines() if len(line) > 80]
    assert not wide, "longer than 80 columns:\n" + "\n".join(wide)


def side(page: dict, name: str = "policy") -> dict:
    return next(one for one in page["sides"] if one["side"] == name)


def sum_of(loads: list[dict], service: str) -> dict:
    return next((load for load in loads if load["service"] == service and "operation" not in load), {})


@pytest.fixture
def steering(weir, tmp_path):
    """A Weir with a policy, and the file."""
    policy = tmp_path / "sampling.yaml"
    policy.write_text(BUDGET)
    return weir(lanes=2, extra=f"sampling: {{ policy: {policy} }}", receivers={"sampling": ""}), policy


# ---- show ----


def test_show_says_what_a_running_weir_tells(steering, request):
    one, _ = steering
    admin = f"127.0.0.1:{one.admin_port}"
    ask(f"http://127.0.0.1:{one.ports['sampling']}/sampling?service=edge")
    request.addfinalizer(Load(one, None, "--seed", 5, "--services", 4, "--operations", 3, rate=4000).stop)

    def known() -> bool:
        edge = sum_of(side(said("policy", "show", "--from", admin))["loads"], "edge")
        return edge.get("offered", 0) > 0 and edge["spans_offered"] > 8 * 0.9 * edge["offered"]

    wait_until(known, "the load to be known")
    page = said("policy", "show", "--from", f"http://{admin}/")
    assert page == said("policy", "show", "--from", admin) or page["version"]  # it may have moved meanwhile
    loads = side(page)["loads"]
    assert {load["operation"] for load in loads if "operation" in load} >= {"GET /cards/list"}
    assert side(page)["budgets"]["fleet"] == {"spans_per_second": 400}
    assert [(f["way"], f["service"], f["side"]) for f in page["followers"]] == [("poll", "edge", "policy")]

    text = cli("policy", "show", "--from", admin).stdout
    fits(text)
    assert re.search(r"^policy +version [0-9a-f]{16}$", text, re.MULTILINE)
    assert re.search(r"^budget +400\.0 spans/s$", text, re.MULTILINE)
    assert re.search(r"^edge +\S+ % (budget|floor|rate) ", text, re.MULTILINE)
    assert re.search(r"^  GET /cards/list +0 % \S+ ", text, re.MULTILINE)
    assert re.search(r"^  followers: 1 (current|behind)", text, re.MULTILINE)
    assert re.search(r"^\(all others\) ", text, re.MULTILINE)
    assert "\x1b" not in text


def test_show_of_a_weir_without_a_policy_and_of_none(weir):
    one = weir(lanes=1)
    assert "no policy: proxies are told nothing" in cli("policy", "show", "--admin", f"127.0.0.1:{one.admin_port}").stdout
    nobody = cli("policy", "show", "--from", f"127.0.0.1:{free_port()}", status=1)
    assert nobody.stderr.startswith("weir policy show: 127.0.0.1:")
    assert nobody.stdout == ""


def test_show_of_files(tmp_path):
    (tmp_path / "sampling.yaml").write_text(BUDGET)
    (tmp_path / "next.yaml").write_text(TENTH)
    config = tmp_path / "weir.yaml"
    config.write_text("sampling: { policy: sampling.yaml, canary: { policy: next.yaml, share: 25% } }\n")
    text = cli("policy", "show", "-c", config).stdout
    fits(text)
    assert "policy     for 75 % of the proxies" in text
    assert "canary     for 25 % of the proxies" in text
    assert "rates below are the most that is told" in text
    page = said("policy", "show", f"--config={config}")
    assert [(one["side"], one["share"]) for one in page["sides"]] == [("policy", 0.75), ("canary", 0.25)]
    assert side(page, "canary")["plan"]["default"]["rate"] == 0.1
    alone = said("policy", "show", "--policy", tmp_path / "next.yaml")
    assert [one["side"] for one in alone["sides"]] == ["policy"]
    assert side(alone)["plan"]["version"] == side(page, "canary")["plan"]["version"]
    broken = tmp_path / "broken.yaml"
    broken.write_text("proxies:\n  default: { rate: 10 }\n")
    assert cli("policy", "show", "--policy", broken, status=1).stderr.startswith(f"weir policy show: {broken}:2: ")
    for wrong in (["-c", config, "--policy", broken], ["--from"], ["--nothing"], ["words"]):
        assert "usage: weir policy show" in cli("policy", "show", *wrong, status=2).stderr
    for command in ("show", "diff", "simulate"):
        assert f"usage: weir policy {command}" in cli("policy", command, "--help").stdout
        assert f"  {command} " in cli("policy", "--help").stdout


# ---- diff ----


def test_diff_ends_as_diff_does(tmp_path):
    old, new, same = (tmp_path / name for name in ("old.yaml", "new.yaml", "same.yaml"))
    old.write_text(BUDGET)
    new.write_text(BUDGET.replace("50%", "25%").replace("400", "500").replace("{ rate: 0 }", "{ rate: 1 }"))
    same.write_text("# other words\n" + BUDGET.replace("50%", "0.5"))
    assert cli("policy", "diff", old, same).stdout == ""
    text = cli("policy", "diff", old, new, status=1).stdout
    fits(text)
    assert re.search(r"^\(the fleet\)\n +budget.spans_per_second +400 -> 500$", text, re.MULTILINE)
    assert re.search(r"^edge\n +rate +50 % -> 25 %\n  GET /cards/list +rate +0 % -> 100 %$", text, re.MULTILINE)
    assert re.search(r"^\(all others\)\n +rate +50 % -> 25 %$", text, re.MULTILINE)
    changes = said("policy", "diff", old, new, status=1)["changes"]
    assert {"service": "edge", "operation": "GET /cards/list", "what": "rate", "old": 0, "new": 1} in changes
    assert said("policy", "diff", old, old) == {"changes": [], "count": 0}
    new.write_text("proxies: {\n")
    assert cli("policy", "diff", old, new, status=2).stderr.startswith(f"weir policy diff: {new}:")
    assert "two files are needed" in cli("policy", "diff", old, status=2).stderr


# ---- simulate ----

# Times of the play and the order of a single lane: the same recording also of a machine that stands still meanwhile.
PLAYED = ("--start-time", 1_790_000_000)


def test_simulate_says_what_the_sampler_then_does(weir, tmp_path):
    """Half of a mesh is recorded; what is said of a tenth is what the same mesh, sampled at a tenth, sends."""
    one = weir(lanes=1)
    one.emit(
        *PLAYED, "--seed", 9, "--rate", 8000, "--sample", 0.5, "--services", 4, "--operations", 3, "--errors", "5%", spans=40000
    )
    one.balance()
    recorded = len(one.cat())
    policy = tmp_path / "next.yaml"
    policy.write_text(TENTH)
    simulated = said("policy", "simulate", one.traces, "--policy", policy)
    everything = simulated["all"]
    assert simulated["spans"] == recorded
    assert everything["requests"] == pytest.approx(2 * recorded / 8)
    assert everything["recorded"]["rate"] == pytest.approx(0.5)
    assert everything["new"]["rate"] == pytest.approx(0.1)
    tenth = one.emit("--seed", 9, "--sample", 0.1, "--services", 4, "--operations", 3, "--errors", "5%", spans=40000)
    sent = everything["new"]["spans_per_second"] * simulated["seconds"]
    # Each of 5,000 traces is sent with p = 0.1: the number of those that are has a standard deviation of 21.
    assert abs(sent - tenth["acknowledged"]) < 4 * 8 * math.sqrt(5000 * 0.1 * 0.9)
    assert everything["new"]["requests_error"] == pytest.approx(math.sqrt(9 / everything["requests"]), rel=1e-6)
    assert everything["new"]["errors_error"] == pytest.approx(math.sqrt(9 / everything["errors"]), rel=1e-6)
    # What was recorded with weights of 2 stands for itself: the errors that it was played with.
    operations = [row for row in simulated["rows"] if "operation" in row]
    assert sum(row["requests"] for row in operations) == pytest.approx(everything["requests"])
    assert sum(row["new"]["spans_per_second"] for row in operations) == pytest.approx(everything["new"]["spans_per_second"])


def test_simulate_holds_a_budget_beside_the_old_policy(weir, tmp_path):
    one = weir(lanes=1)
    one.emit(*PLAYED, "--seed", 4, "--rate", 4000, "--services", 4, "--operations", 3, spans=60000)
    one.balance(received=60000)
    new, old = tmp_path / "next.yaml", tmp_path / "sampling.yaml"
    new.write_text(BUDGET)
    old.write_text(TENTH)
    simulate = ["policy", "simulate", one.traces, "--policy", new, "--old", old]
    first = cli(*simulate, "--json").stdout
    assert cli(*simulate, "--json").stdout == first
    simulated = json.loads(first)
    assert 0.7 * 400 < simulated["all"]["new"]["spans_per_second"] < 1.05 * 400
    assert simulated["all"]["old"]["rate"] == pytest.approx(0.1)
    unseen = next(row for row in simulated["rows"] if row.get("operation") == "GET /cards/list")
    assert unseen["new"]["rate"] == 0
    assert unseen["new"]["requests_error"] is None
    text = cli(*simulate).stdout
    fits(text)
    assert re.search(r"^new +\S+ spans/s, \S+ KiB/s, \S+ % of a core in all proxies\n +of 400.0 allowed: ", text, re.MULTILINE)
    nothing = tmp_path / "nothing.yaml"
    nothing.write_text("keep: { rules: [{ name: all }] }\n")
    assert "tells proxies nothing" in cli("policy", "simulate", one.traces, "--policy", nothing, status=1).stderr
    assert cli("policy", "simulate", tmp_path / "away", "--policy", new, status=1).stderr
    for wrong in ([one.traces], ["--policy", new], [one.traces, "--policy", new, "--proxies", "0"]):
        assert "usage: weir policy simulate" in cli("policy", "simulate", *wrong, status=2).stderr


# ---- canary ----


def test_check_reads_a_canary(tmp_path):
    (tmp_path / "sampling.yaml").write_text(BUDGET)
    (tmp_path / "next.yaml").write_text(TENTH)
    (tmp_path / "keep.yaml").write_text("keep: { rules: [{ name: all }] }\n")
    config = tmp_path / "weir.yaml"

    def check(sampling: str, status: int) -> subprocess.CompletedProcess:
        config.write_text(f"sampling: {{ {sampling} }}\n")
        return cli("check", "-c", config, status=status)

    ok = check("policy: sampling.yaml, canary: { policy: next.yaml, share: 2.5% }", 0).stdout
    assert re.search(r"canary +\S*next.yaml, for 2.5 % of the proxies", ok)
    assert "next.yaml, for 10 % of" in check("policy: sampling.yaml, canary: { policy: next.yaml }", 0).stdout
    assert not re.search(r"canary +\S*yaml", check("policy: sampling.yaml, canary: { policy: , share: 5% }", 0).stdout)
    assert "sampling.policy is not" in check("canary: { policy: next.yaml }", 1).stderr
    assert "without proxies:" in check("policy: sampling.yaml, canary: { policy: keep.yaml }", 1).stderr
    assert "is not a share" in check("policy: sampling.yaml, canary: { policy: next.yaml, share: 10 }", 1).stderr
    assert f"{tmp_path}/away.yaml" in check("policy: sampling.yaml, canary: { policy: away.yaml }", 1).stderr


def test_a_canary_is_told_to_a_share_and_shown_beside_the_policy(steering, tmp_path):
    """Clients ask one by one from addresses of 127.0.0.0/8; a reload begins the canary, widens it, and ends it."""
    one, policy = steering
    policy.write_text("proxies: { default: { rate: 50% } }\n")
    canary = tmp_path / "next.yaml"
    canary.write_text(TENTH)

    def reload(sampling: str):
        one.write(exporters=f"file: {{ directory: {one.traces} }}", lanes=2, extra=f"sampling: {{ policy: {policy}{sampling} }}")
        answer = one.reload()
        assert answer.status == 200, answer.text

    def told() -> dict[str, float]:
        """What a client at each of 64 addresses is told."""
        rates = {}
        for n in range(1, 65):
            answer = ask_from(f"127.0.1.{n}", one.ports["sampling"])
            rates[f"127.0.1.{n}"] = answer["probabilisticSampling"]["samplingRate"]
        return rates

    reload("")
    assert set(told().values()) == {0.5}
    reload(f", canary: {{ policy: {canary}, share: 25% }}")
    quarter = told()
    first = {address for address, rate in quarter.items() if rate == 0.1}
    assert set(quarter.values()) == {0.5, 0.1}
    assert 4 <= len(first) <= 32
    assert told() == quarter  # always the same ones
    page = said("policy", "show", "--from", f"127.0.0.1:{one.admin_port}")
    assert [(each["side"], each["share"]) for each in page["sides"]] == [("policy", 0.75), ("canary", 0.25)]
    text = cli("policy", "show", "--from", f"127.0.0.1:{one.admin_port}").stdout
    fits(text)
    assert "canary     for 25 % of the proxies" in text
    assert f"followers  {len(first)} current" in text.split("\ncanary ")[1]
    reload(f", canary: {{ policy: {canary}, share: 75% }}")
    wider = {address for address, rate in told().items() if rate == 0.1}
    assert wider > first  # those, and more
    reload(f", canary: {{ policy: {canary}, share: 100% }}")
    assert set(told().values()) == {0.1}
    canary.write_text("keep: {}\n")
    assert one.reload().status != 200  # and nothing has changed
    assert set(told().values()) == {0.1}
    reload("")
    assert set(told().values()) == {0.5}


def ask_from(address: str, port: int) -> dict:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))
    client.request("GET", "/sampling?service=edge")
    answer = client.getresponse()
    body = answer.read()
    client.close()
    assert answer.status == 200, body
    return json.loads(body)


# ---- rules ----


def test_rules_are_of_series_that_there_are(steering, tmp_path):
    """What dashboards/rules/policy.yml asks for is on /metrics under that name, with those labels."""
    one, policy = steering
    exact = 'exact: "shop_requests_total"'
    policy.write_text(BUDGET.replace("edge: {", f"edge: {{ {exact}, budget: {{ spans_per_second: 300 }},"))
    rendered = tmp_path / "rates.env"
    one.write(
        exporters=f"file: {{ directory: {one.traces} }}",
        lanes=2,
        extra=f"sampling: {{ policy: {policy} }}\nrender: [{{ for: otel-env, service: edge, path: {rendered} }}]",
    )
    assert one.reload().status == 200
    rules = re.sub(
        r"(?m)^\s*(#.*|- record: .*|- alert: .*|summary: .*|runbook_url: .*)$",
        "",
        (ROOT / "dashboards/rules/policy.yml").read_text(),
    )
    asked = {name for name in re.findall(r"(?<![\w:])weir_[a-z_]+(?![\w:])", rules) if not name.startswith("weir_policy_alerts")}
    asked -= {"weir_policy_costs", "weir_policy_floors"}
    assert len(asked) >= 15
    labels = set(re.findall(r'(\w+)(?:=|!=|=~|!~)"', rules))
    missing: set = set()

    def all_there() -> bool:  # an estimate takes some time of load, and is of the last of it
        one.emit("--rate", 4000, "--services", 4, spans=4000)
        one.send_statsd("shop_requests:500|c")
        page = one.own().text
        missing.clear()
        missing.update(asked - set(re.findall(r"^(weir_[a-z_]+)[{ ]", page, re.MULTILINE)))
        missing.update(labels - set(re.findall(r'[{,](\w+)="', page)))
        return not missing

    wait_until(all_there, lambda: f"series and labels that rules ask for: {missing}")
