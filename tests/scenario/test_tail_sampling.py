"""Tail sampling: what an incident needs is stored whole, the rest is cut, every number stays true, memory stays bounded."""

import json
import math
import time

import pytest
from harness.chance import ERRORS, drawn
from harness.envoy import SLOW_MS as MESH_SLOW_MS
from harness.envoy import SPANS_PER_REQUEST, Mesh, shop_paths
from harness.net import wait_until
from harness.stored import attribute, duration_ms, is_error, is_root, threshold, traces, weight

RATE = 0.1
SLOW_MS = 60
# A trace is judged by what has come when its root came and then nothing for `quiet`: longer than anything here may stand still.
RULES = f"""
keep:
  wait: 60s
  quiet: 6s
  rules:
    - {{ name: errors, when: {{ error: true }} }}
    - {{ name: slow, when: {{ duration: ">{SLOW_MS}ms" }} }}
    - {{ name: rest, rate: {RATE} }}
"""


def policy(folder, text: str, name: str = "sampling.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return f"sampling: {{ policy: {path} }}"


@pytest.mark.sanitized
def test_what_an_incident_needs_is_stored_whole(weir, tmp_path):
    one = weir(lanes=2, extra=policy(tmp_path, RULES))
    truth_file, spans = tmp_path / "truth.json", 60_000
    one.emit("--seed", 11, "--errors", "0.01", "--truth", truth_file, spans=spans)
    truth = json.loads(truth_file.read_text())
    ledger = one.balance(received=spans)
    page = one.page()
    assert page.value("weir_spans_sampled_out_total", exporter="", stage="tail") == ledger.sampled_out > 0
    assert page.value("weir_spans_held", exporter="", where="tail") == 0
    assert page.sum("traces_spanmetrics_calls_total") == spans, "series count what arrived, not what is stored"
    kept_by = page.by("weir_sampling_rule_traces_total", "rule", policy="live", verdict="kept")
    causes = page.by("weir_tail_traces_decided_total", "cause")
    assert causes.get("root", 0) > 0.9 * truth["traces"], "every trace has a root, and is decided when it has been quiet"
    assert sum(causes.values()) == truth["traces"]
    assert page.sum("weir_spans_sampled_out_total", stage="collector") == 0

    assert one.stop() == 0
    stored = traces(one.cat())
    assert len(stored) * 8 <= spans
    errors = sum(row["errors"] for row in truth["operations"])
    assert sum(is_error(span) for trace in stored.values() for span in trace) == errors, "every error is stored"
    counts = {"errors": 0, "slow": 0, "rest": 0}
    estimate = variance = 0.0
    for trace in stored.values():
        assert len(trace) == 8, "a trace is stored whole"
        marks = [span for span in trace if attribute(span, "weir.rule")]
        assert len(marks) == 1 and is_root(marks[0]), "its root says which rule kept it"
        rule = attribute(marks[0], "weir.rule")
        expected = "errors" if any(map(is_error, trace)) else "slow" if duration_ms(trace) > SLOW_MS else "rest"
        assert rule == expected, "the first rule that matches"
        wanted = round((1 - RATE) * 2**56) if rule == "rest" else 0
        assert all(abs(threshold(span) - wanted) <= 2**28 for span in trace), "T rises as far as the rule says, on every span"
        assert attribute(marks[0], "weir.weight") == pytest.approx(weight(marks[0]), rel=1e-6)
        counts[rule] += 1
        estimate += sum(map(weight, trace))
        variance += len(trace) ** 2 * weight(trace[0]) * (weight(trace[0]) - 1)
    assert all(counts.values()), counts
    assert kept_by == {**counts, **{name: 0 for name in kept_by if name not in counts}}
    assert abs(estimate - spans) < ERRORS * math.sqrt(variance), (
        f"{estimate:.0f} estimated of {spans}, error {math.sqrt(variance):.0f}"
    )


def test_ten_times_what_memory_holds(weir, tmp_path):
    """The oldest are decided early, none is lost undecided, and the process stays within its bound plus a constant."""
    rules = RULES.replace("wait: 60s", "wait: 1h").replace("quiet: 6s", "quiet: 1h\n  memory: 16MiB")
    one = weir(lanes=2, exporters="{}", extra=policy(tmp_path, rules))
    idle = one.process.rss_bytes()
    spans = 2_000_000  # 160 MiB and more, compressed as far as they can be
    sizes = []
    one.emit("--seed", 12, "--rate", 300_000, spans=spans)
    sizes.append(one.process.rss_bytes())
    page = one.page()
    assert page.sum("weir_tail_memory_bytes") <= page.sum("weir_tail_memory_limit_bytes") <= 16 << 20
    causes = page.by("weir_tail_traces_decided_total", "cause")
    assert causes["memory"] > 0.5 * spans / 8, causes
    held = page.value("weir_spans_held", exporter="", where="tail")
    assert 0 < held < spans / 5
    ledger = one.balance(received=spans, held=True)
    assert ledger.sampled_out > 0
    # What does not wait: batches under way, series, names, the caches of blocks.
    assert max(sizes) - idle < (16 << 20) + (64 << 20), f"{max(sizes) >> 20} MiB, idle {idle >> 20} MiB"
    assert one.stop() == 0
    assert "imbalance{" not in one.process.log.read_text() or "imbalance{}=0" in one.process.log.read_text()


def test_a_reload_loses_no_pending_trace(weir, tmp_path):
    path = tmp_path / "sampling.yaml"
    one = weir(lanes=2, extra=policy(tmp_path, RULES.replace("quiet: 6s", "quiet: 15s")))
    spans = 8_000
    one.emit("--seed", 13, "--errors", "0.05", spans=spans)
    wait_until(lambda: one.page().value("weir_spans_held", exporter="", where="tail") == spans, "all spans to wait")
    path.write_text("keep:\n  quiet: 6s\n  rules: [{ name: nothing, rate: 0 }]\n")
    assert one.reload().status == 200
    assert one.page().value("weir_spans_held", exporter="", where="tail") > 0, "a reload decides nothing by itself"
    one.emit("--seed", 14, "--errors", "0.05", spans=spans)
    ledger = one.balance(received=2 * spans)
    kept = one.page().by("weir_sampling_rule_traces_total", "rule", policy="live", verdict="kept")
    assert kept["errors"] > 0 and kept["rest"] > 0, "traces that had begun are decided by the policy that they began under"
    dropped = one.page().by("weir_sampling_rule_traces_total", "rule", policy="live", verdict="dropped")
    assert dropped["nothing"] == spans / 8 and kept.get("nothing", 0) == 0
    path.write_text("keep:\n  rules: [{ name: nothing, rte: 0 }]\n")
    answer = one.reload()
    assert answer.status == 400 and f"{path}:2:" in answer.text.replace(str(path)[-40:], str(path)[-40:]), answer.text
    path.write_text("")  # no keep: nothing is held any more
    assert one.reload().status == 200
    one.emit("--seed", 15, spans=800)
    after = one.balance(received=2 * spans + 800)
    assert after.delivered("file") == ledger.delivered("file") + 800


def test_late_spans_follow_the_decision(weir, tmp_path):
    """Half of each trace comes after its decision: what was kept is stored whole, of what was dropped nothing is."""
    one = weir(lanes=2, extra=policy(tmp_path, RULES))
    late = ["--seed", 16, "--errors", "0", "--start-time", int(time.time())]
    one.emit(*late, spans=16_000)
    first = one.balance(received=16_000)
    assert 0 < first.delivered("file") < 16_000
    one.emit(*late, spans=16_000)  # the same seed: the same ids once more
    both = one.balance(received=32_000)
    assert both.delivered("file") == 2 * first.delivered("file")
    assert both.sampled_out == 2 * first.sampled_out
    late_spans = one.page().by("weir_tail_late_spans_total", "verdict")
    assert late_spans["kept"] == first.delivered("file") and late_spans["dropped"] == first.sampled_out


def test_late_spans_follow_a_decision_of_the_process_before(weir, tmp_path):
    """Decisions are saved when Weir ends and read when it starts, also by one with another number of lanes."""
    late = ["--seed", 17, "--errors", "0", "--start-time", int(time.time())]
    extra = policy(tmp_path, RULES) + f"\nspool: {{ directory: {tmp_path}/spool }}"
    one = weir(lanes=2, extra=extra)
    one.emit(*late, spans=16_000)
    first = one.balance(received=16_000)
    assert 0 < first.delivered("file") < 16_000
    assert one.stop() == 0
    # Before it they would be kept or left out by this policy anew; by this one none is.
    policy(tmp_path, "keep:\n  rules: [{ name: nothing, rate: 0 }]\n")
    one.config.write_text(one.config.read_text().replace("lanes: 2", "lanes: 3"))
    one.start()
    one.emit(*late, spans=16_000)
    second = one.balance(received=16_000)
    assert second.delivered("file") == first.delivered("file") and second.sampled_out == first.sampled_out
    page = one.page()
    late_spans = page.by("weir_tail_late_spans_total", "verdict")
    assert late_spans["kept"] == first.delivered("file") and late_spans["dropped"] == first.sampled_out
    assert page.sum("weir_tail_traces_decided_total") == 0
    assert 0 < page.value("weir_tail_decisions_false_drop_ratio") < 1e-6


def test_a_shadow_and_a_dry_run_only_count(weir, tmp_path):
    shadow = tmp_path / "shadow.yaml"
    shadow.write_text("keep:\n  rules: [{ name: everything }]\n")
    live = policy(tmp_path, RULES.replace("  rules:", "  rules:\n    - { name: would, rate: 0, dry_run: true }"))
    one = weir(lanes=2, extra=live.replace(" }", f", shadow: {shadow} }}"))
    spans = 16_000
    one.emit("--seed", 17, spans=spans)
    ledger = one.balance(received=spans)
    page = one.page()
    assert 0 < ledger.delivered("file") < spans / 2
    shadowed = page.by("weir_sampling_rule_traces_total", "rule", "verdict", policy="shadow")
    assert shadowed["everything", "kept"] == spans / 8
    live_counts = page.by("weir_sampling_rule_traces_total", "rule", "verdict", policy="live")
    assert live_counts["would", "dry_dropped"] == spans / 8
    assert live_counts["rest", "kept"] > 0


def test_a_real_mesh_stores_its_incidents(weir, start, zipkin, tmp_path):
    """Two Envoys: each failing and each slow request reaches Zipkin whole, the rest is cut to its rate, and the totals that
    the stored spans stand for are Envoy's own counters.
    """
    names, requests, rate = ("tail-front", "tail-middle"), 2000, 0.2
    rules = RULES.replace(f">{SLOW_MS}ms", f">{MESH_SLOW_MS * 0.9:.0f}ms").replace(f"rate: {RATE}", f"rate: {rate}")
    one = weir(lanes=2, exporters=f"zipkin: {{ url: '{zipkin.endpoint}' }}", extra=policy(tmp_path, rules))
    mesh = start(Mesh(tmp_path / "mesh", otlp_port=one.grpc_port, statsd_port=one.statsd_port, names=names))
    paths = shop_paths(requests)
    statuses = mesh.drive(paths)
    failing, slow = (sum(f"/{kind}/" in path for path in paths) for kind in ("fail", "slow"))
    assert failing > 20 and slow > 20
    ledger = one.balance(received=requests * SPANS_PER_REQUEST)

    def stored():
        found = zipkin.traces(names[0])
        return found if sum(map(len, found)) >= ledger.delivered("zipkin") else None

    found = wait_until(stored, f"{ledger.delivered('zipkin')} spans in Zipkin", every=0.3)
    assert all(len(trace) == SPANS_PER_REQUEST for trace in found), "a trace is stored whole"
    by_rule, made_slow = {"errors": 0, "slow": 0, "rest": 0}, 0
    estimate = variance = 0.0
    for trace in found:
        root = next(span for span in trace if "parentId" not in span)
        by_rule[root["tags"]["weir.rule"]] += 1
        if root["tags"]["weir.rule"] == "slow":  # also what a slow machine has made slow
            made_slow += "/slow/" in root["name"]
            assert max(span["duration"] for span in trace) > 0.89 * MESH_SLOW_MS * 1000, trace
        stands_for = float(root["tags"]["weir.weight"])
        estimate += stands_for
        variance += stands_for * (stands_for - 1)
    assert by_rule["errors"] == failing == statuses[503], "every failing request"
    assert made_slow == slow, "every slow request"
    rest = requests - failing - by_rule["slow"]
    drawn(by_rule["rest"], rest, rate, "the rest")

    def counted() -> float:
        return one.page("envoy_").sum("envoy_http_downstream_rq_total", envoy_http_conn_manager_prefix=names[0])

    wait_until(lambda: counted() == requests, lambda: f"Envoy's own counter to be {requests}; it is {counted()}")
    assert abs(estimate - requests) < ERRORS * math.sqrt(variance), f"{estimate:.0f} estimated, error {math.sqrt(variance):.0f}"
