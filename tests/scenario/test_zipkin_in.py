"""Zipkin's clients -> Weir -> Zipkin: the trace that Zipkin gives back is the one that it gives when it is asked to take the
same bytes itself. Every sample of openzipkin and telegraf, in every format in and every encoding out."""

import difflib
import gzip
import hashlib
import json
import pathlib
import re
import subprocess

import pytest
from harness import zipkin_proto
from harness.net import http, wait_until

DATA = pathlib.Path(__file__).parent.parent / "data" / "zipkin"
V2 = [
    "ascend.json",
    "envoy.json",
    "messaging.json",
    "messaging2.json",
    "messaging-kafka.json",
    "simple-db-p6.json",
    "skew.json",
    "smartthings-mobile-web-install.json",
    "smartthings-oauth-authorization.json",
    "yelp.json",
    "zipkin2-chinese.json",
    "zipkin2-client.json",
]
V1 = ["telegraf-brave-tracer-example.json"]
THRIFT = ["telegraf-cli_microservice.dat", "telegraf-distributed_trace_sample.dat", "telegraf-threespans.dat"]
# Lists one behind the other: we read all of them, Zipkin must be given them one by one.
LISTS = {"telegraf-cli_microservice.dat": (0, 1456, 2673, None)}
# Zipkin keeps no binary annotation but a STRING (V1ThriftSpanReader); we keep an I32.
KEPT_BY_US = {"telegraf-cli_microservice.dat": {"key2": "2", "peer.port": "5432"}}
# Thrift's members in JSON, with numbers for ids, and two lists one behind the other: Zipkin refuses them, and so do we.
NOT_ZIPKIN = ["telegraf-distributed_trace_sample.json", "telegraf-threespans.json", "telegraf-cli_microservice.json"]

JSON, PROTO3, THRIFT_TYPE = "application/json", "application/x-protobuf", "application/x-thrift"
# Samples have query strings, and what looks like a card's number: the rules against them are off.
AS_THEY_ARE = """
attributes:
  - { keys: [], action: strip_query }
  - { keys: [], action: mask_card_numbers }
"""
TRACE_ID = re.compile(rb'("traceId"\s*:\s*")([0-9a-fA-F]+)(")')
# i64 field 1 before string field 3, the name: an annotation's timestamp stands before field 2.
THRIFT_TRACE_ID = re.compile(rb"(\x0a\x00\x01)(.{8})(\x0b\x00\x03)", re.DOTALL)
THRIFT_TRACE_ID_HIGH = re.compile(rb"\x0a\x00\x0c(.{8})\x00", re.DOTALL)


class Sample:
    """A file under trace ids of its own, so that one Zipkin can hold it several times."""

    def __init__(self, name: str, salt: str):
        self.name, self.salt, self.ids, self.kept = name, salt, [], set()
        raw = (DATA / name).read_bytes()
        if name.endswith(".dat"):
            self.path, self.type = "/api/v1/spans", THRIFT_TYPE
            self.body = THRIFT_TRACE_ID.sub(lambda match: match[1] + bytes.fromhex(self.renamed(match[2].hex())) + match[3], raw)
            high = {match.hex() for match in THRIFT_TRACE_ID_HIGH.findall(raw)} or {""}
            self.ids = [upper + lower for upper in high for lower in self.ids]
            return
        self.path, self.type = ("/api/v1/spans" if name in V1 else "/api/v2/spans"), JSON
        self.body = TRACE_ID.sub(lambda match: match[1] + self.renamed(match[2].decode()).encode() + match[3], raw)
        if not self.body.lstrip().startswith(b"["):
            self.body = b"[" + self.body + b"]"

    def renamed(self, trace_id: str) -> str:
        new = trace_id[:-16] + hashlib.sha256(f"{self.salt} {self.name} {trace_id}".encode()).hexdigest()[:16]
        if new not in self.ids:
            self.ids.append(new)
        return new

    def post(self, base: str) -> "Sample":
        answer = http(base + self.path, method="POST", body=self.body, headers={"Content-Type": self.type})
        assert answer.status == 202, f"{self.name}: {answer.status} {answer.text}"
        return self

    def post_lists(self, base: str) -> "Sample":
        whole, cuts = self.body, LISTS.get(self.name, (0, None))
        for start, end in zip(cuts, cuts[1:], strict=False):
            self.body = whole[start:end]
            self.post(base)
        return self

    def as_proto3(self) -> "Sample":
        self.body, self.type = zipkin_proto.list_of_spans(json.loads(self.body)), PROTO3
        return self

    def spans(self, zipkin) -> list:
        """What Zipkin has of it, without what it was renamed to and in one order."""
        out = []
        for trace_id in self.ids:
            answer = http(f"http://127.0.0.1:{zipkin.port}/api/v2/trace/{trace_id}")
            for span in answer.json() if answer.status == 200 else []:
                for endpoint in (span.get("localEndpoint", {}), span.get("remoteEndpoint", {})):
                    if "ipv4" in endpoint:  # 10.0.0.04 is kept as it is by Zipkin, and is 10.0.0.4
                        endpoint["ipv4"] = ".".join(str(int(octet)) for octet in endpoint["ipv4"].split("."))
                for key in KEPT_BY_US.get(self.name, {}).items() & span.get("tags", {}).items():
                    self.kept.add(key)
                    del span["tags"][key[0]]
                out.append(json.dumps(span | {"traceId": len(span["traceId"])}, sort_keys=True))
        return sorted(out)


