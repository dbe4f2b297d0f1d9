# deps.sh - ./dev deps: brings what is missing, from Debian, PyPI, Maven Central and the Go proxy. Sourced, not run.
# shellcheck shell=bash

APT_BUILD="ca-certificates cmake ninja-build gcc libc6-dev pkg-config git protobuf-c-compiler libprotobuf-c-dev protobuf-compiler
    libnghttp2-dev libmicrohttpd-dev libzstd-dev zlib1g-dev libcurl4-openssl-dev librdkafka-dev libyaml-dev libpcre2-dev libssl-dev libxxhash-dev libcmocka-dev libjansson-dev"
APT_TEST="clang libclang-rt-14-dev llvm clang-format clang-tidy cppcheck shellcheck nginx-light haproxy prometheus prometheus-alertmanager util-linux libfaketime zstd"

help_deps() {
    cat <<'HELP'
usage: ./dev deps [--peers]

Installs what is missing, and takes a second when nothing is:
  apt      compiler, libraries, linters, nginx, HAProxy, Prometheus, Alertmanager; a JRE, Maven where there is none (root, or sudo)
  .venv    Python packages of tests/requirements.txt; Go, where no recent one is in PATH
  .peers   Envoy, Zipkin server, Kafka, OpenTelemetry Collector (built once), h2spec, clients of gRPC: the real programs that
           scenarios name (another place: WEIR_PEERS=DIR)
  --peers  also statsd_exporter, for ./dev bench --peers
HELP
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "apt-get needs root or sudo: $*"; fi
}

# Debian starts a service as soon as it is installed; here only the programs are wanted. This is its own way to say so.
apt_quietly() {
    local policy=/usr/sbin/policy-rc.d ours=0 status=0 log
    log=$(mktemp)
    if [ ! -e $policy ]; then
        ours=1
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 || status=$?
    [ $status -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    [ $ours -eq 0 ] || as_root rm -f $policy
    return $status
}

# apt_have PKG...: installs those that dpkg does not know as installed.
apt_have() {
    local missing=() package installed
    # dpkg-query fails for a name that it has never heard of; the others it still prints.
    installed=$({ dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true; } | sed -n 's/^installed //p')
    for package in "$@"; do
        grep -qx -- "$package" <<<"$installed" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "apt: ${missing[*]}"
    if [ -z "$(find /var/lib/apt/lists -name '*Packages*' -mmin -1440 2>/dev/null | head -n 1)" ]; then as_root apt-get update -qq; fi
    apt_quietly "${missing[@]}" || { as_root apt-get update -qq; apt_quietly "${missing[@]}"; } || die "apt-get install failed: ${missing[*]}"
}

# venv_have: .venv with tests/requirements.txt as it stands now.
venv_have() {
    local want
    want=$(sha256sum tests/requirements.txt)
    [ "$(cat "$VENV/.weir" 2>/dev/null)" = "$want" ] && [ -x "$VENV/bin/python" ] && return 0
    say "venv: tests/requirements.txt"
    python3 -c 'import venv, ensurepip' 2>/dev/null || apt_have python3 python3-venv
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install -q --disable-pip-version-check -r tests/requirements.txt
    printf '%s\n' "$want" >"$VENV/.weir"
}

deps_build() {
    # shellcheck disable=SC2086
    apt_have $APT_BUILD
    if ! command -v python3 >/dev/null; then apt_have python3; fi
}

deps_demo() {
    venv_have
    PATH=$VENV/bin:$PATH tests/peers/install.sh envoy
}

# deps_java: what runs Zipkin and Kafka.
deps_java() { command -v java >/dev/null || apt_have default-jre-headless; }

# deps_full: what ./dev demo --full needs beyond ./dev demo.
deps_full() {
    apt_have prometheus prometheus-alertmanager
    deps_java
    if [ ! -s "$WEIR_PEERS/zipkin/zipkin-server-3.6.1-exec.jar" ] || [ ! -d "$WEIR_PEERS/kafka/lib" ]; then
        command -v mvn >/dev/null || apt_have maven
    fi
    tests/peers/install.sh zipkin kafka
}

deps_test() {
    # shellcheck disable=SC2086
    apt_have $APT_TEST
    deps_java
    if [ ! -s "$WEIR_PEERS/zipkin/zipkin-server-3.6.1-exec.jar" ] || [ ! -s "$WEIR_PEERS/otlp-java/otlp-java-1.jar" ] || [ ! -d "$WEIR_PEERS/kafka/lib" ] ||
        [ ! -s "$WEIR_PEERS/finagle/classes/Main.class" ] || [ ! -s "$WEIR_PEERS/jaeger-java/jaeger-java-1.jar" ]; then
        command -v mvn >/dev/null || apt_have maven
        command -v javac >/dev/null || apt_have default-jdk-headless
    fi
    venv_have
    PATH=$VENV/bin:$PATH tests/peers/install.sh zipkin kafka h2spec grpc grpcurl ghz health_probe otelcol otlp_go otlp_java finagle \
        jaeger_go jaeger_java otelcol_sampling dashlint
    # Debian 12 has cargo 1.63, and tonic asks for 1.88: the Rust client is there where a newer one is in PATH.
    local minor
    minor=$({ cargo --version 2>/dev/null || true; } | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p')
    if [ "${minor:-0}" -ge 88 ]; then tests/peers/install.sh otlp_rust; fi
}

deps_peers() {
    venv_have
    PATH=$VENV/bin:$PATH tests/peers/install.sh statsd_exporter go_proxy
}

cmd_deps() {
    local peers=0
    case ${1:-} in
        '') ;;
        --peers) peers=1 ;;
        *) die "deps: unknown argument $1" ;;
    esac
    deps_build
    deps_demo
    deps_test
    [ $peers -eq 0 ] || deps_peers
    say "deps: all there"
}
