"""Start, reload, end: what a person or an init system does to Weir, and what it answers."""

import contextlib
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness.ledger import final_ledger
from harness.net import answers, free_port, http, wait_until
from harness.process import Process, run
from harness.weir import Weir, binary


def check(config: pathlib.Path):
    return run([binary(), "check", "-c", config])


def own_host() -> str:
    """An address of this machine that nobody else listens on, for the default ports."""
    return "127." + ".".join(str(random.randrange(1, 255)) for _ in range(3))


def test_no_configuration_at_all_runs(start, tmp_path):
    """On the default ports; one that is taken is a warning, and that receiver stays off."""
    host = own_host()
    with socket.create_server((host, 4317)):
        process = Process("weir", [binary(), "run"], tmp_path / "weir.log", env={"WEIR_LISTEN_HOST": host}, cwd=tmp_path)
        try:
            process.wait_ready(lambda: answers(f"http://{host}:9646/-/ready"))
            page = http(f"http://{host}:9646/metrics").text
            assert "weir_build_info" in page
            process.says("4317")  # the port that was taken
            # Eight idle seconds would be a benchmark; here only that it does not spin.
            before, began = process.cpu_seconds(), time.monotonic()
            time.sleep(2)
            assert process.cpu_seconds() - before < 0.1 * (time.monotonic() - began)
            assert process.rss_bytes() < 30e6
        finally:
            status = process.stop()
        assert status == 0


@pytest.mark.parametrize(
    "held, wanted",
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("::1", "[::1]"),
        ("::", "127.0.0.1"),
        ("127.0.0.1", "[::]"),
    ],
)
def test_who_holds_a_port_is_named(tmp_path, held, wanted):
    port, config = free_port(), tmp_path / "weir.yaml"
    family = socket.AF_INET6 if ":" in held else socket.AF_INET
    with socket.create_server((held, port), family=family, dualstack_ipv6=held == "::"):
        config.write_text(
            f"receivers: {{ grpc: {{ listen: '{wanted}:{port}' }} }}\nexporters: {{ file: {{ directory: {tmp_path} }} }}\n"
        )
        done = run([binary(), "run", "-c", config])
    assert done.returncode == 1
    name = pathlib.Path("/proc/self/comm").read_text().strip()
    assert f"receivers.grpc.listen: {wanted}:{port} (TCP) is taken by {name} (pid {os.getpid()})" in done.stderr


def test_one_that_nothing_can_reach_does_not_run(tmp_path):
    """Who starts a second one without a configuration is told so, and not left with a process that hears nothing. Others that
    hold the same port on addresses of their own are not in its way."""
    with contextlib.ExitStack() as others:
        for _ in range(8):
            others.enter_context(socket.create_server((own_host(), 4317)))
        nothing_can_reach(tmp_path)


def nothing_can_reach(tmp_path):
    env = {"WEIR_LISTEN_HOST": own_host()}
    first = Process("weir", [binary(), "run"], tmp_path / "first.log", env=env, cwd=tmp_path)
    try:
        first.wait_ready(lambda: "event=ready" in first.text())
        second = run([binary(), "run"], env={**os.environ, **env}, cwd=tmp_path)
        assert second.returncode == 1
        assert "no receiver could listen" in second.stderr
        assert re.search(rf"receivers\.grpc\.listen: \S+:4317 \(TCP\) is taken by \S+ \(pid {first.pid}\)", second.stderr)
    finally:
        first.stop()


