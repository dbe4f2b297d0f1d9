"""A program on a terminal of its own, and what a person would see there.

The screen understands what `weir top` sends, and nothing else: an escape that it does not know fails the test, and so does a
character behind the right margin, where a real terminal would wrap."""

import codecs
import fcntl
import html
import itertools
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import unicodedata

from harness.net import wait_until

_ESCAPE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")


def columns(text: str) -> int:
    """Columns that a terminal gives it (UAX 11)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


# Frames that may be under way when a terminal gets another size: what its buffer holds, and what is being drawn.
UNDER_WAY = 4


class Screen:
    def __init__(self, width: int, height: int):
        self.under_way = 0  # frames that may still be of the size before
        self.modes = {"7", "25"}  # wraps, and shows the cursor
        self.rest = ""
        self.wrapped: list[str] = []
        self.frames = 0
        self.sgr: set[str] = set()
        self.resize(width, height)

    def resize(self, width: int, height: int):
        self.width, self.height = width, height
        self.cells = [[" "] * width for _ in range(height)]
        self.styles = [[""] * width for _ in range(height)]
        self.style = ""
        self.x = self.y = 0

    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.cells]

    def text(self) -> str:
        return "\n".join(self.lines())

    def feed(self, text: str):
        text = self.rest + text
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = _ESCAPE.match(text, at)
                if not found and len(text) - at < 16:
                    break
                assert found, f"an escape that no frame has: {text[at : at + 16]!r}"
                self.escape(*found.groups())
                at = found.end()
            else:
                self.character(text[at])
                at += 1
        self.rest = text[at:]

    def character(self, c: str):
        if c == "\r":
            self.x = 0
        elif c == "\n":
            assert self.under_way or self.y + 1 < self.height, (
                f"line {self.y + 2} of {self.height}: the screen would scroll\n{self.text()}"
            )
            self.y += 1
        else:
            assert c.isprintable(), f"{c!r} reached the terminal"
            width = columns(c)
            if width == 0 or self.y >= self.height:
                return
            if self.x + width > self.width:
                if not self.under_way:
                    self.wrapped.append("".join(self.cells[self.y]) + c)
                return
            self.cells[self.y][self.x : self.x + width] = [c, ""][:width]
            self.styles[self.y][self.x : self.x + width] = [self.style] * width
            self.x += width

    def escape(self, private: str, numbers: str, final: str):
        if private:
            assert final in "hl", f"CSI ? {numbers} {final}"
            (self.modes.add if final == "h" else self.modes.discard)(numbers)
        elif final == "H":
            self.x = self.y = 0
            self.frames += 1
            self.under_way = max(self.under_way - 1, 0)
        elif final == "K" and self.y >= self.height:
            pass
        elif final == "K":
            self.cells[self.y][self.x :] = [" "] * (self.width - self.x)
            self.styles[self.y][self.x :] = [""] * (self.width - self.x)
        elif final == "J":
            first = 0 if numbers == "2" else self.y + 1
            if numbers != "2":
                self.escape("", "", "K")
            for row in self.cells[first:]:
                row[:] = [" "] * self.width
        elif final == "m":
            self.sgr.add(numbers)
            for number in numbers.split(";"):
                self.style = "" if number == "0" else f"{self.style};{number}"
        else:
            raise AssertionError(f"CSI {numbers} {final}")


_INK = {"1": "#ffffff", "2": "#8b949e", "31": "#ff7b72", "32": "#7ee787", "33": "#e3b341"}


def picture(screen: Screen, across: float = 8.4, down: int = 18) -> str:
    """The screen as SVG, in its colours. Each run of one style has its width said, so that columns stand in any font."""
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{screen.width * across + 20:.0f}" height="{screen.height * down + 20}" '
        'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">',
        '<rect width="100%" height="100%" rx="6" fill="#0d1117"/>',
    ]
    for y, (cells, styles) in enumerate(zip(screen.cells, screen.styles, strict=True)):
        for style, group in itertools.groupby(range(screen.width), key=lambda x, styles=styles: styles[x]):
            run = list(group)
            text, codes = "".join(cells[x] for x in run), style.split(";")
            left, wide, top = 10 + run[0] * across, len(run) * across, 10 + y * down
            ink = next((_INK[code] for code in reversed(codes) if code in _INK), "#c9d1d9")
            if "7" in codes:
                out.append(f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{down}" fill="#264f78"/>')
            if text.strip():
                weight = ' font-weight="bold"' if "1" in codes else ""
                out.append(
                    f'<text x="{left:.1f}" y="{top + down - 5}" textLength="{wide:.1f}" fill="{ink}"{weight}>{html.escape(text)}</text>'
                )
    return "\n".join([*out, "</svg>\n"])


class Terminal:
    """A program whose stdin, stdout and stderr are a terminal of its own."""

    def __init__(self, argv: list, *, width: int = 80, height: int = 24, env: dict | None = None):
        self.screen = Screen(width, height)
        self.raw = bytearray()
        self.trouble: list[Exception] = []
        self.lock = threading.Lock()  # of the screen: who resizes it, and who reads what is drawn
        self.master, self.slave = pty.openpty()
        self.size(width, height)
        self.before = termios.tcgetattr(self.slave)
        self.popen = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "setsid", "--ctty", *map(str, argv)],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})},
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        while True:
            try:
                chunk = os.read(self.master, 65536)
            except OSError:
                return
            self.raw += chunk
            try:
                with self.lock:
                    self.screen.feed(decoder.decode(chunk))
            except (AssertionError, UnicodeDecodeError) as error:
                self.trouble.append(error)
                return

    def size(self, width: int, height: int):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def resize(self, width: int, height: int):
        with self.lock:
            self.screen.resize(width, height)
            self.screen.under_way = UNDER_WAY
        self.size(width, height)
        os.kill(self.popen.pid, signal.SIGWINCH)

    def press(self, keys: str):
        os.write(self.master, keys.encode())

    def sees(self, *parts: str, timeout: float = 120):
        def seen():
            assert not self.trouble, self.trouble[0]
            text = self.screen.text()
            return all(part in text for part in parts)

        wait_until(seen, lambda: f"{parts} on the screen:\n{self.screen.text()}", timeout)

    def changes(self, timeout: float = 120):
        """Waits until two more frames were drawn, in the size that it has: what is on the screen was drawn after this was called."""
        frames = self.screen.frames

        def drawn():
            assert not self.trouble, self.trouble[0]
            return not self.screen.under_way and self.screen.frames >= frames + 2

        wait_until(drawn, "another frame", timeout)

    def wait(self, timeout: float = 120) -> int:
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"it did not end:\n{self.screen.text()}") from None
        size = -1
        while size != len(self.raw):
            size = len(self.raw)
            time.sleep(0.1)
        assert not self.trouble, self.trouble[0]
        return status

    def as_it_was(self) -> bool:
        """The terminal's own modes, and those of the screen."""
        return termios.tcgetattr(self.slave) == self.before and self.screen.modes == {"7", "25"}

    def close(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        os.close(self.slave)
        self.reader.join(30)  # else it reads from whoever gets the master's number next
        os.close(self.master)


if __name__ == "__main__":  # python -m harness.screen OUT.svg SECONDS COMMAND...: what it shows then, as a picture
    shown = Terminal(sys.argv[3:])
    time.sleep(float(sys.argv[2]))
    pathlib.Path(sys.argv[1]).write_text(picture(shown.screen))
    print(shown.screen.text())
    shown.close()
