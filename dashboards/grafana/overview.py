"""Mesh overview: is the mesh healthy, is telemetry complete, what does tracing cost; then which service, which call, which proxy."""

from .common import (
    EVENTS,
    FAILING,
    ON_SERVICE_LINE,
    OVERVIEW,
    SUCCEEDING,
    TO_PROXIES,
    TO_SAMPLING,
    TO_SELF,
    TO_TRACES,
    ZIPKIN,
    service_by,
    sources,
)
from .series import FAILED, OF_SERVICE, SERVED, SERVICE_VARIANCE, envoy, lately, named, now, of, or_zero, quantile, rate, share
from .vocabulary import (
    GREEN,
    RED,
    YELLOW,
    Board,
    Column,
    Query,
    Row,
    Unit,
    Words,
    choice,
    graph,
    number,
    rows_of,
)

CALLS = "traces_spanmetrics_calls_total"
LATENCY = "traces_spanmetrics_latency"
THESE = f"{SERVED}, {OF_SERVICE}"
requests = rate(CALLS, "service", THESE)
errors = rate(CALLS, "service", f"{THESE}, {FAILED}")
failing = share(errors, requests)


def worst() -> str:
    """The share that fails of who fails most in five minutes. Fewer than three failures that were seen say nothing, whatever they stand
    for: n of weight w stand for n w, and add n w (w - 1) to the variance."""
    every, failed = lately(CALLS, "service", THESE), lately(CALLS, "service", f"{THESE}, {FAILED}")
    variance = or_zero(lately(SERVICE_VARIANCE, "service", f"{THESE}, {FAILED}"), failed)
    seen = f"({failed}) ^ 2 / (({failed}) + ({variance}) > 0)"
    return f"topk(1, (({failed}) and ({seen}) >= 3 or 0 * ({every})) / (({every}) > 0))"


def datagrams(what: str) -> str:
    """A Weir without receivers of UDP has no such series, and yet it has lost nothing."""
    return f"({lately(f'weir_datagrams_{what}_total')} or vector(0))"


LOST = " + ".join(
    (
        lately("weir_spans_refused_total"),
        lately("weir_spans_dropped_total", where='reason!~"merged|no_exporter"'),
        lately("weir_points_rejected_total"),
        datagrams("lost"),
    )
)
CAME = " + ".join((lately("weir_spans_received_total"), lately("weir_points_received_total"), datagrams("received")))
# Prometheus cannot scrape a Weir that it could scrape within the last hour.
DOWN = f"count({of('up')} == 0 and on (job, instance) max_over_time({of('weir_build_info')}[1h]))"
WRITTEN = "weir_(zipkin_body|kafka_message|otlp_body|file_written)_bytes_total"

answers = Row(
    "In ten seconds",
    TO_SELF,
    (
        number(
            "Is the mesh healthy?",
            Unit.RATIO,
            "By the service that fails most in five minutes, if three failed requests were seen: below 1 % of its requests, below 5 %, or more.",
            Query(worst(), "worst: {{service}}"),
            width=8,
            height=5,
            words=(Words(0, "Healthy", GREEN), Words(0.01, "Some requests fail", YELLOW), Words(0.05, "A service is failing", RED)),
            none="No requests seen",
            links=(TO_TRACES,),
        ),
        number(
            "Is telemetry complete?",
            Unit.RATIO,
            "Share of spans, metrics and datagrams that came in the last five minutes and were refused, dropped or lost, "
            "for whatever reason; or that a Weir cannot be scraped. What sampling leaves out on purpose is no loss.",
            Query(f"(1 + {DOWN}) or ({LOST}) / (({CAME} + {LOST}) > 0)", "of what came"),
            width=8,
            height=5,
            words=(
                Words(0, "Complete", GREEN),
                Words(1e-9, "A little is lost", YELLOW),
                Words(0.001, "Telemetry is lost", RED),
                Words(2, "A Weir is down", RED),
            ),
            none="No Weir is scraped, or nothing came",
        ),
        number(
            "What does tracing cost?",
            Unit.PER_SECOND,
            "Spans a second that go to storage (of the exporter that takes most), bytes a second written to all of them, and processors "
            "that Weir keeps busy. What it costs proxies: see Tracing cost and sampling.",
            Query(f"max({rate('weir_spans_delivered_total', 'exporter')})", "spans stored"),
            Query(f"sum(rate({named(WRITTEN)}[$__rate_interval]))", "written", unit=Unit.BYTES_PER_SECOND),
            Query(
                f"sum(rate({of('process_cpu_seconds_total')}[$__rate_interval]) * on (job, instance) group_left () "
                f"group by (job, instance) ({of('weir_build_info')}))",
                "of a core: Weir",
                unit=Unit.RATIO,
                steps=((None, GREEN), (0.5, YELLOW), (2, RED)),
            ),
            width=8,
            height=5,
            links=(TO_SAMPLING,),
        ),
    ),
)

