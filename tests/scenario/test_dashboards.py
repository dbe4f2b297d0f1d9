"""The dashboards, without a Grafana: the JSON is what the code makes, can be read at a glance, and asks only for what there is."""

import json
import os
import re
import subprocess

import grafana
import pytest
from grafana.expressions import boards, expressions, may_be_empty, panels
from harness import linkerd1
from harness.certificates import Certificates
from harness.net import wait_until
from harness.process import ROOT
from harness.prometheus import promtool
from harness.weir import Weir

FOLDER = grafana.FOLDER
COLUMNS = 24
LINTER = os.path.join(os.environ.get("WEIR_PEERS") or ROOT / ".peers", "bin", "dashlint")
ALL = [(uid, panel) for uid, board in boards().items() for panel in panels(board)]


def ids(case) -> str:
    return f"{case[0]}: {case[1]['title']}"


def test_the_json_is_what_the_code_makes():
    made = grafana.generated()
    assert set(made) == set((FOLDER / "json").glob("*.json"))
    stale = [path.name for path, content in made.items() if path.read_text() != content]
    assert not stale, f"stale: {stale}; PYTHONPATH=dashboards .venv/bin/python -m grafana"


def test_the_same_code_makes_the_same_json():
    assert grafana.generated() == grafana.generated()


@pytest.mark.parametrize("case", ALL, ids=ids)
def test_a_panel_says_what_it_is(case):
    uid, panel = case
    assert panel["title"] and len(panel["description"]) > 20 and panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["links"] or panel["fieldConfig"]["defaults"].get("links"), "a dead end"
    assert panel["datasource"]["uid"] == "${datasource}"
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


@pytest.mark.parametrize("uid", boards())
def test_panels_fill_the_grid(uid):
    """Each line is full and its panels equally high, so that nothing overlaps and no hole is left."""
    board = boards()[uid]
    flat = [part for panel in board["panels"] for part in (panel, *(panel.get("panels") or ()))]
    assert len({panel["id"] for panel in flat}) == len(flat)
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles), "two panels of one name: empty.yml and people could not tell them apart"
    assert board["panels"][0]["type"] == "row"
    fills(board["panels"], 0)
    for panel in board["panels"]:
        if panel["type"] == "row":
            assert bool(panel.get("panels")) == panel["collapsed"]
            fills(panel.get("panels") or [], panel["gridPos"]["y"] + 1)


def fills(those: list[dict], begin: int):
    lines: dict[int, list] = {}
    for panel in those:
        lines.setdefault(panel["gridPos"]["y"], []).append(panel)
    end = begin
    for y, line in sorted(lines.items()):
        assert y == end, f"a hole or an overlap above {line[0]['title']}"
        assert len({panel["gridPos"]["h"] for panel in line}) == 1
        x = 0
        for panel in line:
            assert panel["gridPos"]["x"] == x, panel["title"]
            x += panel["gridPos"]["w"]
        assert x == COLUMNS or line[0].get("repeat"), f"the line of {line[0]['title']} is {x} wide"
        end = y + line[0]["gridPos"]["h"]


@pytest.mark.parametrize("uid", boards())
def test_dashboards_lead_to_each_other(uid):
    board = boards()[uid]
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert names[:4] == ["datasource", "cluster", "job", "instance"] and "zipkin" in names
    menu = board["links"][0]
    assert (menu["type"], menu["tags"], menu["includeVars"], menu["keepTime"]) == ("dashboards", ["weir"], True, True)
    assert board["tags"] == ["weir"]
    assert [mark["name"] for mark in board["annotations"]["list"]] == ["reload", "restart", "policy change"]
    asked = set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"])))
    built_in = {"__rate_interval", "__url_time_range", "__from", "__to", "__data", "__field", "__value"}
    assert asked <= {*names, *built_in}
    leads_to = set(re.findall(r"/d/([\w-]+)", json.dumps(board)))
    assert leads_to <= set(boards()), "a link to a dashboard that is not there"


def test_latency_of_spans_leads_to_traces():
    """A line of quantiles of spans has its dots: at least one query a panel asks for exemplars."""
    for uid, panel in ALL:
        spans = [target for target in panel["targets"] if "traces_spanmetrics_latency_bucket" in target["expr"]]
        if spans and panel["type"] in ("timeseries", "heatmap"):
            assert any(target["exemplar"] for target in spans), f"{uid}: {panel['title']}"


def test_no_rate_over_what_linkerd_1_resets():
    """Its summaries are of the last window: counts and sums begin anew each minute, quantiles are no counters."""
    for one in expressions():
        for name in re.findall(r"(?:rate|increase) ?\((rt:[\w:]+)", one.expr):
            assert not name.endswith(("_count", "_sum", "_ms", "_us")), one


def test_every_expression_parses(tmp_path):
    """Prometheus 2.42's promtool checks expressions in rule files only."""
    rules = "".join(
        f"      - record: panel_{at}\n        expr: {json.dumps(one.expr)}\n        labels: {{ panel: {json.dumps(ids((one.dashboard, {'title': one.panel})))} }}\n"
        for at, one in enumerate(expressions())
    )
    file = tmp_path / "panels.yml"
    file.write_text(f"groups:\n  - name: panels\n    rules:\n{rules}")
    assert "SUCCESS" in promtool("check", "rules", file)


