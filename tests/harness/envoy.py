"""Real Envoys: a small mesh of two in a row, tracing over OTLP/gRPC, counting over DogStatsD.

    client -> front -> middle -> orders | payments | inventory | users   (static answers of middle's own app listener)

A request through both is four spans: server and client of each. Paths under /CLUSTER/fail answer 503, under
/CLUSTER/slow after SLOW_MS; all others 200 at once.
"""

import http.client
import json
import pathlib
import re
import threading

from harness.net import answers, free_port
from harness.net import http as ask
from harness.process import PEERS, Process, settled

CLUSTERS = ("orders", "payments", "inventory", "users")
SLOW_MS = 150
SPANS_PER_REQUEST = 4
API = "type.googleapis.com/envoy"


def address_at(port: int, **extra) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port, **extra}}


def cluster_at(name: str, port: int, http2: bool = False) -> dict:
    cluster = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "60s",  # one that stood still while it connected fails nothing
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address_at(port)}}]}]},
    }
    if http2:
        cluster["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{API}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    return cluster


def tracing_as(service: str, sample: float) -> dict:
    return {
        "random_sampling": {"value": sample},
        "spawn_upstream_span": True,
        # Spans named as people name them; what is an id in a path is for Weir to see.
        "operation": "%REQ(:METHOD)% %PATH(NQ)%",
        "upstream_operation": "%REQ(:METHOD)% %PATH(NQ)%",
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": f"{API}.config.trace.v3.OpenTelemetryConfig",
                "service_name": service,
                # While a Weir stands still, no span is given up.
                "grpc_service": {"envoy_grpc": {"cluster_name": "weir"}, "timeout": "60s"},
            },
        },
    }


