"""Proxies: Envoy, by way of Weir or scraped; Linkerd 1 and Namerd; Linkerd 2. Traffic and discovery on one time axis."""

from .common import (
    ANY_IS_BAD,
    EVENTS,
    FAILING,
    FROM_PROXIES_TO_OVERVIEW,
    FROM_PROXIES_TO_SAMPLING,
    PROXIES,
    TO_TRACES,
    ZIPKIN,
    sources,
)
from .series import CALLERS, envoy, envoy_seconds, named, now, of, or_zero, quantile, rate, share, window
from .vocabulary import GREEN, RED, YELLOW, Board, Query, Row, Unit, bars, graph, number, text

UPSTREAM = "envoy_cluster_name"
# An Envoy that sends StatsD to Weir is known by `source` where the receiver has `source_label`; a scraped one by its instance.
PROXY = "instance, source"
ROUTER = "instance, rt"
CLASS_5 = 'envoy_response_code_class="5"'
ANSWERS = "envoy_http_downstream_rq_xx"


def bad(counter_xx: str, by: str) -> str:
    return share(envoy(counter_xx, by, CLASS_5), envoy(counter_xx, by))


def namerd_answers(what: str, how: str) -> str:
    return f"sum by (rt) (rate({named(f'rt:interpreter.+:{what}:{how}')}[$__rate_interval]))"


