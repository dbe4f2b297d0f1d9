"""./dev soak: one Weir under a steady load for minutes, with a fault every few seconds, and what it costs to hold out.

Spans go to files, to a back end that speaks Zipkin's API and to a real Kafka, the latter two each by way of a proxy that breaks
what passes. In the end nothing may be missing: what is not delivered is counted. Memory and descriptors have to be as
they were: the median of the last third of the samples is held against that of the third before.
"""

import argparse
import concurrent.futures
import contextlib
import errno
import json
import os
import pathlib
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from functools import partial

from harness.catch import Catch, span_key
from harness.disk import BadDisk
from harness.fault_proxy import CUT_ANSWER, CUT_REQUEST, HANG, PASS, REFUSE, FaultProxy, cut, slow, status
from harness.kafka import Kafka
from harness.load import Load, truth
from harness.weir import Weir

MIB = 1024 * 1024
RSS_GROWTH, RSS_CONSTANT, DESCRIPTORS = 1.10, 8 * MIB, 8


@dataclass
class Soak:
    """What was seen; check() says whether it was well."""

    seconds: float
    rate: int
    samples: list[tuple[int, int, int]] = field(default_factory=list)  # resident bytes, descriptors, spans held
    faults: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    exporters: dict = field(default_factory=dict)
    found: dict = field(default_factory=dict)  # exporter -> (spans there, spans there more than once, spans missing there)
    spooled: int = 0
    cpu_seconds: float = 0

    def third(self, which: int, column: int) -> float:
        size = len(self.samples) // 3
        return statistics.median(sample[column] for sample in self.samples[which * size : (which + 1) * size])

    def lines(self) -> list[str]:
        out = [f"{self.seconds:.0f} s at {self.rate} spans/s, {self.sent} spans; {self.cpu_seconds:.1f} CPU-seconds"]
        out.append("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items())))
        for column, name, unit in ((0, "resident MiB", MIB), (1, "descriptors", 1)):
            thirds = "  ".join(f"{self.third(which, column) / unit:.1f}" for which in range(3))
            out.append(f"{name}, median of each third: {thirds}; largest {max(s[column] for s in self.samples) / unit:.1f}")
        out.append(f"spans held at a time, at most {max(s[2] for s in self.samples)}; went by way of the disk {self.spooled}")
        for name, own in sorted(self.exporters.items()):
            there, more, missing = self.found[name]
            out.append(f"{name}: {own}; it holds {there}, {more} of them more than once, {missing} missing")
        return out

    def check(self):
        told = "\n".join(self.lines())
        for column, allowed in ((0, self.third(1, 0) * RSS_GROWTH + RSS_CONSTANT), (1, self.third(1, 1) + DESCRIPTORS)):
            assert self.third(2, column) <= allowed, f"grows:\n{told}"
        for name, own in self.exporters.items():
            assert own["delivered"] + own["dropped"] == self.sent and own["held"] == 0, f"{name}: not all accounted for\n{told}"
            assert self.found[name][2] <= own["dropped"], f"{name}: spans are missing that were not counted\n{told}"
        assert self.exporters["file"]["delivered"] == self.sent, told
        assert self.found["kafka"][1] == 0, f"kafka: spans are there more than once\n{told}"


class Sampler:
    """Reads each second what the process holds."""

    def __init__(self, one: Weir, soak: Soak):
        self.one, self.soak, self.over = one, soak, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        pid = self.one.process.pid
        while not self.over.wait(1):
            held = self.one.ledger().held_anywhere
            self.soak.samples.append((self.one.process.rss_bytes(), len(os.listdir(f"/proc/{pid}/fd")), held))

    def stop(self):
        self.over.set()
        self.thread.join(10)


def stopped(kafka: Kafka, seconds: float):
    kafka.process.signal(signal.SIGSTOP)
    time.sleep(seconds)
    kafka.process.signal(signal.SIGCONT)


def killed(kafka: Kafka, seconds: float):
    kafka.kill()
    time.sleep(seconds)
    kafka.start()


def told(thing, fault, quiet, seconds: float):
    thing(fault)
    time.sleep(seconds)
    thing(quiet)


def faults(zipkin: FaultProxy, kafka: FaultProxy, broker: Kafka, disk: BadDisk | None) -> list[dict]:
    """For each thing that can break, Kafka first: by name, what does it for so many seconds and undoes it."""
    ways = {
        "refuse": REFUSE,
        "503": status(503),
        "429": status(429, "1"),
        "500": status(500),
        "hang": HANG,
        "cut_request": CUT_REQUEST,
    }
    ways |= {"cut_answer": CUT_ANSWER, "cut": cut(200_000), "slow": slow(100_000)}
    before_zipkin = {f"zipkin_{name}": partial(told, zipkin.set, fault, PASS) for name, fault in ways.items()}
    ways = {"refuse": REFUSE, "hang": HANG, "cut": cut(60_000), "slow": slow(50_000)}
    before_kafka = {f"kafka_{name}": partial(told, kafka.set, fault, PASS) for name, fault in ways.items()}
    before_kafka |= {"kafka_stopped": partial(stopped, broker), "kafka_killed": partial(killed, broker)}
    if disk is None:
        return [before_kafka, before_zipkin]
    ways = {"slow": (50, 0), "fails": (0, errno.EIO), "full": (0, errno.ENOSPC)}
    of_disk = {f"disk_{name}": partial(told, lambda how: disk.set(*how), how, (0, 0)) for name, how in ways.items()}
    return [before_kafka, before_zipkin, of_disk]


def break_in_turn(ways: dict, soak: Soak, end: float, chance: random.Random, rhythm: tuple[float, float]):
    """Each once, then anew in another order; one begins every rhythm[0] seconds and lasts rhythm[1]."""
    every, lasts = rhythm
    turn: list[str] = []
    while time.monotonic() + every < end:
        turn = turn or chance.sample(sorted(ways), len(ways))
        time.sleep(every - lasts)
        name = turn.pop()
        ways[name](lasts)
        soak.faults[name] = soak.faults.get(name, 0) + 1


def run(folder: pathlib.Path, *, seconds: float, rate: int = 1_000, every: float = 3, lasts: float = 2, spool: bool = True, seed=1):
    """The whole of it; a Soak to check()."""
    soak = Soak(seconds, rate)
    with contextlib.ExitStack() as running:

        def begin(thing):
            running.callback(thing.stop)
            return thing.start()

        catch = Catch()
        running.callback(catch.stop)
        to_zipkin, to_kafka = begin(FaultProxy(catch.port, seed=seed)), FaultProxy(0, http=False, seed=seed)
        broker = Kafka(folder / "kafka")
        broker.settings["advertised_listeners"] = (
            f"PLAINTEXT://127.0.0.1:{to_kafka.port},SASL_PLAINTEXT://127.0.0.1:{broker.sasl_port}"
        )
        to_kafka.to = broker.port
        begin(to_kafka)
        begin(broker)
        broker.make("soak")
        queue = "memory_bytes: 8MiB, retry_initial: 100ms, retry_max: 1s"
        disk = BadDisk(folder, folder / "spool") if spool else None
        one = begin(
            Weir(
                folder / "weir",
                exporters=f"file: {{ directory: {folder}/weir/traces, max_total_bytes: 100GiB }}\n"
                f"zipkin: {{ url: '{to_zipkin.endpoint}', encoding: json, timeout: 2s, {queue} }}\n"
                f"kafka: {{ brokers: '127.0.0.1:{to_kafka.port}', topic: soak, encoding: zipkin_json, {queue}, "
                "settings: { socket.timeout.ms: 2000 } }",
                extra=f"spool: {{ directory: {folder}/spool, memory_age: 1s, segment_bytes: 1MiB }}" if spool else "",
                env=disk.env if disk else None,
            )
        )
        load, sampler = Load(one, seconds, rate=rate), Sampler(one, soak)
        end = time.monotonic() + seconds
        own, *others = faults(to_zipkin, to_kafka, broker, disk)
        with concurrent.futures.ThreadPoolExecutor() as several:
            work = [
                several.submit(break_in_turn, ways, soak, end, random.Random(seed + n), (every, lasts))
                for n, ways in enumerate(others)
            ]
            # On this thread, because a broker that another thread started would die with that thread (Process: pdeathsig).
            break_in_turn(own, soak, end, random.Random(seed - 1), (every, lasts))
            for group in work:
                group.result()
        soak.sent = load.end(timeout=300)
        sampler.stop()
        ledger = one.balance(received=soak.sent, timeout=120)
        soak.exporters, soak.cpu_seconds = ledger.exporters, one.cpu_seconds()
        soak.spooled = int(one.own().sum("weir_spool_written_spans_total"))
        assert one.stop() == 0, one.process.tail()
        want = truth(one)
        soak.found["file"] = (len(want), 0, soak.sent - len(want))
        have: dict[int, int] = {}
        for message in broker.messages("soak", timeout=120):
            for span in map(span_key, json.loads(message.value())):
                have[span] = have.get(span, 0) + 1
        for name, seen in (("zipkin", catch.seen), ("kafka", have)):
            assert not set(seen) - want, f"{name} holds spans that nobody sent"
            soak.found[name] = (len(seen), sum(count > 1 for count in seen.values()), len(want - set(seen)))
    return soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=int, default=1_000, help="spans a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weir-soak-") as folder:
        soak = run(pathlib.Path(folder), seconds=options.minutes * 60, rate=options.rate, seed=options.seed)
    print("\n".join(soak.lines()))
    try:
        soak.check()
    except AssertionError as error:
        print(f"soak: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    print("soak: memory and descriptors flat, everything delivered or counted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
