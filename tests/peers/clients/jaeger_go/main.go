// jaeger-go OTLP SAMPLING SERVICE SECONDS: begins traces as fast as one a millisecond, of three operations by turns, each with a
// child; what is sampled is what the OpenTelemetry SDK's sampler for Jaeger's remote sampling makes of the answers at SAMPLING (a
// URL, asked once a second). Prints what it begins, every 100 ms a line: `made N sampled N`.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/contrib/samplers/jaegerremote"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

var operations = []string{"GET /carts", "GET /health", "POST /orders"}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	seconds, err := strconv.Atoi(os.Args[4])
	check(err)
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(os.Args[1]), otlptracegrpc.WithInsecure())
	check(err)
	sampler := jaegerremote.New(os.Args[3], jaegerremote.WithSamplingServerURL(os.Args[2]),
		jaegerremote.WithSamplingRefreshInterval(time.Second), jaegerremote.WithInitialSampler(trace.NeverSample()))
	provider := trace.NewTracerProvider(
		trace.WithBatcher(exporter, trace.WithBatchTimeout(100*time.Millisecond), trace.WithMaxQueueSize(200_000)),
		trace.WithSampler(trace.ParentBased(sampler)),
		trace.WithResource(resource.NewSchemaless(attribute.String("service.name", os.Args[3]))))
	tracer := provider.Tracer("weir")
	made, sampled, said := 0, 0, time.Now()
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		inside, root := tracer.Start(ctx, operations[made%len(operations)])
		made++
		if root.SpanContext().IsSampled() {
			sampled++
		}
		_, child := tracer.Start(inside, "SELECT")
		child.End()
		root.End()
		if time.Since(said) >= 100*time.Millisecond {
			said = time.Now()
			fmt.Printf("made %d sampled %d\n", made, sampled)
		}
	}
	sampler.Close()
	check(provider.Shutdown(ctx))
	fmt.Printf("made %d sampled %d\n", made, sampled)
}
