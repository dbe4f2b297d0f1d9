#!/usr/bin/env python3
"""Draws docs/plots/control-*.svg from what the simulator of the controller writes. No dependencies.

docs/plots/control.py build/sample_test_simulation_control
"""

import csv
import io
import math
import pathlib
import subprocess
import sys

# Title, and from when on the budget is to be held: two polling intervals after the load first changed.
CASES = {
    "step": ("A tenfold surge of one service, for ten minutes", 720),
    "ramp": ("Everything rises tenfold in five minutes, and falls again", 300),
    "diurnal": ("A day in half an hour", 150),
    "flapping": ("One service is ten times as much every other half minute", 420),
    "adversarial": ("The same, and all proxies ask just before each surge", 360),
}
WIDTH, LEFT, RIGHT = 760, 64, 24
PANELS = [(52, 100), (200, 150), (398, 110)]  # top, height: offered, spans, rate
HEIGHT = 560
INK, GRID, OFFERED, RAW, MEAN, LIMIT, RATE, OTHER = (
    "#24292f", "#d8dee4", "#8250df", "#c8d9f0", "#0969da", "#cf222e", "#1a7f37", "#9a6700",
)  # fmt: skip
WINDOW = 30


def read(program, case):
    text = subprocess.run([program, "csv", case], check=True, capture_output=True, text=True).stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    return {key: [float(row[key]) for row in rows] for key in rows[0]}


def window_mean(values):
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value - (values[i - WINDOW] if i >= WINDOW else 0)
        means.append(total / min(i + 1, WINDOW))
    return means


def nice_top(value):
    for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10):
        power = 10 ** (len(str(int(value))) - 1)
        if factor * power >= value:
            return factor * power
    return value


def short(number):
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"


class Panel:
    """A part of the picture with axes of its own; y is linear, or logarithmic from `low`."""

    def __init__(self, top, height, seconds, high, low=None):
        self.top, self.height, self.seconds, self.high, self.low = top, height, seconds, high, low
        self.parts = []

    def x(self, second):
        return LEFT + (WIDTH - LEFT - RIGHT) * second / self.seconds

    def y(self, value):
        if self.low is None:
            share = value / self.high
        else:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self.top + self.height * (1 - min(share, 1.04))

    def text(self, x, y, words, anchor="start", color=INK, size=11, weight="normal"):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size}" '
            f'font-weight="{weight}">{words}</text>'
        )

    def line(self, values, color, width=1.4):
        """Runs of equal values are one stroke, and no two points share a tenth of a pixel."""
        points, last = [], None
        for second, value in enumerate(values):
            point = (round(self.x(second), 1), round(self.y(value), 1))
            flat = len(points) > 1 and point[1] == points[-1][1] == points[-2][1]
            if flat:
                points[-1] = point
            elif point != last:
                points.append(point)
            last = point
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>')

    def rule(self, value, color):
        y = self.y(value)
        self.parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{color}" stroke-dasharray="5 3"/>'
        )

    def frame(self, title, ticks, label):
        self.text(LEFT, self.top - 8, title, weight="bold")
        for tick in ticks:
            y = self.y(tick)
            self.parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
            self.text(LEFT - 6, y + 4, label(tick), "end")
        step = 300 if self.seconds <= 2400 else 600
        for second in range(0, int(self.seconds) + 1, step):
            x = self.x(second)
            self.parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{self.top + self.height}" stroke="{GRID}"/>')
            self.text(x, self.top + self.height + 14, f"{second // 60} min", "middle", "#57606a", 10)

    def legend(self, entries):
        x = WIDTH - RIGHT
        for words, color in reversed(entries):
            self.text(x, self.top - 8, words, "end", color)
            x -= 6.1 * len(words) + 14


def draw(case, rows):
    seconds = len(rows["second"])
    means = window_mean(rows["spans"])
    budget = rows["budget"][0]

    top = nice_top(max(rows["offered"]))
    offered = Panel(*PANELS[0], seconds, top)
    offered.frame("Spans a second, if every trace were sampled", [0, top / 2, top], short)
    offered.line(rows["offered"], OFFERED)

    # What comes before everybody has asked may be many times the budget; the picture is of what is held.
    spans = Panel(*PANELS[1], seconds, 2 * budget)
    spans.frame("Spans a second that proxies send", [0, budget / 2, budget, 1.5 * budget, 2 * budget], short)
    spans.line([min(value, 2 * budget) for value in rows["spans"]], RAW, 1)
    spans.line([min(value, 2 * budget) for value in means], MEAN, 1.8)
    spans.rule(budget, LIMIT)
    spans.rule(1.05 * budget, GRID)
    spans.legend([("each second", "#7a9cc6"), (f"mean of {WINDOW} s", MEAN), ("budget", LIMIT)])

    rate = Panel(*PANELS[2], seconds, 1, 0.001)
    rate.frame("Rate that one operation is told", [0.001, 0.01, 0.1, 1], lambda tick: f"{100 * tick:g} %")
    rate.line(rows["rate"], RATE, 1.8)

    title, held_from = CASES[case]
    worst = max(means[held_from + WINDOW :])
    note = f"From minute {held_from / 60:g}: {100 * worst / budget:.0f} % of the budget in the highest {WINDOW} s"
    note += f"; {sum(rows['changed']):.0f} plans told in {seconds // 60} minutes"
    if max(means) > 2 * budget:
        note += f"; cut off: up to {100 * max(means) / budget:.0f} %"
    rate.text(LEFT, HEIGHT - 12, note)
    body = "\n".join(part for panel in (offered, spans, rate) for part in panel.parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="14" font-weight="bold" fill="{INK}">'
        f"{title}</text>\n{body}\n</svg>\n"
    )


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(__file__).parent
    for case in CASES:
        path = folder / f"control-{case}.svg"
        path.write_text(draw(case, read(sys.argv[1], case)))
        print(f"{path}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
