"""Who posts Zipkin v2 spans and knows, span by span, what was acknowledged, whatever becomes of Weir meanwhile."""

import json
import random
import threading
import time
import urllib.error

from harness.net import http
from harness.weir import Weir


def spans_of(trace: int, numbers, error: bool, service: str = "shop", pad: int = 0) -> list[dict]:
    """Zipkin v2; number 1 is the root. In a trace with errors every span is one, so that each tells of it."""
    out = []
    for number in numbers:
        one = {
            "traceId": f"{trace:032x}",
            "id": f"{trace % 2**32 * 16 + number + 1:016x}",
            "name": "GET /items",
            "kind": "SERVER",
            "timestamp": int(time.time() * 1e6),
            "duration": 1000 * number,
            "localEndpoint": {"serviceName": service},
            "tags": {"http.path": "/items", **({"error": "declined"} if error else {})},
        }
        if pad:
            one["tags"]["pad"] = random.Random(trace + number).randbytes(pad // 2).hex()
        if number > 1:
            one["parentId"] = f"{trace % 2**32 * 16 + 2:016x}"
        out.append(one)
    return out


def key(span: dict) -> tuple[int, int]:
    return int(span.get("traceId"), 16), int(span.get("spanId") or span["id"], 16)


def post(one: Weir, spans: list[dict], timeout: float = 60) -> bool:
    """Whether it was acknowledged."""
    try:
        url = f"http://127.0.0.1:{one.ports['zipkin']}/api/v2/spans"
        return http(url, method="POST", body=json.dumps(spans).encode(), timeout=timeout).status == 202
    except (OSError, urllib.error.URLError):
        return False


class Senders:
    """Threads that post traces of four spans in two requests, children first, and know what was acknowledged."""

    def __init__(self, one: Weir, count: int = 4):
        self.one, self.lock, self.over = one, threading.Lock(), threading.Event()
        self.acknowledged: dict[tuple[int, int], bool] = {}
        self.refused = 0
        self.threads = [threading.Thread(target=self.send, args=(index,), daemon=True) for index in range(count)]
        for thread in self.threads:
            thread.start()

    def send(self, index: int):
        chance = random.Random(index)
        while not self.over.is_set():
            traces = [(chance.getrandbits(128) | 1, chance.random() < 0.1) for _ in range(20)]
            for numbers in ((2, 3, 4), (1,)):
                body = [span for trace, error in traces for span in spans_of(trace, numbers, error)]
                if post(self.one, body):
                    with self.lock:
                        errors = dict(traces)
                        self.acknowledged |= {key(span): errors[int(span["traceId"], 16)] for span in body}
                else:
                    self.refused += 1
                    time.sleep(0.02)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(120)
