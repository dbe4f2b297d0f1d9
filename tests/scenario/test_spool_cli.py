"""`weir spool`: what is on disk for a back end that was away, looked at, checked, and sent elsewhere when its node is dead."""

import json
import pathlib

from harness.catch import Catch, span_key
from harness.net import free_port, wait_until
from harness.process import run
from harness.weir import Weir, binary

SPANS = 18_000  # at level -7 more than one file of 1 MiB


def spool(*argv, status: int = 0) -> str:
    """stdout of `weir spool ...`."""
    done = run([binary(), "spool", *argv])
    assert done.returncode == status, f"weir spool {argv[0]}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def part(directory: pathlib.Path, name: str, status: int = 0) -> dict:
    (found,) = [one for one in json.loads(spool("ls", directory, "--json", status=status))["parts"] if one["name"] == name]
    return found


def dead(weir, tmp_path: pathlib.Path) -> tuple[pathlib.Path, set[int], str]:
    """A Weir whose Zipkin was away until it ended: its spool, the spans that it had accepted, and where Zipkin would be."""
    away = f"http://127.0.0.1:{free_port()}/api/v2/spans"
    directory = tmp_path / "spool"
    one = weir(
        exporters=f"file: {{ directory: {tmp_path}/weir/traces, spool: false }}\nzipkin: {{ url: '{away}', retry_initial: 100ms }}",
        extra=f"spool: {{ directory: {directory}, memory_age: 100ms, segment_bytes: 1MiB, compression_level: -7 }}\n"
        "batch: { max_spans: 500 }",
    )
    one.emit("--batch", 100, spans=SPANS)
    one.balance(received=SPANS, held=True)
    # What is tried now and then stays in memory.
    wait_until(lambda: part(directory, "exporters/zipkin")["spans"] > SPANS / 2, "spans to be on disk")
    found = part(directory, "exporters/zipkin")
    assert found["in_use"] and found["pid"] == one.process.pid
    assert f"in use by process {one.process.pid}" in spool("ls", directory)
    assert "sound" in spool("verify", directory)
    assert len(spool("cat", directory / "exporters/zipkin").splitlines()) > SPANS / 2
    refused = run([binary(), "spool", "replay", directory / "exporters/zipkin", "--to", away])
    assert refused.returncode == 1 and "in use by a running Weir" in refused.stderr
    want = {span_key(span) for span in one.cat()}
    assert len(want) == SPANS
    assert one.stop() == 0
    return directory, want, away


def second(weir, tmp_path: pathlib.Path) -> Weir:
    return weir(
        name="second",
        exporters=f"file: {{ directory: {tmp_path}/second }}",
        receivers={"zipkin": "", "otlp_http": ""},
    )


def test_a_dead_node_is_read_and_sent_to_another_weir(weir, tmp_path):
    directory, want, away = dead(weir, tmp_path)
    folder = directory / "exporters/zipkin"
    found = part(directory, "exporters/zipkin")
    assert not found["in_use"] and found["spans"] == SPANS and found["damaged"] == 0
    assert found["bytes"] == sum(path.stat().st_size for path in folder.glob("*.log"))
    assert {span_key(json.loads(line)) for line in spool("cat", directory).splitlines()} == want

    nobody = json.loads(spool("replay", folder, "--to", away, "--patience", 0.5, "--remove", "--json", status=1))
    assert nobody["delivered"] == 0 and nobody["left"] == SPANS and nobody["removed_files"] == 0

    other = second(weir, tmp_path)
    http_to = f"http://127.0.0.1:{other.ports['otlp_http']}/v1/traces"
    zipkin_to = f"http://127.0.0.1:{other.ports['zipkin']}/api/v2/spans"
    for times, to in enumerate((f"grpc://{other.endpoint}", http_to, zipkin_to), start=1):
        report = json.loads(spool("replay", folder, "--to", to, "--json"))
        assert report == report | {"read": SPANS, "delivered": SPANS, "rejected": 0, "left": 0, "removed_files": 0}
        other.balance(received=times * SPANS)
    assert part(directory, "exporters/zipkin") == found, "replay without --remove changed something"
    text = spool("replay", directory, "--to", zipkin_to, "--as", "zipkin", "--set", "encoding=json", "--remove")
    assert f"{SPANS:,} spans" in text and "removed" in text
    assert not list(folder.glob("*.log"))
    other.balance(received=4 * SPANS)
    assert {span_key(span) for span in other.cat(tmp_path / "second")} == want
    assert part(directory, "exporters/zipkin")["spans"] == 0


