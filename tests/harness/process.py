"""One program: started with its output in a file, stopped by its process id, and never left behind."""

import os
import pathlib
import subprocess
import time

from harness.net import PATIENCE, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = pathlib.Path(os.environ.get("WEIR_PEERS") or ROOT / ".peers")
_TICK = os.sysconf("SC_CLK_TCK")
# A run that is cut short leaves no program behind. setpriv replaces itself by the program: the process id is the program's.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"]


class Process:
    def __init__(self, name: str, argv: list, log: pathlib.Path, *, env: dict | None = None, cwd: pathlib.Path | None = None):
        self.name, self.argv, self.log = name, [str(a) for a in argv], log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                [*DIES_WITH_US, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=cwd,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def wait_ready(self, condition, timeout: float = 3 * PATIENCE):
        def ready():
            assert self.running, f"{self.name} ended with status {self.popen.returncode}:\n{self.tail()}"
            return condition()

        try:
            wait_until(ready, f"{self.name} to be ready", timeout)
        except AssertionError:
            self.kill()
            raise

    def wait(self, timeout: float = PATIENCE) -> int:
        return self.popen.wait(timeout)

    def signal(self, number: int):
        self.popen.send_signal(number)

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM, then SIGKILL: its exit status (negative: the signal that ended it)."""
        if self.running:
            self.popen.terminate()
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.popen.returncode

    def kill(self):
        if self.running:
            self.popen.kill()
            self.popen.wait()

    def cpu_seconds(self) -> float:
        """User and system time of the process so far, all threads."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def cpu_ns(self) -> int:
        """The same by the scheduler's own account, to the nanosecond; threads that have ended are not in it."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks)

    def rss_bytes(self) -> int:
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def says(self, part: str, timeout: float = PATIENCE):
        """Waits until its output has this: a counter or an answer may be seen a moment before the line about it."""
        wait_until(lambda: part in self.text(), lambda: f"{self.name} to say {part!r}:\n{self.tail()}", timeout)

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.text().splitlines()[-lines:])


def run(argv: list, timeout: float = PATIENCE, **kwargs) -> subprocess.CompletedProcess:
    """A program that ends by itself; its output as text."""
    return subprocess.run(
        [str(a) for a in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=False,
        **kwargs,
    )


def settled(read, still: float = 0.6, timeout: float = PATIENCE):
    """Reads until the value has not changed for so many seconds; gives it back."""
    end = time.monotonic() + timeout
    last, since = read(), time.monotonic()
    while time.monotonic() - since < still:
        assert time.monotonic() < end, f"still changing after {timeout} s: {last}"
        time.sleep(0.05)
        now = read()
        if now != last:
            last, since = now, time.monotonic()
    return last