figures = Row(
    "All services together",
    TO_TRACES,
    (
        number(
            "Requests", Unit.REQUESTS, "Requests a second that services answered, by their spans.", Query(rate(CALLS, where=THESE))
        ),
        number(
            "Success",
            Unit.RATIO,
            "Share of requests without an error, as `success:` of Weir's configuration says what one is.",
            Query(f"1 - {share(rate(CALLS, where=f'{THESE}, {FAILED}'), rate(CALLS, where=THESE))}"),
            steps=SUCCEEDING,
        ),
        *(
            number(
                f"p{which * 100:.0f}",
                Unit.SECONDS,
                f"{which:.0%} of requests were answered within this time.",
                Query(quantile(which, LATENCY, where=THESE)),
            )
            for which in (0.5, 0.95, 0.99)
        ),
        number("Services", Unit.COUNT, "Services that answered a request lately.", Query(f"count(({requests}) > 0)")),
    ),
)

services = Row(
    "Services: a click on a name opens it",
    TO_TRACES,
    (
        rows_of(
            "All services",
            Unit.COUNT,
            "Requests that each service answered: rate, share that succeeded, latency, and how the rate differs from an hour ago.",
            Query(requests),
            Query(f"1 - {failing}"),
            *(Query(quantile(which, LATENCY, "service", THESE)) for which in (0.5, 0.95, 0.99)),
            Query(f"({requests}) / ({requests.replace('[$__rate_interval]', '[$__rate_interval] offset 1h')} > 0) - 1"),
            columns=(
                Column("service", "Service", link=service_by("${__data.fields.Service:percentencode}")),
                Column("A", "Requests", Unit.REQUESTS),
                Column("B", "Success", Unit.RATIO, steps=SUCCEEDING),
                Column("C", "p50", Unit.SECONDS),
                Column("D", "p95", Unit.SECONDS),
                Column("E", "p99", Unit.SECONDS),
                Column("F", "Against an hour ago", Unit.RATIO),
            ),
            width=24,
            height=9,
            sort="Requests",
        ),
        graph(
            "Requests by service",
            Unit.REQUESTS,
            "Requests a second that each service answered.",
            Query(requests, "{{service}}"),
            on_line=ON_SERVICE_LINE,
        ),
        graph(
            "Failing by service",
            Unit.RATIO,
            "Share of each service's requests that failed.",
            Query(failing, "{{service}}"),
            steps=FAILING,
            on_line=ON_SERVICE_LINE,
        ),
        graph(
            "p95 by service",
            Unit.SECONDS,
            "95 of 100 requests were answered within this time. Dots are traces that were kept: a click leads to Zipkin.",
            Query(quantile(0.95, LATENCY, "service", THESE), "{{service}}", exemplar=True),
            on_line=ON_SERVICE_LINE,
        ),
    ),
)

