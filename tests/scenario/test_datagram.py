"""Weir datagrams: what weir emit and a sender in Python send is what is in the files, the series and the counters."""

import json
import signal
import sys

import pytest
from harness.datagram import Sender
from harness.net import wait_until
from harness.process import ROOT, run
from harness.weir import Weir, binary

pytestmark = pytest.mark.sanitized

SPANS = 10_000
ALL = "receive_buffer_bytes: 32MiB"  # holds all that is sent, so that nothing is lost while Weir stands still
KEY = b"a key for tests, not for use"


def emit(one: Weir, *options, spans: int = SPANS) -> dict:
    return one.emit("--via", "datagram", "--endpoint", f"127.0.0.1:{one.ports['datagram']}", *options, spans=spans)


def counted(one: Weir, **wanted: int):
    """Waits until the families of datagrams say just this (lost: what sequence numbers say), and stay so for two ticks."""
    names = {
        "received": ("weir_datagrams_received_total", {}),
        "lost": ("weir_datagrams_lost_total", {"reason": "sequence"}),
        "late": ("weir_datagrams_late_total", {}),
        "reordered": ("weir_datagrams_reordered_total", {}),
        "duplicate": ("weir_datagrams_duplicate_total", {}),
        "refused": ("weir_datagrams_refused_total", {}),
        "evicted": ("weir_datagram_senders_evicted_total", {}),
        "senders": ("weir_datagram_senders", {}),
    }
    seen: list[dict] = []

    def same():
        page = one.own()
        have = {key: int(page.sum(name, receiver="datagram", **labels)) for key, (name, labels) in names.items()}
        seen.append({key: have[key] for key in wanted})
        return len(seen) >= 12 and all(have == wanted for have in seen[-12:])

    wait_until(same, lambda: f"datagrams to be counted as {wanted}: {seen[-1]}", every=0.1)
    return one.page()


def open_weir(weir, options: str = "", **more) -> Weir:
    return weir(receivers={"datagram": options}, **more)


# ---- weir emit ----


@pytest.mark.parametrize("lanes, connections", [(1, 1), (3, 5)])
def test_files_and_series_are_what_was_sent(weir, tmp_path, lanes, connections):
    one = open_weir(weir, ALL, lanes=lanes)
    truth_file = tmp_path / "truth.json"
    sent = emit(one, "--seed", 21, "--connections", connections, "--truth", truth_file)
    assert (sent["sent"], sent["refused"]) == (SPANS, 0)
    counted(one, received=sent["datagrams"], lost=0, refused=0, reordered=0, duplicate=0, senders=connections)
    one.balance(received=SPANS)
    page, truth = one.page(), json.loads(truth_file.read_text())
    assert page.sum("weir_spans_received_total", receiver="datagram") == SPANS
    for level, label, what in (("service", "service", "spans"), ("operation", "span_name", "spans")):
        wanted: dict = {}
        for row in truth["operations"]:
            wanted[row[level]] = wanted.get(row[level], 0) + row[what]
        assert page.by("traces_spanmetrics_calls_total", label) == wanted
    errors = page.by("traces_spanmetrics_calls_total", "service", status_code="STATUS_CODE_ERROR")
    assert sum(errors.values()) == sum(row["errors"] for row in truth["operations"])
    assert page.sum("traces_spanmetrics_latency_sum") == pytest.approx(sum(row["seconds"] for row in truth["operations"]))
    edges = page.by("traces_service_graph_request_total", "client", "server")
    assert sum(edges.values()) >= sum(edge["requests"] for edge in truth["edges"])
    spans = {(span["traceId"], span["spanId"]) for span in one.cat()}
    assert len(spans) == SPANS


