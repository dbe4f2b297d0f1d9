"""Pages of proxies that nobody runs here, served for a Prometheus to scrape as if they were at work.

Everything is as it was recorded, but counters: each second they grow by a hundredth of what was recorded, so that rates are there and
their shares those of the recording.
"""

import contextlib
import http.server
import re
import threading
import time

from harness import linkerd1
from harness.process import ROOT

LINKERD2 = ROOT / "tests" / "data" / "linkerd2" / "prommatch-sampleMetrics.txt"


class Recorded:
    """Two Linkerd 1, a Namerd, and a proxy of Linkerd 2; each an instance of job()."""

    def __init__(self):
        pages = {f"/{name}": (text, _is_count_of_linkerd1) for name, text in linkerd1.pages().items()}
        linkerd2 = LINKERD2.read_text()
        counts = set(re.findall(r"^# TYPE (\w+) (?:counter|histogram)$", linkerd2, re.MULTILINE))
        pages["/linkerd2"] = (linkerd2, lambda name, _: re.sub("_(bucket|count|sum)$", "", name) in counts)
        self.paths, began = tuple(pages), time.monotonic()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path not in pages:
                    self.send_error(404)
                    return
                body = grown(*pages[self.path], 1 + (time.monotonic() - began) / 100).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked has not waited
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def job(self) -> dict:
        """For scrape_configs."""
        targets = [
            {"targets": [f"127.0.0.1:{self.port}"], "labels": {"__metrics_path__": path, "instance": path[1:]}}
            for path in self.paths
        ]
        return {"job_name": "recorded", "static_configs": targets}

    def start(self) -> "Recorded":
        self._thread.start()
        return self

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def _is_count_of_linkerd1(name: str, value: str) -> bool:
    """It says no types, but writes gauges with a point. Its summaries are of the last minute and do not add up."""
    return value.isdigit() and not re.search(r"_(count|sum|avg)$", name)


def grown(page: str, is_count, factor: float) -> str:
    def grow(line: re.Match) -> str:
        name, labels, value = line.group(1), line[2] or "", line[3]
        grows = "quantile=" not in labels and is_count(name, value)
        return f"{name}{labels} {float(value) * factor:.3f}" if grows else line[0]

    return re.sub(r"^([\w:]+)(\{.*\})? (\S+)$", grow, page, flags=re.MULTILINE)
