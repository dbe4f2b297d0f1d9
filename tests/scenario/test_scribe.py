"""Scribe in: a real Finagle, and a client of our own for what Finagle does seldom."""

import pathlib
import random
import struct
import time

import pytest
from harness.chance import ERRORS
from harness.finagle import SPANS_PER_REQUEST, Finagle
from harness.net import free_port, get_json, wait_until
from harness.scribe import OK, TRY_LATER, Client, call, entry, log, span

DATA = pathlib.Path(__file__).parent.parent / "data" / "finagle"
NOW_US = int(time.time() * 1e6)
QUICK = "merge_wait: 2s, weight_wait: 1s"


def calls(one, **labels) -> float:
    return one.page().sum("traces_spanmetrics_calls_total", **labels)


def held(one) -> float:
    return one.page().sum("weir_spans_held", where="join")


@pytest.mark.parametrize("number", range(5))
@pytest.mark.sanitized
def test_answers_are_those_that_a_real_zipkin_gave(weir, number):
    """Byte for byte: the question whether we speak TTwitter, and each Log."""
    one = weir(receivers={"scribe": QUICK})
    want = (DATA / f"scribe-server-{number}.bin").read_bytes()
    with Client(one.ports["scribe"]) as client:
        client.send((DATA / f"scribe-client-{number}.bin").read_bytes())
        assert client.read(len(want)) == want
    answered = want.count(b"\0\0\0\x03Log")
    page = one.page()
    assert page.sum("weir_scribe_calls_total", result="ok") == answered
    assert page.sum("weir_scribe_calls_total", result="unknown_method") == 1
    one.balance()


def finagle_played(weir, zipkin, start, tmp_path, rate: float, play) -> tuple:
    """A Finagle that has played, its Weir, and how many spans were answered with ok. It waits for an answer for 100 ms and sends
    nothing twice: where the machine stood still for that long there is nothing to be judged, and another one plays."""
    for turn in range(20):
        one = weir(name=f"weir-{turn}", exporters=f"zipkin: {{ url: '{zipkin.endpoint}' }}", receivers={"scribe": ""})
        finagle = start(Finagle(tmp_path / f"finagle-{turn}", one.ports["scribe"], rate))
        play(finagle)
        heard: list[tuple[int, int]] = []

        def still() -> bool:
            name, metrics = "zipkin/zipkin/log_span", finagle.metrics()  # noqa: B023
            lost = sum(count for key, count in metrics.items() if key.startswith(f"{name}/error/"))
            heard.append((metrics.get(f"{name}/ok", 0), lost))  # noqa: B023
            return sum(heard[-1]) > 0 and len(heard) >= 20 and heard[-20:] == heard[-1:] * 20  # noqa: B023

        wait_until(still, "Finagle to have sent all", every=0.1)
        if heard[-1][1] == 0:
            return one, finagle, heard[-1][0]
        finagle.stop()
        assert one.stop() == 0
    raise AssertionError(f"Weir does not answer Finagle within 100 ms: {heard[-1]}")


