"""A real Prometheus scrapes Weir, and its query API gives the numbers that the load generator wrote down."""

import gzip
import json
import re

import pytest
from harness.net import http, wait_until
from harness.process import ROOT
from harness.prometheus import Prometheus, promtool, promtool_check_config, promtool_check_metrics

SPANS = 20_000


def test_queries_answer_what_was_sent(weir, start, tmp_path):
    one = weir(lanes=2)
    truth_file = tmp_path / "truth.json"
    one.emit("--seed", 11, "--truth", truth_file, spans=SPANS)
    truth = json.loads(truth_file.read_text())
    one.balance(received=SPANS)
    prometheus = start(Prometheus(tmp_path / "prometheus", one.admin_port, every="3s"))
    wait_until(lambda: prometheus.query("sum(traces_spanmetrics_calls_total)") == [({}, SPANS)], "the scrape", every=0.2)
    wait_until(lambda: prometheus.target()["health"] == "up", lambda: prometheus.target()["lastError"])

    def gives(promql: str, want: dict, *labels: str):
        """A scrape that took too long has no series, and the next one has."""
        found: dict = {}

        def as_wanted() -> bool:
            rows = prometheus.query(promql)
            found.clear()
            found.update({m[labels[0]] if len(labels) == 1 else tuple(m[label] for label in labels): v for m, v in rows})
            return found == want

        wait_until(as_wanted, lambda: f"{promql}: {found}, not {want}", every=0.2)

    gives("sum by (service) (traces_spanmetrics_calls_total)", expected(truth, "service", "spans"), "service")
    errors = {k: v for k, v in expected(truth, "service", "errors").items() if v}
    gives('sum by (service) (traces_spanmetrics_calls_total{status_code="STATUS_CODE_ERROR"}) > 0', errors, "service")
    seconds = pytest.approx(expected(truth, "service", "seconds"), rel=1e-9)
    gives("sum by (service) (traces_spanmetrics_latency_sum)", seconds, "service")
    operations = expected(truth, "operation", "spans")
    gives("sum by (service, span_name) (traces_spanmetrics_calls_total)", operations, "service", "span_name")
    # The +Inf bucket is the count, for every series: no bucket is lost on the way.
    assert not prometheus.query('traces_spanmetrics_latency_bucket{le="+Inf"} != ignoring(le) traces_spanmetrics_latency_count')


def expected(truth: dict, level: str, what: str) -> dict:
    """Totals that `weir emit --truth` wrote, by service or by (service, operation)."""
    out: dict = {}
    for row in truth["operations"]:
        key = row["service"] if level == "service" else (row["service"], row["operation"])
        out[key] = out.get(key, 0) + row[what]
    return out


def test_promtool_takes_the_page(weir):
    one = weir(lanes=2)
    one.emit("--seed", 3, spans=5000)
    one.send_statsd("shop.orders:1|c", "shop.depth:7|g", "shop.latency:250|ms", 'odd-name.1st:1|c|#weird-tag:"x\\y"')
    one.balance(received=5000)
    page = one.page()
    remarks = promtool_check_metrics(page.text)
    ours = [line for line in remarks.splitlines() if line.startswith(("weir_", "process_"))]
    assert not ours, "promtool's remarks on Weir's own metrics:\n" + "\n".join(ours)
    # What a scraper asks for: the text format's version, and gzip where it is accepted.
    plain = http(one.url("/metrics"))
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    packed = http(one.url("/metrics"), headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) / 4
    assert b"weir_build_info" in gzip.decompress(packed.body)


def test_the_scrape_configuration_that_we_ship():
    assert "SUCCESS" in promtool_check_config(ROOT / "dashboards" / "prometheus.yml")


@pytest.mark.parametrize("path", sorted((ROOT / "dashboards" / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_rules_do_as_their_tests_say(path):
    promtool("check", "rules", ROOT / "dashboards" / "rules" / path.name)
    assert "SUCCESS" in promtool("test", "rules", path)


def test_every_rule_file_has_tests():
    tested, rules = ({p.name for p in (ROOT / "dashboards" / name).glob("*.yml")} for name in ("tests", "rules"))
    assert tested == rules


def test_every_alert_says_what_to_do():
    """Severity, summary, description and a section of the runbooks; and tests of it that fire and that stay silent."""
    page = (ROOT / "docs" / "runbooks.md").read_text()
    sections = set(re.findall(r"^## (\w+)$", page, re.MULTILINE))
    alerts = set()
    for path in (ROOT / "dashboards" / "rules").glob("*.yml"):
        tests = (ROOT / "dashboards" / "tests" / path.name).read_text()
        for part in re.split(r"^ *- (?=alert:|record:)", path.read_text(), flags=re.MULTILINE)[1:]:
            if not part.startswith("alert:"):
                continue
            name = re.match(r"alert: (\w+)", part)[1]
            alerts.add(name)
            assert re.search(r"severity: (page|ticket|info)\b", part), name
            for key in ("summary:", "description:", f"runbook_url: docs/runbooks.md#{name.lower()}\n"):
                assert key in part, f"{name}: {key}"
            assert re.search(rf"alertname: {name}, [^\n]*exp_alerts: \[\] ", tests + " "), f"{name} is not tried to be silent"
            assert re.search(rf"alertname: {name}\n +eval_time: \w+\n +exp_alerts:\n", tests), f"{name} is not tried to fire"
    assert alerts == sections, "alerts without a runbook, or the other way round"
