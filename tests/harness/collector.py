"""A real OpenTelemetry Collector that takes OTLP over gRPC and HTTP and writes what it got into a file."""

import json
import pathlib
import signal

from harness.net import PATIENCE, answers, free_port, wait_until
from harness.process import PEERS, Process


class Collector:
    """grpc, http: more options of that protocol, as in "max_recv_msg_size_mib: 1"."""

    def __init__(self, folder: pathlib.Path, *, grpc: str = "", http: str = "", name: str = "otelcol"):
        self.folder, self.name = folder, name
        self.grpc_port, self.http_port, self.health_port = free_port(), free_port(), free_port()
        self.out = folder / f"{name}.json"
        self.grpc, self.http = grpc, http
        self.process: Process | None = None

    def url(self, scheme: str) -> str:
        """By which an exporter finds it: grpc, grpcs, http, https."""
        port, path = (self.grpc_port, "") if scheme.startswith("grpc") else (self.http_port, "/v1/traces")
        return f"{scheme}://127.0.0.1:{port}{path}"

    def start(self) -> "Collector":
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / f"{self.name}.yaml"
        config.write_text(f"""
receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: 127.0.0.1:{self.grpc_port}, {self.grpc} }}
      http: {{ endpoint: 127.0.0.1:{self.http_port}, {self.http} }}
exporters: {{ file: {{ path: '{self.out}', flush_interval: 100ms }} }}
extensions: {{ health_check: {{ endpoint: 127.0.0.1:{self.health_port} }} }}
service:
  extensions: [health_check]
  telemetry: {{ logs: {{ level: warn }}, metrics: {{ level: none }} }}
  pipelines: {{ traces: {{ receivers: [otlp], exporters: [file] }} }}
""")
        self.process = Process(self.name, [PEERS / "bin" / "otelcol", "--config", config], self.folder / f"{self.name}.log")
        self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.health_port}/"))
        return self

    def stop(self) -> int:
        return self.process.stop() if self.process else 0

    def spans(self) -> list[tuple[dict, str]]:
        """(span, service) of all that is in the file."""
        found = []
        for line in self.out.read_text().splitlines() if self.out.exists() else []:
            for resource in json.loads(line)["resourceSpans"]:
                attributes = {one["key"]: one["value"] for one in resource["resource"]["attributes"]}
                for scope in resource["scopeSpans"]:
                    found += [(span, attributes["service.name"]["stringValue"]) for span in scope["spans"]]
        return found

    def wait_for(self, count: int, timeout: float = PATIENCE) -> list[tuple[dict, str]]:
        """Until the file has so many spans."""

        def there():
            text = self.out.read_text() if self.out.exists() else ""
            return text.endswith("\n") and text.count('"spanId"') >= count

        wait_until(there, f"{count} spans at {self.name}", timeout, every=0.2)
        return self.spans()


class Gate:
    """nginx in front of a Collector: TLS with a client's certificate, and a token (401 without it), for gRPC and HTTP."""

    def __init__(self, folder: pathlib.Path, collector: Collector, certificates):
        self.folder, self.collector, self.certificates = folder, collector, certificates
        self.grpc_port, self.http_port, self.health_port = free_port(), free_port(), free_port()
        self.token = "let-me-in"
        self.process: Process | None = None

    url = Collector.url

    def _write(self) -> pathlib.Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        temp = self.folder / "temp"
        temp.mkdir(exist_ok=True)
        paths = " ".join(f"{kind}_temp_path {temp};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body"))
        path = self.certificates.path
        tls = f"""
    ssl_certificate {path("server.pem")}; ssl_certificate_key {path("server.key")};
    ssl_client_certificate {path("ca.pem")}; ssl_verify_client on; client_max_body_size 64m;
    if ($http_authorization != "Bearer {self.token}") {{ return 401; }}"""
        config = self.folder / "nginx.conf"
        config.write_text(f"""
daemon off; master_process on; worker_processes 1; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log warn; user root;
events {{ worker_connections 1024; }}
http {{
  access_log off; {paths}
  server {{ listen 127.0.0.1:{self.grpc_port} ssl http2; {tls}
    location / {{ grpc_pass grpc://127.0.0.1:{self.collector.grpc_port}; }}
  }}
  server {{ listen 127.0.0.1:{self.http_port} ssl; {tls}
    location / {{ proxy_pass http://127.0.0.1:{self.collector.http_port}; }}
  }}
  server {{ listen 127.0.0.1:{self.health_port}; location / {{ return 200; }} }}
}}
""")
        return config

    def start(self) -> "Gate":
        config = self._write()
        self.process = Process("nginx", ["nginx", "-e", self.folder / "error.log", "-c", config], self.folder / "nginx.log")
        self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.health_port}/"))
        return self

    def reload(self):
        """After `token` was changed."""
        self._write()
        self.process.signal(signal.SIGHUP)

    def stop(self) -> int:
        return self.process.stop() if self.process else 0