def test_finagle_traces_come_out_whole(weir, zipkin, start, tmp_path):
    requests, ids, began = 60, [], 0.0

    def play(finagle: Finagle):
        nonlocal began
        began = time.time()
        ids[:] = [f"{random.getrandbits(63) | 1:016x}" for i in range(3)]
        assert finagle.get(*["/orders/17"] * (requests - 1), "/fail") == [200] * (requests - 1) + [503]
        for trace_id in ids:  # a trace that began before Finagle: debug is forced, and has a parent
            b3 = {
                "X-B3-TraceId": trace_id,
                "X-B3-SpanId": "0000000000000abc",
                "X-B3-ParentSpanId": trace_id,
                "X-B3-Flags": "1",
                "X-B3-Sampled": "1",
            }
            assert finagle.get("/debug", headers=b3) == [200]

    one, finagle, ok = finagle_played(weir, zipkin, start, tmp_path, 1.0, play)
    assert ok == SPANS_PER_REQUEST * (requests + len(ids))
    metrics = finagle.metrics()
    assert metrics.get("zipkin/zipkin/log_span/try_later", 0) == 0
    assert metrics["srv/router/requests"] == requests + len(ids)

    # The second of Finagle's two spans is the router's client side and the app's server side: two of ours.
    ledger = one.balance(received=3 * (requests + len(ids)))
    assert ledger.delivered("zipkin") == ledger.received

    def stored():
        found = [trace for trace in zipkin.traces("router") if min(s["timestamp"] for s in trace) >= (began - 1) * 1e6]
        return found if sum(map(len, found)) >= ledger.received else None

    traces = wait_until(stored, f"{ledger.received} spans in Zipkin", every=0.3)
    assert len(traces) == requests + len(ids)
    for trace in traces:
        kinds = sorted((s["kind"], s["localEndpoint"]["serviceName"]) for s in trace)
        assert kinds == [("CLIENT", "app"), ("SERVER", "app"), ("SERVER", "router")]
        assert len({s["traceId"] for s in trace}) == 1
        root = next(s for s in trace if s["localEndpoint"]["serviceName"] == "router")
        assert all(s.get("parentId") == root["id"] for s in trace if s is not root)
    for trace_id in ids:
        assert get_json(f"http://127.0.0.1:{zipkin.port}/api/v2/trace/{trace_id}")[0]["debug"] is True
    assert calls(one, service="router", span_kind="SPAN_KIND_SERVER") == requests + len(ids)
    assert one.page().sum("weir_spans_weight_source_total", source="unknown") == 3 * len(ids)  # whoever forced them decided


def test_finagle_weights(weir, zipkin, start, tmp_path):
    """Half of the traces leave Finagle, and the series say how many requests there were."""
    requests = 400
    one, _, sent = finagle_played(weir, zipkin, start, tmp_path, 0.5, lambda finagle: finagle.get(*["/half"] * requests))
    traces = sent // SPANS_PER_REQUEST
    assert 0.3 * requests < traces < 0.7 * requests
    one.balance(received=3 * traces)
    error = ERRORS * (requests * 0.5 / 0.5) ** 0.5  # 1/p draws of variance (1-p)/p each
    for labels in ({"service": "router"}, {"service": "app", "span_kind": "SPAN_KIND_CLIENT"}):
        counted = calls(one, **labels)
        assert counted == 2 * traces  # the rate of the router's span for all of its trace
        assert abs(counted - requests) < error
    page = one.page()
    assert page.sum("weir_spans_weight_source_total", source="unknown") == 0
    assert page.sum("weir_spans_weight_source_total", source="carried") == traces
    assert page.sum("weir_spans_weight_source_total", source="trace") == 2 * traces
    assert held(one) == 0


def test_a_back_end_that_is_down_delays_no_answer(weir):
    """Finagle's client waits for 100 ms and sends nothing twice."""
    down = free_port()
    one = weir(
        exporters=f"zipkin: {{ url: 'http://127.0.0.1:{down}/api/v2/spans' }}", receivers={"scribe": ""}, extra="drain_timeout: 1s"
    )
    with Client(one.ports["scribe"]) as client:
        for n in range(1, 301):
            spans = [span(n, m, marks={"sr": NOW_US, "ss": NOW_US + 900}, timestamp=NOW_US, rate=1.0) for m in range(1, 21)]
            client.send(log(*spans, sequence=n))
            assert client.result() == (n, OK)
    wait_until(lambda: one.ledger().exporters["zipkin"]["held"] == 6000, "the spans to wait for Zipkin")
    one.balance(received=6000, held=True)