def check_same(sample: Sample, straight: Sample, zipkin) -> int:
    """How many spans both are. Zipkin stores them some time after it took them."""
    have, want = [], []

    def same():
        have[:], want[:] = sample.spans(zipkin), straight.spans(zipkin)
        return want and [json.loads(one) for one in have] == [json.loads(one) for one in want]

    def others() -> str:
        return f"{sample.name} ({sample.type}) as when Zipkin took it:\n" + "\n".join(difflib.unified_diff(want, have, lineterm=""))

    wait_until(same, others, every=0.1)
    assert sample.kept == set(KEPT_BY_US.get(sample.name, {}).items())
    return len(want)


@pytest.mark.parametrize("encoding", ["json", "proto3"])
@pytest.mark.sanitized
def test_every_sample_comes_out_as_it_went_in(weir, zipkin, encoding):
    one = weir(
        exporters=f"zipkin: {{ url: '{zipkin.endpoint}', encoding: {encoding} }}", receivers={"zipkin": ""}, extra=AS_THEY_ARE
    )
    base = f"http://127.0.0.1:{one.ports['zipkin']}"
    straight, sent = {}, 0
    for name in V2 + V1 + THRIFT:
        straight[name] = Sample(name, f"straight {encoding}").post_lists(f"http://127.0.0.1:{zipkin.port}")
    samples = [Sample(name, f"weir {encoding}").post(base) for name in V2 + V1 + THRIFT]
    samples += [Sample(name, f"proto3 {encoding}").as_proto3().post(base) for name in V2]
    for sample in samples:
        sent += check_same(sample, straight[sample.name], zipkin)
    ledger = one.balance(received=sent)
    assert ledger.received == sent
    assert ledger.delivered("zipkin") == sent


def test_answers(weir):
    """What is refused is told with its place, and counted; its neighbours are kept."""
    one = weir(receivers={"zipkin": "max_body_bytes: 1MiB"})
    base = f"http://127.0.0.1:{one.ports['zipkin']}"

    def post(body: bytes, path: str = "/api/v2/spans", **headers) -> tuple[int, str]:
        answer = http(base + path, method="POST", body=body, headers={"Content-Type": JSON} | headers)
        return answer.status, answer.text

    good = b'{"traceId":"a1","id":"1","localEndpoint":{"serviceName":"one"}}'
    assert post(b"[]") == (202, "")
    assert post(b"[" + good + b"]") == (202, "")
    assert post(gzip.compress(b"[" + good + b"]"), **{"Content-Encoding": "gzip"}) == (202, "")
    packed = subprocess.run(["zstd", "-q", "-c"], input=b"[" + good + b"]", stdout=subprocess.PIPE, check=True).stdout
    assert post(packed, **{"Content-Encoding": "zstd"}) == (202, "")
    status, text = post(b"[" + good + b',{"traceId":"a1","id":"0"},{"traceId":"xyz","id":"1"}]')
    assert status == 202
    assert text.startswith("2 spans were refused; the first: spans[1]: ")
    status, text = post(b'[{"traceId":"a1"}]')
    assert (status, text) == (400, "spans[0]: id is missing\n")
    status, text = post(b"[" + good + b',{"traceId":"a2","id":"1","timestamp":"soon"}]')
    assert status == 400
    assert text == "spans[1] (traceId a2).timestamp: byte 102: is not a number\n"
    for name in NOT_ZIPKIN:
        status, text = post((DATA / name).read_bytes(), "/api/v1/spans")
        assert status == 400, name
        assert text == "spans[0].id: byte %d: is not a string\n" % ((DATA / name).read_bytes().index(b'"id"') + 6)
    assert post(b"") == (400, "the body is empty\n")
    assert post(b"spans")[0] == 400
    assert post((DATA / THRIFT[1]).read_bytes()[:-5], "/api/v1/spans")[0] == 400
    assert post(b"[" + b" " * (1 << 20) + b"]")[0] == 413

    assert one.page().sum("weir_spans_refused_total", receiver="zipkin", reason="invalid") == 2 + 1
    assert one.balance(received=4).received == 4


def test_no_room_is_said_and_passes(weir):
    """A list that memory.intake has no room for is refused as a whole, with the time to come again; the next one is taken."""
    one = weir(receivers={"zipkin": ""}, extra="memory: { intake: 1MiB }")
    url = f"http://127.0.0.1:{one.ports['zipkin']}/api/v2/spans"
    large = (DATA / "smartthings-mobile-web-install.json").read_bytes()
    answer = http(url, method="POST", body=large, headers={"Content-Type": JSON})
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) >= 1
    small = (DATA / "yelp.json").read_bytes()
    answer = http(url, method="POST", body=small, headers={"Content-Type": JSON})
    assert answer.status == 202
    sent = len(json.loads(small))
    assert one.balance(received=sent).received == sent
