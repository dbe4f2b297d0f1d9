"""A real Prometheus that scrapes Weir, and promtool."""

import json
import pathlib
import subprocess
import textwrap

from harness.net import answers, free_port, get_json
from harness.process import Process, run


class Prometheus:
    """scrape: more options of the job `weir`, as in "scheme: https"; features: as for --enable-feature; rules: rule files.

    jobs          further jobs, as scrape_configs has them
    alertmanager  port of who is told of alerts
    every         between two scrapes, and two evaluations
    """

    def __init__(
        self,
        folder: pathlib.Path,
        target_port: int,
        scrape: str = "",
        *,
        features: str = "",
        rules: tuple = (),
        jobs: tuple = (),
        alertmanager: int | None = None,
        every: str = "500ms",
        port: int | None = None,
    ):
        self.folder, self.port, self.target_port, self.scrape = folder, port or free_port(), target_port, scrape
        self.features, self.rules, self.jobs, self.alertmanager, self.every = features, rules, jobs, alertmanager, every
        self.process: Process | None = None

    def start(self) -> "Prometheus":
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "prometheus.yml"
        told = [{"static_configs": [{"targets": [f"127.0.0.1:{self.alertmanager}"]}]}] if self.alertmanager else []
        config.write_text(
            f"global: {{ scrape_interval: {self.every}, scrape_timeout: {self.every}, evaluation_interval: {self.every} }}\n"
            f"alerting: {json.dumps({'alertmanagers': told})}\n"
            f"rule_files: [{', '.join(map(str, self.rules))}]\n"
            "scrape_configs:\n"
            "  - job_name: weir\n"
            "    honor_labels: true\n"
            f"{textwrap.indent(self.scrape, '    ')}\n"
            f"    static_configs: [{{ targets: ['127.0.0.1:{self.target_port}'] }}]\n"
            + "".join(f"  - {json.dumps(job)}\n" for job in self.jobs)
        )
        self.process = Process(
            "prometheus",
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={self.folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                f"--web.external-url={self.url('/')}",
                *([f"--enable-feature={self.features}"] if self.features else []),
            ],
            self.folder / "prometheus.log",
        )
        self.process.wait_ready(lambda: answers(self.url("/-/ready")))
        return self

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def query(self, promql: str) -> list[tuple[dict, float]]:
        data = get_json(self.url("/api/v1/query"), query=promql)["data"]["result"]
        return [(row["metric"], float(row["value"][1])) for row in data]

    def evaluated(self) -> list[dict]:
        """Its rules, recording and alerting, as /api/v1/rules has them."""
        groups = get_json(self.url("/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def firing(self) -> set[str]:
        return {
            alert["labels"]["alertname"]
            for alert in get_json(self.url("/api/v1/alerts"))["data"]["alerts"]
            if alert["state"] == "firing"
        }

    def target(self) -> dict:
        return self.targets()[0]

    def targets(self) -> list[dict]:
        return get_json(self.url("/api/v1/targets"))["data"]["activeTargets"]

    def stop(self) -> int:
        return self.process.stop() if self.process else 0


def promtool_check_metrics(page: str) -> str:
    """What `promtool check metrics` has to say; "" when nothing, raises when it refuses the page."""
    done = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True, timeout=280, check=False)
    # 3: the page parses, and there are remarks on style.
    assert done.returncode in (0, 3), f"promtool check metrics: exit {done.returncode}\n{done.stderr[-2000:]}"
    return done.stderr.strip()


def promtool(*argv) -> str:
    done = run(["promtool", *argv], timeout=280)  # the longest tests of rules take half a minute of a core's time
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def promtool_check_config(path: pathlib.Path) -> str:
    return promtool("check", "config", path)
