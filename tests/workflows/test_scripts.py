"""The deployments' scripts ask docker for what they say they do: each is run beside a docker that only writes down how it was called.

What containers then do is tried by tests/deployments/run. Run by scripts/lint-deployments.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOYMENTS = ROOT / "deployments"
SHOWN = "01M7YS1S53A22051Q2M4NN2V8M"
PLAN = f"backup       %s@{SHOWN}\nof           app at db:5432, postgresql 15.20\n"
ABOUT = json.dumps({"backup": {"source": "clinic", "id": SHOWN, "tags": [], "about": {"engine": "postgresql"}}}, indent=2)
DOCKER = r"""#!/bin/bash
case "$*" in
"compose version") ;;
"compose --profile * config") cat "$FAKE/config" ;;
"compose config --services") ;;
"compose run "*)
    { printf '%s\n' "$*" "into=${RESTORE_INTO-} db=${POSTGRES_DB-} repo=${REPO-}" | tr '\n' '\t'; echo; } >>"$FAKE/runs"
    if [[ $* == *" show "* ]]; then cat "$FAKE/prints"; fi
    ;;
container\ inspect*|volume\ inspect*) exit 1 ;;
esac
"""


class Ran:
    """One script of a deployment with its example settings; `runs` are the jobs that docker was asked for, from the service's name on."""

    def __init__(self, script: str, *args: str, env: dict[str, str] | None = None, prints: str = "", files: tuple[str, ...] = (), settings: str = ""):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            shutil.copytree(DEPLOYMENTS, folder / "deployments", ignore=shutil.ignore_patterns(".env", "jobs.env", "secrets", ".locks"))
            (folder / "scripts").mkdir()
            shutil.copy(ROOT / "scripts" / "import-backup", folder / "scripts")
            environment = args[0] if args and (DEPLOYMENTS / args[0]).is_dir() else "dev"
            here = folder / "deployments" / environment
            (here / ".env").write_text((here / ".env.example").read_text() + settings)
            for file in files:
                (here / file).write_text("")
            (folder / "config").write_text(config(environment, here, dict(line.split("=", 1) for line in settings.splitlines())))
            (folder / "prints").write_text(prints)
            (folder / "bin").mkdir()
            (folder / "bin" / "docker").write_text(DOCKER)
            (folder / "bin" / "docker").chmod(0o755)
            path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": name, "FAKE": name}
            done = subprocess.run([folder / script, *args], env=path | (env or {}), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            self.code, self.out, self.said = done.returncode, done.stdout, done.stderr
            lines = (folder / "runs").read_text().splitlines() if (folder / "runs").exists() else []
            self.calls = [line.split("\t")[:2] for line in lines]
            self.secrets = sorted(path.name for path in (here / "secrets").glob("*")) if (here / "secrets").exists() else []

    @property
    def runs(self) -> list[str]:
        return [re.sub(r"^compose run .*?--name \S+ (?:--env \S+ )*", "", call) for call, _ in self.calls]


def config(environment: str, folder: Path, settings: dict[str, str]) -> str:
    """As `docker compose config` would print what the scripts look for."""
    compose = yaml.safe_load((DEPLOYMENTS / environment / "compose.yaml").read_text())
    services = {name: {"environment": service["environment"]} for name, service in compose["services"].items() if name.startswith("backup-")}
    files = {re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: settings.get(found[1], found[2]), one["file"]) for one in compose["secrets"].values()}
    secrets = {file.split("/")[-1]: {"file": str(folder / file)} for file in files}
    return yaml.safe_dump({"name": compose["name"], "services": services | {"check": {}}}, sort_keys=False) + yaml.safe_dump({"secrets": secrets})


