// otlp-go ENDPOINT SECONDS: spans by the OpenTelemetry SDK for Go and its OTLP/gRPC exporter, as they come. Prints
// `ack SPAN_ID` for each span of an export that succeeded, and `fail N` for one that did not.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

type witness struct {
	trace.SpanExporter
	mu sync.Mutex
}

func (w *witness) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	err := w.SpanExporter.ExportSpans(ctx, spans)
	w.mu.Lock()
	defer w.mu.Unlock()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	if err != nil {
		fmt.Fprintf(out, "fail %d %v\n", len(spans), err)
		return err
	}
	for _, span := range spans {
		fmt.Fprintf(out, "ack %s\n", span.SpanContext().SpanID())
	}
	return nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	seconds, err := strconv.Atoi(os.Args[2])
	check(err)
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(os.Args[1]), otlptracegrpc.WithInsecure(),
		otlptracegrpc.WithCompressor("gzip"))
	check(err)
	provider := trace.NewTracerProvider(
		trace.WithBatcher(&witness{SpanExporter: exporter}, trace.WithBatchTimeout(100*time.Millisecond),
			trace.WithMaxExportBatchSize(100), trace.WithMaxQueueSize(200_000)),
		trace.WithResource(resource.NewSchemaless(attribute.String("service.name", "client-go"))))
	tracer := provider.Tracer("weir")
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		_, span := tracer.Start(ctx, "GET /carts")
		span.SetAttributes(attribute.Int("http.status_code", 200))
		span.End()
	}
	check(provider.Shutdown(ctx))
}
