"""What the pages show is tried: their configurations and policies, the series that they name, and where their links lead."""

import os
import pathlib
import re
import sys

import pytest
import yaml
from harness.certificates import Certificates
from harness.process import ROOT, run
from harness.prometheus import promtool
from harness.weir import binary

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/*/README.md")])
# By their top-level keys one sees which file a block is of.
CONFIGURATION = {
    "lanes",
    "memory",
    "aggregate",
    "receivers",
    "attributes",
    "operations",
    "success",
    "exclude",
    "sampling",
    "spool",
    "exporters",
    "render",
    "admin",
}
POLICY = {"proxies", "collector", "sources", "keep"}
PROMETHEUS = {"rule_files", "alerting", "scrape_configs"}
OTHERS = (
    {"node", "layered_runtime", "static_resources"},  # of Envoy: test_rtds.py
    {"window", "default", "services", "enough"},  # dashboards/objectives.yaml: test_rules.py
    {"telemetry"},  # of Linkerd 1
)


def place(page: pathlib.Path, text: str, at: int) -> str:
    return f"{page.relative_to(ROOT)}:{text[:at].count(chr(10)) + 1}"


def blocks() -> list:
    """Keys and text of each block of YAML that is a map."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in re.finditer(r"^```ya?ml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            tree = yaml.safe_load(block[1])
            if isinstance(tree, dict):
                found.append(pytest.param(set(tree), block[1], id=place(page, text, block.start())))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, pathlib.Path]:
    """What stands behind the keys that name a file."""
    folder = tmp_path_factory.mktemp("docs")
    certificates = Certificates(folder / "tls").folder
    (folder / "key").write_text("0123456789abcdef0123456789abcdef\n")
    (folder / "headers").write_text("Authorization: Bearer x\n")
    (folder / "settings").write_text("sasl.username: weir\nsasl.password: x\n")
    (folder / "policy").write_text("proxies: { default: { rate: 1% } }\n")
    return {
        "cert_file": certificates / "server.pem",
        "tls key_file": certificates / "server.key",
        "client_ca_file": certificates / "ca.pem",
        "bearer_token_file": certificates / "tokens",
        "headers_file": folder / "headers",
        "hmac_key_file": folder / "key",
        "key_file": folder / "key",
        "ca_file": certificates / "ca.pem",
        "settings_file": folder / "settings",
        "ssl.ca.location": certificates / "ca.pem",
        "policy": folder / "policy",
        "path": folder,
    }


def with_files(text: str, files: dict[str, pathlib.Path]) -> str:
    """The same block, naming files that are there."""

    def there(line: str) -> str:
        def other(key: re.Match) -> str:
            file = files.get("tls " + key[1]) if "cert_file:" in line else None
            file = file or files[key[1]]
            return f"{key[1]}: {file / pathlib.Path(key[2]).name if file.is_dir() else file}"

        return re.sub(r"\b(\w*_file|policy|path|ssl\.ca\.location): ([^\s,{}]+)", other, line)

    return "".join(there(line) for line in text.splitlines(keepends=True))


@pytest.mark.parametrize(("keys", "text"), blocks())
def test_a_block_of_yaml_is_right(keys, text, files, tmp_path):
    """Each is a file, or a part of one, that Weir takes without a warning."""
    config, policy = tmp_path / "weir.yaml", tmp_path / "sampling.yaml"
    if keys <= PROMETHEUS:
        config.write_text(text)
        promtool("check", "config", config)
        return
    if any(keys <= other for other in OTHERS):
        return
    assert keys <= CONFIGURATION or keys <= POLICY, f"of which file is a block with {sorted(keys)}?"
    policy.write_text(text)
    config.write_text("sampling: { policy: sampling.yaml }\n")
    if keys <= CONFIGURATION:
        config.write_text(with_files(text, files))
    if keys == {"render"}:  # of a policy that another part of the file names
        config.write_text(with_files(text + "sampling: { policy: sampling.yaml }\n", files))
    done = run([binary(), "check", "-c", config])
    assert (done.returncode, done.stderr) == (0, "")


# ---- commands ----


def usages() -> list:
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in re.finditer(r"^```\n(usage: weir .*?)^```", text, re.MULTILINE | re.DOTALL):
            found.append(pytest.param(block[1], id=place(page, text, block.start())))
    assert found
    return found


@pytest.mark.parametrize("usage", usages())
def test_help_is_as_it_is_printed(usage):
    command = re.match(r"usage: weir (\w+)", usage)[1]
    assert usage == run([binary(), command, "--help"]).stdout


# ---- names ----


def literals() -> set[str]:
    """Each text of the source that is one word, as the rows of metric tables have their names; and words in others."""
    words = set()
    for folder in ("collector", "exporters", "emitter"):
        for source in (ROOT / folder).rglob("*.[ch]"):
            for text in re.findall(r'"((?:[^"\\\n]|\\.)*)"', source.read_text()):
                if re.fullmatch(r"[a-z][a-z0-9_]+", text):
                    words.add(f"weir_{text}")
                words.update(re.findall(r"\b(?:weir|traces|emitter)_[a-z0-9_]+", text))
    return words


@pytest.mark.parametrize(
    "arguments", [("examples/demo/demo.py", "--help"), ("tests/bench/bench.py", "--list"), ("-m", "soak.soak", "--help")]
)
def test_programs_of_dev_find_what_they_import(arguments):
    """They use the harness too, and no other test runs them."""
    done = run([sys.executable, *arguments], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT / "tests")})
    assert done.returncode == 0 and done.stdout, done.stderr


def test_series_that_pages_name_are_there():
    """A name may be the beginning of several (weir_rtds_*); the library's functions are those of its header."""
    known = literals()
    calls = set(re.findall(r"\bweir_emit_\w+", (ROOT / "emitter" / "weir_emit.h").read_text()))
    rest = {"weir_proxy"}  # a program, examples/proxy
    named, nobody = set(), []
    for page in PAGES:
        if page.name == "CONTRIBUTING.md":
            continue  # speaks of C alone
        text = page.read_text()
        for code in re.finditer(r"```.*?```|`[^`\n]+`", text, re.DOTALL):
            for name in re.findall(r"(?<![\w/.*-])((?:weir|traces|emitter)_[a-z0-9_]*[a-z0-9_])", code[0]):
                named.add(name)
                plain = re.sub(r"_(bucket|sum|count)$", "", name)
                same = {name, plain, name.removesuffix("_total")}
                begins = name.endswith("_") and any(other.startswith(name) for other in known | calls)
                if not (begins or same & (known | calls | rest)):
                    nobody.append(f"{place(page, text, code.start())}: {name}")
    assert len(named) > 150
    assert not nobody, "\n".join(nobody)


# ---- links ----


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")


def anchors(page: pathlib.Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_links_lead_somewhere():
    dead, followed = [], 0
    for page in PAGES:
        text = page.read_text()
        for link in re.finditer(r"\]\(([^)\s]+)\)", text):
            path, _, part = link[1].partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            followed += 1
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (part and target.suffix == ".md" and part not in anchors(target)):
                dead.append(f"{place(page, text, link.start())}: {link[1]}")
    assert followed > 100
    assert not dead, "\n".join(dead)