@pytest.mark.sanitized
def test_parts_become_one_span(weir):
    """What Finagle sends when a span ends late, and what a trace's rate does to spans that came before it."""
    one = weir(receivers={"scribe": "merge_wait: 20s, weight_wait: 15s"})
    with Client(one.ports["scribe"]) as client:
        client.send(log(span(7, 1, marks={"sr": NOW_US}, timestamp=NOW_US, tags={"http.uri": "/a"}, rate=0.25)))
        client.send(log(span(7, 2, parent=1, marks={"cs": NOW_US + 10, "cr": NOW_US + 90}, timestamp=NOW_US + 10), sequence=2))
        client.send(log(span(8, 3, marks={"cs": NOW_US, "cr": NOW_US + 50}, timestamp=NOW_US), sequence=3))
        assert [client.result() for _ in range(3)] == [(1, OK), (2, OK), (3, OK)]
        wait_until(lambda: held(one) == 2, "two spans to wait")
        wait_until(lambda: calls(one, span_kind="SPAN_KIND_CLIENT") == 4, "one whose trace's rate was known")
        client.send(
            log(span(7, 1, marks={"ss": NOW_US + 100}, timestamp=NOW_US + 100, tags={"http.rsp.status": "200"}), sequence=4)
        )
        assert client.result() == (4, OK)
        wait_until(lambda: calls(one, span_kind="SPAN_KIND_SERVER") == 4, "the parts to be one")
        client.send(log(span(7, 1, marks={"late": NOW_US + 150}, timestamp=NOW_US + 150), sequence=5))
        client.send(log(span(9, 4, marks={"sr": NOW_US}, timestamp=NOW_US), sequence=6))  # its end never comes
        assert [client.result() for _ in range(2)] == [(5, OK), (6, OK)]
    ledger = one.balance(received=6)
    assert ledger.dropped == 1
    page = one.page()
    assert page.sum("weir_spans_dropped_total", reason="merged") == 1
    assert page.sum("weir_join_late_parts_total") == 1
    assert page.sum("weir_join_released_total", cause="complete") == 1
    assert page.sum("weir_join_released_total", cause="timeout") == 2
    assert calls(one, span_kind="SPAN_KIND_SERVER") == 4 + 1
    assert calls(one, span_kind="SPAN_KIND_CLIENT") == 4 + 1
    assert one.stop() == 0
    stored = [s for s in one.cat() if s["spanId"] == "0000000000000001"]
    assert len(stored) == 2  # the whole one, and the late annotation for whoever merges
    whole = next(s for s in stored if s.get("endTimeUnixNano"))
    assert int(whole["endTimeUnixNano"]) - int(whole["startTimeUnixNano"]) == 100_000
    keys = [a["key"] for a in whole["attributes"]]
    assert {"http.uri", "http.rsp.status"} <= set(keys)
    child = next(s for s in one.cat() if s["spanId"] == "0000000000000002")
    assert {"key": "weir.prior_weight", "value": {"doubleValue": 4}} in child["attributes"]


def test_rules_judge_the_merged_span(weir):
    """Of what a rule asks for, half stands in one part and half in the other."""
    one = weir(
        receivers={"scribe": ""},
        extra="""
success: [{ http_status: 200, attribute: { key: http.uri, equals: /pay }, success: false }]
exclude: [{ http_status: 200, attribute: { key: http.uri, equals: /health } }]
""",
    )
    with Client(one.ports["scribe"]) as client:
        for trace, uri in ((21, "/health"), (22, "/pay")):
            first = span(trace, 1, marks={"sr": NOW_US}, timestamp=NOW_US, tags={"http.uri": uri}, rate=1.0)
            client.send(log(first, sequence=trace))
            end = span(trace, 1, marks={"ss": NOW_US + 100}, timestamp=NOW_US + 100, tags={"http.rsp.status": "200"})
            client.send(log(end, sequence=trace + 100))
        assert [client.result()[1] for _ in range(4)] == [OK] * 4
    ledger = one.balance(received=4)
    assert ledger.dropped == 2, "two parts were merged into theirs"
    page = one.page()
    assert page.sum("weir_spans_excluded_total") == 1, "the span, not a part"
    assert calls(one) == 1
    assert calls(one, status_code="STATUS_CODE_ERROR") == 1


