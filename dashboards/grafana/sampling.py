"""Tracing cost and sampling: what comes, what is kept, at which rates, what it costs, and how sure the estimates are."""

from .common import ANY_IS_ODD, EVENTS, SAMPLING, TO_OVERVIEW, TO_SELF, TO_TRACES, ZIPKIN, sources
from .series import CALLERS, OF_SERVICE, SERVED, envoy, lately, now, of, off_by, others, per_second, rate, share
from .vocabulary import BLUE, GREEN, RED, YELLOW, Board, Column, Query, Row, Unit, choice, graph, number, rows_of

CALLS = "traces_spanmetrics_calls_total"
THESE = f"{SERVED}, {OF_SERVICE}"
TOLD = 'side="policy"'
ALL_OF_IT = f'{TOLD}, operation=""'  # a service's own row; its operations have rows of their own
SPANS_TOLD = now("weir_policy_spans_per_second", where=f'{ALL_OF_IT}, stage="told"')
BUDGET = now("weir_policy_budget_spans_per_second", where=f'{TOLD}, service=""')
received, left_out = rate("weir_spans_received_total"), rate("weir_spans_sampled_out_total", where='exporter=""')

figures = Row(
    "What tracing costs",
    TO_SELF,
    (
        number("Spans that come", Unit.PER_SECOND, "Spans a second that Weirs accepted.", Query(received)),
        number(
            "Spans kept",
            Unit.RATIO,
            "Share of the spans that came which were not left out: by tail rules, by Weir's own rate, by overload.",
            Query(f"1 - {left_out} / ({received} > 0)"),
        ),
        number(
            "Share of the budget",
            Unit.RATIO,
            "Spans a second that the rates told come to, against `budget: spans_per_second` of the policy, which each Weir has for what it sees.",
            Query(f"{SPANS_TOLD} / ({BUDGET} > 0)"),
            steps=((None, GREEN), (1, YELLOW), (1.2, RED)),
            none="no budget",
        ),
        number(
            "CPU of proxies",
            Unit.RATIO,
            "Share of a core that tracing is reckoned to cost the proxy that it costs most.",
            Query(now("weir_policy_proxy_cpu_ratio", where=TOLD, how="max")),
            steps=((None, GREEN), (0.02, YELLOW), (0.05, RED)),
            none="not known",
        ),
        number(
            "CPU of Weir",
            Unit.RATIO,
            "Share of a core that the lanes of all Weirs are busy.",
            Query(rate("weir_lane_busy_seconds_total")),
        ),
        number(
            "Incidents",
            Unit.COUNT,
            "Services whose rates are raised now since errors or slowness rose.",
            Query(f"sum({now('weir_policy_incident', 'service', TOLD, how='max')})"),
            steps=ANY_IS_ODD,
            none="none",
        ),
    ),
)

where_spans_go = Row(
    "From request to stored span",
    TO_SELF,
    (
        graph(
            "Spans: came, left out, stored",
            Unit.PER_SECOND,
            "Spans that came; those left out, by where; and what each exporter delivered.",
            Query(received, "came"),
            Query(rate("weir_spans_sampled_out_total", "stage"), "left out by {{stage}}"),
            Query(rate("weir_spans_delivered_total", "exporter"), "stored by {{exporter}}"),
        ),
        graph(
            "Bytes written",
            Unit.BYTES_PER_SECOND,
            "What exporters send or write, as their back ends get it (Kafka: before compression).",
            *(
                Query(rate(f"weir_{name}_bytes_total", "exporter"), "{{exporter}}")
                for name in ("zipkin_body", "kafka_message", "otlp_body", "file_written")
            ),
        ),
        graph(
            "Where weights come from",
            Unit.PER_SECOND,
            "How Weir knows what a span stands for. `unknown` counts as one request: say under `sources:` what was sampled before, or let "
            "proxies follow the policy.",
            Query(rate("weir_spans_weight_source_total", "source"), "{{source}}"),
            stacked=True,
        ),
    ),
)

