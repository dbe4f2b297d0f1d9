#!/usr/bin/env python3
"""Requests traced and counted from Python, by libweir_emit through ctypes: no extension to build, no dependency.

    python3 examples/emit/emit_ctypes.py [--library libweir_emit.so.1] [--to 127.0.0.1:4319] [--requests N] [--rate R]

The structures are those of emitter/weir_emit.h; what a caller fills says its own size first, so that a later library of the
same ABI number takes it too.
"""

import argparse
import ctypes
import json
import sys
import time
from ctypes import (
    POINTER,
    Structure,
    Union,
    byref,
    c_bool,
    c_char,
    c_char_p,
    c_double,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)

ABI = 1
SERVER, ERROR = 2, 2
TEXT, INT = 1, 3


class Options(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("to", c_char_p),
        ("service", c_char_p),
        ("resource", c_void_p),
        ("resource_count", c_size_t),
        ("key", c_char_p),
        ("key_size", c_size_t),
        ("initial_rate", c_double),
        ("flush_ms", c_uint32),
        ("poll_ms", c_uint32),
        ("ring_bytes", c_uint32),
        ("threads_max", c_uint32),
        ("operations_max", c_uint32),
        ("cells_max", c_uint32),
        ("datagram_bytes", c_uint32),
        ("text_bytes_max", c_uint32),
        ("send_buffer_bytes", c_uint32),
        ("disabled", c_bool),
    )


class Context(Structure):
    _fields_ = (
        ("trace_id", c_uint8 * 16),
        ("parent_id", c_uint8 * 8),
        ("span_id", c_uint8 * 8),
        ("threshold", c_uint64),
        ("randomness", c_uint64),
        ("flags", c_uint32),
        ("format", c_uint32),
        ("state", c_void_p),
        ("state_size", c_uint32),
        ("reserved", c_uint32 * 5),
    )

    def __init__(self):
        super().__init__(threshold=2**64 - 1, randomness=2**64 - 1)


class Value(Union):
    _fields_ = (("text", c_char_p), ("integer", c_int64), ("number", c_double))


class Attribute(Structure):
    _fields_ = (("key", c_char_p), ("key_size", c_uint32), ("type", c_uint32), ("value", Value), ("text_size", c_size_t))


class Span(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("trace_id", c_void_p),
        ("span_id", c_void_p),
        ("parent_id", c_void_p),
        ("name", c_char_p),
        ("name_size", c_size_t),
        ("start_ns", c_uint64),
        ("end_ns", c_uint64),
        ("threshold", c_uint64),
        ("randomness", c_uint64),
        ("kind", c_uint32),
        ("status", c_uint32),
        ("attributes", POINTER(Attribute)),
        ("attribute_count", c_size_t),
        ("forced", c_bool),
    )


class Stats(Structure):
    _fields_ = tuple(
        (name, c_uint64)
        for name in (
            "size policy_version spans dropped_full dropped_large dropped_threads datagrams unsent asks answers answers_refused restarts"
        ).split()
    )


def load(path: str) -> ctypes.CDLL:
    library = ctypes.CDLL(path)
    if library.weir_emit_abi() != ABI:
        sys.exit(f"{path}: ABI {library.weir_emit_abi()}, not {ABI}")
    for name in ("open", "operation", "counter", "histogram"):
        getattr(library, f"weir_emit_{name}").restype = c_void_p
    library.weir_emit_operation.argtypes = (c_void_p, c_char_p)
    library.weir_emit_begin.argtypes = (c_void_p, POINTER(Context))
    library.weir_emit_begin.restype = c_bool
    library.weir_emit_span.argtypes = (c_void_p, POINTER(Span))
    library.weir_emit_span.restype = c_bool
    library.weir_emit_read_header.argtypes = (POINTER(Context), c_char_p, c_size_t, c_char_p, c_size_t)
    library.weir_emit_write_traceparent.argtypes = (POINTER(Context), c_char_p)
    library.weir_emit_write_traceparent.restype = c_size_t
    library.weir_emit_write_tracestate.argtypes = (POINTER(Context), c_char_p)
    library.weir_emit_write_tracestate.restype = c_size_t
    library.weir_emit_flush.argtypes = (c_void_p, c_uint32)
    library.weir_emit_flush.restype = c_bool
    library.weir_emit_stats.argtypes = (c_void_p, POINTER(Stats), c_size_t)
    library.weir_emit_close.argtypes = (c_void_p,)
    library.weir_emit_counter.argtypes = (c_void_p, c_char_p, c_void_p, c_size_t)
    library.weir_emit_count.argtypes = (c_void_p, c_uint64)
    library.weir_emit_histogram.argtypes = (c_void_p, c_char_p, c_void_p, c_size_t, POINTER(c_double), c_size_t)
    library.weir_emit_observe.argtypes = (c_void_p, c_double)
    return library


