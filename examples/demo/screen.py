"""How the demos write: headings, rows, what has been done; colour where there is a terminal."""

import os
import sys
import time

from harness.net import free_port, is_free

TERMINAL = sys.stdout.isatty()
COLOUR = TERMINAL and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def heading(text: str, note: str = ""):
    print("\n" + paint(text, "1") + (paint(f"  {note}", "2") if note else ""))


def row(*cells: str):
    print("  " + "".join(cells).rstrip(), flush=True)


def done(text: str):
    print("  " + paint("✓", "32") + " " + text, flush=True)


class Doing:
    """with Doing("kafka", "a broker"): a line that says so at once, and how long it took in the end."""

    def __init__(self, name: str, text: str):
        self.line, self.began = f"{name:13}{text}", time.monotonic()

    def __enter__(self):
        if TERMINAL:
            print("  " + paint("…", "33") + " " + self.line, end="\r", flush=True)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            done(self.line + paint(f"  {time.monotonic() - self.began:.1f} s", "2"))


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def prefer(port: int) -> int:
    return port if is_free(port) else free_port()
