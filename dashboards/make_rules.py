#!/usr/bin/env python3
"""Makes Prometheus rules of dashboards/objectives.yaml: what the team promises of its services (docs/alerts.md).

usage: make_rules.py [--objectives FILE] [--out FILE] [--check] [--faster N]

  --objectives FILE  what is promised (default: objectives.yaml beside this script)
  --out FILE         the rules (default: rules/objectives.yml beside this script)
  --check            write nothing; exit 1 when FILE is not what would be written
  --faster N         for demos: all windows, intervals and waits are N times shorter
"""

import argparse
import pathlib
import sys

from objectives import Objectives, Wrong, read

HERE = pathlib.Path(__file__).resolve().parent

# Site Reliability Workbook (Google), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts": the budget that is gone before somebody is
# told, the window that shows it, and the short one that shows it still goes on. Burn rate = share of the budget x the promise's
# window / the long window; at 30 days 14.4, 6, 3 and 1.
BURNS = (
    ("Fast", "page", 0.02, "1h", "5m"),
    ("Fast", "page", 0.05, "6h", "30m"),
    ("Slow", "ticket", 0.10, "1d", "2h"),
    ("Slow", "ticket", 0.10, "3d", "6h"),
)
# A rate above is never waited for: 14.4 times the budget of a promise of 90 % would be more than all requests.
MOST_BAD = 0.9
# Rates of five minutes each minute: sums over them count everything five times. What is a day long and longer moves slowly, and is
# dear: every three minutes, since Prometheus takes a series as gone after five.
STEP, BASE, OVERLAP, DAYS_STEP = "1m", "5m", 5, "3m"
LONG = {"1h": "an hour", "6h": "6 hours", "1d": "a day", "3d": "3 days"}
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
CALLS = "traces_spanmetrics_calls_total"
VARIANCE = "weir_spanmetrics_calls_variance_total"
SERVICE_VARIANCE = "weir_spanmetrics_service_variance_total"
BUCKET = "traces_spanmetrics_latency_bucket"
COUNT = "traces_spanmetrics_latency_count"
# A request of a service is a span in which it serves, or takes a message.
SERVED = 'span_kind=~"SPAN_KIND_(SERVER|CONSUMER)",service!=""'
BY = "cluster, service"


def seconds(text: str) -> float:
    number = text.rstrip("dhms")
    return float(number) * SECONDS[text[len(number) :]]


class Times:
    """Durations as PromQL writes them, all of them N times shorter when somebody is in a hurry."""

    def __init__(self, faster: float):
        self.faster = faster

    def __call__(self, text: str) -> str:
        left = max(round(seconds(text) / self.faster * 1000), 1)
        for unit in ("d", "h", "m", "s"):
            size = round(SECONDS[unit] * 1000)
            if left % size == 0 and (unit != "d" or left > size or text.endswith("d")):
                return f"{left // size}{unit}"
        return f"{left}ms"


def number(value: float) -> str:
    return f"{value:.10g}"