EDGE = "client, server"
GRAPH = 'server=~"$service"'
edge_requests = rate("traces_service_graph_request_total", EDGE, GRAPH)
edge_failed = rate("traces_service_graph_request_failed_total", EDGE, GRAPH)
calls = Row(
    "Who calls whom, and what fails",
    TO_TRACES,
    (
        rows_of(
            "Calls",
            Unit.COUNT,
            "Calls between services, from pairs of spans: how many, how many of them failed by what either side says, and what the server took.",
            Query(edge_requests),
            Query(share(edge_failed, edge_requests)),
            Query(quantile(0.95, "traces_service_graph_request_server_seconds", EDGE, GRAPH)),
            columns=(
                Column("client", "Client", link=service_by("${__data.fields.Client:percentencode}")),
                Column("server", "Server", link=service_by("${__data.fields.Server:percentencode}")),
                Column("A", "Calls", Unit.REQUESTS),
                Column("B", "Failing", Unit.RATIO, steps=FAILING),
                Column("C", "p95 at the server", Unit.SECONDS),
            ),
            width=14,
            sort="Calls",
        ),
        rows_of(
            "Top errors",
            Unit.COUNT,
            "The ten operations with the most failing requests a second.",
            Query(f"topk(10, {rate(CALLS, 'service, span_name', f'{THESE}, {FAILED}')} > 0)"),
            columns=(
                Column("service", "Service", link=service_by("${__data.fields.Service:percentencode}")),
                Column("span_name", "Operation"),
                Column("A", "Failing requests", Unit.REQUESTS),
            ),
            width=10,
            sort="Failing requests",
        ),
    ),
)

BY_UPSTREAM = "envoy_cluster_name"
saturation = Row(
    "Are proxies full?",
    TO_PROXIES,
    (
        graph(
            "Turned away by proxies",
            Unit.REQUESTS,
            "Requests that Envoy refused since a pool or a limit was full, and retries that it did not make, by upstream; and what "
            "Linkerd refused. Above 0 a limit is too small for what comes, or a back end too slow.",
            *(
                Query(envoy(f"envoy_cluster_{name}", BY_UPSTREAM), f"{{{{{BY_UPSTREAM}}}}} {title}")
                for name, title in (
                    ("upstream_rq_pending_overflow", "queue full"),
                    ("upstream_cx_overflow", "connections"),
                    ("upstream_rq_retry_overflow", "retries"),
                )
            ),
            Query(rate("rt:server:nacks", "rt"), "{{rt}} refused by Linkerd"),
        ),
        graph(
            "Requests under way",
            Unit.COUNT,
            "Requests that proxies wait for: Envoy by upstream, Linkerd by router.",
            Query(now("envoy_cluster_upstream_rq_active", BY_UPSTREAM), "{{envoy_cluster_name}}"),
            Query(now("envoy_cluster_upstream_rq_pending_active", BY_UPSTREAM), "{{envoy_cluster_name}} waiting for a connection"),
            Query(now("rt:server:pending", "rt"), "{{rt}}"),
        ),
        graph(
            "Hosts that proxies would use",
            Unit.RATIO,
            "Share of an upstream's hosts that proxies would use: 1 is all of them.",
            Query(
                f"{now('envoy_cluster_membership_healthy', BY_UPSTREAM)} / ({now('envoy_cluster_membership_total', BY_UPSTREAM)} > 0)",
                "{{envoy_cluster_name}}",
            ),
            Query(
                f"{now('rt:client:loadbalancer:available', 'client')} / ({now('rt:client:loadbalancer:size', 'client')} > 0)",
                "{{client}}",
            ),
            top=1,
        ),
    ),
)

board = Board(
    OVERVIEW,
    "Mesh overview",
    "Whether the mesh is healthy, telemetry complete, and what tracing costs. By spans of all requests, whatever is stored of them.",
    (answers, figures, services, calls, saturation),
    variables=(
        *sources("weir_build_info"),
        choice("service", "Service", f"label_values({of(CALLS)}, service)"),
        ZIPKIN,
    ),
    links=(TO_TRACES,),
    annotations=EVENTS,
)