def test_a_declared_rate_where_nobody_says_one(weir, tmp_path):
    """An old Linkerd 1 notes no rate: sources: says it, for what no span of the trace says better."""
    policy = tmp_path / "sampling.yaml"
    policy.write_text("sources:\n- match: { receiver: scribe }\n  sampled_at: 0.1\n")
    one = weir(receivers={"scribe": "weight_wait: 0s"}, extra=f"sampling: {{ policy: {policy} }}")
    with Client(one.ports["scribe"]) as client:
        marks = {"sr": NOW_US, "ss": NOW_US + 9}
        client.send(log(span(1, 1, marks=marks, timestamp=NOW_US), sequence=1))
        client.send(log(span(2, 1, marks=marks, timestamp=NOW_US, rate=0.5), span(2, 2, marks=marks, timestamp=NOW_US), sequence=2))
        client.send(log(span(3, 1, marks=marks, timestamp=NOW_US, debug=True), sequence=3))
        assert [client.result() for _ in range(3)] == [(1, OK), (2, OK), (3, OK)]
    one.balance(received=4)
    assert calls(one, service="scribe-test") == 10 + 2 + 2 + 1
    page = one.page()
    sources = {
        name: page.sum("weir_spans_weight_source_total", source=name) for name in ("carried", "trace", "declared", "unknown")
    }
    assert sources == {"carried": 1, "trace": 1, "declared": 2, "unknown": 0}


@pytest.mark.sanitized
def test_whoever_waits_is_kept_at_the_end(weir):
    one = weir(receivers={"scribe": ""})  # three minutes, ten seconds
    with Client(one.ports["scribe"]) as client:
        for n in range(1, 51):
            part = span(n, 1, marks={"sr": NOW_US}, timestamp=NOW_US)
            unweighed = span(n, 2, marks={"cs": NOW_US, "cr": NOW_US + 5}, timestamp=NOW_US)
            client.send(log(part, unweighed, sequence=n))
            assert client.result() == (n, OK)
    one.balance(received=100, held=True)
    assert held(one) == 100
    assert one.stop() == 0
    assert "received=100" in one.process.text() and "imbalance{file}=0" in one.process.text()
    assert len(one.cat()) == 100


@pytest.mark.sanitized
def test_bad_neighbours(weir):
    """What does not read is counted and costs its neighbours nothing; a broken call costs its connection."""
    one = weir(receivers={"scribe": "max_frame_bytes: 64KiB, max_connections: 4, " + QUICK}, lanes=1)
    port = one.ports["scribe"]
    whole = [span(n, 1, marks={"sr": NOW_US, "ss": NOW_US + 5}, timestamp=NOW_US, rate=1.0) for n in (1, 2)]
    good = log(*whole)[4:]  # without its length
    with Client(port) as client:
        entries = [
            entry(b"!!!!"),
            entry(b"AAAA"),
            entry(b"CgABAAAAAAAAAAEA\n", category="other"),
            good[good.index(b"\x0b\0\1") : good.index(b"\0\x0b\0\1", 40) + 1],
        ]
        client.send(log(entries=entries, sequence=1), log(whole[1], sequence=2), call("getVersion", b"\0", 3))
        assert client.result() == (1, OK)
        assert client.result() == (2, OK)
        assert client.answer().startswith(b"\x80\x01\x00\x03\x00\x00\x00\x0agetVersion\x00\x00\x00\x03")
        client.send(call("Log", b"\x0f\0\1\x0c\0\0\0\x05\x0b", 4))
        assert client.answer().startswith(b"\x80\x01\x00\x03\x00\x00\x00\x03Log\x00\x00\x00\x04")
        assert client.answer() == b""
    with Client(port) as client:
        client.send(struct.pack(">i", 1 << 20))
        assert client.answer() == b""
    with Client(port) as old:  # a message as before there were versions: the name first
        body = good[good.index(b"Log") + 7 :]
        frame = struct.pack(">i", 3) + b"Log" + b"\1" + struct.pack(">i", 9) + body
        old.send(struct.pack(">i", len(frame)) + frame)
        assert old.result() == (9, OK)
    wait_until(lambda: one.page().value("weir_scribe_connections") == 0, "those before to be gone")
    crowd = [Client(port) for _ in range(6)]
    crowd[0].send(log(whole[0]))
    assert crowd[0].result() == (1, OK)
    wait_until(lambda: one.page().sum("weir_scribe_connections_total", outcome="refused") == 2, "two to be refused")
    for client in crowd:
        client.tcp.close()
    page = one.page()
    assert page.sum("weir_spans_refused_total", receiver="scribe", reason="invalid") == 3
    assert page.sum("weir_scribe_other_entries_total") == 1
    assert page.sum("weir_scribe_calls_total", result="broken") == 2
    ledger = one.balance(received=5)
    assert ledger.dropped == 3  # the same spans once more


