import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** ENDPOINT SECONDS: spans by the OpenTelemetry SDK for Java, as they come. Prints as otlp-go does. */
public final class Sender {
    private record Witness(SpanExporter inner) implements SpanExporter {
        @Override
        public CompletableResultCode export(Collection<SpanData> spans) {
            List<String> ids = new ArrayList<>(); // the processor uses `spans` again
            for (SpanData span : spans) ids.add(span.getSpanId());
            CompletableResultCode result = inner.export(spans);
            result.whenComplete(() -> {
                StringBuilder lines = new StringBuilder();
                if (!result.isSuccess()) lines.append("fail ").append(ids.size()).append('\n');
                else for (String id : ids) lines.append("ack ").append(id).append('\n');
                synchronized (System.out) {
                    System.out.print(lines);
                    System.out.flush();
                }
            });
            return result;
        }

        @Override
        public CompletableResultCode flush() {
            return inner.flush();
        }

        @Override
        public CompletableResultCode shutdown() {
            return inner.shutdown();
        }
    }

    public static void main(String[] args) throws InterruptedException {
        SpanExporter exporter =
                OtlpGrpcSpanExporter.builder().setEndpoint("http://" + args[0]).setCompression("gzip").build();
        Resource resource = Resource.create(Attributes.of(AttributeKey.stringKey("service.name"), "client-java"));
        SdkTracerProvider provider = SdkTracerProvider.builder()
                .addSpanProcessor(BatchSpanProcessor.builder(new Witness(exporter))
                        .setScheduleDelay(100, TimeUnit.MILLISECONDS)
                        .setMaxExportBatchSize(100)
                        .setMaxQueueSize(200_000)
                        .build())
                .setResource(resource)
                .build();
        Tracer tracer = provider.get("weir");
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(Long.parseLong(args[1]));
        while (System.nanoTime() < end) {
            tracer.spanBuilder("GET /carts").setAttribute("http.status_code", 200L).startSpan().end();
            Thread.sleep(1);
        }
        provider.shutdown().join(30, TimeUnit.SECONDS);
        System.exit(0);
    }
}