by_service = Row(
    "By service: which begins traces, what they come to",
    TO_OVERVIEW,
    (
        rows_of(
            "Services that begin traces",
            Unit.COUNT,
            "What is told, what would come at 100 %, and what comes at the rates told. The last line is of all other services.",
            Query(others(now("weir_policy_rate", "service", ALL_OF_IT, how="max"))),
            Query(others(now("weir_policy_offered_traces_per_second", "service", ALL_OF_IT))),
            *(
                Query(others(now(f"weir_policy_{what}_per_second", "service", f'{ALL_OF_IT}, stage="{stage}"')))
                for what in ("spans", "bytes")
                for stage in ("offered", "told")
            ),
            Query(others(now("weir_policy_proxy_cpu_ratio", "service", ALL_OF_IT, how="max"))),
            columns=(
                Column("service", "Service"),
                Column("A", "Rate told", Unit.RATIO),
                Column("B", "Traces offered", Unit.PER_SECOND),
                Column("C", "Spans at 100 %", Unit.PER_SECOND),
                Column("D", "Spans at this rate", Unit.PER_SECOND),
                Column("E", "Bytes at 100 %", Unit.BYTES_PER_SECOND),
                Column("F", "Bytes at this rate", Unit.BYTES_PER_SECOND),
                Column("G", "CPU of each proxy", Unit.RATIO),
            ),
            width=24,
            sort="Spans at this rate",
        ),
        graph(
            "Rates told to services",
            Unit.RATIO,
            "What proxies and clients are told, by service, and what all others are told.",
            Query(others(now("weir_policy_rate", "service", ALL_OF_IT, how="max")), "{{service}}"),
        ),
        graph(
            "Rates of operations: the lowest twenty",
            Unit.RATIO,
            "Rates of operations where the policy tells any. An operation whose rate falls has become frequent.",
            Query(
                f"bottomk(20, {now('weir_policy_rate', 'service, operation', f'{TOLD}, operation!={chr(34) * 2}', how='max')})",
                "{{service}} {{operation}}",
            ),
        ),
        graph(
            "Spans that come against the budget",
            Unit.PER_SECOND,
            "Spans of traces that were seen to begin, what the rates told come to, and the budget of all Weirs together. While the first is above the budget, rates fall.",
            Query(now("weir_policy_arriving_spans_per_second"), "come"),
            Query(SPANS_TOLD, "reckoned"),
            Query(BUDGET, "budget"),
        ),
    ),
)

followers = Row(
    "Who follows",
    TO_SELF,
    (
        graph(
            "Followers by state",
            Unit.COUNT,
            "Proxies, clients and files that follow the policy. `behind` is told and has not taken it yet, `refused` did not take it, `gone` has not asked lately.",
            Query(f"{now('weir_policy_followers', 'way, state')} > 0", "{{way}} {{state}}"),
        ),
        graph(
            "Told and taken",
            Unit.PER_SECOND,
            "Envoys over RTDS: told, taken, refused. Clients that fetched their rates. Files written.",
            Query(rate("weir_rtds_pushes_total"), "told to Envoys"),
            Query(rate("weir_rtds_acks_total"), "taken"),
            Query(rate("weir_rtds_nacks_total"), "refused"),
            Query(f"{rate('weir_policy_fetches_total', 'way, code')} > 0", "fetched by {{way}}: {{code}}"),
            Query(rate("weir_policy_files_total", "result"), "files {{result}}"),
        ),
        graph(
            "Files and commands that are not done",
            Unit.COUNT,
            "1 while a rendered file, or whom its command tells, is not yet as the policy says. Minutes of it are worth a look.",
            Query(now("weir_policy_file_pending", "path", how="max"), "{{path}}"),
            steps=ANY_IS_ODD,
        ),
    ),
)

