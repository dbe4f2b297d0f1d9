"""PromQL in pieces that dashboards share: selectors that follow the variables, rates, quantiles, and what is special about a source."""

# Prometheus joins series of the same name from several sources. A job and an instance each has; a cluster only where the
# scrape configuration says one.
EVERY = 'job=~"$job", instance=~"$instance", cluster=~"$cluster"'
# Requests of a service are the spans in which it serves; its calls to others are spans of kind CLIENT.
SERVED = 'span_kind=~"SPAN_KIND_(SERVER|CONSUMER)"'
FAILED = 'status_code="STATUS_CODE_ERROR"'
OF_SERVICE = 'service=~"$service"'


def of(name: str, where: str = "") -> str:
    return f"{name}{{{EVERY}{', ' + where if where else ''}}}"


def named(pattern: str) -> str:
    """Series by a pattern of their name. Below rate() only where no two of them have the same labels."""
    return f'{{__name__=~"{pattern}", {EVERY}}}'


def rate(name: str, by: str = "", where: str = "") -> str:
    return f"sum{_by(by)} (rate({of(name, where)}[$__rate_interval]))"


def lately(name: str, by: str = "", where: str = "") -> str:
    """The increase of five minutes: what happened once stays to be seen for that long."""
    return f"sum{_by(by)} (increase({of(name, where)}[5m]))"


def now(name: str, by: str = "", where: str = "", how: str = "sum") -> str:
    return f"{how}{_by(by)} ({of(name, where)})"


def quantile(which: float, histogram: str, by: str = "", where: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    # Of nothing it is NaN, which nobody wants to read: `>= 0` leaves that out.
    return f"histogram_quantile({which}, {rate(f'{histogram}_bucket', labels, where)}) >= 0"


def others(expr: str) -> str:
    """Of the policy's series: the row of all services that it does not name has an empty `service`."""
    return f'label_replace({expr}, "service", "(all others)", "service", "")'


def share(part: str, whole: str) -> str:
    """Nothing where there is no whole."""
    return f"({or_zero(part, whole)}) / (({whole}) > 0)"


def or_zero(part: str, whole: str) -> str:
    """0 where there is a whole and nothing of this part, so that its line does not end when all is well."""
    return f"({part}) or 0 * ({whole})"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""


# ---- spans: estimates, and how far they may be off ----

CALLS_VARIANCE = "weir_spanmetrics_calls_variance_total"
# Requests of a trace count together in their service, whatever they ask for, but those that fail apart: of some operations its parts
# are enough, of all of them exact.
SERVICE_VARIANCE = "weir_spanmetrics_service_variance_total"


def per_second(calls: str, where: str = "", by: str = "") -> str:
    """An estimate over five minutes, the window that its standard error below is of."""
    return f"{lately(calls, by, where)} / 300"


def off_by(where: str, by: str = "") -> str:
    """1.96 standard errors of the requests of services: with what is estimated in the middle, a band that holds the truth 95 times in
    100. By status standard errors are added up, not variances, since both may be of one trace."""
    return f"1.96 * sum{_by(by)} (sqrt({lately(SERVICE_VARIANCE, 'service, status_code', where)})) / 300"


def operations_off_by(where: str) -> str:
    """The same of each operation by itself."""
    return f"1.96 * sum by (span_name) (sqrt({lately(CALLS_VARIANCE, 'span_name, span_kind, status_code', where)})) / 300"


# ---- Envoy ----

# Who scrapes an Envoy is no caller of it: its admin port counts under this name.
CALLERS = 'envoy_http_conn_manager_prefix!="admin"'


def envoy(counter: str, by: str, where: str = "") -> str:
    """A counter of Envoy's: `x_total` where DogStatsD or OTLP brought it to Weir, `x` where Prometheus scraped Envoy."""
    return (
        f"sum by ({by}) (rate({of(counter + '_total', where)}[$__rate_interval]) or rate({of(counter, where)}[$__rate_interval]))"
    )


# Envoy's own histograms count milliseconds and have this bound; Weir turns the timers of StatsD into seconds.
_MILLISECONDS = 'le=~"3600000(\\\\.0)?|3\\\\.6e\\\\+06"'


def envoy_seconds(which: float, histogram: str, by: str, where: str = "") -> str:
    """A quantile in seconds, whichever unit the buckets have: they tell it by their bounds."""
    buckets = f"rate({of(histogram + '_bucket', where)}[$__rate_interval])"
    marked = of(histogram + "_bucket", f"{where}, {_MILLISECONDS}" if where else _MILLISECONDS)
    in_ms = f"histogram_quantile({which}, sum by (le, {by}) ({buckets} and ignoring (le) {marked})) / 1000"
    in_s = f"histogram_quantile({which}, sum by (le, {by}) ({buckets} unless ignoring (le) {marked}))"
    return f"({in_ms} >= 0) or ({in_s} >= 0)"


# ---- Linkerd 1 and Namerd ----


def window(stat: str, which: str, by: str, where: str = "") -> str:
    """A quantile of Linkerd 1, in seconds. Its summaries are of the last minute alone, so they are read as they stand, never by rate()."""
    quantile_ = f'quantile="{which}"'
    return f"max by ({by}) ({of(stat, f'{where}, {quantile_}' if where else quantile_)}) / 1000"
