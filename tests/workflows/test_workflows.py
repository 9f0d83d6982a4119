"""The workflows call the scripts that a person would, with what was typed as data, and restore nothing that was not shown.

Their steps are run here as they stand, beside scripts that only write down how they were called. Run by scripts/lint-deployments.
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
OVER_SSH = """${{ fromJSON(vars.STAGING_SSH && '["ubuntu-24.04"]' || '["self-hosted", "staging"]') }}"""
ID = "01M7YS1S53A22051Q2M4NN2V8M"
PLAN = f"backup       postgres@{ID}\nof           app at db:5432, postgresql 15.20\n```\n# <img src=x>\n"


# Reads the words once more, as a shell on the host does, and ends as it is told.
SSH = r"""#!/bin/bash
printf '%s\n' ssh "$@" >>"$CALLS"
[ -z "$SSH_ENDS" ] || exit "$SSH_ENDS"
exec sh -c "${@: -1}"
"""


def steps(workflow: str):
    for job in WORKFLOWS[workflow]["jobs"].values():
        yield from job["steps"]


def step(workflow: str, name: str) -> dict:
    """The step of that name; where two jobs have it, they have the same."""
    found = [one for one in steps(workflow) if one.get("name") == name]
    assert found and all(one == found[0] for one in found), name
    return found[0]


class Step:
    """One step, run by bash as a runner would, with scripts that write their arguments down and end as they are told."""

    def __init__(self, workflow: str, name: str, env: dict[str, str], ends: int = 0, prints: str = ""):
        with tempfile.TemporaryDirectory() as folder:
            home, calls, output, summary = (Path(folder) / part for part in ("home", "calls", "output", "summary"))
            (Path(folder) / "bin").mkdir()
            (Path(folder) / "bin" / "ssh").write_text(SSH)
            (Path(folder) / "bin" / "ssh").chmod(0o755)
            (home / "deployments").mkdir(parents=True)
            for file in (calls, output, summary):
                file.touch()
            (home / "prints").write_text(prints)
            for script in ("backup.sh", "maintain.sh", "restore_from_s3.sh"):
                path = home / "deployments" / script
                path.write_text(f'#!/bin/bash\nprintf "%s\\n" {script} "$@" >>"{calls}"\ncat "{home}/prints"\nexit {ends}\n')
                path.chmod(0o755)
            set_here = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "CALLS": str(calls), "SSH_ENDS": "", "STAGING_SSH": "", "RUNNER_TEMP": folder}
            set_here |= {"LONGSHORE_HOME": str(home), "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
            done = subprocess.run(["bash", "-e", "-c", step(workflow, name)["run"]], env=set_here | env, capture_output=True, text=True, check=False, cwd=folder)
            self.code, self.log = done.returncode, done.stdout + done.stderr
            self.called = calls.read_text().split("\n")[:-1]
            self.output, self.summary = output.read_text(), summary.read_text()
            self.left = sorted(path.name for path in Path(folder).iterdir())
            way = Path(folder) / "longshore-ssh"
            self.way = {path.name: (path.read_text().replace(folder, "TEMP"), path.stat().st_mode & 0o777) for path in sorted(way.glob("*"))}
            self.folder = folder


class Every(unittest.TestCase):
    def test_step_takes_what_was_typed_from_variables(self):
        for workflow in WORKFLOWS:
            for one in steps(workflow):
                self.assertNotIn("${{", one.get("run", ""), f"{workflow}: {one.get('name')}")

    def test_workflow_begins_with_few_permissions(self):
        for workflow, content in WORKFLOWS.items():
            self.assertIn(content["permissions"], ({}, {"contents": "read"}), workflow)

    def test_action_is_named_by_its_content(self):
        for workflow in WORKFLOWS:
            for one in steps(workflow):
                if "uses" in one:
                    self.assertRegex(one["uses"], "@[0-9a-f]{40}$", workflow)

    def test_job_on_the_host_checks_nothing_out_and_ends_sometime(self):
        for workflow in ("backup-staging", "maintain-staging", "restore-staging"):
            for job in WORKFLOWS[workflow]["jobs"].values():
                self.assertIn(job["runs-on"], (["self-hosted", "staging"], OVER_SSH if workflow == "restore-staging" else None))
                self.assertIn("timeout-minutes", job)
                self.assertFalse([one for one in job["steps"] if "uses" in one])
            self.assertIs(WORKFLOWS[workflow]["concurrency"]["cancel-in-progress"], False)
            self.assertIn("Private repositories only", (ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text())


class Images(unittest.TestCase):
    def test_every_target_of_the_dockerfile_is_built_and_published(self):
        targets = re.findall(r"^FROM \S+ AS (\S+)\n(?:(?!FROM).*\n)*?ENTRYPOINT", (ROOT / "Dockerfile").read_text(), re.M)
        self.assertGreater(len(targets), 4)
        built = re.search(r"for target in (.*); do", step("images", "Build, try, push")["run"])[1].split()
        self.assertEqual(sorted(built), sorted(targets))
        named = re.search(r"for name in (.*); do", step("images", "One tag for both architectures")["run"])[1].split()
        self.assertEqual(named, ["longshore" if target == "longshore" else f"longshore-{target}" for target in built])

    def test_every_job_has_a_target(self):
        text = (ROOT / "Dockerfile").read_text()
        packages = [re.search(r'^name = "(.*)"', path.read_text(), re.M)[1] for path in sorted((ROOT / "jobs").glob("*/Cargo.toml"))]
        self.assertGreater(len(packages), 4)
        for package in packages:
            self.assertIn(f'ENTRYPOINT ["{package}"]', text)
            self.assertIn(f"--package {package} ", text)

    def test_failed_jobs_that_run_again_find_the_images_of_the_others(self):
        self.assertNotIn("run_attempt", (ROOT / ".github" / "workflows" / "images.yml").read_text())

    def test_only_main_and_version_tags_are_published(self):
        condition = WORKFLOWS["images"]["jobs"]["publish"]["if"]
        self.assertEqual(condition, "${{ github.ref == 'refs/heads/main' || startsWith(github.ref, 'refs/tags/v') }}")


class Ci(unittest.TestCase):
    def test_everything_runs_as_root_which_deployments_take(self):
        self.assertTrue(step("ci", "Everything")["run"].startswith("sudo --preserve-env "))


class Restore(unittest.TestCase):
    def test_plan_is_a_dry_run_and_names_the_backup(self):
        ran = Step("restore-staging", "Plan", {"SOURCE": "postgres", "TARGET": "staging/postgres", "BACKUP": ""}, prints=PLAN)
        self.assertEqual((ran.code, ran.called), (0, ["restore_from_s3.sh", "staging", "postgres", "--dry-run"]))
        self.assertEqual(ran.output, f"backup={ID}\n")
        self.assertNotRegex(ran.summary, "(?m)^(```|<)", "what the plan prints is text in the summary, whatever it is")

    def test_plan_takes_the_beginning_of_an_id(self):
        ran = Step("restore-staging", "Plan", {"SOURCE": "mongo", "TARGET": "staging/mongo", "BACKUP": "01M7"}, prints=PLAN)
        self.assertEqual(ran.called[1:], ["staging", "mongo", "--dry-run", "--backup", "01M7"])

    def test_another_target_than_the_typed_one_asks_nobody(self):
        for typed in ("staging/mongo", "production/postgres", "", "staging/postgres "):
            ran = Step("restore-staging", "Plan", {"SOURCE": "postgres", "TARGET": typed, "BACKUP": ""}, prints=PLAN)
            self.assertEqual((ran.code, ran.called, ran.output), (77, [], ""), typed)

    def test_a_plan_that_fails_or_names_nothing_leaves_nothing_to_restore(self):
        for ends, prints, code in ((66, "", 66), (0, "nothing here\n", 66), (0, f"backup       postgres@{ID}; rm -rf x\n", 66)):
            ran = Step("restore-staging", "Plan", {"SOURCE": "postgres", "TARGET": "staging/postgres", "BACKUP": ""}, ends, prints)
            self.assertEqual((ran.code, ran.output), (code, ""))

    def test_restore_is_of_the_backup_that_was_shown_and_proven(self):
        ran = Step("restore-staging", "Restore", {"SOURCE": "postgres", "TARGET": "staging/postgres", "BACKUP": ID})
        wanted = ["restore_from_s3.sh", "staging", "postgres", "--backup", ID, "--target", "staging/postgres", "--", "--prove", "content"]
        self.assertEqual((ran.code, ran.called), (0, wanted))
        self.assertIn("every row proven", ran.summary)

    def test_a_restore_that_fails_says_so_and_fails_the_run(self):
        for code in (65, 69, 75, 77):
            ran = Step("restore-staging", "Restore", {"SOURCE": "postgres", "TARGET": "staging/postgres", "BACKUP": ID}, code)
            self.assertEqual(ran.code, code)
            self.assertIn(f"was not restored (exit {code})", ran.summary)

    def test_restore_waits_for_the_plan_and_for_the_environment(self):
        job = WORKFLOWS["restore-staging"]["jobs"]["restore"]
        self.assertEqual((job["needs"], job["environment"]), ("plan", "staging-restore"))
        self.assertIn("!inputs.dry-run", job["if"])
        inputs = WORKFLOWS["restore-staging"][True]["workflow_dispatch"]["inputs"]
        self.assertIs(inputs["dry-run"]["default"], True)


class RestoreOverSsh(unittest.TestCase):
    """The same script with the same words, on a host that is known by its key, and nothing of ours left or forwarded there."""

    WAY = {"STAGING_SSH": "deploy@staging.example.org:2222", "KEY": "-----BEGIN\r\ncanary-key\r\nEND-----", "KNOWN_HOSTS": "[staging.example.org]:2222 ssh-ed25519 AAAA"}
    PLANNED = {"SOURCE": "postgres", "TARGET": "staging/postgres", "BACKUP": "", "STAGING_SSH": "deploy@staging.example.org"}

    def way(self, **more):
        return Step("restore-staging", "The way to the host", self.WAY | more)

    def plan(self, ends=0, **more):
        return Step("restore-staging", "Plan", self.PLANNED | more, ends, prints=PLAN)

    def restore(self, ends=0, **more):
        return Step("restore-staging", "Restore", self.PLANNED | {"BACKUP": ID} | more, ends)

    def test_the_host_is_the_one_whose_key_is_pinned(self):
        ran = self.way()
        self.assertEqual((ran.code, ran.called), (0, []), ran.log)
        config, mode = ran.way["config"]
        lines = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in config.splitlines()}
        wanted = {"HostName": "staging.example.org", "User": "deploy", "Port": "2222", "StrictHostKeyChecking": "yes", "UserKnownHostsFile": '"TEMP/longshore-ssh/known_hosts"',
                  "GlobalKnownHostsFile": "/dev/null", "UpdateHostKeys": "no", "BatchMode": "yes", "IdentityAgent": "none", "IdentitiesOnly": "yes",
                  "IdentityFile": '"TEMP/longshore-ssh/key"', "ForwardAgent": "no", "ClearAllForwardings": "yes", "RequestTTY": "no"}  # fmt: skip
        self.assertEqual({name: lines[name] for name in wanted}, wanted)
        self.assertEqual(ran.way["key"], ("-----BEGIN\ncanary-key\nEND-----\n", 0o600))
        self.assertEqual((ran.way["known_hosts"][0], mode), (self.WAY["KNOWN_HOSTS"] + "\n", 0o600))
        self.assertNotIn("canary", ran.log)
        self.assertIn("Port 22\n", self.way(STAGING_SSH="deploy@staging").way["config"][0])

    @unittest.skipUnless(shutil.which("ssh"), "SKIPPED: there is no ssh on this machine, so nobody has read its configuration")
    def test_ssh_understands_its_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "config"
            file.write_text(self.way().way["config"][0])
            done = subprocess.run([shutil.which("ssh"), "-G", "-F", file, "staging"], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            said = set(done.stdout.splitlines())
            wanted = {"hostname staging.example.org", "user deploy", "port 2222", "stricthostkeychecking true", "forwardagent no", "batchmode yes", "identityagent none"}
            self.assertLessEqual(wanted, said)

    def test_without_a_pinned_key_or_a_host_there_is_no_way(self):
        for more in ({"KEY": ""}, {"KNOWN_HOSTS": ""}, {"STAGING_SSH": "staging"}, {"STAGING_SSH": "a@b\nProxyCommand x"}, {"STAGING_SSH": "-oProxyCommand=x@b"},
                     {"STAGING_SSH": "a@-x"}, {"STAGING_SSH": "a@b:x"}, {"STAGING_SSH": "a@b c"}):  # fmt: skip
            ran = self.way(**more)
            self.assertEqual((ran.code, ran.way), (78, {}), more)
            self.assertNotIn("canary", ran.log)

    def test_the_words_are_those_of_the_runner_on_the_host(self):
        for over, here, script in ((self.plan(), self.plan(STAGING_SSH=""), "--dry-run"), (self.restore(), self.restore(STAGING_SSH=""), "--prove")):
            self.assertEqual((over.code, here.code), (0, 0), over.log)
            self.assertEqual(over.called[:5], ["ssh", "-n", "-F", f"{over.folder}/longshore-ssh/config", "staging"])
            self.assertEqual(over.called[6:], here.called)
            self.assertIn(script, over.called)
            self.assertEqual((over.output, over.summary), (here.output, here.summary))

    def test_no_word_is_read_twice(self):
        for more in ({"BACKUP": "$(touch pwned)"}, {"BACKUP": "01M7; touch pwned"}, {"BACKUP": "01M7\ntouch pwned"}, {"BACKUP": "x' 'y"}, {"LONGSHORE_HOME": "/srv/a b"},
                     {"LONGSHORE_HOME": "/srv/$(touch pwned)"}, {"SOURCE": "postgres;x", "TARGET": "staging/postgres;x"}):  # fmt: skip
            for ran in (self.plan(**more), self.restore(**more)):
                self.assertEqual((ran.code, ran.called, ran.output), (64, [], ""), more)
                self.assertNotIn("pwned", ran.left)

    def test_the_exit_code_is_the_scripts(self):
        for code in (65, 66, 69, 75, 77):
            self.assertEqual((self.plan(code).code, self.restore(code).code), (code, code))
            self.assertIn(f"was not restored (exit {code})", self.restore(code).summary)

    def test_a_host_that_is_not_reached_restores_nothing_that_anybody_says(self):
        ran = self.plan(SSH_ENDS="255")
        self.assertEqual((ran.code, ran.output, ran.summary), (69, "", ""))
        self.assertIn("nothing was changed", ran.log)
        ran = self.restore(SSH_ENDS="255")
        self.assertEqual(ran.code, 69)
        self.assertIn("It is not known whether staging/postgres was restored", ran.summary)
        self.assertNotIn("was not restored", ran.summary)

    def test_secrets_are_in_the_one_step_that_writes_them_down_and_the_last_one_removes_them(self):
        for name, job in WORKFLOWS["restore-staging"]["jobs"].items():
            first, *others, last = job["steps"]
            self.assertEqual((first["name"], last["name"]), ("The way to the host", "Leave no key"))
            self.assertEqual(sorted(first["env"]), ["KEY", "KNOWN_HOSTS"])
            for one in [*others, last]:
                self.assertNotIn("secrets.", str(one), name)
            self.assertEqual((first["if"], last["if"]), ("${{ vars.STAGING_SSH != '' }}", "${{ always() && vars.STAGING_SSH != '' }}"))
            self.assertTrue(job["environment"].startswith("staging-"))
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "longshore-ssh").mkdir()
            subprocess.run(["bash", "-e", "-c", step("restore-staging", "Leave no key")["run"]], env={"RUNNER_TEMP": folder, "PATH": os.environ["PATH"]}, check=True)
            self.assertEqual(list(Path(folder).iterdir()), [])


class Scheduled(unittest.TestCase):
    def test_a_backup_that_finds_another_one_at_work_is_no_alarm(self):
        self.assertEqual(Step("backup-staging", "Back up", {"SOURCE": "all", "TAG": ""}, 75).code, 0)
        for code in (65, 69, 77):
            self.assertEqual(Step("backup-staging", "Back up", {"SOURCE": "all", "TAG": ""}, code).code, code)

    def test_a_backups_tag_is_one_word_whatever_was_typed(self):
        tag = "$(touch pwned); x y"
        ran = Step("backup-staging", "Back up", {"SOURCE": "postgres", "TAG": tag})
        self.assertEqual(ran.called, ["backup.sh", "staging", "postgres", "--", "--tag", tag])
        self.assertNotIn("pwned", ran.left)

    def test_every_schedule_means_something(self):
        text = (ROOT / ".github" / "workflows" / "maintain-staging.yml").read_text()
        schedules = re.findall(r'- cron: "([^"]+)" # (\w+)', text)
        self.assertEqual(len(schedules), len(WORKFLOWS["maintain-staging"][True]["schedule"]))
        for cron, what in schedules:
            ran = Step("maintain-staging", "Maintain", {"WHAT": "", "SCHEDULE": cron})
            self.assertEqual((ran.code, ran.called), (0, ["maintain.sh", "staging", what]))
            self.assertEqual(Step("maintain-staging", "Maintain", {"WHAT": what, "SCHEDULE": ""}).called[-1], what)
        self.assertEqual(Step("maintain-staging", "Maintain", {"WHAT": "", "SCHEDULE": "1 1 1 1 1"}).code, 64)

    def test_a_runner_without_a_deployment_says_so(self):
        ran = Step("backup-staging", "Back up", {"SOURCE": "all", "TAG": "", "LONGSHORE_HOME": ""})
        self.assertNotEqual(ran.code, 0)
        self.assertIn("set this variable to the folder of the deployment", ran.log)


if __name__ == "__main__":
    unittest.main()
