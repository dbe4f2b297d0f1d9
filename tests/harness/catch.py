"""A back end that counts what it gets: Zipkin v2 JSON by POST, answered 202."""

import collections
import contextlib
import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def span_key(span: dict) -> int:
    """Trace (its low 64 bits) and span id in one, of Zipkin's JSON and of what `weir cat` prints."""
    return int(span["traceId"][-16:] + (span.get("spanId") or span["id"]).rjust(16, "0"), 16)


class Catch:
    """spans, error_spans, traces (ids) that were posted; seen: how often each span was. With `workers`, so many posts are worked
    on at a time, `takes` seconds each, and others wait in line; `workers` may be changed."""

    def __init__(self, workers: int = 0, takes: float = 0):
        self.workers, self.takes, self.busy = workers, takes, 0
        self.turn = threading.Condition()
        self.spans = self.error_spans = self.bytes = 0
        self.traces: dict[str, int] = {}
        self.seen: collections.Counter[int] = collections.Counter()
        self.lock = threading.Lock()
        catch = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # cut off: no request
                    self.close_connection = True
                    return
                catch.work()
                catch.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def handle(self):
                with contextlib.suppress(ConnectionError):
                    super().handle()

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # with five, who comes while this process stands still waits for seconds to come again

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v2/spans"

    def work(self):
        if self.workers == 0:
            return
        with self.turn:
            self.turn.wait_for(lambda: self.busy < self.workers)
            self.busy += 1
        time.sleep(self.takes)
        with self.turn:
            self.busy -= 1
            self.turn.notify_all()

    def take(self, body: bytes):
        spans = json.loads(body)
        with self.lock:
            self.bytes += len(body)
            self.spans += len(spans)
            self.seen.update(map(span_key, spans))
            for span in spans:
                self.traces[span["traceId"]] = self.traces.get(span["traceId"], 0) + 1
                self.error_spans += "error" in span.get("tags", {})

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