def test_what_was_removed_is_not_missed_by_the_next_start(weir, tmp_path, request):
    """Its files are gone, and Weir starts on the directory, spools and sends as if nothing had been there."""
    directory, want, away = dead(weir, tmp_path)
    catch = Catch()
    request.addfinalizer(catch.stop)
    spool("replay", directory, "--to", catch.endpoint, "--set", "encoding=json", "--remove")
    assert set(catch.seen) == want and max(catch.seen.values()) == 1
    one = weir(
        name="again",
        exporters=f"zipkin: {{ url: '{catch.endpoint}', encoding: json }}",
        extra=f"spool: {{ directory: {directory}, memory_age: 100ms, segment_bytes: 1MiB }}",
    )
    one.emit("--seed", 2, "--batch", 100, spans=800)
    assert one.balance(received=800).delivered("zipkin") == 800
    assert catch.spans == SPANS + 800


def test_what_is_damaged_is_named_and_the_rest_is_sent(weir, tmp_path):
    directory, want, _ = dead(weir, tmp_path)
    folder = directory / "exporters/zipkin"
    files = sorted(folder.glob("*.log"))
    assert len(files) >= 2
    hit = bytearray(files[0].read_bytes())
    hit[len(hit) // 2] ^= 1
    files[0].write_bytes(hit)
    done = run([binary(), "spool", "verify", directory])
    assert done.returncode == 1 and f"exporters/zipkin/{files[0].name}: offset " in done.stderr, done.stderr
    assert "damaged in 1 place" in done.stdout
    other = second(weir, tmp_path)
    report = json.loads(spool("replay", folder, "--to", f"grpc://{other.endpoint}", "--remove", "--json", status=1))
    assert report["damaged"] == 1 and report["left"] == report["rejected"] == 0
    assert 0 < SPANS - report["delivered"] <= 500, "a damaged record is one batch"
    assert list(folder.glob("*.log")) == [files[0]], "what is damaged stays"
    other.balance(received=report["delivered"])
    assert {span_key(span) for span in other.cat(tmp_path / "second")} < want


def test_undecided_spans_of_a_dead_node(weir, tmp_path):
    """The journal: what waited for a decision when its Weir was killed is decided by another."""
    directory = tmp_path / "spool"
    (tmp_path / "sampling.yaml").write_text("keep: { wait: 60s, quiet: 60s, rules: [{ name: all, rate: 1 }] }\n")
    one = weir(
        extra=f"sampling: {{ policy: {tmp_path}/sampling.yaml }}\nspool: {{ directory: {directory}, durable: true }}",
    )
    one.emit("--batch", 100, spans=4000)
    assert one.balance(received=4000, held=True).held == 4000
    assert part(directory, "journal")["in_use"]
    one.kill()
    assert part(directory, "journal")["spans"] == 4000
    assert "4,000 spans: sound" in spool("verify", directory)
    want = {span_key(json.loads(line)) for line in spool("cat", directory / "journal").splitlines()}
    assert len(want) == 4000
    other = second(weir, tmp_path)
    report = json.loads(spool("replay", directory / "journal", "--to", f"grpc://{other.endpoint}", "--remove", "--json"))
    assert report["delivered"] == report["read"] == 4000 and report["sampled_out"] == 0
    other.balance(received=4000)
    assert {span_key(span) for span in other.cat(tmp_path / "second")} == want
    assert part(directory, "journal")["spans"] == 0


def test_wrong_usage_and_what_is_no_spool(tmp_path):
    for argv in (
        [],
        ["list", tmp_path],
        ["ls"],
        ["ls", tmp_path, "--all"],
        ["cat", tmp_path, tmp_path],
        ["verify", tmp_path, "--rate", "3"],
        ["replay", tmp_path],
        ["replay", tmp_path, "--to", "http://127.0.0.1:9"],
        ["replay", tmp_path, "--to", "http://127.0.0.1:9/v1/traces", "--as", "kafka"],
        ["replay", tmp_path, "--to", "grpc://127.0.0.1:9", "--rate", "none"],
        ["replay", tmp_path, "--to", "grpc://127.0.0.1:9", "--set", "endpoints"],
    ):
        done = run([binary(), "spool", *argv])
        assert done.returncode == 2 and "usage: weir spool" in done.stderr, (argv, done.stderr)
    for path, why in ((tmp_path, "no spool"), (tmp_path / "missing", "No such file or directory")):
        done = run([binary(), "spool", "ls", path])
        assert done.returncode == 1 and why in done.stderr
    assert "usage: weir spool" in spool("--help")
    help_text = run([binary(), "spool", "--help"]).stdout
    assert all(len(line) <= 80 for line in help_text.splitlines())


def test_which_exporter_has_to_be_said(tmp_path):
    for name in ("zipkin", "kafka+audit"):
        (tmp_path / "exporters" / name).mkdir(parents=True)
        (tmp_path / "exporters" / name / "lock").touch()
    done = run([binary(), "spool", "replay", tmp_path, "--to", "grpc://127.0.0.1:9"])
    assert done.returncode == 1 and "say which one" in done.stderr and f"{tmp_path}/exporters/zipkin" in done.stderr
    done = run([binary(), "spool", "replay", tmp_path / "exporters/zipkin", "--to", "grpc://127.0.0.1:9", "--set", "no=1"])
    assert done.returncode == 2 and "no: unknown key" in done.stderr