def test_emit_pads_signs_and_keeps_to_the_size(weir, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(KEY + b"\n")
    one = open_weir(weir, f"hmac_key_file: {key}, {ALL}", exporters="{}")
    for size in (600, 1400, 9000):
        emit(one, "--hmac-key-file", key, "--datagram-bytes", size, spans=3000)
    unsigned = emit(one, spans=3000)
    other = tmp_path / "other"
    other.write_bytes(b"another key for tests")
    forged = emit(one, "--hmac-key-file", other, spans=3000)
    refused = unsigned["datagrams"] + forged["datagrams"]
    page = counted(one, refused=refused, lost=0, senders=3)
    assert page.value("weir_datagrams_refused_total", reason="hmac") == refused
    one.balance(received=9000)


def test_a_span_that_fits_no_datagram_is_reported(weir):
    one = open_weir(weir, exporters="{}")
    where = f"127.0.0.1:{one.ports['datagram']}"
    argv = [binary(), "emit", "--via", "datagram", "--endpoint", where, "--spans", 100, "--datagram-bytes", 300, "--json"]
    done = run(argv)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["sent"] + told["refused"] == 100 and told["refused"] > 0 and "in datagrams of 300" in told["reason"]
    one.balance(received=told["sent"])


def test_the_sender_of_the_documentation(weir, tmp_path):
    """docs/datagram.md says that a sender is little work: its example is run as it stands."""
    text = (ROOT / "docs" / "datagram.md").read_text()
    example = tmp_path / "sender.py"
    example.write_text(text.split("```python\n")[1].split("```")[0])
    one = open_weir(weir, exporters="{}")
    assert run([sys.executable, example, one.ports["datagram"]]).returncode == 0
    page = counted(one, received=100, lost=0, refused=0, senders=1)
    assert page.value("shop_orders_total", zone="eu-1") == 200
    assert page.sum("traces_spanmetrics_calls_total", service="cart", span_name="GET /items") == 100
    assert page.sum("weir_spans_refused_total", receiver="datagram") == 0
    one.balance(received=100)


# ---- sequence numbers ----


def test_losses_are_counted_to_the_datagram(weir):
    """Lost, overtaken, doubled, from before a restart: sent - lost is what was taken, whatever the net did."""
    one = open_weir(weir, exporters="{}")
    sender = Sender(one.ports["datagram"])
    made = [sender.make(spans=3) for _ in range(500)]
    kept = [datagram for i, datagram in enumerate(made) if i % 50 != 7]  # 10 of 500 are lost
    kept[100], kept[101] = kept[101], kept[100]
    kept[200], kept[210] = kept[210], kept[200]  # 210 comes early: 200 and the nine between come after it
    kept.insert(300, kept[290])
    kept += [kept[-1], kept[-2]]
    sender.send(*kept)
    page = counted(one, received=493, lost=10, reordered=11, duplicate=3, late=0, refused=0, senders=1)
    assert page.sum("weir_spans_received_total", receiver="datagram") == 490 * 3
    one.balance(received=490 * 3)
    sender.close()


def test_what_the_kernel_drops_is_counted_twice_and_exactly(weir):
    """A Weir that does not read: its socket's buffer runs over. Datagrams that were sent one by one are dropped one by one."""
    one = open_weir(weir, "receive_buffer_bytes: 64KiB", exporters="{}", lanes=1)
    sender = Sender(one.ports["datagram"])
    sender.send(sender.make())
    counted(one, received=1, lost=0)
    one.process.signal(signal.SIGSTOP)
    sender.send(*(sender.make(spans=8) for _ in range(3000)))
    one.process.signal(signal.SIGCONT)

    def read_all() -> bool:
        page = one.page()
        dropped = page.value("weir_datagrams_lost_total", receiver="datagram", reason="kernel")
        return page.sum("weir_datagrams_received_total", receiver="datagram") + dropped == 3001

    wait_until(read_all, "it to read what the kernel kept")
    sender.send(sender.make())  # shows what was lost last
    page = counted(one, refused=0, duplicate=0, reordered=0, late=0, senders=1)
    received = page.sum("weir_datagrams_received_total", receiver="datagram")
    lost = page.value("weir_datagrams_lost_total", receiver="datagram", reason="sequence")
    assert received + lost == 3002 and lost > 1000
    assert page.value("weir_datagrams_lost_total", receiver="datagram", reason="kernel") == lost
    one.balance(received=8 * int(received - 2) + 2)
    sender.close()


def test_what_comes_after_it_was_counted_lost(weir):
    one = open_weir(weir, exporters="{}", lanes=1)
    sender = Sender(one.ports["datagram"])
    made = [sender.make() for _ in range(200)]
    sender.send(*made[:150], *made[152:])
    counted(one, received=198, lost=2, late=0)
    sender.send(made[150])  # in the window still: taken
    counted(one, received=199, lost=2, late=1, reordered=1)
    sender.send(made[3], made[150])  # behind the window; taken before
    page = counted(one, received=201, lost=2, late=1, duplicate=1, refused=1)
    assert page.value("weir_datagrams_refused_total", reason="behind") == 1
    one.balance(received=199)
    sender.close()


def test_a_restart_is_no_loss(weir):
    one = open_weir(weir, exporters="{}", lanes=1)
    sender = Sender(one.ports["datagram"])
    sender.sequence = 1000  # it sent before Weir was there
    before = [sender.make() for _ in range(10)]
    sender.restart()
    after = [sender.make() for _ in range(10)]
    sender.send(*before[:8], *after[:5], before[9], before[8], *after[5:])
    counted(one, received=20, lost=0, reordered=1, duplicate=0, refused=0, senders=2)
    sender.sequence += 5
    sender.send(sender.make())
    counted(one, received=21, lost=5, senders=2)
    one.balance(received=21)
    sender.close()


def test_senders_are_bounded_and_expire(weir):
    one = open_weir(weir, "senders_max: 4, sender_expiry: 1h", exporters="{}", lanes=1)
    senders = [Sender(one.ports["datagram"], sender=i + 1) for i in range(6)]
    for sender in senders:
        first, _, third = sender.make(), sender.make(), sender.make()
        sender.send(first, third)
    # Those that were forgotten had a hole, which is counted at once; the others' in a second.
    counted(one, received=12, lost=6, evicted=2, senders=4)
    one.config.write_text(one.config.read_text().replace("sender_expiry: 1h", "sender_expiry: 1s"))
    assert one.reload().status == 200
    wait_until(lambda: one.page().value("weir_datagram_senders", receiver="datagram") == 0, "senders to expire")
    one.balance(received=12)
    for sender in senders:
        sender.close()


def test_what_is_lost_at_the_end_is_counted_before_it_stops(weir):
    one = open_weir(weir, exporters="{}", lanes=1)
    sender = Sender(one.ports["datagram"])
    first, _, third = (sender.make() for _ in range(3))
    sender.send(first, third)
    wait_until(lambda: one.page().sum("weir_spans_received_total") == 2, "two spans")
    one.balance(received=2)
    sender.close()


# ---- who may send, and what ----


def test_only_allowed_networks(weir):
    one = open_weir(weir, "allow: [10.0.0.0/8, '::1']", exporters="{}")
    sender = Sender(one.ports["datagram"])
    sender.send(*(sender.make() for _ in range(10)))
    page = counted(one, received=10, refused=10, senders=0)
    assert page.value("weir_datagrams_refused_total", reason="network") == 10
    one.config.write_text(one.config.read_text().replace("10.0.0.0/8", "127.0.0.0/8"))
    assert one.reload().status == 200
    sender.send(*(sender.make() for _ in range(10)))
    counted(one, received=20, refused=10, lost=0, senders=1)
    one.balance(received=10)
    sender.close()


def test_signatures(weir, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(KEY)
    one = open_weir(weir, f"hmac_key_file: {key}", exporters="{}")
    port = one.ports["datagram"]
    good, bare, other = Sender(port, key=KEY), Sender(port, sender=8), Sender(port, sender=9, key=b"some other key at all")
    datagram = good.make(spans=2, pad=b"\0" * 100)
    changed = bytearray(datagram)
    changed[40] ^= 1
    late = good.make()[:-16] + datagram[-16:]
    good.send(datagram, bytes(changed), late, datagram[:-1], datagram)  # broken; and a replay
    bare.send(bare.make())
    other.send(other.make())
    page = counted(one, received=7, refused=5, duplicate=1, lost=0, senders=1)
    assert page.value("weir_datagrams_refused_total", reason="hmac") == 4
    assert page.value("weir_datagrams_refused_total", reason="malformed") == 1
    one.balance(received=2)
    for sender in (good, bare, other):
        sender.close()


def test_a_signature_that_nobody_asks_for(weir):
    one = open_weir(weir, exporters="{}")
    sender = Sender(one.ports["datagram"], key=KEY)
    sender.send(*(sender.make() for _ in range(5)))
    counted(one, received=5, refused=0, lost=0)
    one.balance(received=5)
    sender.close()


@pytest.mark.parametrize(
    "options, reason",
    [
        ("allow: [10.0.0.0/33]", "prefix"),
        ("allow: [10.1.2.3/8]", "behind the prefix"),
        ("allow: [example.org]", "example.org"),
        ("hmac_key_file: short", "16 to 4096 bytes"),
        ("hmac_key_file: nowhere", "No such file"),
    ],
)
def test_a_configuration_that_is_wrong(tmp_path, options, reason):
    one = Weir(tmp_path / "weir", receivers={"datagram": options}, exporters="{}")
    (one.folder / "short").write_bytes(b"fifteen bytes..\n")
    for verb in ("run", "check"):
        done = run([binary(), verb, "-c", one.config])
        assert done.returncode != 0
        assert reason in done.stderr + done.stdout and "receivers.datagram." in done.stderr + done.stdout


def test_what_is_broken_is_counted_and_the_rest_is_taken(weir):
    one = open_weir(weir, exporters="{}", lanes=1)
    sender = Sender(one.ports["datagram"])
    zero = sender.make(spans=2).replace((1).to_bytes(8, "big"), bytes(8))  # the first span's id, and its trace's low half
    broken = sender.make(spans=2) + b"\x32\x02\x0a\x05"  # a third span, which ends inside its first field
    sender.send(b"junk", b"", sender.make(version=2), zero, broken, sender.make(spans=3))
    page = counted(one, received=6, refused=4, lost=1)  # of version 2 nobody knows what its numbers mean
    refused = page.by("weir_datagrams_refused_total", "reason")
    assert (refused["malformed"], refused["version"]) == (2, 2)  # an empty one has no version
    assert page.value("weir_spans_refused_total", receiver="datagram", reason="invalid") == 1 + 3
    one.balance(received=4)
    sender.close()


def test_counters_and_histograms(weir):
    one = open_weir(weir, exporters="{}", lanes=3)
    senders = [Sender(one.ports["datagram"], sender=i + 1) for i in range(4)]
    labels = [{"name": "zone", "value": "eu-1"}]
    for sender in senders:
        for _ in range(25):
            counters = [
                {"name": "shop.orders", "labels": labels, "count": 3},
                {"name": "shop.paid", "value": 0.25},
                {"name": "", "count": 1},
            ]
            latency = {"name": "shop.latency", "bounds": [0.1, 1.0], "counts": [2, 1, 1], "sum": 3.5}
            size = {"name": "shop.size", "sum": 12.0, "exponential": {"scale": 0, "counts": [1, 2], "zero_count": 1}}
            sender.send(sender.make(spans=0, counters=counters, histograms=[latency, size]))
    page = counted(one, received=100, lost=0, refused=0)
    assert page.value("shop_orders_total", zone="eu-1") == 300
    assert page.value("shop_paid_total") == 25
    assert page.value("shop_latency_count") == 400 and page.value("shop_latency_sum") == 350
    assert page.value("shop_latency_bucket", le="0.1") == 200 and page.value("shop_latency_bucket", le="1") == 300
    assert page.value("shop_size_count") == 400 and page.value("shop_size_sum") == 1200
    assert page.sum("weir_points_received_total", receiver="datagram") == 400
    assert page.sum("weir_points_rejected_total", receiver="datagram") == 100
    one.balance(received=0)
    for sender in senders:
        sender.close()
