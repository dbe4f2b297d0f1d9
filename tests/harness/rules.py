"""The rules of dashboards/rules, hurried: who wants to see an alert cannot wait for an hour of failures."""

import pathlib
import re
import sys

from harness.process import ROOT, run

RULES = ROOT / "dashboards" / "rules"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SHORTEST = 3  # seconds of a window: with a scrape a second, two values are in it at any time


def hurried(folder: pathlib.Path, times: int = 1, objectives: pathlib.Path | None = None) -> tuple[pathlib.Path, ...]:
    """A copy of each file in which time runs so many times faster: windows, `offset` and `for`. Groups are evaluated once a second.

    What is written as a number stays: counts want as much more load, and standard errors, which divide by the seconds of their
    window (/ 300), are too small by the same factor. Those of promises are made anew, of objectives if given, by their own script,
    which knows its numbers. times=1 only evaluates more often.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copies = [folder / path.name for path in sorted(RULES.glob("*.yml"))]
    for copy in copies:
        copy.write_text(hurried_text((RULES / copy.name).read_text(), times))
    if times != 1:
        make_rules(folder / "objectives.yml", times, objectives or ROOT / "dashboards" / "objectives.yaml")
    return tuple(copies)


def make_rules(out: pathlib.Path, times: int, objectives: pathlib.Path):
    script = ROOT / "dashboards" / "make_rules.py"
    done = run([sys.executable, script, "--objectives", objectives, "--out", out, "--faster", times])
    assert done.returncode == 0, done.stderr


def hurried_text(text: str, times: int) -> str:
    def shorter(found: re.Match) -> str:
        seconds = int(found[2]) * SECONDS[found[3]] / times
        return found[1] + (found[2] + found[3] if times == 1 else f"{max(round(seconds), SHORTEST)}s")

    text = re.sub(r"^( +interval: )\w+$", r"\g<1>1s", text, flags=re.MULTILINE)
    return re.sub(r"(\[|\boffset |^ +for: )(\d+)([smhd])\b", shorter, text, flags=re.MULTILINE)
