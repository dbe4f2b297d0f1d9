"""One service: rate, errors and duration by operation, with what sampling leaves uncertain, and its calls in and out."""

from .common import EVENTS, FAILING, SERVICE, SUCCEEDING, TO_OVERVIEW, TO_PROXIES, TO_SAMPLING, ZIPKIN, service_by, sources, traces
from .series import FAILED, SERVED, envoy, lately, now, of, off_by, operations_off_by, or_zero, per_second, quantile, rate, share
from .vocabulary import GREEN, RED, YELLOW, Band, Board, Column, Query, Row, Unit, choice, graph, heat_map, number, rows_of, text

CALLS = "traces_spanmetrics_calls_total"
LATENCY = "traces_spanmetrics_latency"
IT = 'service="$service"'
THESE = f'{IT}, {SERVED}, span_name=~"$operation"'
OF_IT = "serviceName=${service:percentencode}"
TRACES = ("Its traces in Zipkin", traces(OF_IT))
SLOW = ("Slow traces in Zipkin", traces(f"{OF_IT}&minDuration=500ms"))
BROKEN = ("Failed traces in Zipkin", traces(f"{OF_IT}&annotationQuery=error"))


def banded(name: str, of_them: str = "", *, one: bool = False) -> Band:
    """of_them: those requests only, 0 while there are none. one: operation is chosen."""
    where = f"{THESE}, {of_them}" if of_them else THESE
    middle, off = per_second(CALLS, where), f"sum ({operations_off_by(where)})" if one else off_by(where)
    if of_them:
        middle, off = f"({or_zero(middle, per_second(CALLS, THESE))})", f"({or_zero(off, per_second(CALLS, THESE))})"
    return Band(Query(middle, name), Query(f"clamp_min({middle} - {off}, 0)", "at least"), Query(f"{middle} + {off}", "at most"))


figures = Row(
    "${service}",
    TRACES,
    (
        number("Requests", Unit.REQUESTS, "Requests a second that it answered.", Query(rate(CALLS, where=THESE))),
        number(
            "Success",
            Unit.RATIO,
            "Share of its requests without an error.",
            Query(f"1 - {share(rate(CALLS, where=f'{THESE}, {FAILED}'), rate(CALLS, where=THESE))}"),
            steps=SUCCEEDING,
            links=(BROKEN,),
        ),
        number(
            "p50",
            Unit.SECONDS,
            "Half of its requests were answered within this time.",
            Query(quantile(0.5, LATENCY, where=THESE)),
            links=(SLOW,),
        ),
        number(
            "p99",
            Unit.SECONDS,
            "99 of 100 requests were answered within this time.",
            Query(quantile(0.99, LATENCY, where=THESE)),
            links=(SLOW,),
        ),
        number(
            "May be off by",
            Unit.RATIO,
            "How far the request rate may be from the truth, 95 times in 100. 0: every request is told of. It is more where proxies sample.",
            Query(f"({off_by(THESE)}) / ({per_second(CALLS, THESE)} > 0)"),
            steps=((None, GREEN), (0.1, YELLOW), (0.3, RED)),
            links=(TO_SAMPLING,),
        ),
        number(
            "Traced",
            Unit.RATIO,
            "Share of the requests that begin in this service which its proxies and clients are told to trace.",
            # A service that has no row of its own is told the default's rate, whose `service` is empty.
            Query(
                " or ".join(
                    now("weir_policy_rate", where=f'service="{whose}", side="policy", operation=""', how="max")
                    for whose in ("$service", "")
                )
            ),
            none="not told",
            links=(TO_SAMPLING,),
        ),
    ),
)

