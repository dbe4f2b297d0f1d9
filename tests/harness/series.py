"""A page of /metrics as numbers, read by a parser that is not ours: prometheus_client's."""

from prometheus_client.parser import text_string_to_metric_families


class Page:
    """`only`: families that begin so; a page of thousands of series of spans takes a second to read."""

    def __init__(self, text: str, only: str = ""):
        if only:
            begins = (only, f"# HELP {only}", f"# TYPE {only}")
            text = "".join(line for line in text.splitlines(keepends=True) if line.startswith(begins))
        self.text = text
        self.samples: dict[str, list[tuple[dict, float]]] = {}
        self.types: dict[str, str] = {}
        for family in text_string_to_metric_families(text):
            self.types[family.name] = family.type
            for sample in family.samples:
                self.samples.setdefault(sample.name, []).append((sample.labels, sample.value))

    def select(self, name: str, **labels) -> list[tuple[dict, float]]:
        return [(have, value) for have, value in self.samples.get(name, []) if all(have.get(k) == v for k, v in labels.items())]

    def sum(self, name: str, **labels) -> float:
        return sum(value for _, value in self.select(name, **labels))

    def value(self, name: str, **labels) -> float:
        found = self.select(name, **labels)
        assert len(found) == 1, f"{name}{labels}: {len(found)} series where one was expected: {found[:5]}"
        return found[0][1]

    def by(self, name: str, *keys: str, **labels) -> dict:
        """Sums of a family by the values of some labels: {(service, span_name): 12.0}, or {service: 12.0} for one key."""
        out: dict = {}
        for have, value in self.select(name, **labels):
            key = tuple(have.get(k, "") for k in keys) if len(keys) > 1 else have.get(keys[0], "")
            out[key] = out.get(key, 0.0) + value
        return out

    @property
    def series_count(self) -> int:
        return sum(len(samples) for samples in self.samples.values())
