"""A real Prometheus that scrapes Weir, and promtool."""

import pathlib
import subprocess
import textwrap

from harness.net import answers, free_port, get_json
from harness.process import Process, run


class Prometheus:
    """scrape: more options of its one job, as in "scheme: https"; features: as for --enable-feature; rules: rule files."""

    def __init__(self, folder: pathlib.Path, target_port: int, scrape: str = "", *, features: str = "", rules: tuple = ()):
        self.folder, self.port, self.target_port, self.scrape = folder, free_port(), target_port, scrape
        self.features, self.rules = features, rules
        self.process: Process | None = None

    def start(self) -> "Prometheus":
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "prometheus.yml"
        config.write_text(
            "global: { scrape_interval: 500ms, scrape_timeout: 500ms }\n"
            f"rule_files: [{', '.join(map(str, self.rules))}]\n"
            "scrape_configs:\n"
            "  - job_name: weir\n"
            "    honor_labels: true\n"
            f"{textwrap.indent(self.scrape, '    ')}\n"
            f"    static_configs: [{{ targets: ['127.0.0.1:{self.target_port}'] }}]\n"
        )
        self.process = Process(
            "prometheus",
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={self.folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                *([f"--enable-feature={self.features}"] if self.features else []),
            ],
            self.folder / "prometheus.log",
        )
        self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.port}/-/ready"))
        return self

    def query(self, promql: str) -> list[tuple[dict, float]]:
        data = get_json(f"http://127.0.0.1:{self.port}/api/v1/query", query=promql)["data"]["result"]
        return [(row["metric"], float(row["value"][1])) for row in data]

    def target(self) -> dict:
        return get_json(f"http://127.0.0.1:{self.port}/api/v1/targets")["data"]["activeTargets"][0]

    def stop(self) -> int:
        return self.process.stop() if self.process else 0


def promtool_check_metrics(page: str) -> str:
    """What `promtool check metrics` has to say; "" when nothing, raises when it refuses the page."""
    done = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True, timeout=60, check=False)
    # 3: the page parses, and there are remarks on style.
    assert done.returncode in (0, 3), f"promtool check metrics: exit {done.returncode}\n{done.stderr[-2000:]}"
    return done.stderr.strip()


def promtool(*argv) -> str:
    done = run(["promtool", *argv])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def promtool_check_config(path: pathlib.Path) -> str:
    return promtool("check", "config", path)
