// jaeger-go OTLP SAMPLING SERVICE SECONDS: begins traces as fast as one a millisecond, of three operations by turns, each with a
// child; what is sampled is what the OpenTelemetry SDK's sampler for Jaeger's remote sampling makes of the answers at SAMPLING (a
// URL, asked once a second). Prints what it has begun, an operation each, every 100 ms a line: `made N N N sampled N N N`. SIGTERM
// ends it earlier; what is sampled is sent either way.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
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
	var made, sampled [3]int
	say := func() {
		fmt.Printf("made %d %d %d sampled %d %d %d\n", made[0], made[1], made[2], sampled[0], sampled[1], sampled[2])
	}
	said := time.Now()
	running, cancel := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer cancel()
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for i := 0; time.Now().Before(end) && running.Err() == nil; i = (i + 1) % len(operations) {
		inside, root := tracer.Start(ctx, operations[i])
		made[i]++
		if root.SpanContext().IsSampled() {
			sampled[i]++
		}
		_, child := tracer.Start(inside, "SELECT")
		child.End()
		root.End()
		if time.Since(said) >= 100*time.Millisecond {
			said = time.Now()
			say()
		}
		time.Sleep(time.Millisecond)
	}
	sampler.Close()
	check(provider.Shutdown(ctx))
	say()
}