def test_a_client_that_reads_no_answers_is_not_read(weir):
    """Its answers are bounded, and so is what it may still send."""
    one = weir(receivers={"scribe": ""}, lanes=1)
    many = b"".join(call("ping", b"\0", n) for n in range(20000))
    with Client(one.ports["scribe"], timeout=1) as client:
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 200:
                client.tcp.sendall(many)
                sent += 1
        before = one.process.rss_bytes()
        assert before < 300 << 20
        with Client(one.ports["scribe"]) as other:  # and nobody else waits for it
            other.send(log(span(1, 1, marks={"sr": NOW_US, "ss": NOW_US + 5}, timestamp=NOW_US, rate=1.0)))
            assert other.result() == (1, OK)
    one.balance(received=1)


@pytest.mark.sanitized
def test_no_room_is_try_later(weir):
    """Frames that are half there hold the memory; a call that does not fit is told so, and nothing of it is kept."""
    one = weir(receivers={"scribe": "max_frame_bytes: 512KiB, " + QUICK}, lanes=1, extra="memory: { intake: 1MiB }")
    port = one.ports["scribe"]
    large = span(1, 1, marks={"sr": NOW_US, "ss": NOW_US + 5}, timestamp=NOW_US, rate=1.0, tags={"filler": "x" * 100_000})
    frame, small = log(large, sequence=5), log(span(2, 1, marks={"sr": NOW_US, "ss": NOW_US + 5}, timestamp=NOW_US, rate=1.0))
    halves = [Client(port) for _ in range(7)]
    for client in halves:
        client.send(frame[:-1])
    wait_until(lambda: one.own().value("weir_intake_bytes") > 7 * len(frame) * 0.9, lambda: one.own().text)
    with Client(port) as client:
        client.send(frame)
        assert client.result() == (5, TRY_LATER)
        for half in halves:
            half.tcp.close()
        wait_until(lambda: one.page().value("weir_scribe_connections") == 1, "the halves to be gone")
        client.send(frame, small)
        assert [client.result() for _ in range(2)] == [(5, OK), (1, OK)]
    assert one.page().sum("weir_scribe_calls_total", result="try_later") == 1
    one.balance(received=2)


def test_drain_answers_what_was_sent(weir):
    one = weir(receivers={"scribe": ""}, extra="drain_timeout: 10m")
    with Client(one.ports["scribe"]) as client:
        frames = [
            log(*[span(n, m, marks={"sr": NOW_US, "ss": NOW_US + 9}, timestamp=NOW_US, rate=1.0) for m in range(1, 11)], sequence=n)
            for n in range(1, 101)
        ]
        client.send(*frames)
        client.send(frames[0][:30])  # half a frame: nobody waits for the rest
        wait_until(lambda: one.received() == 1000, "them to be read")
        assert one.stop() == 0
        assert [client.result() for _ in range(100)] == [(n, OK) for n in range(1, 101)]
        assert client.answer() == b""
    assert "received=1000" in one.process.text()
    assert len(one.cat()) == 1000