red = Row(
    "Rate, errors, duration",
    TRACES,
    (
        graph(
            "Requests and how sure that is",
            Unit.REQUESTS,
            "Requests a second over five minutes, all operations chosen. The band is what sampling before Weir leaves uncertain: the truth "
            "is in it 95 times in 100. No band: nothing was left out.",
            banded("requests"),
        ),
        graph(
            "Failing requests",
            Unit.REQUESTS,
            "Those of them that failed, with their band.",
            banded("failing", FAILED),
            links=(BROKEN,),
        ),
        graph(
            "Duration",
            Unit.SECONDS,
            "So long took half, 95 and 99 of 100 requests. Dots are traces that were kept: a click leads to Zipkin.",
            *(
                Query(quantile(which, LATENCY, where=THESE), f"p{which * 100:.0f}", exemplar=which == 0.99)
                for which in (0.5, 0.95, 0.99)
            ),
            links=(SLOW,),
        ),
        rows_of(
            "By operation",
            Unit.COUNT,
            "Each operation: requests a second and how far that may be off, share that fails, duration.",
            Query(per_second(CALLS, THESE, "span_name")),
            Query(operations_off_by(THESE)),
            Query(share(rate(CALLS, "span_name", f"{THESE}, {FAILED}"), rate(CALLS, "span_name", THESE))),
            *(Query(quantile(which, LATENCY, "span_name", THESE)) for which in (0.5, 0.95, 0.99)),
            columns=(
                Column(
                    "span_name",
                    "Operation",
                    link=service_by("${service:percentencode}&var-operation=${__data.fields.Operation:percentencode}"),
                ),
                Column("A", "Requests", Unit.REQUESTS),
                Column("B", "plus or minus", Unit.REQUESTS),
                Column("C", "Failing", Unit.RATIO, steps=FAILING),
                Column("D", "p50", Unit.SECONDS),
                Column("E", "p95", Unit.SECONDS),
                Column("F", "p99", Unit.SECONDS),
            ),
            width=24,
            sort="Requests",
        ),
        heat_map(
            "Durations",
            Unit.SECONDS,
            "How many requests took how long. Two bands say that there are two kinds of requests, or of answers.",
            Query(f"sum by (le) (increase({of(LATENCY + '_bucket', THESE)}[$__rate_interval]))", "{{le}}", exemplar=True),
        ),
        graph(
            "Status of spans",
            Unit.REQUESTS,
            "Requests by the status that their spans have. UNSET is no error.",
            Query(rate(CALLS, "status_code", THESE), "{{status_code}}"),
            stacked=True,
            width=6,
            height=9,
        ),
        graph(
            "Status classes at proxies",
            Unit.REQUESTS,
            "Answers by class, as Envoys count them that have an upstream of this name: of all requests, traced or not.",
            Query(
                envoy("envoy_cluster_upstream_rq_xx", "envoy_response_code_class", 'envoy_cluster_name=~".*$service.*"'),
                "{{envoy_response_code_class}}xx",
            ),
            stacked=True,
            width=6,
            height=9,
            links=(TO_PROXIES,),
        ),
    ),
)


def edges(title: str, description: str, other: str, where: str):
    requests = rate("traces_service_graph_request_total", other, where)
    failed = rate("traces_service_graph_request_failed_total", other, where)
    return rows_of(
        title,
        Unit.COUNT,
        description,
        Query(requests),
        Query(f"1.96 * sqrt({lately('weir_service_graph_request_variance_total', other, where)}) / 300"),
        Query(share(failed, requests)),
        Query(quantile(0.95, "traces_service_graph_request_client_seconds", other, where)),
        columns=(
            Column(other, other.capitalize(), link=service_by(f"${{__data.fields.{other.capitalize()}:percentencode}}")),
            Column("A", "Calls", Unit.REQUESTS),
            Column("B", "plus or minus", Unit.REQUESTS),
            Column("C", "Failing", Unit.RATIO, steps=FAILING),
            Column("D", "p95 at the client", Unit.SECONDS),
        ),
        sort="Calls",
    )


neighbours = Row(
    "Calls in and out",
    TO_OVERVIEW,
    (
        edges("Who calls it", "Calls that came, by the service that made them.", "client", 'server="$service"'),
        edges("Whom it calls", "Calls that it made, by the service that they went to.", "server", 'client="$service"'),
    ),
)

each = Row(
    "Each operation that is chosen, with its band",
    TRACES,
    (
        graph(
            "$operation",
            Unit.REQUESTS,
            "Requests a second of one operation over five minutes, and those that failed, with what sampling leaves uncertain.",
            banded("requests", one=True),
            Query(or_zero(per_second(CALLS, f"{THESE}, {FAILED}"), per_second(CALLS, THESE)), "failing"),
            width=8,
            repeat="operation",
        ),
    ),
    collapsed=True,
)

board = Board(
    SERVICE,
    "Service",
    "One service: rate, errors and duration by operation, how sure these are, and its calls in and out.",
    (figures, red, neighbours, each),
    variables=(
        *sources("weir_build_info"),
        choice("service", "Service", f"label_values({of(CALLS)}, service)", multi=False),
        choice("operation", "Operation", f"label_values({of(CALLS, f'{IT}, {SERVED}')}, span_name)"),
        ZIPKIN,
        text("trace", "Trace id", "", "The id of a trace, as the link above opens it in Zipkin."),
    ),
    links=(("This trace id in Zipkin", "${zipkin}/zipkin/traces/${trace}"), ("Traces of the service", TRACES[1])),
    annotations=EVENTS,
)
