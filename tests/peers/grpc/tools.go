//go:build tools

// Package tools pins what tests/peers/install.sh builds.
package tools

import (
	_ "google.golang.org/grpc/interop/client"
	_ "google.golang.org/grpc/interop/http2"
)