class Emitter:
    """One emitter, and what a web server in Python would call of it."""

    def __init__(self, path: str, to: str, service: str, **options):
        self.library = load(path)
        chosen, why = Options(), (c_char * 160)()
        self.library.weir_emit_defaults(byref(chosen), c_size_t(ctypes.sizeof(chosen)))
        chosen.to, chosen.service = to.encode(), service.encode()
        for name, value in options.items():
            setattr(chosen, name, value)
        self.emit = self.library.weir_emit_open(byref(chosen), why, c_size_t(len(why)))
        if not self.emit:
            sys.exit(f"weir_emit_open: {why.value.decode()}")
        self.operations: dict[str, int] = {}

    def operation(self, name: str) -> int:
        if name not in self.operations:
            self.operations[name] = self.library.weir_emit_operation(self.emit, name.encode())
        return self.operations[name]

    def begin(self, name: str, headers: dict[str, str]) -> tuple[Context, bool]:
        """Takes the trace up that the headers bring, or begins one; says whether it is sampled."""
        context = Context()
        context.kept = [(key.encode(), value.encode()) for key, value in headers.items()]  # the context points into them
        for key, value in context.kept:
            self.library.weir_emit_read_header(byref(context), key, len(key), value, len(value))
        return context, self.library.weir_emit_begin(self.operation(name), byref(context))

    def headers(self, context: Context) -> dict[str, str]:
        """For what is asked of others."""
        parent, state = ctypes.create_string_buffer(56), ctypes.create_string_buffer(1025)
        self.library.weir_emit_write_traceparent(byref(context), parent)
        self.library.weir_emit_write_tracestate(byref(context), state)
        return {"traceparent": parent.value.decode()} | ({"tracestate": state.value.decode()} if state.value else {})

    def span(self, name: str, context: Context, start_ns: int, end_ns: int, *, failed: bool = False, **attributes) -> bool:
        pairs = (Attribute * len(attributes))()
        for pair, (key, value) in zip(pairs, attributes.items(), strict=True):
            pair.key = key.replace("_", ".").encode()
            pair.key_size = len(pair.key)
            if isinstance(value, int):
                pair.type, pair.value.integer = INT, value
            else:
                pair.type, pair.value.text = TEXT, value.encode()
                pair.text_size = len(value.encode())
        at = ctypes.addressof(context)
        one = Span(
            size=ctypes.sizeof(Span),
            trace_id=at + Context.trace_id.offset,
            span_id=at + Context.span_id.offset,
            parent_id=at + Context.parent_id.offset,
            start_ns=start_ns,
            end_ns=end_ns,
            threshold=context.threshold,
            randomness=context.randomness,
            kind=SERVER,
            status=ERROR if failed else 0,
            attributes=pairs,
            attribute_count=len(pairs),
        )
        return self.library.weir_emit_span(self.operation(name), byref(one))

    def stats(self) -> dict[str, int]:
        stats = Stats()
        self.library.weir_emit_stats(self.emit, byref(stats), ctypes.sizeof(stats))
        return {name: getattr(stats, name) for name, _ in Stats._fields_ if name != "size"}

    def close(self):
        self.library.weir_emit_close(self.emit)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--library", default="libweir_emit.so.1")
    arguments.add_argument("--to", default="127.0.0.1:4319")
    arguments.add_argument("--service", default="shop")
    arguments.add_argument("--requests", type=int, default=1000)
    arguments.add_argument("--rate", type=float, default=0.1)
    arguments.add_argument("--key-file", default=None)
    chosen = arguments.parse_args()
    options = {"initial_rate": chosen.rate, "poll_ms": 0}
    if chosen.key_file:
        with open(chosen.key_file, "rb") as file:
            options["key"] = file.read().removesuffix(b"\n")
        options["key_size"] = len(options["key"])
    emitter = Emitter(chosen.library, chosen.to, chosen.service, **options)
    orders = emitter.library.weir_emit_counter(emitter.emit, b"shop_orders_total", None, 0)
    bounds = (c_double * 3)(0.01, 0.1, 1)
    seconds = emitter.library.weir_emit_histogram(emitter.emit, b"shop_request_seconds", None, 0, bounds, 3)
    sampled = 0
    for i in range(chosen.requests):
        start_ns = time.time_ns()
        context, traced = emitter.begin("GET /items", {"accept": "*/*"})
        end_ns = start_ns + 5_000_000  # what the request would have taken
        emitter.library.weir_emit_count(orders, 2)
        emitter.library.weir_emit_observe(seconds, (end_ns - start_ns) / 1e9)
        if traced:
            sampled += 1
            emitter.span("GET /items", context, start_ns, end_ns, url_path=f"/items/{i}", http_response_status_code=200)
    flushed = emitter.library.weir_emit_flush(emitter.emit, 5000)
    print(json.dumps({"requests": chosen.requests, "sampled": sampled, "flushed": flushed, **emitter.stats()}))
    emitter.close()


if __name__ == "__main__":
    main()