CAME = ("weir_spans_received_total", "weir_points_received_total")
LOST = ("weir_spans_refused_total", "weir_spans_dropped_total", "weir_points_rejected_total")
WELL = {f'{name}{{job="weir",instance="a"}}': "0+100x80" for name in CAME} | {
    f'{name}{{job="weir",instance="a"}}': "0x80" for name in LOST
}
HCM = 'envoy_http_downstream_rq_xx{job="envoy",instance="e",envoy_http_conn_manager_prefix='
BUDGET = "weir_policy_budget_spans_per_second"
TOLD = 'weir_policy_spans_per_second{job="weir",stage="told"'
SERVED = '{job="weir",instance="a",service="s",span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_'
CALLS = f"traces_spanmetrics_calls_total{SERVED}"
PART = f"weir_spanmetrics_service_variance_total{SERVED}"
# (dashboard, panel, query), what Prometheus has each minute, the answer after an hour and ten minutes.
ANSWERS = {
    "a failure that stands for a hundred says nothing": (
        ("weir-overview", "Is the mesh healthy?", "A"),
        {f'{CALLS}UNSET"}}': "0+100x80", f'{CALLS}ERROR"}}': "0x66 100x14", f'{PART}ERROR"}}': "0x66 9900x14"},
        {'{service="s"}': 0},
    ),
    "twenty that stand for themselves do": (
        ("weir-overview", "Is the mesh healthy?", "A"),
        {f'{CALLS}UNSET"}}': "0+96x80", f'{CALLS}ERROR"}}': "0+4x80", f'{PART}ERROR"}}': "0x80"},
        {'{service="s"}': 0.04},
    ),
    "a Weir without UDP is complete": (("weir-overview", "Is telemetry complete?", "A"), WELL, {"{}": 0}),
    "a Weir that loses datagrams is not": (
        ("weir-overview", "Is telemetry complete?", "A"),
        WELL
        | {
            'weir_datagrams_received_total{job="weir",instance="a"}': "0+100x80",
            'weir_datagrams_lost_total{job="weir",instance="a"}': "0+100x80",
        },
        {"{}": 0.25},
    ),
    "a Weir that is down": (
        ("weir-overview", "Is telemetry complete?", "A"),
        WELL | {'up{job="weir",instance="a"}': "1x60 0x20", 'weir_build_info{job="weir",instance="a"}': "1x60"},
        {"{}": 2},
    ),
    "no Weir": (("weir-overview", "Is telemetry complete?", "A"), {'up{job="envoy",instance="e"}': "1x80"}, {}),
    "nothing came an hour ago": (
        ("weir-overview", "All services", "F"),
        {'traces_spanmetrics_calls_total{job="weir",instance="a",service="s",span_kind="SPAN_KIND_SERVER"}': "0x40 0+60x40"},
        {},
    ),
    "scrapes of Envoy's admin port are no requests": (
        ("weir-proxies", "Envoy: answers of 5xx", "A"),
        {f'{HCM}"in",envoy_response_code_class="5"}}': "0+30x80", f'{HCM}"admin",envoy_response_code_class="2"}}': "0+30x80"},
        {"{}": 1},
    ),
    "each Weir has the budget": (
        ("weir-sampling", "Share of the budget", "A"),
        {f'{TOLD},instance="{one}",side="policy"}}': "50x80" for one in "ab"}
        | {f'{BUDGET}{{job="weir",instance="{one}",side="policy"}}': "100x80" for one in "ab"}
        | {f'{BUDGET}{{job="weir",instance="{one}",side="canary"}}': "1000x80" for one in "ab"},
        {"{}": 0.5},
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_panel_answers_what_is_so(tmp_path, case):
    where, series, answer = ANSWERS[case]
    asked = next(one for one in expressions(__rate_interval="4m") if (one.dashboard, one.panel, one.query) == where)
    samples = [{"labels": labels, "value": value} for labels, value in answer.items()]
    file = tmp_path / "panel.yml"
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": asked.expr, "eval_time": "70m", "exp_samples": samples}],
    }
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    assert "SUCCESS" in promtool("test", "rules", file)


def test_what_may_be_empty_is_there():
    there = {(one.dashboard, one.panel, one.query) for one in expressions()}
    there |= {(dashboard, panel, "") for dashboard, panel, _ in there}
    for entry, reason in may_be_empty().items():
        assert entry in there, f"empty.yml names {entry}, which is no panel"
        assert len(reason) > 10


def test_the_linter_of_grafana_has_no_remarks():
    done = subprocess.run([LINTER, *(FOLDER / "json").glob("*.json")], text=True, capture_output=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_can_complain(tmp_path):
    board = boards()["weir-self"]
    panel = next(panels(board))
    panel["description"] = ""
    (tmp_path / "worse.json").write_text(json.dumps(board))
    done = subprocess.run([LINTER, tmp_path / "worse.json"], text=True, capture_output=True, timeout=280, check=False)
    assert done.returncode == 1 and "panel-title-description-rule" in done.stdout


# ---- every name is one that somebody has ----

FUNCTIONS = {"by", "on", "ignoring", "group_left", "or", "and", "unless", "offset", "bool"}
# Prometheus writes these for each target.
OF_PROMETHEUS = {"up", "scrape_duration_seconds"}
POLICY = """
proxies:
  default: { rate: 0.01, min_traces_per_second: 0.1 }
  services: { front: { rate: 0.1, operations: { "GET /": { rate: 1 } } } }
  budget: { spans_per_second: 2000 }
keep:
  wait: 1s
  quiet: 100ms
  rules: [{ name: errors, when: { error: true } }, { name: rest, rate: 0.5 }]
"""


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> set[str]:
    """Names of a Weir with all receivers and exporters that has got spans and an Envoy's StatsD, and of pages that were recorded."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "sampling.yaml").write_text(POLICY)
    certificates = Certificates(folder / "certificates")
    one = Weir(
        folder / "weir",
        exporters=(
            f"file: {{ directory: {folder}/traces }}\n"
            'zipkin: { url: "http://127.0.0.1:1/api/v2/spans" }\n'
            'kafka: { brokers: "127.0.0.1:1", topic: zipkin }\n'
            'otlp: { endpoints: ["http://127.0.0.1:1"] }'
        ),
        extra=(
            f"sampling: {{ policy: {folder}/sampling.yaml }}\n"
            f"spool: {{ directory: {folder}/spool, durable: true }}\n"
            "drain_timeout: 1s\n"
            "aggregate: { edge_wait: 200ms }\n"
            f"render: [{{ for: otel-env, service: front, path: {folder}/front.env }}]"
        ),
        receivers={
            "otlp_http": certificates.server(),
            "zipkin": "",
            "scribe": "",
            "datagram": "",
            "access_log": "",
            "sampling": "",
        },
    ).start()
    try:
        one.emit("--seed", 1, "--sample", 0.5, spans=4000)  # spans that carry their weight wait for no other
        lines = (ROOT / "tests" / "data" / "envoy-live" / "dogstatsd.txt").read_text().split("\n")
        one.send_statsd(*("\n".join(lines[at : at + 20]) for at in range(0, len(lines), 20)))
        # Spans are counted when their trace is known, calls when both sides came.
        made = {"traces_spanmetrics_calls_total", "traces_service_graph_request_total", "envoy_http_downstream_rq_total"}
        wait_until(lambda: made <= set(one.page().samples), "spans and StatsD to be counted")
        sent = sum(map(bool, lines))
        points = ("weir_points_received_total", "weir_points_rejected_total")
        wait_until(lambda: sum(one.own().sum(name) for name in points) >= sent, f"{sent} lines of StatsD")
        wait_until(lambda: one.own().sum("weir_points_held") == 0, "them to be counted")
        page = one.page()
    finally:
        one.stop()
    names = set(page.samples) | {f"{name}_total" if kind == "counter" else name for name, kind in page.types.items()}
    recorded = [ROOT / "tests" / "data" / path for path in ("envoy-live/stats.prom", "linkerd2/prommatch-sampleMetrics.txt")]
    scraped = set().union(*(names_of(text) for text in (*(path.read_text() for path in recorded), *linkerd1.pages().values())))
    # Counters that an Envoy did not count in those ten seconds; Weir adds _total to counters (docs/series.md).
    by_weir = {f"{name}_total" for name in scraped if name.startswith("envoy_")}
    return names | scraped | by_weir | OF_PROMETHEUS


def names_of(page: str) -> set[str]:
    return {re.match(r"[\w:]+", line)[0] for line in page.splitlines() if line and line[0] != "#"}


def selectors(expr: str) -> tuple[list[tuple[str, str]], str]:
    """(name, matchers) of each selector, and the expression without them."""
    selector = re.compile(r'([A-Za-z_:][\w:]*)?\{((?:[^{}"]|"(?:[^"\\]|\\.)*")*)\}')
    found = [(one[1] or "", one[2]) for one in selector.finditer(expr)]
    return found, selector.sub("", expr)


def test_every_name_is_known(known):
    nobody = []
    for one in expressions():
        found, rest = selectors(one.expr)
        assert found, one
        rest = re.sub(r'(?:by|on|ignoring|group_left) ?\([^)]*\)|\[[^\]]*\]|offset \w+|"[^"]*"', " ", rest)
        words = set(re.findall(r"\b[A-Za-z_:][\w:]*\b(?!\s*\()", rest))
        assert words <= FUNCTIONS, f"a name without matchers: {words - FUNCTIONS} in {one}"
        for name, matchers in found:
            pattern = re.search(r'__name__=~"([^"]*)"', matchers)
            if pattern and not any(re.fullmatch(pattern[1], other) for other in known):
                nobody.append(f"{pattern[1]}: {one.dashboard}, {one.panel}")
            elif not pattern and name not in known:
                nobody.append(f"{name}: {one.dashboard}, {one.panel}")
    assert not nobody, "nobody has\n" + "\n".join(nobody)
