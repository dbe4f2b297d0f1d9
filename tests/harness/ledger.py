"""The balance: every span that was accepted is in exactly one place, and /metrics says where.

received + recovered{""} + recovered{E} ==
    sampled_out{""} + dropped{""} + held{""} + sampled_out{E} + dropped{E} + held{E} + delivered{E}
"""

import re
from dataclasses import dataclass

from harness.series import Page


@dataclass(frozen=True)
class Ledger:
    received: int  # and what a restart found that is common to all
    sampled_out: int
    dropped: int
    held: int
    exporters: dict  # name -> {"sampled_out", "dropped", "held", "delivered"}
    imbalance: dict  # name -> what Weir itself says
    recovered: dict  # name -> what a restart found in the exporter's spool
    moving: int  # of what is held: on its way from one thread to the next, or into a file; there it waits for nobody

    def missing(self, exporter: str) -> int:
        """Spans that are nowhere (positive) or in two places (negative)."""
        own = self.exporters.get(exporter, {})
        return self.received + self.recovered.get(exporter, 0) - self.sampled_out - self.dropped - self.held - sum(own.values())

    @property
    def held_anywhere(self) -> int:
        return self.held + sum(own["held"] for own in self.exporters.values())

    def delivered(self, exporter: str) -> int:
        return self.exporters[exporter]["delivered"]

    def lines(self) -> list[str]:
        out = [f"received {self.received}  sampled out {self.sampled_out}  dropped {self.dropped}  held {self.held}"]
        for name, own in sorted(self.exporters.items()):
            out.append(
                f"{name}: " + "  ".join(f"{k.replace('_', ' ')} {v}" for k, v in own.items()) + f"  missing {self.missing(name)}"
            )
        return out


def read_ledger(page: Page) -> Ledger:
    def total(name: str, exporter: str) -> int:
        return int(page.sum(name, exporter=exporter))

    names = {labels["exporter"] for labels, _ in page.select("weir_ledger_imbalance_spans")}
    assert names, "/metrics has no weir_ledger_imbalance_spans"
    kinds = {
        "sampled_out": "weir_spans_sampled_out_total",
        "dropped": "weir_spans_dropped_total",
        "held": "weir_spans_held",
        "delivered": "weir_spans_delivered_total",
    }
    recovered = {name: int(value) for name, value in page.by("weir_spans_recovered_total", "exporter").items()}
    return Ledger(
        received=int(page.sum("weir_spans_received_total")) + recovered.pop("", 0),
        sampled_out=total(kinds["sampled_out"], ""),
        dropped=total(kinds["dropped"], ""),
        held=total(kinds["held"], ""),
        exporters={name: {kind: total(family, name) for kind, family in kinds.items()} for name in names if name},
        imbalance={labels["exporter"]: int(value) for labels, value in page.select("weir_ledger_imbalance_spans")},
        recovered=recovered,
        moving=int(
            sum(page.sum(kinds["held"], where=where) for where in ("handover", "batch"))
            + sum(page.sum(kinds["held"], exporter=name) for name in names if name.partition("/")[0] == "file")
        ),
    )


def final_ledger(text: str) -> dict:
    """The last line of the log that carries the ledger: received=... delivered{file}=... imbalance{file}=0"""
    lines = [line for line in text.splitlines() if "received=" in line and "imbalance{" in line]
    assert lines, f"no ledger in the log:\n{text[-2000:]}"
    return {key: int(value) for key, value in re.findall(r"([a-z_]+(?:\{[^}]*\})?)=(-?\d+)", lines[-1])}
