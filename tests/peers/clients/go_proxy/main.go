// go-proxy TRACED PLAIN TO COLLECTOR: a reverse proxy of Go's standard library on one processor, with two addresses. What comes to
// TRACED has a server and a client span of the OpenTelemetry SDK, with the attributes of examples/proxy, which its batch processor
// exports over OTLP/gRPC; what comes to PLAIN meets no SDK. Both in one process, to be measured against each other.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

var propagator = propagation.TraceContext{}

type status struct {
	http.ResponseWriter
	code  int
	bytes int64
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) Write(body []byte) (int, error) {
	n, err := s.ResponseWriter.Write(body)
	s.bytes += int64(n)
	return n, err
}

// The server span.
func traced(tracer trace.Tracer, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path),
			attribute.String("server.address", r.Host), attribute.String("client.address", r.RemoteAddr)))
		defer span.End()
		seen := &status{ResponseWriter: w, code: 200}
		next.ServeHTTP(seen, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", seen.code),
			attribute.Int64("http.response.body.size", seen.bytes))
	})
}

// The client span.
type client struct {
	tracer trace.Tracer
	next   http.RoundTripper
}

func (c *client) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := c.tracer.Start(r.Context(), r.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("server.address", r.URL.Host)))
	defer span.End()
	r = r.Clone(ctx)
	propagator.Inject(ctx, propagation.HeaderCarrier(r.Header))
	answer, err := c.next.RoundTrip(r)
	if err == nil {
		span.SetAttributes(attribute.Int("http.response.status_code", answer.StatusCode))
	}
	return answer, err
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	ctx := context.Background()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.MaxIdleConnsPerHost, transport.DisableCompression = nil, 128, true
	to := &url.URL{Scheme: "http", Host: os.Args[3]}
	plain, proxy := httputil.NewSingleHostReverseProxy(to), httputil.NewSingleHostReverseProxy(to)
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(os.Args[4]), otlptracegrpc.WithInsecure())
	check(err)
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter, sdk.WithMaxQueueSize(100_000), sdk.WithBatchTimeout(100*time.Millisecond)),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "go-proxy"))))
	tracer := provider.Tracer("weir")
	plain.Transport, proxy.Transport = transport, &client{tracer, transport}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() { check(http.ListenAndServe(os.Args[1], traced(tracer, proxy))) }()
	go func() { check(http.ListenAndServe(os.Args[2], plain)) }()
	<-stop
	check(provider.Shutdown(ctx))
}
