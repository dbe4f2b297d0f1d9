"""Card numbers and query strings planted in every dialect: none of them is in files, in Zipkin, in the series or in the log."""

import json
import re
import socket
import time

import grpc
import pytest
from bench import bodies
from harness.datagram import schema
from harness.net import http, wait_until
from harness.process import Process
from harness.weir import Weir, binary
from harness.zipkin import Zipkin

CARDS = ["4111111111111111", "5555 5555 5555 4444", "3782-822463-10005", "6011111111111117"]
QUERY = "holder=Zaphod-Beeblebrox"
WAYS = {
    "zipkin-json": ("zipkin", "/api/v2/spans"),
    "zipkin-proto3": ("zipkin", "/api/v2/spans"),
    "zipkin-thrift": ("zipkin", "/api/v1/spans"),
    "otlp-proto": ("otlp_http", "/v1/traces"),
    "otlp-json": ("otlp_http", "/v1/traces"),
}


def planted(number: int) -> list[dict]:
    """Two spans of a trace that is this number's own."""
    spans = bodies.spans(8, number, time.time_ns() // 1000 - 1_000_000)[:2]
    for span in spans:
        span["name"] = f"GET /cards/{CARDS[0]}/charge?{QUERY}"
        span["tags"] |= {
            "http.url": f"http://shop/pay/{CARDS[3]}?card={CARDS[0]}&{QUERY}",
            "http.target": f"/pay?{QUERY}",
            "note": f"paid with {CARDS[1]}, then {CARDS[2]}.",
            "error": f"card {CARDS[0]} was declined",
        }
    return spans


def send_grpc(weir: Weir, spans: list[dict]):
    with grpc.insecure_channel(weir.endpoint) as channel:
        call = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        call(bodies.otlp_proto(spans), timeout=60)


def send_scribe(weir: Weir, spans: list[dict]):
    with socket.create_connection(("127.0.0.1", weir.ports["scribe"]), timeout=60) as scribe:
        scribe.sendall(bodies.scribe_log(spans))
        assert scribe.recv(100)[-5:] == b"\0\0\0\0\0"  # OK


def send_datagram(weir: Weir, spans: list[dict]):
    def pair(key: str, value: str) -> dict:
        return {"key": key, "value": {"string_value": value}}

    datagram = schema()["weir.v1.Datagram"](
        version=1,
        sender=9,
        start_time_unix_nano=time.time_ns(),
        sequence=1,
        resource={"attributes": [pair("service.name", "edge")]},
        spans=[
            {
                "trace_id": bytes.fromhex(span["traceId"]),
                "span_id": bytes.fromhex(span["id"]),
                "name": span["name"],
                "kind": 2,
                "start_time_unix_nano": span["timestamp"] * 1000,
                "end_time_unix_nano": (span["timestamp"] + span["duration"]) * 1000,
                "attributes": [pair(key, value) for key, value in span["tags"].items()],
            }
            for span in spans
        ],
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(datagram.SerializeToString(), ("127.0.0.1", weir.ports["datagram"]))


def send_access_log(weir: Weir, spans: list[dict]):
    for span in spans:
        path, agent = span["name"].split()[1], span["tags"]["note"].replace(" ", "\\x20")
        line = f"<190>edge nginx: weir=1 service=edge status=200 took=0.1 end={time.time():.3f} trace={span['traceId']} "
        line += f'span={span["id"]} method=GET path={path} agent="{agent}" count=1 eol=1'
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(line.encode(), ("127.0.0.1", weir.ports["access_log"]))


def send_posted(weir: Weir, form: str, spans: list[dict]):
    receiver, path = WAYS[form]
    headers = {"Content-Type": bodies.TYPES[form]}
    answer = http(
        f"http://127.0.0.1:{weir.ports[receiver]}{path}", method="POST", body=bodies.WRITERS[form](spans), headers=headers
    )
    assert answer.status in (200, 202), answer.text


@pytest.fixture(scope="module")
def zipkin(tmp_path_factory):
    zipkin = Zipkin(tmp_path_factory.mktemp("zipkin")).start()
    yield zipkin
    zipkin.stop()


def traces_of(zipkin: Zipkin, ids: set[str]) -> str:
    """All that Zipkin has of these traces, as text; waits until it has every one."""
    found: dict[str, str] = {}

    def all_there() -> bool:
        for trace in ids - found.keys():
            answer = http(f"http://127.0.0.1:{zipkin.port}/api/v2/trace/{trace}")
            if answer.status == 200:
                found[trace] = answer.text
        return found.keys() == ids

    wait_until(all_there, lambda: f"Zipkin to have {ids - found.keys()}")
    return "\n".join(found.values())


def test_no_card_and_no_query_gets_through(tmp_path, zipkin):
    weir = Weir(
        tmp_path,
        exporters=f"file: {{ directory: {tmp_path}/traces }}\nzipkin: {{ url: '{zipkin.endpoint}' }}",
        receivers={"zipkin": "", "otlp_http": "", "scribe": "merge_wait: 0s, weight_wait: 0s", "datagram": "", "access_log": ""},
    ).start()
    try:
        ids, sent = set(), 0
        for number, form in enumerate(WAYS):
            spans = planted(number)
            send_posted(weir, form, spans)
            ids.add(spans[0]["traceId"][16 if form == "zipkin-thrift" else 0 :])  # thrift has the high half in another field
            sent += len(spans)
        for number, send in enumerate([send_grpc, send_scribe, send_datagram, send_access_log], start=len(WAYS)):
            spans = planted(number)
            send(weir, spans)
            ids.add(spans[0]["traceId"][16 if send is send_scribe else 0 :])
            sent += len(spans)
        weir.balance(received=sent)
        page = weir.page()
        series = http(weir.url("/metrics")).text
        stored = "\n".join(map(str, weir.cat()))
        shown = traces_of(zipkin, ids)
    finally:
        assert weir.stop() == 0
    log = weir.process.log.read_text()
    assert stored.count("/charge") >= sent
    for where, text in {"files": stored, "Zipkin": shown, "series": series, "log": log}.items():
        bare = re.sub(r"(?<=\d)[ -](?=\d)", "", text)
        for card in CARDS:
            assert re.sub("[ -]", "", card) not in bare, f"{card} is in {where}"
        assert "Zaphod" not in text, f"a query string is in {where}"
    assert "************1111" in stored and "************1111" in shown and "****-******-*0005" in stored
    assert page.sum("weir_attributes_redacted_total", rule="mask_card_numbers") >= 4 * sent - 2
    assert page.sum("weir_attributes_redacted_total", rule="strip_query") >= 3 * (sent - 2)  # a log's path has none


def test_a_reload_changes_the_rules_of_every_way_in(tmp_path):
    receivers = {"zipkin": "", "otlp_http": "", "scribe": "merge_wait: 0s, weight_wait: 0s", "datagram": "", "access_log": ""}
    exporters = f"file: {{ directory: {tmp_path}/traces }}"
    weir = Weir(tmp_path, exporters=exporters, receivers=receivers).start()
    sends = [lambda weir, spans, form=form: send_posted(weir, form, spans) for form in WAYS]
    sends += [send_grpc, send_scribe, send_datagram, send_access_log]
    try:
        for number, send in enumerate(sends):
            send(weir, planted(number))
        weir.balance(received=2 * len(sends))
        assert weir.page().sum("weir_attributes_redacted_total", rule="notes") == 0

        rule = "{ keys: [note, user_agent.original], action: drop, name: notes }"
        weir.write(exporters=exporters, lanes=2, extra=f"attributes: [{rule}]")
        answer = weir.reload()
        assert answer.status == 200, answer.text
        for number, send in enumerate(sends, start=len(sends)):
            send(weir, planted(number))
        weir.balance(received=4 * len(sends))
        assert weir.page().sum("weir_attributes_redacted_total", rule="notes") == 2 * len(sends)

        weir.write(exporters=exporters, lanes=2, extra="attributes:\n  - { keys: [a], action: replace, pattern: '(' }")
        answer = weir.reload()
        assert answer.status != 200 and "weir.yaml:" in answer.text and "missing closing parenthesis" in answer.text
        send_grpc(weir, planted(99))
        weir.balance(received=4 * len(sends) + 2)
        assert weir.page().sum("weir_attributes_redacted_total", rule="notes") == 2 * len(sends) + 2  # the rules before

        for turn in range(20):  # rules come and go while spans are read by them
            weir.write(exporters=exporters, lanes=2, extra=f"attributes: [{rule.replace('note', 'component')}]" if turn % 2 else "")
            if turn == 5:
                emit = Process(
                    "emit", [binary(), "emit", "--endpoint", weir.endpoint, "--spans", 200_000, "--json"], tmp_path / "emit.log"
                )
            assert weir.reload().status == 200
        assert emit.wait() == 0
        weir.balance(received=4 * len(sends) + 2 + 200_000)
    finally:
        assert weir.stop() == 0


def test_rules_of_a_file_and_judgement(tmp_path):
    weir = Weir(
        tmp_path,
        receivers={"zipkin": ""},
        extra="""
            attributes:
              - { keys: [user.email], action: hash, name: emails }
              - { keys: [secret.*], action: drop }
            operations:
              - { match: "^job-(\\\\w+)-.*", name: "job $1" }
            success:
              - { service: payments, http_status: 500-599, attribute: { key: declined, equals: "true" }, success: true }
            exclude:
              - { operation: "GET /healthz*" }
        """,
    ).start()
    try:
        spans = [
            {"name": "POST /pay", "tags": {"http.status_code": "503", "declined": "true", "user.email": "a@b.c"}},
            {"name": "POST /pay", "tags": {"http.status_code": "503", "secret.x": "1", "user.email": "a@b.c"}},
            {"name": "job-index-77", "tags": {}},
            {"name": "GET /healthz/live", "tags": {}},
        ]
        for number, span in enumerate(spans, start=1):
            span.update(traceId=f"{number:016x}", id=f"{number:016x}", kind="SERVER", timestamp=time.time_ns() // 1000)
            span.update(duration=10, localEndpoint={"serviceName": "payments"})
        url = f"http://127.0.0.1:{weir.ports['zipkin']}/api/v2/spans"
        assert http(url, method="POST", body=json.dumps(spans).encode(), headers={"Content-Type": "application/json"}).status == 202
        weir.balance(received=4)
        page = weir.page()

        def calls(**labels) -> float:
            return page.sum("traces_spanmetrics_calls_total", service="payments", **labels)

        assert calls(span_name="POST /pay", status_code="STATUS_CODE_OK") == 1
        assert calls(span_name="POST /pay", status_code="STATUS_CODE_ERROR") == 1
        assert calls(span_name="job index") == 1
        assert calls() == 3
        assert page.sum("weir_spans_excluded_total") == 1
        assert page.sum("weir_attributes_redacted_total", rule="emails") == 2
        assert page.sum("weir_attributes_redacted_total", rule="drop") == 1
        stored = weir.cat()
        attributes = [{pair["key"]: pair["value"]["stringValue"] for pair in one.get("attributes", [])} for one in stored]
        emails = {one["user.email"] for one in attributes if "user.email" in one}
        assert len(emails) == 1 and re.fullmatch("[0-9a-f]{32}", emails.pop())
        assert not any("secret.x" in one for one in attributes)
        assert len(stored) == 4  # excluded from the series only
    finally:
        assert weir.stop() == 0
