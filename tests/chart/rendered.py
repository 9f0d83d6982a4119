"""What the chart renders, as Python sees it: helm is asked, nothing is guessed.

HELM names the program; scripts/lint-deployments sets it.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "charts" / "longshore"
HELM = os.environ.get("HELM", "helm")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_rendered: dict[tuple, list[dict]] = {}
FILES = sorted([*CHART.glob("ci/*-values.yaml"), *CHART.glob("examples/*-values.yaml")])


class Refused(Exception):
    """The chart did not take the values; the message is helm's."""


def helm(chart: Path, values: dict | None, files: list[Path], release: str, more: tuple[str, ...]) -> str:
    """Rendered objects as text. Helm asks no cluster: which version there would be is said here."""
    argv = [HELM, "template", release, str(chart), "--namespace", "backups", "--kube-version", "1.33.0", *more]
    for file in files:
        argv += ["--values", str(file)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as inline:
        yaml.safe_dump(values or {}, inline)
        inline.flush()
        done = subprocess.run([*argv, "--values", inline.name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return done.stdout


def render(values: dict | None = None, *files: Path, release: str = "demo", more: tuple[str, ...] = ()) -> list[dict]:
    """The objects, tests' pods among them. Nobody changes what is returned: the same question is asked once."""
    question = (yaml.safe_dump(values), files, release, more)
    if question not in _rendered:
        _rendered[question] = [one for one in yaml.load_all(helm(CHART, values, list(files), release, more), Loader=LOADER) if one]
    return _rendered[question]


def notes(values: dict | None = None, *files: Path) -> str:
    """What an installation prints at its end. Helm shows that to nobody without a cluster, so a copy of the chart has it as an object."""
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(shutil.copytree(CHART, Path(folder) / "longshore"))
        text = (chart / "templates" / "NOTES.txt").read_text()
        (chart / "templates" / "notes.yaml").write_text(f'{{{{ define "notes" }}}}{text}{{{{ end }}}}\n---\ntext: {{{{ include "notes" . | toJson }}}}\n')
        shown = helm(chart, values, list(files), "demo", ("--show-only", "templates/notes.yaml"))
    return yaml.safe_load(shown)["text"]


def schema() -> dict:
    return json.loads((CHART / "values.schema.json").read_text())


def of_kind(objects: list[dict], kind: str) -> list[dict]:
    return [one for one in objects if one["kind"] == kind]


def cronjobs(objects: list[dict]) -> dict[str, dict]:
    return {one["metadata"]["name"]: one for one in of_kind(objects, "CronJob")}


def pods(objects: list[dict]) -> dict[str, dict]:
    """Each pod that would run, by its CronJob's or its own name: {metadata, spec}."""
    found = {name: one["spec"]["jobTemplate"]["spec"]["template"] for name, one in cronjobs(objects).items()}
    return found | {one["metadata"]["name"]: one for one in of_kind(objects, "Pod")}


def container(pod: dict) -> dict:
    (only,) = pod["spec"]["containers"]
    return only


def environment(pod: dict) -> dict[str, str]:
    """The variables as the process sees them: $$ is $ (no value refers to another one)."""
    return {one["name"]: str(one["value"]).replace("$$", "$") for one in container(pod)["env"]}


def secrets(pod: dict) -> dict[str, tuple[str, str]]:
    """Mounted secrets: the file's path, and of which Secret it is which key."""
    mounts = {mount["name"]: mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    found = {}
    for volume in pod["spec"]["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                found[f"{mounts[volume['name']]}/{item['path']}"] = (source["secret"]["name"], item["key"])
    return found


def minimal(**more) -> dict:
    """One repository and one source, and what the test is about."""
    return {
        "repositories": {"main": {"url": "s3://backups/app"}},
        "sources": {"app": {"repository": "main", "url": "postgres://u@db/app", "schedules": {"hourly": {"cron": "7 * * * *"}}}},
    } | more
