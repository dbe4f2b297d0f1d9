// The cases of grpc doc/interop-test-descriptions.md about compression, which grpc-go's own interop client leaves out:
// client_compressed_unary, server_compressed_unary, client_compressed_streaming, server_compressed_streaming.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// seen notes of each message that came whether it was compressed.
type seen struct {
	mu         sync.Mutex
	compressed []bool
}

func (s *seen) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (s *seen) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (s *seen) HandleConn(context.Context, stats.ConnStats)                       {}
func (s *seen) HandleRPC(_ context.Context, event stats.RPCStats) {
	if in, ok := event.(*stats.InPayload); ok {
		s.mu.Lock()
		s.compressed = append(s.compressed, in.CompressedLength != in.Length)
		s.mu.Unlock()
	}
}
func (s *seen) expect(want ...bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fmt.Sprint(s.compressed) != fmt.Sprint(want) {
		log.Fatalf("answers compressed: %v, want %v", s.compressed, want)
	}
	s.compressed = nil
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func payload(size int) *pb.Payload { return &pb.Payload{Body: make([]byte, size)} }
func is(value bool) *pb.BoolValue  { return &pb.BoolValue{Value: value} }

func unary(ctx context.Context, client pb.TestServiceClient, request *pb.SimpleRequest, options ...grpc.CallOption) {
	request.ResponseSize, request.Payload = 314159, payload(271828)
	answer, err := client.UnaryCall(ctx, request, options...)
	check(err)
	if len(answer.GetPayload().GetBody()) != 314159 {
		log.Fatalf("%d bytes came", len(answer.GetPayload().GetBody()))
	}
}

func main() {
	port := flag.Int("server_port", 0, "")
	name := flag.String("test_case", "", "")
	flag.Parse()
	see := &seen{}
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", *port), grpc.WithStatsHandler(see),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	client := pb.NewTestServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	zip := grpc.UseCompressor(gzip.Name)

	switch *name {
	case "client_compressed_unary":
		// A server that does not look would let this pass.
		_, err := client.UnaryCall(ctx, &pb.SimpleRequest{ExpectCompressed: is(true), ResponseSize: 314159, Payload: payload(271828)})
		if status.Code(err) != codes.InvalidArgument {
			log.Fatalf("the probe: %v", err)
		}
		unary(ctx, client, &pb.SimpleRequest{ExpectCompressed: is(true)}, zip)
		unary(ctx, client, &pb.SimpleRequest{ExpectCompressed: is(false)})
	case "server_compressed_unary":
		unary(ctx, client, &pb.SimpleRequest{ResponseCompressed: is(true)})
		see.expect(true)
		unary(ctx, client, &pb.SimpleRequest{ResponseCompressed: is(false)})
		see.expect(false)
	case "client_compressed_streaming":
		probe, err := client.StreamingInputCall(ctx)
		check(err)
		check(probe.Send(&pb.StreamingInputCallRequest{ExpectCompressed: is(true), Payload: payload(27182)}))
		if _, err := probe.CloseAndRecv(); status.Code(err) != codes.InvalidArgument {
			log.Fatalf("the probe: %v", err)
		}
		stream, err := client.StreamingInputCall(ctx, zip)
		check(err)
		check(stream.Send(&pb.StreamingInputCallRequest{ExpectCompressed: is(true), Payload: payload(27182)}))
		// grpc-go compresses all of a stream or nothing, but sends as it is what was prepared on another one.
		other, err := client.StreamingInputCall(ctx)
		check(err)
		plain := &grpc.PreparedMsg{}
		check(plain.Encode(other, &pb.StreamingInputCallRequest{ExpectCompressed: is(false), Payload: payload(45904)}))
		check(stream.SendMsg(plain))
		answer, err := stream.CloseAndRecv()
		check(err)
		if answer.GetAggregatedPayloadSize() != 73086 {
			log.Fatalf("%d bytes were counted", answer.GetAggregatedPayloadSize())
		}
	case "server_compressed_streaming":
		for _, first := range []bool{true, false} {
			stream, err := client.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{ResponseParameters: []*pb.ResponseParameters{
				{Size: 31415, Compressed: is(first)}, {Size: 92653, Compressed: is(!first)}}})
			check(err)
			for _, size := range []int{31415, 92653} {
				answer, err := stream.Recv()
				check(err)
				if len(answer.GetPayload().GetBody()) != size {
					log.Fatalf("%d bytes came, want %d", len(answer.GetPayload().GetBody()), size)
				}
			}
			if _, err := stream.Recv(); err != io.EOF {
				log.Fatalf("behind the last answer: %v", err)
			}
			see.expect(first, !first)
		}
	default:
		log.Fatalf("no case %q", *name)
	}
}