def quoted(text: str) -> str:
    """Inside of double quotes of PromQL."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def any_of(names) -> str:
    """A regular expression that fits these names and no other, inside of double quotes."""
    return quoted("|".join("".join("\\" + c if c in "\\.+*?()|[]{}^$" else c for c in name) for name in names))


class Rules:
    """Text of a rule file. Expressions are given as lines."""

    def __init__(self, times: Times):
        self.lines: list[str] = []
        self.times = times

    def note(self, *lines: str):
        self.lines += [f"      # {line}" for line in lines]

    def group(self, name: str, interval: str | None = None):
        self.lines += ["", f"  - name: {name}"]
        if interval:
            self.lines += [f"    interval: {self.times(interval)}"]
        self.lines += ["    rules:"]

    def total(self, name: str, window: str) -> str:
        return f"sum_over_time(service:mesh_{name}[{self.times(window)}])"

    def record(self, name: str, *expr: str):
        self.lines += [f"      - record: {name}", *folded(expr)]

    def alert(self, name: str, expr: tuple, wait: str | None, labels: dict, summary: str, description: tuple):
        self.lines += [f"      - alert: {name}", *folded(expr)]
        if wait:
            self.lines += [f"        for: {self.times(wait)}"]
        self.lines += [
            f"        labels: {{ {', '.join(f'{k}: {v}' for k, v in labels.items())} }}",
            "        annotations:",
            f"          summary: {summary}",
            "          description: >",
            *(f"            {line}" for line in description),
            f"          runbook_url: docs/runbooks.md#{name.lower()}",
        ]


def folded(expr: tuple) -> list[str]:
    return ["        expr: >", *(f"          {line}" for line in expr)]


def base(rules: Rules, wanted: Objectives):
    """Rates by service, and their variances. All else is added up from these."""
    t = rules.times
    rules.group("mesh_objectives", STEP)
    failed = f'{SERVED},status_code="STATUS_CODE_ERROR"'
    passed = f'{SERVED},status_code!="STATUS_CODE_ERROR"'
    rules.record("service:mesh_requests:rate5m", f"sum by ({BY}) (rate({CALLS}{{{SERVED}}}[{t(BASE)}]))")
    rules.record(
        "service:mesh_failures:rate5m",
        f"sum by ({BY}) (rate({CALLS}{{{failed}}}[{t(BASE)}]))",
        "or 0 * service:mesh_requests:rate5m",
    )
    rules.note(
        "Operations share traces, so that neither their variances nor their standard errors add up: Weir counts the parts that each",
        "has in that of its service. Different traces fall into different minutes: there variances add up.",
    )
    for what, which in (("failures", failed), ("successes", passed)):
        rules.record(
            f"service:mesh_{what}:variance5m",
            f"sum by ({BY}) (increase({SERVICE_VARIANCE}{{{which}}}[{t(BASE)}]))",
            "or 0 * service:mesh_requests:rate5m",
        )
    rules.note(
        "How many were seen of those that they stand for: n spans of weight w stand for n w, and add n w (w - 1) to the variance."
    )
    for what, which in (("requests", SERVED), ("failures", failed)):
        calls = f"sum by ({BY}) (increase({CALLS}{{{which}}}[{t(BASE)}]))"
        variance = f"sum by ({BY}) (increase({VARIANCE}{{{which}}}[{t(BASE)}]))"
        rules.record(f"service:mesh_{what}:seen5m", *seen(calls, variance), "or 0 * service:mesh_requests:rate5m")
    targets(rules, wanted)


def matchers(wanted: Objectives, key: str) -> list[tuple[str, object]]:
    """[(matcher of services, their promise)]: those of their own, then all others by the default."""
    own = {name: service[key] for name, service in wanted.services.items() if key in service}
    rows = [(f'{{service="{quoted(name)}"}}', value) for name, value in own.items() if value is not None]
    if wanted.default[key] is not None:
        rows.append((f'{{service!~"{any_of(own)}"}}' if own else "", wanted.default[key]))
    return rows


def seen(calls: str, variance: str) -> list[str]:
    return [f"{calls} ^ 2", f"/ ({calls}", f"+ ({variance} or 0 * {calls}) > 0)"]


def targets(rules: Rules, wanted: Objectives):
    one = "service:mesh_requests:rate5m"

    def promised(name: str, rows: list):
        if rows:
            rules.record(
                f"service:mesh_objective_{name}", *either([[f"0 * {one}{matcher} + {number(value)}"] for matcher, value in rows])
            )

    rules.note("What is promised, as series: rules below know no numbers, and dashboards can show it.")
    promised("success:ratio", matchers(wanted, "success"))
    latencies = matchers(wanted, "latency")
    promised("latency:ratio", [(matcher, latency.share) for matcher, latency in latencies])
    promised("latency:seconds", [(matcher, latency.under) for matcher, latency in latencies])
    if not latencies:
        return
    rules.note("Requests that took longer: between two buckets linearly, as histogram_quantile() does.")
    rules.record(
        "service:mesh_slow:rate5m", *either([slow(rules, wanted, matcher, latency.under) for matcher, latency in latencies])
    )


def either(exprs: list[list[str]]) -> list[str]:
    """Lines of all of them, with `or` between."""
    return [line for expr in exprs for line in ("or", *expr)][1:]


def slow(rules: Rules, wanted: Objectives, matcher: str, under: float) -> list[str]:
    t = rules.times
    which = f"{SERVED},{matcher[1:-1]}" if matcher else SERVED

    def faster_than(edge: float) -> str:
        # Scraped as OpenMetrics a whole number is 1.0, as plain text 1.
        le = f'le=~"{number(edge)}(\\\\.0)?"' if edge == int(edge) else f'le="{number(edge)}"'
        return f"sum by ({BY}) (rate({BUCKET}{{{which},{le}}}[{t(BASE)}]))"

    parts = [faster_than(under)] if under in wanted.buckets else []
    if not parts:
        above = min(edge for edge in wanted.buckets if edge > under)
        below = max((edge for edge in wanted.buckets if edge < under), default=0.0)
        part = (under - below) / (above - below)
        parts = [f"{number(1 - part)} * {faster_than(below)}"] if below else []
        parts.append(f"{number(part)} * {faster_than(above)}")
    return [
        "clamp_min(",
        f"  sum by ({BY}) (rate({COUNT}{{{which}}}[{t(BASE)}]))",
        *(f"  - {part}" for part in parts),
        "  , 0)",
    ]


def windows(rules: Rules, wanted: Objectives):
    """Shares over longer windows: what was bad, by what there was, minute for minute."""
    longs = sorted({row[3] for row in BURNS}, key=seconds)
    every = sorted({*longs, *(row[4] for row in BURNS)}, key=seconds)
    rules.group("mesh_objective_windows", STEP)
    rules.note(
        "Shares over longer windows, and what they are at least, at 95 % confidence, when spans were sampled before Weir: without it",
        "few spans of large weight wake people. Of failures the variance is counted, and of other requests. A trace that has both",
        "makes their share more certain, not less, so it is left out. Of slow ones it is that of all requests, by their share: no",
        "more than standard errors added up. Where too little was seen there is no lower end, and so no alert.",
    )
    for window in every:
        if window == "1d":
            rules.group("mesh_objective_days", DAYS_STEP)
        share(rules, wanted, window)
        if window in longs:
            lower(rules, wanted, window)


def share(rules: Rules, wanted: Objectives, window: str):
    for _, bad in promises(wanted):
        if window == BASE:
            rules.record(f"service:mesh_{bad}:ratio{window}", f"service:mesh_{bad}:rate5m / (service:mesh_requests:rate5m > 0)")
            continue
        rules.record(
            f"service:mesh_{bad}:ratio{window}",
            f"{rules.total(f'{bad}:rate5m', window)} / ({rules.total('requests:rate5m', window)} > 0)",
        )


def lower(rules: Rules, wanted: Objectives, window: str):
    step = number(seconds(STEP) / rules.times.faster)
    requests = f"({step} * {rules.total('requests:rate5m', window)})"
    variance = {what: f"{rules.total(f'{what}:variance5m', window)} / {OVERLAP}" for what in ("failures", "successes")}
    seen = {what: f"{rules.total(f'{what}:seen5m', window)} / {OVERLAP}" for what in ("requests", "failures")}
    for _, bad in promises(wanted):
        ratio = f"service:mesh_{bad}:ratio{window}"
        if bad == "failures":
            error = f"sqrt((1 - {ratio}) ^ 2 * {variance['failures']} + {ratio} ^ 2 * {variance['successes']})"
            seen_bad = seen["failures"]
        else:
            error = f"sqrt({ratio} * (1 - {ratio})) * (sqrt({variance['failures']}) + sqrt({variance['successes']}))"
            seen_bad = f"{ratio} * {seen['requests']}"
        rules.record(
            f"{ratio}_lower95",
            ratio,
            f"- 1.96 * {error}",
            f"/ {requests}",
            f"and {seen['requests']} >= {number(wanted.enough_requests)}",
            f"and {seen_bad} >= {number(wanted.enough_bad)}",
        )


def budgets(rules: Rules, wanted: Objectives):
    t = rules.times
    rules.group("mesh_objective_budgets", STEP)
    rules.note(f"What is left of {wanted.window_text}'s budget: 1 is all of it, below 0 the promise is broken. Hours are added up.")
    for what in ("requests", *(bad for _, bad in promises(wanted))):
        rules.record(f"service:mesh_{what}:rate1h", f"avg_over_time(service:mesh_{what}:rate5m[{t('1h')}])")
    for promise, bad in promises(wanted):
        span = f"{t(wanted.window_text)}:{t('1h')}"
        rules.record(
            f"service:mesh_{promise}_budget:left",
            f"1 - sum_over_time(service:mesh_{bad}:rate1h[{span}]) / (sum_over_time(service:mesh_requests:rate1h[{span}]) > 0)",
            f"/ on ({BY}) (1 - service:mesh_objective_{promise}:ratio)",
        )


SUMMARY = {
    "success": '"{{ $labels.service }} fails too often: {{ $value | humanizePercentage }} of its requests."',
    "latency": '"{{ $labels.service }} is too slow: {{ $value | humanizePercentage }} of its requests take longer than promised."',
}


def promises(wanted: Objectives) -> list[tuple[str, str]]:
    """[(what is promised to somebody, what breaks it)]"""
    return [row for row in (("success", "failures"), ("latency", "slow")) if matchers(wanted, row[0])]


def times_of(factor: float) -> str:
    return "what" if factor == 1 else f"{number(factor)} times what"


def burn_alerts(rules: Rules, wanted: Objectives):
    rules.group("mesh_objective_alerts")
    rules.note(
        "The long window shows that it matters, with its band: no alarm where what was seen may still be within the promise. The",
        "short one shows that it goes on, so that the alert ends soon after it does.",
    )
    for promise, bad in promises(wanted):
        objective = f"service:mesh_objective_{promise}:ratio"
        for speed, severity, spent, long, short in BURNS:
            factor = spent * wanted.window / seconds(long)
            limit = f"on ({BY}) clamp_max({number(factor)} * (1 - {objective}), {MOST_BAD})"
            rules.alert(
                f"Mesh{promise.title()}Burn{speed}",
                (
                    f"service:mesh_{bad}:ratio{long} > {limit}",
                    f"and service:mesh_{bad}:ratio{long}_lower95 > {limit}",
                    f"and service:mesh_{bad}:ratio{short} > {limit}",
                ),
                None,
                {"severity": severity, "window": long},
                SUMMARY[promise],
                (
                    f"In {LONG[long]}, and it goes on: over {times_of(factor)} its promise allows, so that",
                    f"{number(spent * 100)} % of the budget of {wanted.window_text} are gone in {LONG[long]}, or more.",
                ),
            )


def gone_alerts(rules: Rules, wanted: Objectives):
    t = rules.times
    silent = any_of(name for name, service in wanted.services.items() if service.get("may_be_silent"))
    service = f'{{service!~"{silent}"}}' if silent else ""
    edge = f'{{client!~"{silent}",server!~"{silent}"}}' if silent else ""
    hour, pause, now = t("1h"), t("10m"), t(BASE)
    rules.group("mesh_gone", STEP)
    rules.note("Calls between services that were seen, as above, in 5 minutes.")
    pair = "sum by (cluster, client, server)"
    rules.record(
        "client_server:mesh_requests:seen5m",
        *seen(
            f"{pair} (increase(traces_service_graph_request_total[{now}]))",
            f"{pair} (increase(weir_service_graph_request_variance_total[{now}]))",
        ),
    )
    rules.note(
        "Enough came in an hour that nothing in the ten minutes after it is no chance, and others still send spans. Two minutes, since",
        "after a pause of Prometheus itself the hour is known before the minutes are.",
    )
    rules.alert(
        "MeshServiceSilent",
        (
            f"sum_over_time(service:mesh_requests:seen5m{service}[{hour}] offset {pause}) / {OVERLAP} >= {number(wanted.enough_requests)}",
            f"unless on ({BY}) sum_over_time(service:mesh_requests:rate5m[{now}]) > 0",
            f"and on (cluster) sum by (cluster) (increase(weir_spans_received_total[{now}])) > 0",
        ),
        "2m",
        {"severity": "page"},
        '"{{ $labels.service }} gets no requests any more."',
        (
            "{{ $value | humanize }} of its requests were seen in the hour before, and none in the last 10 minutes, while other",
            "services report. It is down, cut off, or does not trace any more.",
        ),
    )
    rules.note("The client still does something, else it is silent itself.")
    rules.alert(
        "MeshEdgeGone",
        (
            f"sum_over_time(client_server:mesh_requests:seen5m{edge}[{hour}] offset {pause}) / {OVERLAP} >= {number(wanted.enough_requests)}",
            f"unless on (cluster, client, server) sum_over_time(client_server:mesh_requests:seen5m[{now}]) > 0",
            "and on (cluster, client)",
            f'label_replace(sum by ({BY}) (increase({CALLS}[{now}])) > 0, "client", "$1", "service", "(.*)")',
        ),
        "2m",
        {"severity": "ticket"},
        '"{{ $labels.client }} does not call {{ $labels.server }} any more."',
        (
            "{{ $value | humanize }} calls were seen in the hour before, and none in the last 10 minutes, though the client still",
            "works. It calls somebody else, fails before it calls, or one side does not trace any more.",
        ),
    )


def unmeasured_alert(rules: Rules, wanted: Objectives):
    t = rules.times
    rules.note("Buckets of the page are not those that the rules were made for (latency_buckets): the promise is not watched.")
    rules.alert(
        "MeshObjectiveUnmeasured",
        (
            f"sum by ({BY}) (rate({COUNT}{{{SERVED}}}[{t(BASE)}])) > 0",
            f"and on ({BY}) service:mesh_objective_latency:ratio",
            f"unless on ({BY}) service:mesh_slow:rate5m",
        ),
        "15m",
        {"severity": "info"},
        '"The promise of latency of {{ $labels.service }} is not watched."',
        (
            "It has {{ $value | humanize }} requests a second, but its histogram lacks a bucket that objectives.yaml reckons with:",
            "latency_buckets there and in weir.yaml differ.",
        ),
    )


def make(wanted: Objectives, faster: float = 1) -> str:
    rules = Rules(Times(faster))
    rules.lines += [
        f"# Made of {wanted.name} by dashboards/make_rules.py; do not edit. docs/alerts.md says what the series are.",
        "#",
        "# Requests are SERVER and CONSUMER spans, by their weight, as all instances of Weir in a cluster count them together.",
        "groups:",
    ]
    base(rules, wanted)
    if promises(wanted):
        windows(rules, wanted)
        budgets(rules, wanted)
        burn_alerts(rules, wanted)
    gone_alerts(rules, wanted)
    if matchers(wanted, "latency"):
        unmeasured_alert(rules, wanted)
    text = "\n".join(rules.lines) + "\n"
    return text.replace("groups:\n\n", "groups:\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes Prometheus rules of what the team promises of its services.")
    parser.add_argument("--objectives", type=pathlib.Path, default=HERE / "objectives.yaml")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "rules" / "objectives.yml")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the rules are stale")
    parser.add_argument("--faster", type=float, default=1, help="for demos: all times N times shorter")
    args = parser.parse_args()
    try:
        text = make(read(args.objectives), args.faster)
    except (Wrong, OSError) as wrong:
        print(wrong, file=sys.stderr)
        return 1
    if not args.check:
        args.out.write_text(text)
    elif not args.out.exists() or args.out.read_text() != text:
        print(f"{args.out} is not what {args.objectives} says: run {parser.prog}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