class Backup(unittest.TestCase):
    def test_production_keeps_its_tag_beside_any_other(self):
        ran = Ran("deployments/backup.sh", "production", "--", "--tag", "hourly")
        wanted = [f"backup-{engine} backup --tag production --tag hourly" for engine in ("postgres", "mariadb", "mongo")]
        self.assertEqual((ran.code, ran.runs), (0, wanted))
        self.assertEqual(Ran("deployments/backup.sh", "production", "mongo", "--", "--max-rate", "1MiB").runs, ["backup-mongo backup --tag production --max-rate 1MiB"])

    def test_without_options_the_tag_is_the_one_of_compose(self):
        self.assertEqual(Ran("deployments/backup.sh", "production", "mongo").runs, ["backup-mongo"])
        services = yaml.safe_load((DEPLOYMENTS / "production" / "compose.yaml").read_text())["services"]
        for engine in ("postgres", "mariadb", "mongo"):
            self.assertEqual(services[f"backup-{engine}"]["environment"]["LONGSHORE_TAG"], "production")

    def test_elsewhere_nothing_is_added(self):
        self.assertEqual(Ran("deployments/backup.sh", "staging", "mongo", "--", "--tag", "daily").runs, ["backup-mongo backup --tag daily"])


class Maintain(unittest.TestCase):
    def test_check_asks_about_every_source_by_the_name_that_backups_are_kept_under(self):
        for environment, prefix in (("dev", ""), ("staging", "staging-"), ("production", "")):
            ran = Ran("deployments/maintain.sh", environment, "check")
            names = " ".join(f"--name {prefix}{engine}" for engine in ("postgres", "mariadb", "mongo"))
            self.assertEqual((ran.code, ran.runs), (0, [f"check check {names}"]), ran.said)

    def test_check_asks_about_what_was_named_and_keeps_other_options(self):
        for options in (["--name", "old"], ["--name=old"]):
            self.assertEqual(Ran("deployments/maintain.sh", "production", "check", "--", *options).runs, [f"check check {' '.join(options)}"])
        ran = Ran("deployments/maintain.sh", "production", "check", "--", "--max-age", "1h", settings="SOURCES=mongo\n")
        self.assertEqual(ran.runs, ["check check --max-age 1h --name mongo"])

    def test_a_source_without_a_job_is_an_error_and_not_left_out(self):
        ran = Ran("deployments/maintain.sh", "production", "check", settings='SOURCES="postgres oracle"\n')
        self.assertEqual((ran.code, ran.runs), (78, []))
        self.assertIn("backup-oracle", ran.said)

    def test_verify_reads_everything_because_a_sample_never_counts(self):
        for environment in ("dev", "staging", "production"):
            services = yaml.safe_load((DEPLOYMENTS / environment / "compose.yaml").read_text())["services"]
            self.assertEqual(services["verify"]["environment"]["LONGSHORE_SAMPLE"], "${VERIFY_SAMPLE:-100%}")
            self.assertEqual(services["check"]["environment"]["LONGSHORE_VERIFIED"], "${MAX_VERIFIED-8d}", "empty means that nobody asks")
            self.assertIn("\nVERIFY_SAMPLE=100%\n", (DEPLOYMENTS / environment / ".env.example").read_text())


class Restore(unittest.TestCase):
    def restore(self, *args, source="postgres", prints=PLAN % "postgres", **more):
        return Ran("deployments/restore_from_s3.sh", "staging", source, *args, prints=prints, **more)

    def test_what_is_restored_is_what_the_plan_has_shown(self):
        ran = self.restore("--target", "staging/postgres", "--", "--prove", "content")
        self.assertEqual(ran.code, 0, ran.said)
        self.assertEqual(ran.runs, ["production show postgres", f"restore-postgres restore --from postgres@{SHOWN} --prove content", "mark-postgres"])

    def test_a_plan_that_names_no_backup_leads_to_nothing(self):
        ran = self.restore("--target", "staging/postgres", prints="something else\n")
        self.assertEqual((ran.code, ran.runs), (70, ["production show postgres"]))

    def test_nothing_is_restored_before_the_target_is_typed(self):
        for target in ((), ("--target", "staging/mongo")):
            ran = self.restore(*target)
            self.assertEqual((ran.code, ran.runs), (77, ["production show postgres"]))
        self.assertEqual((self.restore("--dry-run").code, len(self.restore("--dry-run").runs)), (0, 1))

    def test_the_callers_variables_name_no_target(self):
        stray = {"RESTORE_INTO": "stray", "POSTGRES_DB": "stray", "REPO": "s3://stray"}
        ran = self.restore("--target", "staging/postgres", env=stray)
        self.assertEqual({seen for _, seen in ran.calls}, {"into= db= repo="})
        ran = self.restore("--into", "copy", "--target", "staging/postgres/copy", env=stray)
        self.assertEqual({seen for _, seen in ran.calls}, {"into=copy db= repo="})
        self.assertEqual({seen for _, seen in Ran("deployments/deploy.sh", "staging", env=stray).calls} - {"into= db= repo="}, set())

    def test_the_plan_says_what_disarms_the_copy(self):
        ran = self.restore("--target", "staging/postgres", files=("before-swap/postgres/a.sql", "before-swap/postgres/b.sql"))
        self.assertIn("disarmed by  /before-swap/postgres/a.sql\ndisarmed by  /before-swap/postgres/b.sql\n", ran.out)
        self.assertIn(f"restore --from postgres@{SHOWN} --before-swap=/before-swap/postgres/a.sql --before-swap=/before-swap/postgres/b.sql", ran.runs[1])
        self.assertIn("disarmed by  nothing: there is no before-swap/postgres/*.sql", self.restore("--dry-run").out)
        self.assertIn("disarmed by  nothing: MongoDB takes no", self.restore("--dry-run", source="mongo", prints=PLAN % "mongo").out)


