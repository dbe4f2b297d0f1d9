"""The programs that Weir is measured beside."""

from pathlib import Path

from harness.net import answers, free_port, http
from harness.process import PEERS, Process
from harness.series import Page


class Collector:
    """OpenTelemetry Collector: OTLP/gRPC, OTLP/HTTP and Zipkin into nothing, a file, Zipkin or Kafka (mode nop, file,
    zipkin-json, zipkin-proto, kafka-otlp_proto; target: an address, or brokers). tail: (seconds to wait, ms that are slow): first through tail_sampling, which keeps errors, what is
    slow, and 1 %.
    """

    def __init__(self, folder: Path, mode: str, target: str, tail: tuple[int, int] | None = None):
        self.folder, self.mode, self.target, self.tail = folder, mode, target, tail
        self.port, self.health_port = free_port(), free_port()
        self.ports = {"otlp_http": free_port(), "zipkin": free_port()}

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def otlp(self, transport: str) -> str:
        """Where an exporter finds it."""
        return f"grpc://{self.endpoint}" if transport == "grpc" else f"http://127.0.0.1:{self.ports['otlp_http']}"

    def start(self) -> "Collector":
        self.folder.mkdir(parents=True)
        exporter, _, encoding = self.mode.partition("-")
        batching = "" if exporter == "nop" else "memory_limiter, batch"
        sampling = ""
        if self.tail:
            batching, (wait, slow) = "tail_sampling, batch", self.tail
            sampling = f"""  tail_sampling:
    decision_wait: {wait}s
    num_traces: 400000
    expected_new_traces_per_sec: 12500
    policies:
      - {{ name: errors, type: status_code, status_code: {{ status_codes: [ERROR] }} }}
      - {{ name: slow, type: latency, latency: {{ threshold_ms: {slow} }} }}
      - {{ name: rest, type: probabilistic, probabilistic: {{ sampling_percentage: 1 }} }}
"""
        config = self.folder / "config.yaml"
        config.write_text(f"""
receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: 127.0.0.1:{self.port}, max_recv_msg_size_mib: 16 }}
      http: {{ endpoint: 127.0.0.1:{self.ports["otlp_http"]} }}
  zipkin: {{ endpoint: 127.0.0.1:{self.ports["zipkin"]}, keep_alives_enabled: true }}
processors:
  batch: {{ send_batch_size: 1000, send_batch_max_size: 1000, timeout: 200ms }}
  memory_limiter: {{ check_interval: 1s, limit_mib: 1024 }}
{sampling}exporters:
  nop: {{}}
  file: {{ path: '{self.folder}/out.json' }}
  zipkin: {{ endpoint: '{self.target if exporter == "zipkin" else "http://127.0.0.1:1"}', format: {encoding or "json"},
            sending_queue: {{ enabled: true, num_consumers: 4, queue_size: 5000 }} }}
  kafka: {{ brokers: ["{self.target or "127.0.0.1:1"}"], traces: {{ topic: traces, encoding: {encoding or "otlp_proto"} }},
           partition_traces_by_id: true, producer: {{ required_acks: -1 }} }}
extensions: {{ health_check: {{ endpoint: 127.0.0.1:{self.health_port} }} }}
service:
  extensions: [health_check]
  telemetry: {{ logs: {{ level: warn }}, metrics: {{ level: none }} }}
  pipelines: {{ traces: {{ receivers: [otlp, zipkin], processors: [{batching}], exporters: [{exporter}] }} }}
""")
        program = PEERS / "bin" / "otelcol"
        self.process = Process("otelcol", [program, "--config", config], self.folder / "log")
        self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.health_port}/"))
        return self

    def stop(self):
        self.process.stop()


class StatsdExporter:
    """prometheus/statsd_exporter; read_buffer 0: the kernel's default."""

    def __init__(self, folder: Path, read_buffer: int):
        self.folder, self.read_buffer = folder, read_buffer
        self.statsd_port, self.port = free_port(), free_port()

    def start(self) -> "StatsdExporter":
        argv = [
            PEERS / "bin" / "statsd_exporter",
            f"--statsd.listen-udp=127.0.0.1:{self.statsd_port}",
            "--statsd.listen-tcp=",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        if self.read_buffer:
            argv.append(f"--statsd.read-buffer={self.read_buffer}")
        self.process = Process("statsd_exporter", argv, self.folder / "log")
        self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.port}/metrics"))
        return self

    def packets(self) -> int:
        return int(Page(http(f"http://127.0.0.1:{self.port}/metrics").text).sum("statsd_exporter_udp_packets_total"))

    def stop(self):
        self.process.stop()