def test_a_folder_that_cannot_be_made_is_said_by_its_key(tmp_path):
    (tmp_path / "taken").write_text("a file\n")
    for exporters, extra, key in (
        (f"file/archive: {{ directory: {tmp_path}/taken/traces }}", "", "exporters.file/archive"),
        ("{}", f"spool: {{ directory: {tmp_path}/taken/spool, durable: true }}", "spool.directory"),
    ):
        one = Weir(tmp_path / key[:5], exporters=exporters, extra=extra)
        done = run([binary(), "run", "-c", one.config], cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(key) and "taken" in done.stderr


def test_help_of_each_command():
    """`weir help COMMAND` is `weir COMMAND --help`; what is no command, or no argument, is told with the usage."""
    listed = re.findall(r"^  ([a-z]+) ", run([binary(), "--help"]).stdout, re.MULTILINE)
    assert {"run", "check", "policy"} <= set(listed)
    for command in listed:
        if command == "version":
            continue
        page = run([binary(), command, "--help"])
        assert page.returncode == 0
        assert f"usage: weir {command}" in page.stdout
        assert run([binary(), "help", command]).stdout == page.stdout
    unknown = run([binary(), "help", "chekc"])
    assert unknown.returncode == 2
    assert "no command chekc" in unknown.stderr
    bare = run([binary(), "check", "weir.yaml"])
    assert bare.returncode == 2
    assert "weir.yaml: unknown argument; a configuration is given with -c" in bare.stderr


def test_a_taken_port_that_is_asked_for_is_fatal(tmp_path):
    one = Weir(tmp_path)
    with socket.create_server(("127.0.0.1", one.grpc_port)):
        done = run([binary(), "run", "-c", one.config], cwd=tmp_path)
    assert done.returncode == 1
    assert str(one.grpc_port) in done.stderr
    assert "grpc" in done.stderr
    # The same for UDP, where SO_REUSEPORT would let two share it in silence.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        udp.bind(("127.0.0.1", one.statsd_port))
        done = run([binary(), "run", "-c", one.config], cwd=tmp_path)
    assert done.returncode == 1
    assert str(one.statsd_port) in done.stderr
    assert "statsd" in done.stderr


def test_two_on_the_same_ports_cannot_run(start, tmp_path):
    one = start(Weir(tmp_path / "one"))
    second = Weir(tmp_path / "two", ports=(one.grpc_port, free_port(), free_port()))
    done = run([binary(), "run", "-c", second.config], cwd=tmp_path)
    assert done.returncode == 1
    wait_until(lambda: answers(one.url("/-/ready")), "the first to answer")
    one.balance(received=0)


@pytest.mark.parametrize(
    "line, reason",
    [
        ("lanez: 2", "lanez"),
        ("lanes: many", "lanes"),
        ("lanes: 100000", "lanes"),
        ("receivers: { grpc: { listen: nowhere } }", "listen"),
        ("exporters: { pigeon: {} }", "pigeon"),
        ("exporters: { zipkin: { encoding: proto3 } }", "url"),
        ("memory: { intake: 900TiB }", "intake"),
        ("drain_timeout: 10", "drain_timeout"),
        ("admin: { listen: '${env:WEIR_NO_SUCH_VARIABLE}' }", "WEIR_NO_SUCH_VARIABLE"),
        ("lanes: [", ""),
    ],
)
@pytest.mark.sanitized
def test_what_is_wrong_is_named_with_its_line(tmp_path, line, reason):
    path = tmp_path / "weir.yaml"
    path.write_text(f"# a comment\n{line}\n")
    for done in (check(path), run([binary(), "run", "-c", path], cwd=tmp_path)):
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.search(r"weir\.yaml:\d+: ", done.stderr), done.stderr
        assert reason in done.stderr
    assert "weir.yaml:2: " in check(path).stderr or line.endswith("[")


def test_a_good_configuration_passes_and_secrets_stay_secret(tmp_path):
    one = Weir(
        tmp_path, exporters="zipkin: { url: 'http://127.0.0.1:9411/api/v2/spans', headers: { authorization: 'Bearer s3cr3t' } }"
    )
    done = check(one.config)
    assert done.returncode == 0, done.stderr
    assert "s3cr3t" not in done.stdout + done.stderr


def test_check_warns_of_what_can_have_no_effect(tmp_path):
    (tmp_path / "sampling.yaml").write_text(
        "collector: { rate: 1% }\n"
        "sources: [ { match: { receiver: scribe }, sampled_at: 0.1 } ]\n"
        "keep:\n"
        "  rules:\n"
        "    - { name: slow, when: { duration: '>1s' }, rate: 50% }\n"
        "    - { name: rest }\n"
        "    - { name: errors, when: { error: true } }\n"
    )
    path = tmp_path / "weir.yaml"
    path.write_text("receivers: { scribe: off }\nsampling: { policy: sampling.yaml }\n")
    done = check(path)
    assert done.returncode == 0, done.stderr
    policy = tmp_path / "sampling.yaml"
    assert done.stderr.splitlines() == [
        f"{policy}:2: warning: sources: nothing comes from receiver scribe, which is off",
        f"{policy}:5: warning: rule slow: its rate of 0.5 has no effect: rates are of everything, and collector: leaves no more than "
        "0.01 of anything",
        f"{policy}:7: warning: rule errors: is never asked: the rule rest in line 6 matches every trace",
    ]
    assert "ok" in done.stdout
    policy.write_text("keep: { rules: [ { name: errors, when: { error: true } }, { name: rest, rate: 10% } ] }\n")
    assert check(path).stderr == ""


def test_sub_commands_explain_themselves():
    done = run([binary(), "version"])
    assert done.returncode == 0
    assert re.search(r"\d+\.\d+\.\d+", done.stdout)
    for arguments in (["--help"], ["run", "--help"], ["check", "--help"], ["emit", "--help"], ["cat", "--help"]):
        done = run([binary(), *arguments])
        assert done.returncode == 0, arguments
        assert "usage" in done.stdout.lower(), arguments
    done = run([binary(), "fly"])
    assert done.returncode not in (0, None)
    assert "fly" in done.stderr


@pytest.mark.sanitized
def test_reload_changes_what_can_change_and_names_what_cannot(weir, tmp_path):
    policy = tmp_path / "sampling.yaml"
    policy.write_text("collector: { rate: 1 }\n")
    extra = f"sampling: {{ policy: {policy} }}"
    one = weir(extra=extra)
    one.emit("--seed", 1, spans=2000)
    assert one.balance(received=2000).sampled_out == 0

    # The policy: live, by HTTP.
    policy.write_text("collector: { rate: 0 }\n")
    answer = one.reload()
    assert answer.status == 200, answer.text
    one.emit("--seed", 2, spans=2000)
    assert one.balance(received=4000).sampled_out == 2000

    # A bad one: nothing changes, and it says why and where.
    policy.write_text("collector: { rate: 10 }\n")
    answer = one.reload()
    assert answer.status == 400
    assert "sampling.yaml:1" in answer.text
    assert one.page().value("weir_config_last_reload_successful") == 0
    one.emit("--seed", 3, spans=2000)
    assert one.balance(received=6000).sampled_out == 4000, "the old policy is still in force"

    # The policy again, by signal.
    policy.write_text("collector: { rate: 1 }\n")
    one.process.signal(signal.SIGHUP)
    wait_until(lambda: one.page().value("weir_config_last_reload_successful") == 1, "the reload by SIGHUP")
    one.emit("--seed", 4, spans=2000)
    assert one.balance(received=8000).sampled_out == 4000

    # What only a restart can change is named.
    one.write(exporters=f"file: {{ directory: {one.traces} }}", lanes=3, extra=extra)
    answer = one.reload()
    assert answer.status == 200, answer.text
    assert "lanes" in answer.text
    one.config.write_text("lanez: 3\n")
    answer = one.reload()
    assert answer.status == 400
    assert "lanez" in answer.text and ":1:" in answer.text
    one.balance(received=8000)


@pytest.mark.parametrize("lanes", [2, 4])
@pytest.mark.sanitized
def test_sigterm_under_load_drains_and_exits_0(weir, lanes):
    """Nothing that was acknowledged is lost: the file holds it, and the last line of the log balances."""
    one = weir(lanes=lanes, extra="drain_timeout: 10s")
    emit = subprocess.Popen(
        [str(binary()), "emit", "--endpoint", one.endpoint, "--spans", "50000000", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: one.received() > 200_000, "load")
        one.process.signal(signal.SIGTERM)
        assert one.process.wait() == 0, one.process.tail()
        out, _ = emit.communicate(timeout=120)
    finally:
        if emit.poll() is None:
            emit.kill()
            emit.wait()
    acknowledged = json.loads(out)["acknowledged"]
    ledger = final_ledger(one.process.text())
    assert ledger["imbalance{file}"] == 0
    assert ledger["held"] == 0
    assert ledger["held{file}"] == 0
    assert ledger["received"] == ledger["delivered{file}"] + ledger["dropped{file}"] + ledger["dropped"] + ledger["sampled_out"]
    # A span may be accepted and its answer be lost with the connection, never the other way round.
    assert ledger["received"] >= acknowledged
    done = subprocess.run(
        f"'{binary()}' cat '{one.traces}' | wc -l", shell=True, capture_output=True, text=True, timeout=200, check=True
    )
    assert int(done.stdout) == ledger["delivered{file}"]


@pytest.mark.sanitized
def test_sigterm_with_a_silent_back_end_ends_within_its_bound(weir):
    """Spans that nobody takes do not keep the process: they are dropped as shutdown, and counted."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        one = weir(
            exporters=f"zipkin: {{ url: 'http://127.0.0.1:{silent.getsockname()[1]}/api/v2/spans' }}", extra="drain_timeout: 2s"
        )
        one.emit("--batch", 100, spans=5000)
        one.balance(received=5000, held=True)
        assert one.stop() == 0
    ledger = final_ledger(one.process.text())
    assert ledger["imbalance{zipkin}"] == 0
    assert ledger["dropped{zipkin}"] == 5000


class SlowBackEnd(BaseHTTPRequestHandler):
    """Takes everything, a third of a second later."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.3)
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.sanitized
def test_a_caller_that_never_ends_leaves_the_queues_their_time(weir, tmp_path):
    """What lanes hold is given to the queues when receivers have used up their share of drain_timeout, not all of it."""
    (tmp_path / "sampling.yaml").write_text("keep: { wait: 1h, quiet: 1h, rules: [ { name: all } ] }\n")
    back_end = ThreadingHTTPServer(("127.0.0.1", 0), SlowBackEnd)
    threading.Thread(target=back_end.serve_forever, daemon=True).start()
    one = weir(
        receivers={"otlp_http": ""},
        exporters=f"zipkin: {{ url: 'http://127.0.0.1:{back_end.server_port}/api/v2/spans' }}",
        extra=f"drain_timeout: 20s\nsampling: {{ policy: {tmp_path / 'sampling.yaml'} }}",
    )
    one.emit("--batch", 100, spans=5000)
    one.balance(received=5000, held=True)
    with socket.create_connection(("127.0.0.1", one.ports["otlp_http"])) as caller:
        caller.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: weir\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
        wait_until(lambda: one.page().value("weir_http_connections", receiver="otlp_http") == 1, "the caller's connection")
        assert one.stop() == 0
    back_end.shutdown()
    ledger = final_ledger(one.process.text())
    assert ledger["imbalance{zipkin}"] == 0
    assert ledger["dropped{zipkin}"] == 0
    assert ledger["delivered{zipkin}"] == 5000
