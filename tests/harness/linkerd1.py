"""Pages of Linkerd 1 and Namerd as they were recorded, for a Prometheus to scrape: nobody runs one here."""

import json
import re

from harness.process import ROOT

DATA = ROOT / "tests" / "data" / "linkerd1"
QUANTILES = (
    ("0", "min"),
    ("0.5", "p50"),
    ("0.9", "p90"),
    ("0.95", "p95"),
    ("0.99", "p99"),
    ("0.999", "p9990"),
    ("0.9999", "p9999"),
    ("1", "max"),
)


def pages() -> dict[str, str]:
    """Text of /admin/metrics/prometheus by whose it is: a router before its first snapshot, routers with Namerd, a Namerd."""
    tree = json.loads((DATA / "metrics_tree_1.x.json").read_text())
    return {
        "router": (DATA / "datadog-linkerd-prometheus.txt").read_text(),
        "routers": as_prometheus(tree),
        "namerd": (DATA / "namerd.prom").read_text(),
    }


def as_prometheus(tree: dict) -> str:
    """A tree of /admin/metrics.json?tree=1 as Linkerd's Prometheus telemeter prints it.

    Names are paths joined by ":". Below rt/ROUTER, and there below server, service and client, the next step is a label instead.
    Summaries have quantiles of the last minute and nothing when that was empty. No HELP, no TYPE.
    """
    lines: list[str] = []
    _write(tree, (), (), lines)
    return "".join(f"{line}\n" for line in lines)


def _write(tree: dict, path: tuple, labels: tuple, lines: list):
    path, labels = _rewritten(path, labels)
    name = re.sub(r"[^a-zA-Z0-9:]", "_", ":".join(path))
    if "counter" in tree and not isinstance(tree["counter"], dict):
        lines.append(f"{name}{_labels(labels)} {tree['counter']}")
    if "gauge" in tree and not isinstance(tree["gauge"], dict):
        lines.append(f"{name}{_labels(labels)} {float(tree['gauge'])}")
    if tree.get("stat.count"):
        lines += [f"{name}_{part}{_labels(labels)} {tree[f'stat.{part}']}" for part in ("count", "sum", "avg")]
        lines += [f"{name}{_labels((*labels, ('quantile', at)))} {tree[f'stat.{part}']}" for at, part in QUANTILES]
    for step, child in tree.items():
        if isinstance(child, dict):
            _write(child, (*path, step), labels, lines)


def _rewritten(path: tuple, labels: tuple) -> tuple[tuple, tuple]:
    known = {key for key, _ in labels}
    for begin, label in (
        (("rt",), "rt"),
        *((("rt", kind), kind) for kind in ("service", "client", "server")),
        (("rt", "client", "service"), "service"),
    ):
        if len(path) == len(begin) + 1 and path[:-1] == begin and label not in known and ("rt" in known or label == "rt"):
            return begin, (*labels, (label, path[-1]))
    return path, labels


def _labels(labels: tuple) -> str:
    return "{" + ", ".join(f'{key}="{value}"' for key, value in labels) + "}" if labels else ""
