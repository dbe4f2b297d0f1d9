"""otlp_python.py ENDPOINT SECONDS: spans by the OpenTelemetry SDK for Python (grpcio, gRPC's C core), as they come. Prints as
otlp-go does."""

import sys
import time

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class Witness(SpanExporter):
    def __init__(self, inner: SpanExporter):
        self.inner = inner

    def export(self, spans):
        result = self.inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            print("".join(f"ack {span.context.span_id:016x}\n" for span in spans), end="", flush=True)
        else:
            print(f"fail {len(spans)}", flush=True)
        return result

    def shutdown(self):
        self.inner.shutdown()


def main():
    endpoint, seconds = sys.argv[1], float(sys.argv[2])
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True, compression=grpc.Compression.Gzip, timeout=30)
    provider = TracerProvider(resource=Resource.create({"service.name": "client-python"}))
    provider.add_span_processor(
        BatchSpanProcessor(Witness(exporter), max_queue_size=200_000, max_export_batch_size=100, schedule_delay_millis=100)
    )
    tracer = provider.get_tracer("weir")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with tracer.start_as_current_span("GET /carts"):
            pass
        time.sleep(0.001)
    provider.shutdown()


if __name__ == "__main__":
    main()
