"""Fixtures of all scenarios: what was started is stopped, and what it logged is shown when a scenario fails."""

import contextlib
import os
import pathlib

import pytest
from harness.weir import Weir, binary
from harness.zipkin import Zipkin


def pytest_configure():
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):  # everything is on 127.0.0.1; clients ask whom they want
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    try:
        binary()
    except AssertionError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for process in _processes(getattr(item, "started", [])):
        report.sections.append((f"{process.name}: end of {process.log}", process.tail()))


def _processes(things):
    for thing in things:
        for part in (thing, getattr(thing, "front", None), getattr(thing, "middle", None)):
            if getattr(part, "process", None) is not None:
                yield part.process


@pytest.fixture
def start(request):
    """start(thing) starts it, gives it back, and stops it when the scenario is over; the last one first."""
    things = request.node.started = []

    with contextlib.ExitStack() as stops:

        def begin(thing):
            things.append(thing)
            stops.callback(thing.stop)
            thing.start()
            return thing

        yield begin


@pytest.fixture
def weir(start, tmp_path):
    """weir(**options of Weir) starts one in the scenario's folder; its end is a clean one, or the scenario fails."""
    running: list[Weir] = []

    def begin(**options) -> Weir:
        one = start(Weir(tmp_path / "weir", **options))
        running.append(one)
        return one

    yield begin
    for one in running:
        if one.process.running:
            status = one.stop()
            assert status == 0, f"weir ended with status {status} on SIGTERM:\n{one.process.tail()}"


@pytest.fixture(scope="session")
def zipkin(tmp_path_factory) -> Zipkin:
    """One Zipkin for all: it takes ten seconds to start. Scenarios tell themselves apart by service names."""
    server = Zipkin(pathlib.Path(tmp_path_factory.mktemp("zipkin")))
    try:
        yield server.start()
    finally:
        server.stop()
