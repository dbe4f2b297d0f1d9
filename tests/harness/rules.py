"""The rules of dashboards/rules, hurried: who wants to see an alert cannot wait for an hour of failures."""

import pathlib
import re

from harness.process import ROOT

RULES = ROOT / "dashboards" / "rules"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SHORTEST = 3  # seconds of a window: with a scrape a second, two values are in it at any time


def hurried(folder: pathlib.Path, times: int = 1) -> tuple[pathlib.Path, ...]:
    """A copy of each file in which time runs so many times faster: windows, `offset` and `for`. Groups are evaluated once a second.

    Of a rule that adds up samples of its own group there are as many in a window as before, since both are shorter. What is
    written as a number stays: counts want as much more load, and standard errors, which divide by the seconds of their window
    (/ 300), are too small by the same factor. times=1 only evaluates more often.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for path in sorted(RULES.glob("*.yml")):
        copy = folder / path.name
        copy.write_text(hurried_text(path.read_text(), times))
        out.append(copy)
    return tuple(out)


def hurried_text(text: str, times: int) -> str:
    def shorter(found: re.Match) -> str:
        seconds = int(found[2]) * SECONDS[found[3]] / times
        return found[1] + (found[2] + found[3] if times == 1 else f"{max(round(seconds), SHORTEST)}s")

    text = re.sub(r"^( +interval: )\w+$", r"\g<1>1s", text, flags=re.MULTILINE)
    return re.sub(r"(\[|\boffset |^ +for: )(\d+)([smhd])\b", shorter, text, flags=re.MULTILINE)
