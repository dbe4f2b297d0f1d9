import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.extension.trace.jaeger.sampler.JaegerRemoteSampler;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.samplers.Sampler;
import java.util.concurrent.TimeUnit;

/** OTLP SAMPLING SERVICE SECONDS: as jaeger-go, with the SDK for Java, which asks over gRPC: SAMPLING is http://HOST:PORT. */
public final class Sampled {
    private static final String[] OPERATIONS = {"GET /carts", "GET /health", "POST /orders"};

    private static final int[] made = new int[3], sampled = new int[3];
    private static volatile boolean stopping;

    private static void say() {
        System.out.printf("made %d %d %d sampled %d %d %d%n",
                made[0], made[1], made[2], sampled[0], sampled[1], sampled[2]);
        System.out.flush();
    }

    public static void main(String[] args) throws InterruptedException {
        JaegerRemoteSampler sampler = JaegerRemoteSampler.builder()
                .setEndpoint(args[1])
                .setServiceName(args[2])
                .setPollingInterval(1, TimeUnit.SECONDS)
                .setInitialSampler(Sampler.alwaysOff())
                .build();
        Resource resource = Resource.create(Attributes.of(AttributeKey.stringKey("service.name"), args[2]));
        SdkTracerProvider provider = SdkTracerProvider.builder()
                .addSpanProcessor(BatchSpanProcessor.builder(
                                OtlpGrpcSpanExporter.builder().setEndpoint("http://" + args[0]).build())
                        .setScheduleDelay(100, TimeUnit.MILLISECONDS)
                        .setMaxQueueSize(200_000)
                        .build())
                .setSampler(Sampler.parentBased(sampler))
                .setResource(resource)
                .build();
        Tracer tracer = provider.get("weir");
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            try {
                main.join(30_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        long said = System.nanoTime();
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(Long.parseLong(args[3]));
        for (int i = 0; System.nanoTime() < end && !stopping; i = (i + 1) % OPERATIONS.length) {
            Span root = tracer.spanBuilder(OPERATIONS[i]).startSpan();
            made[i]++;
            if (root.getSpanContext().isSampled()) sampled[i]++;
            tracer.spanBuilder("SELECT").setParent(Context.root().with(root)).startSpan().end();
            root.end();
            if (System.nanoTime() - said >= 100_000_000) {
                said = System.nanoTime();
                say();
            }
            Thread.sleep(1);
        }
        sampler.close();
        provider.shutdown().join(30, TimeUnit.SECONDS);
        say();
        if (!stopping) Runtime.getRuntime().halt(0); // exit() would wait for the hook, which waits for this thread
    }
}
