"""Reads objectives.yaml. What is wrong in it is said as file:line: reason."""

import dataclasses
import pathlib
import re

import yaml

# aggregate.latency_buckets of weir.yaml, when nothing else is said.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10)
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Wrong(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Latency:
    share: float  # of the requests
    under: float  # seconds


@dataclasses.dataclass(frozen=True)
class Objectives:
    """In `default` and in each of `services`: success (a share), latency (Latency); None where nothing is promised. Of services
    only what they say themselves, and may_be_silent."""

    name: str
    window_text: str
    window: float
    default: dict
    services: dict
    buckets: tuple
    enough_requests: float
    enough_bad: float


def read(path: pathlib.Path) -> Objectives:
    return Reader(path).read()


class Reader:
    def __init__(self, path: pathlib.Path):
        self.path = path

    def wrong(self, node: yaml.Node, reason: str) -> Wrong:
        return Wrong(f"{self.path}:{node.start_mark.line + 1}: {reason}")

    def read(self) -> Objectives:
        try:
            root = yaml.compose(self.path.read_text(), Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            raise Wrong(f"{self.path}:{error.problem_mark.line + 1}: {error.problem}") from None
        if root is None:
            raise Wrong(f"{self.path}:1: is empty")
        top = self.mapping(root, "the file", {"window", "default", "services", "enough", "latency_buckets"})
        for key in ("window", "default"):
            if key not in top:
                raise self.wrong(root, f"{key}: is missing")
        buckets = self.buckets(top["latency_buckets"]) if "latency_buckets" in top else BUCKETS
        window = self.duration(top["window"], "window")
        if not SECONDS["d"] * 7 <= window <= SECONDS["d"] * 90:
            raise self.wrong(top["window"], "window: 7d to 90d")
        default = {"success": None, "latency": None, **self.promise(top["default"], "default", buckets)}
        services = {}
        if "services" in top:
            for name, node in self.mapping(top["services"], "services").items():
                services[name] = self.promise(node, f"services.{name}", buckets, {"may_be_silent"})
        enough = self.mapping(top["enough"], "enough", {"requests", "bad"}) if "enough" in top else {}
        return Objectives(
            name=self.path.name,
            window_text=top["window"].value,
            window=window,
            default=default,
            services=services,
            buckets=buckets,
            enough_requests=self.count(enough["requests"], "enough.requests") if "requests" in enough else 100,
            enough_bad=self.count(enough["bad"], "enough.bad") if "bad" in enough else 5,
        )

    def mapping(self, node: yaml.Node, what: str, keys: set | None = None) -> dict:
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, f"{what}: keys and values are expected")
        out: dict = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.value:
                raise self.wrong(key, f"{what}: a name is expected")
            if keys is not None and key.value not in keys:
                raise self.wrong(key, f"{what}: no key {key.value!r}; there are {', '.join(sorted(keys))}")
            if key.value in out:
                raise self.wrong(key, f"{what}: {key.value} is here twice")
            out[key.value] = value
        return out

    def promise(self, node: yaml.Node, what: str, buckets: tuple, more: frozenset | set = frozenset()) -> dict:
        out: dict = {}
        for key, value in self.mapping(node, what, {"success", "latency"} | more).items():
            if key == "may_be_silent":
                out[key] = self.flag(value, f"{what}.{key}")
            elif isinstance(value, yaml.ScalarNode) and value.value == "off":
                out[key] = None
            elif key == "success":
                out[key] = self.share(value, f"{what}.{key}")
            else:
                out[key] = self.latency(value, f"{what}.{key}", buckets)
        return out

    def latency(self, node: yaml.Node, what: str, buckets: tuple) -> Latency:
        keys = self.mapping(node, what, {"share", "under"})
        for key in ("share", "under"):
            if key not in keys:
                raise self.wrong(node, f"{what}: {key} is missing, as in {{ share: 95%, under: 300ms }}")
        under = self.duration(keys["under"], f"{what}.under")
        if under > buckets[-1]:
            raise self.wrong(
                keys["under"], f"{what}.under: beyond the last of latency_buckets, {buckets[-1]:g} s, nothing is known"
            )
        return Latency(self.share(keys["share"], f"{what}.share"), under)

    def scalar(self, node: yaml.Node, what: str, form: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong(node, f"{what}: {form} is expected")
        return node.value

    def share(self, node: yaml.Node, what: str) -> float:
        form = "a share above 0 and below 100%, as 99.9% or 0.999,"
        found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(%?)", self.scalar(node, what, form))
        share = round(float(found[1]) / (100 if found[2] else 1), 12) if found else 0
        if not 0 < share < 1:
            raise self.wrong(node, f"{what}: {form} is expected, not {node.value!r}")
        return share

    def duration(self, node: yaml.Node, what: str) -> float:
        form = "a time with its unit, as 300ms, 2s or 30d,"
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", self.scalar(node, what, form))
        if not found or float(found[1]) == 0:
            raise self.wrong(node, f"{what}: {form} is expected, not {node.value!r}")
        return round(float(found[1]) * SECONDS[found[2]], 9)

    def count(self, node: yaml.Node, what: str) -> float:
        if not re.fullmatch(r"[1-9]\d{0,8}", self.scalar(node, what, "a whole number")):
            raise self.wrong(node, f"{what}: a whole number from 1 is expected, not {node.value!r}")
        return float(node.value)

    def flag(self, node: yaml.Node, what: str) -> bool:
        if self.scalar(node, what, "true or false") not in ("true", "false"):
            raise self.wrong(node, f"{what}: true or false is expected, not {node.value!r}")
        return node.value == "true"

    def buckets(self, node: yaml.Node) -> tuple:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.wrong(node, "latency_buckets: a list of times is expected, as in weir.yaml")
        # As in weir.yaml: seconds, or with a unit.
        out = []
        for one in node.value:
            plain = isinstance(one, yaml.ScalarNode) and re.fullmatch(r"\d+(\.\d+)?", one.value)
            out.append(float(one.value) if plain else self.duration(one, "latency_buckets"))
            if len(out) > 1 and out[-1] <= out[-2]:
                raise self.wrong(one, "latency_buckets: they ascend")
        return tuple(out)