figures = Row(
    "All proxies together",
    FROM_PROXIES_TO_OVERVIEW,
    (
        number(
            "Envoys", Unit.COUNT, "Envoys that say that they live.", Query(f"count({of('envoy_server_live')} > 0)"), none="none"
        ),
        number(
            "Linkerds",
            Unit.COUNT,
            "Linkerd 1 routers that are scraped.",
            Query(f"count(count by (job, instance, rt) ({of('rt:server:requests')}))"),
            none="none",
        ),
        number(
            "Linkerd 2 proxies",
            Unit.COUNT,
            "Linkerd 2 proxies that are scraped.",
            Query(f"count(count by (job, instance) ({of('tcp_open_connections')}))"),
            none="none",
        ),
        number(
            "Envoy: answers of 5xx",
            Unit.RATIO,
            "Share of the answers that Envoys gave which are server errors.",
            Query(
                share(
                    f"sum({envoy(ANSWERS, 'job', f'{CALLERS}, {CLASS_5}')})",
                    f"sum({envoy(ANSWERS, 'job', CALLERS)})",
                )
            ),
            steps=FAILING,
            none="no Envoy",
        ),
        number(
            "Linkerd: failures",
            Unit.RATIO,
            "Share of the requests that Linkerd 1 served which did not succeed.",
            Query(f"1 - {rate('rt:server:success')} / ({rate('rt:server:requests')} > 0)"),
            steps=FAILING,
            none="no traffic",
        ),
        number(
            "Scraped targets that are down",
            Unit.COUNT,
            "Proxies and Weirs that Prometheus cannot scrape.",
            Query(f"count({of('up')} == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
    ),
)

together = Row(
    "Traffic and discovery on one axis",
    FROM_PROXIES_TO_OVERVIEW,
    (
        graph(
            "Failing requests against failing discovery",
            Unit.REQUESTS,
            "Left, solid: requests that fail at proxies. Right, dashed: what the control plane could not do. When the dashed line rises first, look "
            "there first.",
            Query(f"sum({envoy(ANSWERS, 'job', f'{CALLERS}, {CLASS_5}')})", "Envoy: 5xx"),
            Query(f"{rate('rt:server:requests')} - {rate('rt:server:success')}", "Linkerd: failures"),
            Query(envoy("envoy_cluster_update_failure", "job"), "Envoy: updates that failed", right=Unit.PER_SECOND),
            *(
                Query(f"sum({namerd_answers(what, 'failures')})", f"Linkerd: {title} that Namerd refused", right=Unit.PER_SECOND)
                for what, title in (("bind", "bindings"), ("addr", "addresses"))
            ),
            Query(rate("weir_rtds_nacks_total"), "Weir: rates that Envoys refused", right=Unit.PER_SECOND),
            width=12,
            height=9,
        ),
        graph(
            "Mesh against direct path",
            Unit.SECONDS,
            "One quantile of the same timer on several paths, told apart by a label: choose timer, label and quantile above. Upstreams of one Envoy, or a timer of the "
            "application's own with a tag such as path:mesh and path:direct.",
            Query(envoy_seconds("${quantile}", "${timer}", "${path_label}"), "{{${path_label}}}"),
            width=12,
            height=9,
        ),
    ),
)

envoy_traffic = Row(
    "Envoy: traffic",
    FROM_PROXIES_TO_OVERVIEW,
    (
        graph(
            "Answers by class",
            Unit.REQUESTS,
            "Answers that Envoys gave to who called them.",
            Query(envoy(ANSWERS, "envoy_response_code_class", CALLERS), "{{envoy_response_code_class}}xx"),
            stacked=True,
        ),
        graph(
            "Upstreams: share of 5xx",
            Unit.RATIO,
            "Share of the answers of each upstream that are server errors.",
            Query(bad("envoy_cluster_upstream_rq_xx", UPSTREAM), "{{envoy_cluster_name}}"),
            steps=FAILING,
        ),
        graph(
            "Upstreams: time to answer",
            Unit.SECONDS,
            "99 of 100 requests to an upstream were answered within this time, as Envoy measures. Buckets of milliseconds (scraped, OTLP) and of "
            "seconds (StatsD by way of Weir) are told apart by their bounds.",
            Query(envoy_seconds(0.99, "envoy_cluster_upstream_rq_time", UPSTREAM), "{{envoy_cluster_name}}"),
        ),
        graph(
            "By proxy",
            Unit.REQUESTS,
            "Requests a second that each Envoy took.",
            Query(envoy(ANSWERS, PROXY, CALLERS), "{{instance}} {{source}}"),
        ),
        graph(
            "Envoy: retries",
            Unit.REQUESTS,
            "Retries that Envoys made, those that helped, and those not made: over the limit of one request, or of all.",
            *(
                Query(envoy(f"envoy_cluster_{name}", UPSTREAM), f"{{{{envoy_cluster_name}}}} {title}")
                for name, title in (
                    ("upstream_rq_retry", "made"),
                    ("upstream_rq_retry_success", "helped"),
                    ("upstream_rq_retry_limit_exceeded", "limit of the request"),
                    ("upstream_rq_retry_overflow", "limit of all"),
                )
            ),
        ),
        graph(
            "Timeouts and resets",
            Unit.REQUESTS,
            "Requests that an upstream did not answer in time, or whose stream was broken off.",
            *(
                Query(envoy(f"envoy_cluster_{name}", UPSTREAM), f"{{{{envoy_cluster_name}}}} {title}")
                for name, title in (
                    ("upstream_rq_timeout", "timeout"),
                    ("upstream_rq_rx_reset", "reset by upstream"),
                    ("upstream_rq_tx_reset", "reset by Envoy"),
                )
            ),
        ),
    ),
)

envoy_pools = Row(
    "Envoy: connections, pools, discovery",
    FROM_PROXIES_TO_OVERVIEW,
    (
        graph(
            "Envoy: connections",
            Unit.COUNT,
            "Open connections: from callers, and to each upstream.",
            Query(now("envoy_http_downstream_cx_active", where=CALLERS), "from callers"),
            Query(now("envoy_cluster_upstream_cx_active", UPSTREAM), "to {{envoy_cluster_name}}"),
        ),
        graph(
            "Envoy: connections that failed",
            Unit.PER_SECOND,
            "Connections to an upstream that could not be made, took too long, or ended with a request on them.",
            *(
                Query(envoy(f"envoy_cluster_{name}", UPSTREAM), f"{{{{envoy_cluster_name}}}} {title}")
                for name, title in (
                    ("upstream_cx_connect_fail", "not made"),
                    ("upstream_cx_connect_timeout", "too slow"),
                    ("upstream_cx_destroy_with_active_rq", "ended in a request"),
                )
            ),
        ),
        graph(
            "Pools that are full",
            Unit.COUNT,
            "1 while a limit (circuit breaker) of an upstream is reached: connections, requests, requests that wait, retries.",
            *(
                Query(
                    now(f"envoy_cluster_circuit_breakers_default_{name}_open", UPSTREAM, how="max"),
                    f"{{{{envoy_cluster_name}}}} {title}",
                )
                for name, title in (("cx", "connections"), ("rq", "requests"), ("rq_pending", "waiting"), ("rq_retry", "retries"))
            ),
            steps=ANY_IS_BAD,
        ),
        graph(
            "Requests that wait for a connection",
            Unit.COUNT,
            "Requests in the queue of an upstream's pool now.",
            Query(now("envoy_cluster_upstream_rq_pending_active", UPSTREAM), "{{envoy_cluster_name}}"),
        ),
        graph(
            "Hosts of each upstream",
            Unit.COUNT,
            "Hosts that discovery named, and those of them that are used.",
            Query(now("envoy_cluster_membership_total", UPSTREAM, how="max"), "{{envoy_cluster_name}} named"),
            Query(now("envoy_cluster_membership_healthy", UPSTREAM, how="min"), "{{envoy_cluster_name}} used"),
        ),
        graph(
            "Envoy: discovery",
            Unit.PER_SECOND,
            "Updates of hosts that were asked for, came, and failed; changes of hosts; configuration of the runtime that was taken.",
            *(
                Query(envoy(name, "job"), title)
                for name, title in (
                    ("envoy_cluster_update_attempt", "asked"),
                    ("envoy_cluster_update_success", "came"),
                    ("envoy_cluster_update_failure", "failed"),
                    ("envoy_cluster_membership_change", "hosts changed"),
                    ("envoy_runtime_load_success", "runtime taken"),
                )
            ),
        ),
        graph(
            "Envoy: memory",
            Unit.BYTES,
            "Memory that each Envoy uses.",
            Query(now("envoy_server_memory_allocated", PROXY), "{{instance}} {{source}}"),
        ),
        graph(
            "Spans that Envoys sent and dropped",
            Unit.PER_SECOND,
            "By Envoy's OpenTelemetry tracer. What is dropped there never comes to Weir, and no Weir can count it.",
            Query(envoy("envoy_tracing_opentelemetry_spans_sent", "job"), "sent"),
            Query(envoy("envoy_tracing_opentelemetry_spans_dropped", "job"), "dropped"),
            links=(FROM_PROXIES_TO_SAMPLING,),
        ),
        graph(
            "Requests that Envoys chose to trace",
            Unit.RATIO,
            "Share of requests that Envoys began a trace for, by their own counters: what came of the rates that they were told.",
            Query(
                f"{envoy('envoy_http_tracing_random_sampling', PROXY)} / ({envoy(ANSWERS, PROXY, CALLERS)} > 0)",
                "{{instance}} {{source}}",
            ),
            links=(FROM_PROXIES_TO_SAMPLING,),
        ),
    ),
    collapsed=True,
)

LAST_MINUTE = " Of the last minute, as Linkerd keeps it; nothing stands here when nobody called."
linkerd = Row(
    "Linkerd 1: traffic (scraped from /admin/metrics/prometheus)",
    FROM_PROXIES_TO_OVERVIEW,
    (
        graph(
            "Linkerd: requests by router",
            Unit.REQUESTS,
            "Requests that each router served, and those that did not succeed.",
            Query(rate("rt:server:requests", ROUTER), "{{instance}} {{rt}}"),
            Query(f"{rate('rt:server:requests', ROUTER)} - {rate('rt:server:success', ROUTER)}", "{{instance}} {{rt}} failing"),
        ),
        graph(
            "Services: share that fails",
            Unit.RATIO,
            "Share of each service's requests that did not succeed, retries included.",
            Query(
                f"1 - {rate('rt:service:success', 'rt, service')} / ({rate('rt:service:requests', 'rt, service')} > 0)",
                "{{rt}} {{service}}",
            ),
            steps=FAILING,
        ),
        graph(
            "Services: time to answer",
            Unit.SECONDS,
            "p50 and p99 by service." + LAST_MINUTE,
            Query(window("rt:service:request_latency_ms", "0.5", "rt, service"), "{{rt}} {{service}} p50"),
            Query(window("rt:service:request_latency_ms", "0.99", "rt, service"), "{{rt}} {{service}} p99"),
        ),
        graph(
            "Servers: time to answer",
            Unit.SECONDS,
            "p99 of each server that Linkerd listens with." + LAST_MINUTE,
            Query(window("rt:server:request_latency_ms", "0.99", "rt, server"), "{{rt}} {{server}}"),
        ),
        graph(
            "Clients: time to answer",
            Unit.SECONDS,
            "p99 of what the hosts of each client took, one try each." + LAST_MINUTE,
            Query(window("rt:client:request_latency_ms", "0.99", "client"), "{{client}}"),
        ),
        graph(
            "Linkerd: status classes",
            Unit.REQUESTS,
            "Answers of servers by class.",
            *(Query(rate(f"rt:server:status:{name}"), name) for name in ("2XX", "3XX", "4XX", "5XX", "error")),
            stacked=True,
        ),
    ),
)

linkerd_pools = Row(
    "Linkerd 1: connections, pools, retries, failure accrual",
    FROM_PROXIES_TO_OVERVIEW,
    (
        graph(
            "Linkerd: connections",
            Unit.COUNT,
            "Open connections: to servers of Linkerd, and from its clients.",
            Query(now("rt:server:connections", ROUTER), "{{instance}} {{rt}} from callers"),
            Query(now("rt:client:connections", "client"), "to {{client}}"),
        ),
        graph(
            "Linkerd: pools",
            Unit.COUNT,
            "Connections of each client's pool: in use, kept for later; and who waits for one.",
            Query(now("rt:client:pool_size", "client"), "{{client}} in use"),
            Query(now("rt:client:pool_cached", "client"), "{{client}} kept"),
            Query(now("rt:client:pool_waiters", "client"), "{{client}} waiting"),
        ),
        graph(
            "Failure accrual",
            Unit.PER_SECOND,
            "Hosts that Linkerd took out since they failed, that it tried again, and that came back.",
            *(
                Query(rate(f"rt:client:failure_accrual:{name}", "client"), f"{{{{client}}}} {title}")
                for name, title in (("removals", "taken out"), ("probes", "tried"), ("revivals", "came back"))
            ),
        ),
        graph(
            "Hosts that are available",
            Unit.RATIO,
            "Share of the hosts of each client that its load balancer would use: 1 is all of them.",
            Query(
                f"{now('rt:client:loadbalancer:available', 'client')} / ({now('rt:client:loadbalancer:size', 'client')} > 0)",
                "{{client}}",
            ),
            steps=((None, RED), (0.5, YELLOW), (1, GREEN)),
            top=1,
        ),
        graph(
            "Linkerd: retries",
            Unit.REQUESTS,
            "Retries of services, requests that a client tried again on another host, and both kinds that the budget did not allow.",
            Query(rate("rt:service:retries:total", "service"), "{{service}} retried"),
            Query(rate("rt:client:retries:requeues", "client"), "{{client}} tried again"),
            Query(rate("rt:service:retries:budget_exhausted", "service"), "{{service}} not allowed"),
            Query(rate("rt:client:retries:budget_exhausted", "client"), "{{client}} not allowed"),
        ),
        graph(
            "What is left of the budget of retries",
            Unit.COUNT,
            "Retries that a service or client may still make now. At 0 requests fail that a retry would have saved.",
            Query(now("rt:service:retries:budget", "service", how="min"), "{{service}}"),
            Query(now("rt:client:retries:budget", "client", how="min"), "{{client}}"),
        ),
    ),
    collapsed=True,
)

CACHES = ("path", "tree", "bound", "client")
namerd = Row(
    "Linkerd 1 and Namerd: bindings and discovery",
    FROM_PROXIES_TO_OVERVIEW,
    (
        graph(
            "Bind cache: misses",
            Unit.PER_SECOND,
            "Names that a router had to bind anew, by the cache that did not have them. Many that go on: the cache is too small (bindingCache).",
            *(Query(rate(f"rt:bindcache:{name}:misses", ROUTER), f"{{{{instance}}}} {{{{rt}}}} {name}") for name in CACHES),
        ),
        graph(
            "Bind cache: evicted",
            Unit.PER_SECOND,
            "Bindings that had to make room for others, and with clients their connections.",
            *(Query(rate(f"rt:bindcache:{name}:evicts", ROUTER), f"{{{{instance}}}} {{{{rt}}}} {name}") for name in CACHES),
        ),
        graph(
            "Interpreter: what Namerd answered",
            Unit.PER_SECOND,
            "Bindings and addresses that Linkerd asked Namerd for. A router that has lost Namerd shows here, and goes on with what it has.",
            *(
                Query(
                    namerd_answers(what, how),
                    f"{{{{rt}}}} {what} {title}",
                )
                for what in ("bind", "addr")
                for how, title in (("success", "came"), ("failures", "failed"))
            ),
        ),
        graph(
            "Connections to Namerd",
            Unit.COUNT,
            "Open connections of each router to Namerd: 0 is alone.",
            Query(f"sum by (rt, instance) ({named('rt:interpreter.+:connections')})", "{{instance}} {{rt}}"),
        ),
        graph(
            "Names and addresses that routers hold",
            Unit.COUNT,
            "Entries of the interpreter's caches in Linkerd.",
            Query(f"sum by (rt) ({named('rt:interpreter.+:bindcache_size')})", "{{rt}} bindings"),
            Query(f"sum by (rt) ({named('rt:interpreter.+:addrcache_size')})", "{{rt}} addresses"),
        ),
        graph(
            "Namerd: caches",
            Unit.COUNT,
            "What Namerd observes for its routers: bindings, addresses and delegations; active is watched, inactive is kept for a while.",
            *(
                Query(
                    f"sum by (instance) ({named(f'.+:{cache}:{state}')})",
                    f"{{{{instance}}}} {title} {state}",
                )
                for cache, title in (("bindingcache", "bindings"), ("addrcache", "addresses"), ("delegationcache", "delegations"))
                for state in ("active", "inactive")
            ),
        ),
        graph(
            "Heap",
            Unit.RATIO,
            "Share of its heap that each Linkerd or Namerd uses.",
            Query(f"{now('jvm:heap:used', 'instance')} / ({now('jvm:heap:max', 'instance')} > 0)", "{{instance}}"),
            top=1,
        ),
        graph(
            "Garbage collection",
            Unit.RATIO,
            "Share of time that each process stands still to collect garbage.",
            Query(f"{rate('jvm:gc:msec', 'instance')} / 1000", "{{instance}}"),
            steps=FAILING,
        ),
        bars(
            "Threads",
            Unit.COUNT,
            "Threads of each Linkerd or Namerd.",
            Query(now("jvm:thread:count", "instance"), "{{instance}}"),
        ),
    ),
    collapsed=True,
)

DIRECTION = "direction"
linkerd2 = Row(
    "Linkerd 2",
    FROM_PROXIES_TO_OVERVIEW,
    (
        graph(
            "Linkerd 2: requests",
            Unit.REQUESTS,
            "Answers by direction, and those that are failures.",
            Query(rate("response_total", DIRECTION), "{{direction}}"),
            Query(
                or_zero(rate("response_total", DIRECTION, 'classification="failure"'), rate("response_total", DIRECTION)),
                "{{direction}} failing",
            ),
        ),
        graph(
            "Linkerd 2: time to answer",
            Unit.SECONDS,
            "99 of 100 answers came within this time.",
            Query(f"({quantile(0.99, 'response_latency_ms', DIRECTION)}) / 1000", "{{direction}}"),
        ),
        graph(
            "Linkerd 2: open connections",
            Unit.COUNT,
            "TCP connections by direction and peer.",
            Query(now("tcp_open_connections", "direction, peer"), "{{direction}} {{peer}}"),
        ),
    ),
)

board = Board(
    PROXIES,
    "Proxies",
    "Envoy, Linkerd 1 with Namerd, and Linkerd 2: traffic, connections, pools, retries, discovery, each by instance.",
    (figures, together, envoy_traffic, envoy_pools, linkerd, linkerd_pools, namerd, linkerd2),
    variables=(
        *sources("up"),
        text("timer", "Timer", "envoy_cluster_upstream_rq_time", "Mesh against direct path: the histogram, without _bucket."),
        text(
            "path_label",
            "Path label",
            "envoy_cluster_name",
            "Mesh against direct path: the label that tells one path from the other.",
        ),
        text("quantile", "Quantile", "0.95", "Mesh against direct path: which quantile."),
        ZIPKIN,
    ),
    links=(TO_TRACES,),
    annotations=EVENTS,
)
