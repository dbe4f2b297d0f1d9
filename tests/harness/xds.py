"""Envoy's discovery protocol as protobuf's own library reads and writes it, a proxy written by hand that speaks it, and
one that opens streams and leaves them.

The messages are those of envoy/service/discovery/v3/discovery.proto and envoy/service/runtime/v3/rtds.proto, with the
fields that are used here.
"""

import queue
import socket
import struct

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, struct_pb2  # noqa: F401

RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
STREAM_RUNTIME = "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime"
STREAM_AGGREGATED = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

_STRING, _BYTES, _INT32, _MESSAGE = 9, 12, 5, 11
_MESSAGES = {
    "Status": [("code", 1, _INT32), ("message", 2, _STRING)],
    "Node": [("id", 1, _STRING), ("cluster", 2, _STRING), ("metadata", 3, ".google.protobuf.Struct")],
    "ControlPlane": [("identifier", 1, _STRING)],
    "DiscoveryRequest": [
        ("version_info", 1, _STRING),
        ("node", 2, ".weir.test.Node"),
        ("resource_names", 3, [_STRING]),
        ("type_url", 4, _STRING),
        ("response_nonce", 5, _STRING),
        ("error_detail", 6, ".weir.test.Status"),
    ],
    "DiscoveryResponse": [
        ("version_info", 1, _STRING),
        ("resources", 2, [".google.protobuf.Any"]),
        ("type_url", 4, _STRING),
        ("nonce", 5, _STRING),
        ("control_plane", 6, ".weir.test.ControlPlane"),
    ],
    "Runtime": [("name", 1, _STRING), ("layer", 2, ".google.protobuf.Struct")],
}


def _classes() -> dict:
    imports = ["google/protobuf/struct.proto", "google/protobuf/any.proto"]
    file = descriptor_pb2.FileDescriptorProto(name="weir_test_xds.proto", package="weir.test", syntax="proto3", dependency=imports)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, of in fields:
            repeated = isinstance(of, list)
            kind = of[0] if repeated else of
            one = message.field.add(name=field, number=number, label=3 if repeated else 1)
            one.type = kind if isinstance(kind, int) else _MESSAGE
            if not isinstance(kind, int):
                one.type_name = kind
    pool = descriptor_pool.Default()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"weir.test.{name}")) for name in _MESSAGES}


_known = _classes()
DiscoveryRequest, DiscoveryResponse, Runtime = (_known[name] for name in ("DiscoveryRequest", "DiscoveryResponse", "Runtime"))


def layers_of(response) -> dict:
    """{name of a runtime: {key: value}} of a response."""
    layers = {}
    for resource in response.resources:
        assert resource.type_url == response.type_url == RUNTIME
        runtime = Runtime.FromString(resource.value)
        layers[runtime.name] = {key: _plain(value) for key, value in runtime.layer.fields.items()}
    return layers


def _plain(value):
    if value.HasField("struct_value"):
        return {key: _plain(inner) for key, inner in value.struct_value.fields.items()}
    return getattr(value, value.WhichOneof("kind"))


class Proxy:
    """One stream, on a connection of its own. It answers only when it is told to."""

    def __init__(self, endpoint: str, node: str, cluster: str, *, path: str = STREAM_RUNTIME):
        self.node, self.cluster, self.last = node, cluster, None
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(endpoint, options=options)
        self.requests: queue.Queue = queue.Queue()
        call = self.channel.stream_stream(
            path, request_serializer=lambda request: request, response_deserializer=DiscoveryResponse.FromString
        )
        self.responses = call(iter(self.requests.get, None))

    def send(self, request):
        self.requests.put(request if isinstance(request, bytes) else request.SerializeToString())

    def ask(self, *names: str, version: str = "", nonce: str = "", type_url: str = RUNTIME, refuse: str = ""):
        request = DiscoveryRequest(version_info=version, resource_names=names or ("weir",), type_url=type_url, response_nonce=nonce)
        request.node.id, request.node.cluster = self.node, self.cluster
        if refuse:
            request.error_detail.code = grpc.StatusCode.INTERNAL.value[0]
            request.error_detail.message = refuse
        self.send(request)

    def told(self):
        """The next response; waits for it."""
        self.last = next(self.responses)
        return self.last

    def take(self, *names: str):
        self.ask(*names, version=self.last.version_info, nonce=self.last.nonce)

    def refuse(self, reason: str, *names: str, version: str = ""):
        self.ask(*names, version=version, nonce=self.last.nonce, refuse=reason)

    def ended(self) -> grpc.StatusCode:
        """How the stream ended; waits for it."""
        try:
            for _ in self.responses:
                pass
        except grpc.RpcError:
            pass
        return self.responses.code()

    def stop(self):
        self.requests.put(None)
        self.channel.close()


# ---- streams that are opened and left: HTTP/2 by hand, for a client of gRPC has a thread for each ----

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, END_HEADERS = 0, 1, 4, 4


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _literal(name: str, value: str) -> bytes:
    """RFC 7541 6.2.2, names and values shorter than 127 bytes."""
    return b"".join((b"\0", bytes((len(name),)), name.encode(), bytes((len(value),)), value.encode()))


def open_and_leave(port: int, streams: int, first: int = 0) -> socket.socket:
    """One connection with so many streams, each of a node of its own, of which nothing is ever read."""
    head = b"".join(
        _literal(name, value)
        for name, value in (
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "weir"),
            (":path", STREAM_RUNTIME),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        )
    )
    out = [PREFACE, _frame(SETTINGS, 0, 0, b"")]
    for index in range(streams):
        request = DiscoveryRequest(resource_names=["weir"], type_url=RUNTIME)
        request.node.id, request.node.cluster = f"left-{first + index}", "left"
        message = request.SerializeToString()
        out.append(_frame(HEADERS, END_HEADERS, 2 * index + 1, head))
        out.append(_frame(DATA, 0, 2 * index + 1, struct.pack(">BI", 0, len(message)) + message))
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(b"".join(out))
    return connection
