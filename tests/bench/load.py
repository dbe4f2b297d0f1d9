"""The load: spans by `weir emit`, packets by the compiled sender beside this file."""

import json
import subprocess
import time
from pathlib import Path

import bodies
from harness.process import ROOT, run
from harness.weir import binary

HERE = Path(__file__).parent


def emit(endpoint: str, spans: int, batch: int) -> dict:
    """acknowledged, refused, seconds (from the first request to the last answer)."""
    done = run([binary(), "emit", "--endpoint", endpoint, "--spans", spans, "--batch", batch, "--in-flight", 16, "--json"], 300)
    assert done.returncode == 0, f"weir emit: exit {done.returncode}\n{done.stderr[-1000:]}"
    return json.loads(done.stdout)


def _compiled(name: str) -> Path:
    program, source = ROOT / "build" / name, HERE / f"{name}.c"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", str(program), str(source)], check=True)
    return program


def statsd(port: int, *, packets: int, rate: int, lines: int) -> dict:
    """packets (that left), seconds"""
    done = run([_compiled("statsd_blast"), "--port", port, "--packets", packets, "--rate", rate, "--lines", lines], 120)
    assert done.returncode == 0, done.stderr[-1000:]
    return json.loads(done.stdout)


def datagrams(port: int, spans: int, rate: int, attributes: int) -> dict:
    """sent (spans), datagrams, seconds"""
    where = ["--via", "datagram", "--endpoint", f"127.0.0.1:{port}"]
    done = run([binary(), "emit", *where, "--spans", spans, "--rate", rate, "--attributes", attributes, "--json"], 300)
    assert done.returncode == 0, f"weir emit: exit {done.returncode}\n{done.stderr[-1000:]}"
    return json.loads(done.stdout)


def post(folder: Path, form: str, port: int, path: str, *, spans: int, batch: int) -> dict:
    """spans (accepted), refused (requests), seconds"""
    requests = max(spans // batch, 1)
    paths = bodies.write(folder, form, batch=batch)
    argv = [_compiled("post_blast"), "--port", port, "--requests", requests]
    argv += ["--scribe", 1] if form == "scribe" else ["--path", path, "--type", bodies.TYPES[form]]
    done = run([*argv, *paths], 300)
    assert done.returncode == 0, done.stderr[-1000:]
    found = json.loads(done.stdout)
    return {"spans": found["accepted"] * batch, "refused": found["refused"], "seconds": found["seconds"]}


def get(port: int, path: str, requests: int, traced: int = 0) -> dict:
    """seconds, of so many requests that were all answered 2xx. traced: each comes with a traceparent, one in so many sampled"""
    done = run([_compiled("post_blast"), "--port", port, "--path", path, "--requests", requests, "--traced", traced], 120)
    assert done.returncode == 0, done.stderr[-1000:]
    found = json.loads(done.stdout)
    assert found["refused"] == 0, f"{found['refused']} of {requests} requests failed"
    return found


def still(read, every: float = 0.2, times: int = 3, timeout: float = 60):
    """Reads until the value has stayed the same so many times."""
    end, seen = time.monotonic() + timeout, [read()]
    while len(seen) < times or len(set(seen[-times:])) > 1:
        assert time.monotonic() < end, f"still changing after {timeout} s"
        time.sleep(every)
        seen.append(read())
    return seen[-1]
