"""What all dashboards share: variables, marks of events, addresses of each other."""

from .series import of
from .vocabulary import GREEN, RED, YELLOW, choice, datasource, text

# From when on a figure is worth a look, and when it is bad; the same on all dashboards.
FAILING = ((None, GREEN), (0.01, YELLOW), (0.05, RED))
SUCCEEDING = ((None, RED), (0.95, YELLOW), (0.99, GREEN))
ANY_IS_BAD = ((None, GREEN), (1, RED))
ANY_IS_ODD = ((None, GREEN), (1, YELLOW))

OVERVIEW, SERVICE, PROXIES, SAMPLING, SELF = "weir-overview", "weir-service", "weir-proxies", "weir-sampling", "weir-self"
KEPT = "${__url_time_range}&${datasource:queryparam}&${cluster:queryparam}"
WEIRS = "${job:queryparam}&${instance:queryparam}"


def address(uid: str, *more: str) -> str:
    """Another dashboard, with the same time, source and cluster. Jobs are Weirs on all but *Proxies*, which has those of proxies too:
    they are not taken from there nor to there."""
    return f"/d/{uid}?{'&'.join((KEPT, *more))}"


def service_by(field: str) -> str:
    return address(SERVICE, WEIRS, f"var-service={field}")


def traces(more: str = "") -> str:
    """Zipkin's page of traces, of the dashboard's time. It reads a named lookback (15m) only beside an endTs."""
    return f"${{zipkin}}/zipkin/?lookback=range&startTs=${{__from}}&endTs=${{__to}}&limit=20{'&' + more if more else ''}"


TO_OVERVIEW = ("Mesh overview", address(OVERVIEW, WEIRS))
TO_PROXIES = ("Proxies", address(PROXIES))
TO_SAMPLING = ("Tracing cost and sampling", address(SAMPLING, WEIRS))
TO_SELF = ("Weir itself", address(SELF, WEIRS))
FROM_PROXIES_TO_OVERVIEW = (TO_OVERVIEW[0], address(OVERVIEW))
FROM_PROXIES_TO_SAMPLING = (TO_SAMPLING[0], address(SAMPLING))
TO_TRACES = ("Traces in Zipkin", traces())
ON_SERVICE_LINE = (
    ("Open the service", service_by("${__field.labels.service:percentencode}")),
    ("Its traces in Zipkin", traces("serviceName=${__field.labels.service:percentencode}")),
)

CLUSTER = choice("cluster", "Cluster", 'label_values(up{job!=""}, cluster)', every=".*")


def sources(metric: str) -> tuple:
    """Data source, cluster, job and instance, of all that have this metric."""
    return (
        datasource(),
        CLUSTER,
        choice("job", "Job", f'label_values({metric}{{cluster=~"$cluster"}}, job)'),
        choice("instance", "Instance", f'label_values({metric}{{cluster=~"$cluster", job=~"$job"}}, instance)'),
    )


ZIPKIN = text("zipkin", "Zipkin", "http://127.0.0.1:9411", "Where Zipkin's pages are, for links to traces.")

EVENTS = (
    ("reload", "blue", f"changes({of('weir_config_last_reload_success_timestamp_seconds')}[2m]) > 0"),
    ("restart", "red", f"changes({of('process_start_time_seconds')}[2m]) > 0"),
    ("policy change", "purple", f"changes({of('weir_policy_changes_total')}[2m]) > 0"),
)