class Deploy(unittest.TestCase):
    def test_it_makes_the_servers_passwords_and_nobody_elses(self):
        ran = Ran("deployments/deploy.sh", "production", "--make-secrets", settings="POSTGRES_MARK_SECRET=owner\nPOSTGRES_SOURCE_SECRET=reader\n")
        self.assertEqual(ran.code, 78)
        for name in ("owner", "reader"):
            self.assertIn(name, ran.said.split("no secret in")[1])
        made = ["mariadb-password", "minio-root-password", "minio-root-user", "mongo-key", "mongo-password", "postgres-password"]
        self.assertEqual(ran.secrets, made)
        self.assertIn("s3-backup-access-key", ran.said)

    def test_production_is_marked_by_its_owner_and_not_by_who_backs_up(self):
        services = yaml.safe_load((DEPLOYMENTS / "production" / "compose.yaml").read_text())["services"]
        for engine in ("postgres", "mariadb", "mongo"):
            mark = services[f"mark-{engine}"]
            self.assertNotIn("SOURCE", mark["environment"]["LONGSHORE_TARGET"])
            self.assertRegex(mark["environment"]["LONGSHORE_TARGET"], rf"^\$\{{{engine.upper()}_MARK:-\w+://(postgres|root)@{engine}\.production:")
            self.assertEqual(mark["secrets"], [f"mark-{engine}-password"])


class Units(unittest.TestCase):
    def test_each_names_a_deployment_that_its_script_takes(self):
        for unit in sorted((DEPLOYMENTS / "systemd").glob("*.service")):
            text = unit.read_text()
            (example,) = re.findall(rf"systemctl start {unit.stem}(\w+)", text)
            (command,) = re.findall(r"^ExecStart=/opt/longshore/(.*)$", text, re.M)
            ran = Ran(*command.replace("%i", example).split())
            self.assertEqual(ran.code, 0, f"{unit.name}: {ran.said}")
            self.assertTrue(ran.runs, unit.name)


class Import(unittest.TestCase):
    def imported(self, repo, *args):
        keys = {"LONGSHORE_S3_ACCESS_KEY": "k", "LONGSHORE_S3_SECRET_KEY": "k"}
        return Ran("scripts/import-backup", "--source=clinic", f"--repo={repo}", *args, env=keys, prints=ABOUT)

    def test_a_repository_of_production_is_refused_by_its_bucket_and_by_its_path(self):
        for repo in ("s3://production/longshore", "s3://clinic-backups/production?endpoint=https://minio.example.org:9000", "s3://a/b/LIVE", "file:///srv/prod-eu/clinic"):
            ran = self.imported(repo)
            self.assertEqual(ran.code, 77, ran.said)
            self.assertIn("the repository is called", ran.said)
            self.assertEqual([run for run in ran.runs if "restore" in run or "copy" in run], [])
        self.assertEqual(self.imported("s3://production/longshore", "--unmasked").code, 0)

    def test_others_are_not(self):
        for repo in ("s3://dev/longshore?endpoint=https://production.example.org", "s3://deliver/olive"):
            ran = self.imported(repo)
            self.assertEqual(ran.code, 0, ran.said)
            self.assertIn(f"import restore --from clinic@{SHOWN}", " ".join(ran.runs))


if __name__ == "__main__":
    unittest.main()
