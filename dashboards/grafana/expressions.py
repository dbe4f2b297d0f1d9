"""All PromQL of the dashboards with its variables filled in, for who asks a Prometheus whether it parses and what it answers."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator

import yaml

FOLDER = pathlib.Path(__file__).resolve().parent
# As if every choice stood at "All", and a scrape each 15 s.
DEFAULTS = {
    "cluster": ".*",
    "job": ".+",
    "instance": ".+",
    "service": ".+",
    "operation": ".+",
    "timer": "envoy_cluster_upstream_rq_time",
    "path_label": "envoy_cluster_name",
    "quantile": "0.95",
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "1h",
}


@dataclasses.dataclass(frozen=True)
class Expression:
    """query: the letter of a panel's query; "" of an annotation or a variable."""

    dashboard: str
    panel: str
    query: str
    expr: str


def boards() -> dict[str, dict]:
    """The committed JSON by uid."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "json").glob("*.json"))}


def panels(board: dict) -> Iterator[dict]:
    """All panels but headings, also those that a folded row keeps."""
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels") or ()


def expressions(one_service: str = "", **values: str) -> Iterator[Expression]:
    """one_service: a dashboard of a single service shows this one. values: instead of DEFAULTS."""
    for uid, board in boards().items():
        filled = DEFAULTS | values
        single = any(v["name"] == "service" and not v["multi"] for v in board["templating"]["list"])
        if single and one_service:
            filled["service"] = one_service
        for panel in panels(board):
            for target in panel["targets"]:
                yield Expression(uid, panel["title"], target["refId"], fill(target["expr"], filled))
        for mark in board["annotations"]["list"]:
            yield Expression(uid, f"annotation {mark['name']}", "", fill(mark["expr"], filled))
        for variable in board["templating"]["list"]:
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", str(variable.get("query")))
            if asked:
                yield Expression(uid, f"variable {variable['name']}", "", f"group by ({asked[2]}) ({fill(asked[1], filled)})")


def fill(expr: str, values: dict[str, str]) -> str:
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: values[found[1] or found[2]], expr)


def may_be_empty() -> dict[tuple[str, str, str], str]:
    """(dashboard, panel, query or "" for all of them) -> why nothing may come back, from empty.yml."""
    out = {}
    for row in yaml.safe_load((FOLDER / "empty.yml").read_text()):
        for uid in boards() if row["dashboard"] == "*" else (row["dashboard"],):
            out[uid, row["panel"], row.get("query", "")] = row["reason"]
    return out
