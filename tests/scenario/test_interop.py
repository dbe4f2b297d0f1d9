"""gRPC's own interoperability tests: real clients against grpc.testing.TestService on Weir's server (tests/interop).

Source: grpc doc/interop-test-descriptions.md, doc/negative-http2-test-descriptions.md.
"""

import re

import pytest
from harness.net import wait_until
from harness.process import PEERS, Process, run
from harness.weir import binary

pytestmark = pytest.mark.sanitized

CASES = (
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "pick_first_unary",
)
COMPRESSED = ("client_compressed_unary", "server_compressed_unary", "client_compressed_streaming", "server_compressed_streaming")
NEGATIVE = ("goaway", "rst_after_header", "rst_during_data", "rst_after_data", "ping", "max_streams")


@pytest.fixture
def serve(tmp_path):
    """serve(*options) -> its port. When the scenario is over its server ends with 0: every call ended, nothing leaked."""
    servers = []

    def begin(*options) -> int:
        process = Process("interop_server", [binary().parent / "interop_server", *options], tmp_path / "server.log")
        servers.append(process)
        listening = wait_until(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", process.text()), "interop_server's port")
        return int(listening[1])

    yield begin
    for process in servers:
        status = process.stop()
        assert status == 0, f"interop_server ended with {status}:\n{process.tail()}"


def client(name: str, port: int, case: str, *options):
    done = run([PEERS / "bin" / name, f"-server_port={port}", f"-test_case={case}", *options], timeout=280)
    assert done.returncode == 0, f"{case}: exit {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("case", CASES)
def test_interop(serve, case):
    client("grpc-interop-client", serve(), case, "-server_host=127.0.0.1")


@pytest.mark.parametrize("case", COMPRESSED)
def test_compression(serve, case):
    client("grpc-compression-client", serve(), case)


@pytest.mark.parametrize("case", NEGATIVE)
def test_what_a_client_makes_of_our_end(serve, case):
    client("grpc-negative-http2-client", serve("--negative", case), case, "-server_host=127.0.0.1")


def test_soak(serve):
    """Many large calls over a few connections, and a connection for each call."""
    port = serve()
    for case in ("rpc_soak", "channel_soak"):
        client("grpc-interop-client", port, case, "-server_host=127.0.0.1", "-soak_iterations=40", "-soak_num_threads=4",
               "-soak_overall_timeout_seconds=240", "-soak_per_iteration_max_acceptable_latency_ms=60000")  # fmt: skip
