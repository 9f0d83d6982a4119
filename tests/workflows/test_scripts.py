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
    env >>"$FAKE/handed"
    { printf '%s\n' "$*" "into=${RESTORE_INTO-} db=${POSTGRES_DB-} repo=${REPO-}" | tr '\n' '\t'; echo; } >>"$FAKE/runs"
    if [[ $* == *" show "* ]]; then cat "$FAKE/prints"; fi
    exit "$ENDS"
    ;;
container\ inspect*" ${AT_WORK:-nothing}") echo running ;;
container\ inspect*|volume\ inspect*) exit 1 ;;
esac
"""


class Ran:
    """One script of a deployment with its example settings; `runs` are the jobs that docker was asked for, from the service's name on."""

    def __init__(self, script: str, *args: str, env: dict[str, str] | None = None, prints: str = "", files: tuple[str, ...] = (), settings: str = "",
                 links: dict[str, str] | None = None, ends: int = 0, at_work: str = ""):  # fmt: skip
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            shutil.copytree(DEPLOYMENTS, folder / "deployments", ignore=shutil.ignore_patterns(".env", "jobs.env", "secrets", ".locks"))
            (folder / "scripts").mkdir()
            shutil.copy(ROOT / "scripts" / "import-backup", folder / "scripts")
            environment = args[0] if args and (DEPLOYMENTS / args[0]).is_dir() else "dev"
            here = folder / "deployments" / environment
            (here / ".env").write_text((here / ".env.example").read_text() + settings)
            for file in files:
                (here / file).parent.mkdir(parents=True, exist_ok=True)
                (here / file).write_text("")
            for link, to in (links or {}).items():
                (here / link).symlink_to(to)
            (folder / "config").write_text(config(environment, here, dict(line.split("=", 1) for line in settings.splitlines())))
            (folder / "prints").write_text(prints)
            (folder / "bin").mkdir()
            (folder / "bin" / "docker").write_text(DOCKER)
            (folder / "bin" / "docker").chmod(0o755)
            path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": name, "FAKE": name, "ENDS": str(ends), "AT_WORK": at_work}
            done = subprocess.run([folder / script, *args], env=path | (env or {}), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            self.code, self.out, self.said = done.returncode, done.stdout, done.stderr
            lines = (folder / "runs").read_text().splitlines() if (folder / "runs").exists() else []
            self.calls = [line.split("\t")[:2] for line in lines]
            # What compose was told by variables.
            self.handed = (folder / "handed").read_text() if lines else ""
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

    def test_nothing_is_restored_beside_a_load(self):
        ran = self.restore("--target", "staging/postgres", at_work="longshore-staging-load-postgres")
        self.assertEqual((ran.code, ran.runs), (75, ["production show postgres"]))
        self.assertIn("nothing was begun", ran.said)

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
        self.assertIn("disarmed by  nothing: there is no before-swap/mongo/*.json", self.restore("--dry-run", source="mongo", prints=PLAN % "mongo").out)


class Load(unittest.TestCase):
    """Only a drop in DROPS, only with a job and a table that somebody has named, and what became of it is said."""

    SETTINGS = "DROPS=./drops\nPOSTGRES_LOAD_JOB=samples\nPOSTGRES_LOAD_TABLE=lab.samples\n"
    DROP = ("drops/monday/_SUCCESS", "drops/lab/a drop/_SUCCESS", "elsewhere/_SUCCESS", "drops-of-others/_SUCCESS")

    def load(self, *args, environment="staging", settings=SETTINGS, **more):
        return Ran("deployments/load.sh", environment, *args, settings=settings, files=self.DROP, **more)

    def test_a_drop_is_named_as_the_loader_sees_it(self):
        for environment in ("dev", "staging", "production"):
            ran = self.load("monday", environment=environment)
            self.assertEqual((ran.code, ran.runs), (0, ["load-postgres load --drop /drops/monday"]), ran.said)
        self.assertEqual(self.load("lab/../lab/a drop/").runs, ["load-postgres load --drop /drops/lab/a drop"])
        self.assertEqual(self.load("monday", "--", "--dry-run", "--mode", "replace").runs, ["load-postgres load --drop /drops/monday --dry-run --mode replace"])

    def test_a_whole_path_is_taken_when_it_lies_in_drops(self):
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "drops" / "monday").mkdir(parents=True)
            (Path(name) / "other").mkdir()
            settings = self.SETTINGS.replace("./drops", f"{name}/drops")
            self.assertEqual(self.load(f"{name}/drops/monday", settings=settings).runs, ["load-postgres load --drop /drops/monday"])
            ran = self.load(f"{name}/other", settings=settings)
            self.assertEqual((ran.code, ran.runs), (77, []))

    def test_what_does_not_lie_in_drops_is_refused(self):
        links = {"drops/link": "../elsewhere", "drops/up": ".."}
        for drop in ("../elsewhere", ".", "..", "monday/..", "link", "up/elsewhere", "../drops-of-others", "/", "/etc"):
            ran = self.load(drop, links=links)
            self.assertEqual((ran.code, ran.runs), (77, []), f"{drop}: {ran.said}")
            self.assertIn("nothing was loaded", ran.said)

    def test_a_drop_that_is_not_there_is_no_drop(self):
        for drop in ("tuesday", "monday/_SUCCESS"):
            ran = self.load(drop)
            self.assertEqual((ran.code, ran.runs), (66, []), ran.said)

    def test_what_nobody_has_named_is_asked_for(self):
        for missing in ("DROPS", "POSTGRES_LOAD_JOB", "POSTGRES_LOAD_TABLE"):
            ran = self.load("monday", settings=re.sub(f"{missing}=.*\n", "", self.SETTINGS))
            self.assertEqual((ran.code, ran.runs), (78, []))
            self.assertIn(missing, ran.said)
        ran = self.load("monday", "--", "--job", "donors", "--table=lab.donors", settings="DROPS=./drops\n")
        self.assertEqual(ran.runs, ["load-postgres load --drop /drops/monday --job donors --table=lab.donors"])
        ran = self.load("monday", settings="DROPS=./nowhere\n")
        self.assertEqual((ran.code, ran.runs), (78, []))

    def test_words_that_mean_nothing_load_nothing(self):
        for args in ((), ("",), ("monday", "tuesday"), ("--drop", "monday"), ("monday", "--dry-run"), ("monday", "--history"), ("--",)):
            ran = self.load(*args)
            self.assertEqual((ran.code, ran.runs), (64, []), args)

    def test_rows_that_are_left_out_do_not_go_with_the_container(self):
        for option in (["--rejects", "/tmp/r.csv"], ["--rejects=/tmp/r.csv"]):
            ran = self.load("monday", "--", "--max-rejects", "3", *option)
            self.assertEqual((ran.code, ran.runs), (64, []))

    def test_the_lease_is_one_that_loads_share(self):
        for option in (["--lease", "redis://other"], ["--lease=file:///tmp/leases"]):
            ran = self.load("monday", "--", *option)
            self.assertEqual((ran.code, ran.runs), (64, []))
        ran = self.load("monday", settings=self.SETTINGS + "LEASE=file:///tmp/leases\n")
        self.assertEqual((ran.code, ran.runs), (78, []))
        self.assertEqual(self.load("monday", "--", "--lease-ttl", "2m").code, 0)

    def test_a_password_on_the_command_line_is_refused_and_not_repeated(self):
        for option in (["--target-password", "canary"], ["--lease-password=canary"]):
            ran = self.load("monday", "--", *option)
            self.assertEqual((ran.code, ran.runs), (64, []))
            self.assertNotIn("canary", ran.said)

    def test_the_exit_code_is_the_jobs_and_75_is_said_plainly(self):
        for code in (65, 66, 69, 73, 74, 75, 77, 78):
            ran = self.load("monday", ends=code)
            self.assertEqual((ran.code, len(ran.runs)), (code, 1))
            self.assertEqual("another loader is at work; nothing was loaded" in ran.said, code == 75)

    def test_nothing_is_loaded_beside_another_loader_or_a_restore(self):
        for container in ("load-postgres", "restore-postgres", "import"):
            ran = self.load("monday", at_work=f"longshore-staging-{container}")
            self.assertEqual((ran.code, ran.runs), (75, []))
            self.assertIn(f"(container longshore-staging-{container})", ran.said)
            self.assertIn("nothing was begun", ran.said)

    def test_the_history_is_shown_also_while_a_load_is_at_work(self):
        shown = "compose run --rm --no-deps --no-TTY load-postgres load --history"
        for args, wanted in ((["--history"], shown), (["--", "--history"], shown), (["--history", "--", "--most", "3"], f"{shown} --most 3")):
            ran = self.load(*args, settings="", at_work="longshore-staging-load-postgres")
            self.assertEqual((ran.code, [call for call, _ in ran.calls]), (0, [wanted]), ran.said)
        self.assertEqual(self.load("--history", ends=69).code, 69)

    def test_those_who_are_refused_are_told_who_is_at_work(self):
        (call,) = (call for call, _ in self.load("monday").calls)
        self.assertRegex(call, r"--env LONGSHORE_HOLDER=\S+@\S+ ")

    def test_the_callers_variables_name_no_target_and_no_drops(self):
        stray = {name: "stray" for name in ("DROPS", "LEASE", "LEASE_SECRET", "POSTGRES_LOAD", "POSTGRES_LOAD_SECRET", "POSTGRES_LOAD_JOB", "POSTGRES_LOAD_TABLE")}
        ran = self.load("monday", settings="DROPS=./drops\n", env=stray)
        self.assertEqual((ran.code, ran.runs), (78, []))
        ran = self.load("monday", env=stray)
        self.assertEqual((ran.code, len(ran.runs)), (0, 1))
        self.assertIn("FAKE=", ran.handed)
        self.assertNotIn("stray", ran.handed)

    @unittest.skipUnless((ROOT / ".git").exists() and shutil.which("git"), "SKIPPED: this is no clone, or there is no git")
    def test_no_drop_gets_into_the_repository(self):
        for path, ignored in (("dev/drops/monday/a.csv", True), ("production/drops/a.csv", True), ("dev/drops/.gitkeep", False)):
            done = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", f"deployments/{path}"], cwd=ROOT, check=False)
            self.assertEqual(done.returncode, 0 if ignored else 1, path)

    def test_the_job_holds_two_passwords_and_reads_drops(self):
        for environment in ("dev", "staging", "production"):
            compose = yaml.safe_load((DEPLOYMENTS / environment / "compose.yaml").read_text())
            job, redis = compose["services"]["load-postgres"], compose["services"]["redis"]
            self.assertEqual(job["secrets"], ["load-postgres-password", "lease-password"])
            self.assertEqual([(one["target"], one["read_only"]) for one in job["volumes"]], [("/drops", True)])
            self.assertEqual(job["environment"]["LONGSHORE_LEASE"], f"${{LEASE:-redis://redis.{environment}:6379}}")
            self.assertEqual(redis["networks"]["default"]["aliases"], [f"redis.{environment}"])
            self.assertEqual("ports" in redis, environment == "dev")
        server = yaml.safe_load((DEPLOYMENTS / "servers.yaml").read_text())["services"]["redis"]
        for words in ("maxmemory-policy noeviction", "appendonly", "requirepass $$(cat /run/secrets/redis-password)"):
            self.assertIn(words, server["command"][2])


class Deploy(unittest.TestCase):
    def test_it_makes_the_servers_passwords_and_nobody_elses(self):
        ran = Ran("deployments/deploy.sh", "production", "--make-secrets", settings="POSTGRES_MARK_SECRET=owner\nPOSTGRES_SOURCE_SECRET=reader\n")
        self.assertEqual(ran.code, 78)
        for name in ("owner", "reader"):
            self.assertIn(name, ran.said.split("no secret in")[1])
        made = ["mariadb-password", "minio-root-password", "minio-root-user", "mongo-key", "mongo-password", "postgres-password", "redis-password"]
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
