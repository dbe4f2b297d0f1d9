"""Proxies that only read files: Debian's plain nginx samples as the policy says, in front of an Envoy that follows it; an Envoy
that reads its runtime from a file; and what is rendered, by nginx itself."""

import http.client
import json
import pathlib
import subprocess
import sys
import threading

import pytest
from harness.chance import drawn
from harness.envoy import Envoy
from harness.net import answers, free_port, wait_until
from harness.net import http as ask
from harness.process import ROOT, Process, run
from harness.weir import Weir, binary

SNIPPET = ROOT / "examples" / "nginx" / "weir-policy.conf"
POLICY = """
proxies:
  default: {{ rate: 0.5 }}
  services:
    edge-nginx:
      rate: {rate}
      operations:
        "POST /v2/checkout": {{ rate: 1 }}
        "GET /healthz": {{ rate: 0 }}
        "GET /orders/{{id}}": {{ rate: {orders} }}
"""


def policy(rate, orders) -> str:
    return POLICY.format(rate=rate, orders=orders)


class Edge:
    """nginx with the snippet of examples/nginx and the file that Weir renders, in front of one server."""

    def __init__(self, folder: pathlib.Path, rates: pathlib.Path, behind: int, syslog: int):
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        snippet = SNIPPET.read_text().replace("127.0.0.1:5140", f"127.0.0.1:{syslog}")
        (folder / "weir-policy.conf").write_text(snippet.replace("/etc/nginx/weir-rates.conf;", f"{rates};"))
        temp = folder / "temp"
        temp.mkdir()
        paths = " ".join(f"{kind}_temp_path {temp};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body"))
        (folder / "nginx.conf").write_text(f"""
daemon off; master_process on; worker_processes 1; user root; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
  include {folder}/weir-policy.conf; {paths}
  server {{
    listen 127.0.0.1:{self.port};
    location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; }}
    location = /weir {{ access_log off; return 200 "$weir_sample_rate\\n$weir_sampled\\n$weir_traceparent\\n$weir_tracestate\\n"; }}
  }}
}}
""")
        self.argv = ["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
        self.reload = " ".join([*self.argv, "-s", "reload"])

    def start(self) -> "Edge":
        self.process = Process("nginx", self.argv, self.folder / "nginx.log")
        self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.port}/weir"))
        return self

    def says(self, **headers: str) -> list[str]:
        """Rate, decision, traceparent and tracestate of a GET /weir."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(f"http://127.0.0.1:{self.port}/weir", headers=named).text.split("\n")[:4]

    def workers(self) -> list[str]:
        """A reload has come to its end when only one is left, and it is another one than before."""
        return pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()

    def send(self, requests: list[tuple[str, str]]) -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        statuses = []
        for method, path in requests:
            connection.request(method, path)
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)
        connection.close()
        return statuses

    def stop(self):
        self.process.stop()


class Steady:
    """Requests that never end; what they were answered. Each on a connection of its own: a reload closes those that are idle, which
    HTTP lets a server do at any time. `told()`: of how many requests Weir has heard; no more than some are ahead of it, for what
    NGINX says goes by UDP."""

    def __init__(self, edge: Edge, told):
        self.edge, self.told, self.ending, self.statuses, self.failed = edge, told, threading.Event(), [], []
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self):
        before = self.told()
        while not self.ending.is_set():
            try:
                self.statuses += self.edge.send([("GET", "/steady")])
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(error)
            if len(self.statuses) % 20 == 0:
                wait_until(lambda: self.told() >= before + len(self.statuses), "Weir to hear of the requests")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()


@pytest.fixture
def started():
    things: list = []

    def start(thing):
        things.append(thing)
        return thing.start()

    yield start
    for thing in reversed(things):
        thing.stop()


def spans_of(weir: Weir) -> dict[str, list[dict]]:
    """By trace id."""
    traces: dict[str, list[dict]] = {}
    for span in weir.cat():
        traces.setdefault(span["traceId"], []).append(span)
    return traces


def weir_with(folder: pathlib.Path, text: str, render: str) -> Weir:
    folder.mkdir(parents=True)
    (folder / "sampling.yaml").write_text(text)
    extra = f"sampling: {{ policy: sampling.yaml }}\nrender:\n  - {render}\n"
    return Weir(folder, extra=extra, receivers={"access_log": ""})


def command_count(weir: Weir, result: str) -> float:
    return weir.page().sum("weir_policy_file_commands_total", result=result)


def test_nginx_follows_the_policy_and_envoy_behind_follows_nginx(tmp_path, started):
    """Rates by location at the edge, one decision for the whole trace, weights that travel with it; and another policy, by a
    file and a reload, under load and without a failed request."""
    rates = tmp_path / "weir" / "rates.conf"
    # Weir renders first, then nginx has something to include: the command fails until then, and is tried again.
    reload = " ".join(["nginx", "-e", f"{tmp_path}/edge/error.log", "-c", f"{tmp_path}/edge/nginx.conf", "-s", "reload"])
    render = f'{{ for: nginx, service: edge-nginx, path: rates.conf, command: "{reload}", min_interval: 200ms }}'
    weir = started(weir_with(tmp_path / "weir", policy(rate=0, orders=0.25), render))
    wait_until(rates.exists, "the file")
    envoy = Envoy(tmp_path / "envoy", "front", {"app": 0}, otlp_port=weir.grpc_port, statsd_port=weir.statsd_port, app=True)
    started(envoy)
    edge = started(Edge(tmp_path / "edge", rates, envoy.port, weir.ports["access_log"]))
    wait_until(lambda: command_count(weir, "ok") >= 1, "the command, now that there is an nginx")

    argv = [binary(), "policy", "render", "--for", "nginx", "--service", "edge-nginx", "--from", weir.url("")]
    assert run(argv).stdout == rates.read_text()

    orders, checkouts = 400, 40
    requests = [("GET", f"/orders/{number}?q=1") for number in range(orders)]
    requests += [("POST", "/v2/checkout")] * checkouts + [("GET", "/healthz")] * 40 + [("GET", "/other")] * 40

    def counted() -> float:
        return weir.page().sum("http_server_requests_total", service="edge-nginx")

    for first in range(0, len(requests), 65):  # what nginx says goes by UDP: Weir is given time to take it
        assert set(edge.send(requests[first : first + 65])) == {200}
        sent = len(requests[: first + 65])
        wait_until(lambda sent=sent: counted() == sent, lambda sent=sent: f"each of {sent} requests to be counted: {counted()}")
    # nginx's span and Envoy's two of each trace; Envoy holds its own for up to 200 ms.
    wait_until(
        lambda: (page := weir.page()).sum("weir_spans_received_total") > 3 * checkouts
        and page.sum("weir_spans_received_total", receiver="grpc")
        == 2 * page.sum("weir_spans_received_total", receiver="access_log"),
        "Envoy's spans of the traces that nginx told",
    )
    ledger = weir.balance()
    page = weir.page()
    assert page.sum("weir_spans_weight_source_total", source="carried") == ledger.received  # nothing is unknown
    seen = page.sum("weir_spans_received_total", receiver="access_log") - checkouts
    drawn(seen, orders, 0.25)
    for service, name in (("edge-nginx", "GET /orders/{id}"), ("front", "GET /orders/{id}")):
        told = page.sum("traces_spanmetrics_calls_total", service=service, span_name=name, span_kind="SPAN_KIND_SERVER")
        assert told == pytest.approx(4 * seen), (service, name)
    assert (
        page.sum("traces_spanmetrics_calls_total", service="front", span_name="POST /v2/checkout", span_kind="SPAN_KIND_SERVER")
        == checkouts
    )

    # Another policy: nothing of orders, all the rest; no request fails meanwhile.
    ran, old = command_count(weir, "ok"), edge.workers()
    with Steady(edge, counted) as steady:
        (tmp_path / "weir" / "sampling.yaml").write_text(policy(rate=1, orders=0))
        assert weir.reload().status == 200
        wait_until(lambda: command_count(weir, "ok") > ran, "the reload")
        wait_until(lambda: edge.says()[:2] == ["1", "1"], "nginx to follow")
        wait_until(lambda: len(edge.workers()) == 1 and edge.workers() != old, "the worker before to end")
        before = len(steady.statuses)
        wait_until(lambda: len(steady.statuses) > before + 100, "requests under the new policy")
    assert set(steady.statuses) == {200} and steady.failed == []
    assert set(edge.send([("GET", "/orders/1")] * 30 + [("GET", "/other")] * 30)) == {200}
    followers = ask(weir.url("/policy")).json()["followers"]
    assert [(one["way"], one["service"], one["state"]) for one in followers if one["way"] == "file"] == [
        ("file", "edge-nginx", "current")
    ]
    weir.balance()
    assert weir.stop() == 0

    traces = spans_of(weir)
    names = [sorted(span["name"] for span in spans) for spans in traces.values()]
    assert names.count(["GET /other"] * 3) == 30
    assert not any("GET /healthz" in one for one in names)
    late = [one for one in names if "GET /orders/1" in one]
    assert len(late) <= 1  # that of the first policy, if it was drawn
    for trace, spans in traces.items():
        kind = {(span["service"], span["kind"]): span for span in spans}
        assert set(kind) == {("edge-nginx", 2), ("front", 2), ("front", 3)}, names
        root = kind["edge-nginx", 2]
        assert "parentSpanId" not in root and kind["front", 2]["parentSpanId"] == root["spanId"]
        th = "c" if "/orders/" in root["name"] else "0"
        assert {span["traceState"] for span in spans} == {f"ot=th:{th}"}
        assert int(trace[-14:], 16) >= int(th.ljust(14, "0"), 16)  # so the claim is true


def test_strangers_decide_nothing(tmp_path, started):
    render = "{ for: nginx, service: edge-nginx, path: rates.conf, incoming: ignore }"
    weir = started(weir_with(tmp_path / "weir", policy(rate=0, orders=0), render))
    rates = tmp_path / "weir" / "rates.conf"
    wait_until(rates.exists, "the file")
    edge = started(Edge(tmp_path / "edge", rates, free_port(), weir.ports["access_log"]))
    trace = "f" * 32
    for headers in (
        {"traceparent": f"00-{trace}-1112131415161718-01", "tracestate": "ot=th:0"},
        {"x_b3_traceid": trace, "x_b3_spanid": "1112131415161718", "x_b3_sampled": "1"},
        {"x_b3_traceid": trace, "x_b3_flags": "1"},
    ):
        rate, sampled, parent, state = edge.says(**headers)
        assert (rate, sampled, state) == ("0", "0", "") and trace not in parent, headers


def test_nginx_decides_by_the_trace(tmp_path, started):
    """With ids that come without a decision: at, below and above the threshold; and who decided already is honoured."""
    weir = started(
        weir_with(tmp_path / "weir", policy(rate="1%", orders=0), "{ for: nginx, service: edge-nginx, path: rates.conf }")
    )
    rates = tmp_path / "weir" / "rates.conf"
    wait_until(rates.exists, "the file")
    edge = started(Edge(tmp_path / "edge", rates, free_port(), weir.ports["access_log"]))
    threshold = 2**56 - round(0.01 * 2**56)
    th = f"{threshold:014x}".rstrip("0")
    for r, sampled in ((threshold - 1, 0), (threshold, 1), (threshold + 1, 1), (2**56 - 1, 1), (0, 0), (threshold // 2, 0)):
        trace = f"0102030405060708ff{r:014x}"
        rate, said, parent, state = edge.says(x_b3_traceid=trace, x_b3_spanid="1112131415161718")
        assert (rate, said) == ("0.01", str(sampled)), hex(r)
        assert parent.startswith(f"00-{trace}-") and parent.endswith(f"-0{sampled}")
        assert state == (f"ot=th:{th}" if sampled else "")
        assert edge.says(x_b3_traceid=trace[16:], x_b3_spanid="1112131415161718")[1] == str(sampled)
    trace, span = "0102030405060708090a0b0c0d0e0f10", "1112131415161718"
    yes, no = f"{'f' * 32}", f"{'1' * 32}"
    honoured = [
        ({"traceparent": f"00-{no}-{span}-01", "tracestate": "ot=th:8,x=y"}, "1", "ot=th:8,x=y"),
        ({"traceparent": f"00-{yes}-{span}-00", "tracestate": "x=y"}, "0", "x=y"),
        ({"traceparent": f"00-{no}-{span}-03"}, "1", ""),
        ({"traceparent": f"cc-{no}-{span}-01-what.comes"}, "1", ""),
        ({"x_b3_traceid": no, "x_b3_spanid": span, "x_b3_sampled": "1"}, "1", ""),
        ({"x_b3_traceid": yes, "x_b3_spanid": span, "x_b3_sampled": "0"}, "0", ""),
        ({"x_b3_traceid": no, "x_b3_spanid": span, "x_b3_flags": "1"}, "1", ""),
        ({"traceparent": f"00-{yes}-{span}-00", "x_b3_sampled": "1"}, "0", ""),
        # Not a traceparent: NGINX decides, and what came as tracestate without one is not handed on.
        ({"traceparent": f"ff-{no}-{span}-01", "x_b3_traceid": yes, "tracestate": "x=y"}, "1", f"ot=th:{th}"),
        ({"traceparent": "garbage", "x_b3_traceid": no, "tracestate": "x=y"}, "0", ""),
    ]
    for headers, sampled, state in honoured:
        said = edge.says(**headers)
        assert (said[1], said[3]) == (sampled, state), headers
    assert edge.says(traceparent=f"00-{trace}-{span}-01")[2].startswith(f"00-{trace}-")


EVIL = [
    'GET /x\\"; } evil 1; map $a $b { \\"',
    "GET /x\\\\",
    "GET /x\\n} evil;",
    "GET /${evil}$evil{{{",
    "GET /a'b;c",
    "GET /(?<n>[a",
    "GET /{{id}",
    "x\\u2028evil: 1",
    "GET /" + "long" * 55,
    "pay.Cards/Charge",
    "/any/{id}/{name}/:other",
]


@pytest.mark.parametrize("kind", ["nginx", "nginx-otel"])
def test_nginx_takes_what_is_rendered(tmp_path, kind):
    """Names that mean harm, and more rates than a policy should have: nginx -t says what nginx makes of it."""
    operations = "".join(f'        "{name}": {{ rate: 0.{index + 1:06} }}\n' for index, name in enumerate(EVIL))
    operations += "".join(f'        "GET /many/{index}x": {{ rate: 0.5{index:05} }}\n' for index in range(400))
    evil = 'edge\\"; evil\\n'
    (tmp_path / "sampling.yaml").write_text(
        f'proxies:\n  default: {{ rate: 0.000001 }}\n  services:\n    "{evil}":\n      operations:\n{operations}'
    )
    out = tmp_path / "rates.conf"
    argv = [binary(), "policy", "render", "--for", kind, "--policy", tmp_path / "sampling.yaml", "--out", out]
    done = run([*argv, "--service", 'edge"; evil\n'])
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_text().count("$weir_kept_") >= 2 * 400
    # The module is not Debian's: a variable in its place, so that all else is read.
    stub = 'map "" $otel_trace_id { default $request_id; }' if kind == "nginx-otel" else ""
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; events {{}} http {{ {stub} include rates.conf; access_log off; "
        f'server {{ listen 127.0.0.1:{free_port()}; return 200 "$weir_sampled $weir_tracestate"; }} }}\n'
    )
    done = run(["nginx", "-t", "-e", tmp_path / "error.log", "-c", tmp_path / "nginx.conf"])
    assert done.returncode == 0, done.stderr
    assert "emerg" not in done.stderr


def test_the_others_take_what_is_rendered(tmp_path):
    """A shell and an SDK read the variables; the telemeter is YAML."""
    (tmp_path / "sampling.yaml").write_text(policy(rate="1%", orders=0.2))
    argv = [binary(), "policy", "render", "--policy", tmp_path / "sampling.yaml", "--service", "edge-nginx", "--for"]
    (tmp_path / "otel.env").write_text(run([*argv, "otel-env"]).stdout)
    script = f". {tmp_path}/otel.env && echo $OTEL_TRACES_SAMPLER,$OTEL_TRACES_SAMPLER_ARG"
    assert run(["sh", "-euc", script]).stdout == "parentbased_traceidratio,0.01\n"
    sampler = "from opentelemetry.sdk.trace import TracerProvider; print(TracerProvider().sampler.get_description())"
    done = run(["sh", "-euac", f'. {tmp_path}/otel.env; exec "$0" -c "$1"', sys.executable, sampler])
    assert done.stdout.startswith("ParentBased{root:TraceIdRatioBased{0.01}"), done.stderr
    telemeter = [line.partition(" #")[0] for line in run([*argv, "linkerd1"]).stdout.splitlines() if line[0] != "#"]
    assert telemeter == ["telemetry:", "- kind: io.l5d.zipkin", "  host: 127.0.0.1", "  port: 9410", "  sampleRate: 0.01"]
    layer = json.loads(run([*argv, "envoy"]).stdout)["resources"][0]["layer"]
    assert layer == {"tracing.random_sampling": {"numerator": 100, "denominator": "TEN_THOUSAND"}}


def test_an_envoy_follows_a_file(tmp_path, started):
    """No RTDS: its runtime is a file that Weir keeps, and it takes the next when it is moved into its place."""
    text = "proxies: {{ default: {{ rate: {} }} }}\n"
    weir = started(weir_with(tmp_path / "weir", text.format(0), "{ for: envoy, path: runtime.yaml, min_interval: 200ms }"))
    runtime = tmp_path / "weir" / "runtime.yaml"
    wait_until(runtime.exists, "the file")
    envoy = Envoy(tmp_path / "envoy", "front", {"app": 0}, otlp_port=weir.grpc_port, statsd_port=weir.statsd_port, app=True)
    layer = {"name": "weir", "rtds_config": {"path_config_source": {"path": str(runtime)}, "resource_api_version": "V3"}}
    envoy.config["layered_runtime"]["layers"].append({"name": "weir", "rtds_layer": layer})
    started(envoy)

    def numerator() -> str:
        entries = ask(f"http://127.0.0.1:{envoy.admin_port}/runtime").json()["entries"]
        return entries.get("tracing.random_sampling", {}).get("final_value", "")

    def get(count: int):
        connection = http.client.HTTPConnection("127.0.0.1", envoy.port, timeout=60)
        for _ in range(count):
            connection.request("GET", "/x")
            reply = connection.getresponse()
            reply.read()
            assert reply.status == 200
        connection.close()

    wait_until(lambda: "number_value: 0" in numerator(), lambda: f"Envoy to read it: {numerator()}")
    get(50)
    assert envoy.spans_sent() == 0
    (tmp_path / "weir" / "sampling.yaml").write_text(text.format(1))
    assert weir.reload().status == 200
    wait_until(lambda: "number_value: 10000" in numerator(), lambda: f"Envoy to follow: {numerator()}")
    get(50)
    wait_until(lambda: weir.page().sum("weir_spans_received_total") == 100, "two spans of each request")
    weir.balance(received=100)


def test_a_file_that_cannot_be_written_and_a_command_that_hangs(tmp_path, started):
    """Both are counted and told, the old file stays, and the way back is found without a restart."""
    text = "proxies: {{ default: {{ rate: {} }} }}\n"
    folder = tmp_path / "weir"
    command = f"echo begun >> {tmp_path}/ran; [ -e {tmp_path}/quick ] || sleep 600"
    weir = weir_with(
        folder,
        text.format(0.1),
        f'{{ for: otel-env, path: out/otel.env, timeout: 300ms, min_interval: 200ms, command: "{command}" }}',
    )
    out = folder / "out"
    out.mkdir()
    started(weir)
    wait_until(lambda: command_count(weir, "timeout") >= 1, "the command to be killed")
    assert weir.page().sum("weir_policy_file_pending") == 1
    (tmp_path / "quick").touch()
    wait_until(lambda: command_count(weir, "ok") == 1, "the command, tried again")
    wait_until(lambda: weir.page().sum("weir_policy_file_pending") == 0, "nothing to do")
    asleep = ["pgrep", "-f", f"{tmp_path}/quick"]
    wait_until(lambda: subprocess.run(asleep, check=False, capture_output=True).returncode == 1, "what was killed to be gone")

    held = (out / "otel.env").read_text()
    assert "SAMPLER_ARG=0.1\n" in held
    (out / "otel.env").rename(tmp_path / "kept.env")
    out.rmdir()
    (folder / "sampling.yaml").write_text(text.format(0.2))
    done = weir.reload()
    assert done.status == 400 and "there is no folder" in done.text  # a reload says so before anything changes
    out.mkdir()
    (out / "otel.env").mkdir()
    (out / "otel.env" / "x").touch()
    assert weir.reload().status == 400
    (out / "otel.env" / "x").unlink()
    (out / "otel.env").rmdir()
    (out / "otel.env").symlink_to(tmp_path / "kept.env")
    assert weir.reload().status == 200
    wait_until(lambda: command_count(weir, "ok") == 2, "the next file")
    assert (out / "otel.env").is_symlink() and "SAMPLER_ARG=0.2\n" in (tmp_path / "kept.env").read_text()
    weir.process.says("event=policy_command_failed")
    weir.process.says("killed, it ran for longer than its timeout")
