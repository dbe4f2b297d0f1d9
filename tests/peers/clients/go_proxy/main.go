// go-proxy LISTEN TO [COLLECTOR]: a reverse proxy of Go's standard library on one processor. With a collector's address the
// OpenTelemetry SDK traces each request, a server and a client span with the attributes of examples/proxy, and its batch
// processor exports them over OTLP/gRPC; without one there is no SDK in the request's way. It is what tracing costs today.
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
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: os.Args[2]})
	proxy.Transport = transport
	var handler http.Handler = proxy
	if len(os.Args) > 3 {
		exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(os.Args[3]), otlptracegrpc.WithInsecure())
		check(err)
		provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter, sdk.WithMaxQueueSize(100_000)),
			sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "go-proxy"))))
		defer func() { check(provider.Shutdown(ctx)) }()
		tracer := provider.Tracer("weir")
		proxy.Transport = &client{tracer, transport}
		handler = traced(tracer, proxy)
	}
	server := &http.Server{Addr: os.Args[1], Handler: handler}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() { check(server.ListenAndServe()) }()
	<-stop
}