def discovery_at(cluster: str) -> dict:
    return {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": cluster}}]}


def rtds_layer(cluster: str | None) -> dict:
    """Without a cluster it is asked for over the bootstrap's ads_config."""
    source = {"api_config_source": discovery_at(cluster)} if cluster else {"ads": {}}
    # Without a timeout of its own a proxy waits 15 s for a Weir that is away before it serves anybody.
    config = {"resource_api_version": "V3", "initial_fetch_timeout": "1s", **source}
    return {"name": "weir", "rtds_layer": {"name": "weir", "rtds_config": config}}


def listener_at(name: str, port: int, routes: list, tracing: dict | None = None, filters: list | None = None) -> dict:
    manager = {
        "@type": f"{API}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            *(filters or []),
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{API}.extensions.filters.http.router.v3.Router"}},
        ],
    }
    if tracing:
        manager["tracing"] = tracing
    return {"name": name, "address": address_at(port), "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}


def _app_routes(slow_ms: int) -> list:
    fault = f"{API}.extensions.filters.http.fault.v3.HTTPFault"
    slow = {
        "envoy.filters.http.fault": {
            "@type": fault,
            "delay": {"fixed_delay": f"{slow_ms / 1000}s", "percentage": {"numerator": 100, "denominator": "HUNDRED"}},
        }
    }
    routes = []
    for cluster in CLUSTERS:
        routes.append({"match": {"prefix": f"/{cluster}/fail"}, "direct_response": {"status": 503}})
        routes.append(
            {"match": {"prefix": f"/{cluster}/slow"}, "direct_response": {"status": 200}, "typed_per_filter_config": slow}
        )
    return [*routes, {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok\n"}}}]


class Envoy:
    """One Envoy that traces as `service`. targets: cluster -> port; a path goes to the cluster of its first segment.

    rtds       its last runtime layer is what Weir tells it, so that it follows `proxies:` of sampling.yaml
    ads        the same, over ADS
    rtds_port  where it asks for that; otlp_port, unless a proxy stands between
    node       its id and cluster; (service-1, service)
    """

    def __init__(
        self,
        folder: pathlib.Path,
        service: str,
        targets: dict,
        *,
        otlp_port: int,
        statsd_port: int,
        app: bool = False,
        slow_ms: int = SLOW_MS,
        sample: float = 100,
        rtds: bool = False,
        ads: bool = False,
        rtds_port: int | None = None,
        node: tuple[str, str] | None = None,
    ):
        self.service, self.folder = service, folder
        self.port, self.admin_port, self.app_port = free_port(), free_port(), free_port()
        if app:
            targets = dict.fromkeys(targets, self.app_port)
        fault = {
            "name": "envoy.filters.http.fault",
            "typed_config": {"@type": f"{API}.extensions.filters.http.fault.v3.HTTPFault"},
        }
        if len(targets) == 1:
            routes = [{"match": {"prefix": "/"}, "route": {"cluster": next(iter(targets))}}]
        else:
            routes = [{"match": {"prefix": f"/{name}"}, "route": {"cluster": name}} for name in targets]
        listeners = [listener_at(service, self.port, routes, tracing_as(service, sample))]
        if app:
            listeners.append(listener_at("app", self.app_port, _app_routes(slow_ms), filters=[fault]))
        self.config = {
            "admin": {"address": address_at(self.admin_port)},
            "node": dict(zip(("id", "cluster"), node or (f"{service}-1", service), strict=True)),
            "stats_flush_interval": "1s",
            # Envoy's statistics do not say whose they are; two proxies would write one series without this tag.
            "stats_config": {"stats_tags": [{"tag_name": "proxy", "fixed_value": service}]},
            "stats_sinks": [
                {
                    "name": "envoy.stat_sinks.dog_statsd",
                    "typed_config": {
                        "@type": f"{API}.config.metrics.v3.DogStatsdSink",
                        "max_bytes_per_datagram": 1400,
                        "address": address_at(statsd_port, protocol="UDP"),
                    },
                }
            ],
            "layered_runtime": {
                "layers": [
                    {"name": "static", "static_layer": {"tracing.opentelemetry.flush_interval_ms": 200}},
                    *([rtds_layer(None if ads else "policy")] if rtds or ads else []),
                ]
            },
            "static_resources": {
                "listeners": listeners,
                "clusters": [
                    *(cluster_at(name, port) for name, port in targets.items()),
                    cluster_at("weir", otlp_port, http2=True),
                    cluster_at("policy", rtds_port or otlp_port, http2=True),
                ],
            },
        }
        if ads:
            self.config["dynamic_resources"] = {"ads_config": discovery_at("policy")}
        self.process: Process | None = None

    def start(self, *prefix) -> "Envoy":
        """prefix: a program that becomes Envoy, as taskset does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = isinstance(self.config, str)  # a YAML file instead
        path = self.folder / f"{self.service}.{'yaml' if whole else 'json'}"
        path.write_text(self.config if whole else json.dumps(self.config, indent=1))
        self.process = Process(
            self.service,
            [*prefix, PEERS / "envoy" / "envoy", "-c", path, "-l", "warn", "--concurrency", "1", "--disable-hot-restart"],
            self.folder / f"{self.service}.log",
        )
        self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.admin_port}/ready"))
        return self

    def stats(self, pattern: str = ".") -> dict:
        """Its own counters and gauges, by dotted name."""
        text = ask(f"http://127.0.0.1:{self.admin_port}/stats").text
        return {name: int(value) for name, value in re.findall(r"^(\S+): (\d+)$", text, re.M) if re.search(pattern, name)}

    def runtime(self, key: str) -> str | None:
        """The value in force of a runtime key, as its text; None: no layer has it."""
        entries = ask(f"http://127.0.0.1:{self.admin_port}/runtime").json()["entries"]
        return entries[key]["final_value"] if key in entries else None

    def told_rate(self) -> float | None:
        """The rate that its runtime says, a FractionalPercent; None: it says none."""
        text = self.runtime("tracing.random_sampling")
        if text is None:
            return None
        number = re.search(r"number_value: ([0-9.e+]+)", text)
        of = re.search(r'string_value: "(\w+)"', text)
        share = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}[of.group(1)]
        return (float(number.group(1)) if number else 0.0) / share

    def traced(self) -> int:
        """Requests of which it decided itself, by its rate, that they are traced."""
        return self.stats(rf"^http\.{self.service}\.tracing\.random_sampling").get(
            f"http.{self.service}.tracing.random_sampling", 0
        )

    def requests(self) -> int:
        name = f"http.{self.service}.downstream_rq_total"
        return self.stats(f"^{re.escape(name)}")[name]

    def spans_sent(self) -> int:
        return self.stats(r"^tracing\.opentelemetry\.spans_sent").get("tracing.opentelemetry.spans_sent", 0)

    def stop(self) -> int:
        return self.process.stop() if self.process else 0


class Mesh:
    """Two Envoys in a row, in front of Weir's ports."""

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        otlp_port: int,
        statsd_port: int,
        names: tuple = ("front", "middle"),
        sample: float = 100,
        rtds: bool = False,
        slow_ms: int = SLOW_MS,
    ):
        front, middle = names
        same = {"otlp_port": otlp_port, "statsd_port": statsd_port, "sample": sample, "rtds": rtds}
        self.middle = Envoy(folder, middle, dict.fromkeys(CLUSTERS, 0), app=True, slow_ms=slow_ms, **same)
        self.front = Envoy(folder, front, {middle: self.middle.port}, **same)

    def start(self) -> "Mesh":
        self.middle.start()
        self.front.start()
        return self

    def spans_sent(self) -> int:
        """Of both; waits until they have no more to send (Envoy counts a span as sent when it leaves its buffer)."""
        return settled(lambda: self.front.spans_sent() + self.middle.spans_sent(), still=2.0)

    def drive(self, paths: list, threads: int = 4) -> dict:
        """GETs each path through both; {status: how often}."""
        statuses: dict[int, int] = {}
        lock, todo = threading.Lock(), iter(paths)

        def work():
            connection = http.client.HTTPConnection("127.0.0.1", self.front.port, timeout=60)
            while True:
                with lock:
                    path = next(todo, None)
                if path is None:
                    break
                connection.request("GET", path, headers={"Host": "shop.example"})
                reply = connection.getresponse()
                reply.read()
                with lock:
                    statuses[reply.status] = statuses.get(reply.status, 0) + 1
            connection.close()

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return statuses

    def stop(self):
        self.front.stop()
        self.middle.stop()


def shop_paths(count: int) -> list[str]:
    """A day at the shop: ids in paths, one request in 15 fails, one in 20 is slow. The same every time."""
    paths = []
    for i in range(count):
        cluster = CLUSTERS[i % len(CLUSTERS)]
        kind = "fail" if i % 15 == 7 else "slow" if i % 20 == 11 else "v1"
        paths.append(f"/{cluster}/{kind}/{1000 + i}")
    return paths