kept_by_rule = rate("weir_sampling_rule_traces_total", "rule", 'policy="live", verdict="kept"')
tail = Row(
    "Tail rules: which traces are kept",
    TO_SELF,
    (
        graph(
            "Traces kept, by rule",
            Unit.PER_SECOND,
            "Traces that were kept, by the first rule of sampling.yaml that matched.",
            Query(kept_by_rule, "{{rule}}"),
            stacked=True,
        ),
        graph(
            "Traces left out, by rule",
            Unit.PER_SECOND,
            "Traces that a rule matched and did not keep: its rate or its limit left them out.",
            Query(rate("weir_sampling_rule_traces_total", "rule", 'policy="live", verdict="dropped"'), "{{rule}}"),
            stacked=True,
        ),
        graph(
            "What another policy would keep",
            Unit.PER_SECOND,
            "The shadow policy beside the live one, and rules that run dry (`dry_run: true`).",
            Query(rate("weir_sampling_rule_traces_total", "policy", 'verdict="kept"'), "{{policy}}"),
            Query(rate("weir_sampling_rule_traces_total", "rule", 'verdict="dry_kept"') + " > 0", "{{rule}}, dry"),
        ),
        graph(
            "Why traces are decided",
            Unit.PER_SECOND,
            "`root`: ended and quiet, as it should be. `wait`: the time was over. `memory`, `size`: early. Many of `wait`: no root comes.",
            Query(rate("weir_tail_traces_decided_total", "cause"), "{{cause}}"),
            stacked=True,
        ),
        graph(
            "Traces decided without a root",
            Unit.RATIO,
            "Share of decided traces of which no root came. Much of it: spans of one trace reach different Weirs, or the edge tells no spans.",
            Query(share(rate("weir_tail_traces_without_root_total"), rate("weir_tail_traces_decided_total")), "without a root"),
            steps=((None, GREEN), (0.05, YELLOW), (0.2, RED)),
        ),
        graph(
            "Memory of undecided traces",
            Unit.BYTES,
            "What waits for its decision, by part, and the bound (`keep.memory`). At the bound the oldest are decided early.",
            Query(now("weir_tail_memory_bytes", "part"), "{{part}}"),
            Query(now("weir_tail_memory_limit_bytes"), "bound"),
        ),
        graph(
            "Traces and spans that wait",
            Unit.COUNT,
            "Undecided traces and their spans.",
            Query(now("weir_tail_pending_traces"), "traces"),
            Query(now("weir_tail_pending_spans"), "spans"),
        ),
        graph(
            "Late spans",
            Unit.PER_SECOND,
            "Spans that came after their trace was decided and followed it; and those of dropped traces that a rule would have kept: if these are "
            "many, `quiet` is too short.",
            Query(rate("weir_tail_late_spans_total", "verdict"), "{{verdict}}"),
            Query(rate("weir_tail_late_spans_would_keep_total"), "would have been kept"),
        ),
        graph(
            "Keys of dynamic rates",
            Unit.COUNT,
            "Keys that `dynamic:` works rates out for; beyond `max_keys` all others share one.",
            Query(now("weir_sampling_dynamic_keys"), "keys"),
            Query(lately("weir_sampling_dynamic_keys_overflow_total"), "traces without a key of their own, in 5 minutes"),
        ),
    ),
)

sure = Row(
    "How sure are the numbers?",
    TO_OVERVIEW,
    (
        graph(
            "Requests may be off by",
            Unit.RATIO,
            "1.96 standard errors of each service's request rate, as a share of it: 0 where nothing was sampled before Weir.",
            Query(
                f"({off_by(THESE, 'service')}) / ({per_second(CALLS, THESE, 'service')} > 0)",
                "{{service}}",
            ),
            steps=((None, BLUE), (0.1, YELLOW), (0.3, RED)),
            width=12,
        ),
        graph(
            "Estimate against exact counters",
            Unit.RATIO,
            "Requests that spans stand for, against the service's own counter (`exact:` of the policy): 1 when all is well. Between the "
            "lowest and the highest it is by chance, 95 times in 100.",
            Query(of("weir_sampling_estimate_ratio", OF_SERVICE), "{{service}}"),
            Query(f"1 - 1.96 * {of('weir_sampling_estimate_error_ratio', OF_SERVICE)}", "{{service}} lowest"),
            Query(f"1 + 1.96 * {of('weir_sampling_estimate_error_ratio', OF_SERVICE)}", "{{service}} highest"),
            width=12,
        ),
        graph(
            "Spans against Envoy's own counter",
            Unit.REQUESTS,
            "Requests by the spans of services that serve, and by the counters of the Envoys in front: lines that part over minutes mean a weight "
            "that is not true.",
            Query(rate(CALLS, where='span_kind="SPAN_KIND_SERVER"'), "by spans"),
            Query(f"sum({envoy('envoy_http_downstream_rq_xx', 'job', CALLERS)})", "by Envoy's counters"),
            width=12,
        ),
        graph(
            "Spans held for their weight",
            Unit.BYTES,
            "Memory of spans whose weight hangs on another span of their trace that has not come.",
            Query(now("weir_weight_held_bytes"), "held"),
            width=12,
        ),
    ),
)

board = Board(
    SAMPLING,
    "Tracing cost and sampling",
    "What tracing costs, which rates are in force, what each rule keeps, and how sure the estimates are.",
    (figures, where_spans_go, by_service, followers, tail, sure),
    variables=(*sources("weir_build_info"), choice("service", "Service", f"label_values({of(CALLS)}, service)"), ZIPKIN),
    links=(TO_TRACES,),
    annotations=EVENTS,
)
