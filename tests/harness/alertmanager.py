"""A real Alertmanager, and who it tells: a receiver of its webhook."""

import dataclasses
import http.server
import json
import pathlib
import threading
import time

import yaml

from harness.net import answers, free_port, get_json
from harness.process import ROOT, Process


@dataclasses.dataclass(frozen=True)
class Note:
    """One alert of a notification. status: firing or resolved; at: seconds since the Unix epoch when it came."""

    status: str
    labels: dict
    annotations: dict
    at: float

    @property
    def name(self) -> str:
        return self.labels["alertname"]


class Webhook:
    """Takes what Alertmanager posts (its webhook format, version 4) and keeps it."""

    def __init__(self, port: int | None = None):
        self.notes: list[Note] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port or 0), self._handler())
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts"

    def start(self) -> "Webhook":
        self._thread.start()
        return self

    def _handler(self):
        notes = self.notes

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                notes.extend(Note(a["status"], a["labels"], a["annotations"], time.time()) for a in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler

    def find(self, status: str, name: str, *, since: float = 0, **labels) -> Note | None:
        """The first such, of those that came since then."""
        return next(
            (
                n
                for n in self.notes
                if (n.status, n.name) == (status, name) and n.at >= since and labels.items() <= n.labels.items()
            ),
            None,
        )

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class Alertmanager:
    """Tells the webhook at once of each alert, and of its end; an alert is a group of its own. Which ones keep others from being
    told is as in dashboards/alertmanager.yml."""

    def __init__(self, folder: pathlib.Path, webhook: str, port: int | None = None):
        self.folder, self.webhook, self.port = folder, webhook, port or free_port()
        self.process: Process | None = None

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self) -> "Alertmanager":
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "alertmanager.yml"
        shipped = yaml.safe_load((ROOT / "dashboards" / "alertmanager.yml").read_text())
        config.write_text(
            f"inhibit_rules: {json.dumps(shipped['inhibit_rules'])}\n"
            "route: { receiver: webhook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }\n"
            f"receivers: [{{ name: webhook, webhook_configs: [{{ url: '{self.webhook}', send_resolved: true }}] }}]\n"
        )
        self.process = Process(
            "alertmanager",
            [
                "prometheus-alertmanager",
                f"--config.file={config}",
                f"--storage.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                f"--web.external-url={self.url('/')}",
                "--cluster.listen-address=",
            ],
            self.folder / "alertmanager.log",
        )
        self.process.wait_ready(lambda: answers(self.url("/-/ready")))
        return self

    def alerts(self) -> list[dict]:
        return get_json(self.url("/api/v2/alerts"))

    def stop(self) -> int:
        return self.process.stop() if self.process else 0
