"""What all dashboards share: variables, marks of events, addresses of each other."""

from .series import of
from .vocabulary import choice, datasource, text

OVERVIEW, SERVICE, PROXIES, SAMPLING, SELF = "weir-overview", "weir-service", "weir-proxies", "weir-sampling", "weir-self"
KEPT = "${__url_time_range}&${datasource:queryparam}&${cluster:queryparam}&${job:queryparam}&${instance:queryparam}"


def address(uid: str, more: str = "") -> str:
    """Another dashboard, with the same time and the same source."""
    return f"/d/{uid}?{KEPT}{'&' + more if more else ''}"


def service_by(field: str) -> str:
    return address(SERVICE, f"var-service={field}")


TO_OVERVIEW = ("Mesh overview", address(OVERVIEW))
TO_PROXIES = ("Proxies", address(PROXIES))
TO_SAMPLING = ("Tracing cost and sampling", address(SAMPLING))
TO_SELF = ("Weir itself", address(SELF))
TO_TRACES = ("Traces in Zipkin", "${zipkin}/zipkin/?lookback=15m")
ON_SERVICE_LINE = (
    ("Open the service", service_by("${__field.labels.service}")),
    ("Its traces in Zipkin", "${zipkin}/zipkin/?serviceName=${__field.labels.service}&lookback=15m"),
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
