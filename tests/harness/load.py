"""A steady load beside what a scenario does meanwhile, and what became of it, span by span."""

import json
import re
import subprocess

from harness.weir import binary


class Load:
    """`weir emit` at a steady rate for so long; starts at once."""

    def __init__(self, one, seconds: float, *options, rate: int):
        self.spans = int(seconds * rate) // 8 * 8
        argv = [binary(), "emit", "--endpoint", one.endpoint, "--spans", self.spans, "--rate", rate, "--json", *options]
        pipe = subprocess.PIPE
        self.popen = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def end(self, timeout: float = 120) -> int:
        """Waits for its end; how many spans were sent, all of them acknowledged."""
        summary = self.cut(timeout)
        assert summary["acknowledged"] == self.spans, summary
        return self.spans

    def cut(self, timeout: float = 120) -> dict:
        """Waits for its end, whatever that is; what it says of it."""
        try:
            out, err = self.popen.communicate(timeout=timeout)
        finally:
            self.stop()
        assert out, err
        return json.loads(out)

    def stop(self):
        if self.running:
            self.popen.kill()
            self.popen.wait()


def truth(one) -> set[int]:
    """What the file exporter has, each span once. Of a hundred thousand spans the ids are read, and not all of their JSON."""
    done = subprocess.run([binary(), "cat", one.traces], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True)
    spans = [
        int(trace[-16:] + span, 16)
        for trace, span in re.findall(rb'"traceId":"([0-9a-f]+)","spanId":"([0-9a-f]{16})"', done.stdout)
    ]
    assert len(spans) == done.stdout.count(b"\n"), "each line has a trace and a span id"
    assert len(set(spans)) == len(spans), "the file has a span twice"
    return set(spans)
