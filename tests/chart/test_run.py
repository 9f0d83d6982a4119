"""What the chart renders can run: each container is started as Kubernetes would start it, with the real program.

The pods' command lines, variables, mounted files, users, groups and read-only roots are Docker's here. First all of them, without a network: a job that cannot
read its options or its files says so (64, 78) and must not; one that finds nobody to talk to has understood all it was told. Then a few with servers.

LONGSHORE_BINARY names the program, or is `none` when LONGSHORE_JOB_IMAGE names an image that has it. Without Docker all is skipped, loudly.
"""

import re
import shutil
import unittest
from concurrent.futures import ThreadPoolExecutor

from containers import PASSWORD, Kubelet, Servers, docker_answers, longshore
from rendered import CHART, FILES, ROOT, container, pods, render, schema

# What a job may end with that nobody answers: it got as far as asking. A repository on a volume can be made, and looked at, without anybody.
UNANSWERED = {0, 66, 69, 77}


@unittest.skipUnless(docker_answers(), "SKIPPED: docker does not answer, so nothing that the chart renders was run")
class WithoutNetwork(unittest.TestCase):
    def test_every_container_understands_what_it_is_told(self):
        with Kubelet(network="none") as kubelet, ThreadPoolExecutor(8) as pool:
            started = {}
            for file in FILES:
                for name, pod in pods(render(None, file)).items():
                    started[f"{file.name}: {name}"] = pool.submit(kubelet.run, pod)
            self.assertGreater(len(started), 40)
            for name, run in started.items():
                ended = run.result()
                with self.subTest(pod=name):
                    self.assertIn(ended.code, UNANSWERED, ended)
                    self.assertNotRegex(ended.stderr, "LONGSHORE_[A-Z_]+ is not", "a variable that no option reads")
                    self.assertIn(str(ended.code), ended.message, "the termination log says how it ended")
                    self.assertNotIn(PASSWORD, ended.stderr + ended.message)

    def test_a_pod_with_a_variable_that_cannot_be_fails_so_that_this_test_means_something(self):
        name, pod = next(iter(pods(render(None, CHART / "ci" / "full-values.yaml")).items()))
        broken = {**pod, "spec": {**pod["spec"], "containers": [{**container(pod), "env": [*container(pod)["env"], {"name": "LONGSHORE_OUTPUT", "value": "xml"}]}]}}
        with Kubelet(network="none") as kubelet:
            self.assertEqual(kubelet.run(broken).code, 78, name)


@unittest.skipUnless(docker_answers(), "SKIPPED: docker does not answer")
class Options(unittest.TestCase):
    def test_the_schema_knows_the_options_that_the_commands_have_and_no_others(self):
        ours = {"lease", "lease-password", "repo", "to", "source", "target", "from", "before-swap", "source-password", "target-password"}
        secret = re.compile("s3-|identity|writer-key|repository-key|repair-")
        signals = {"result-file", "termination-log", "metrics-file", "push-gateway", "ping", "webhook", "webhook-template", "webhook-on", "repo-label"}
        # What is for one occasion, and not for a schedule.
        once = {"prune": {"undo", "remove", "accept"}, "check": {"server", "server-password"}, "backup": {"name"},
                "load": {"job", "table", "drop", "image", "reload", "dry-run", "history", "most", "output-file"},
                "restore": {"job"}}  # fmt: skip
        for command in ("backup", "verify", "prune", "check", "copy", "drill", "restore", "load"):
            has = set(re.findall(r"^ +--([a-z0-9-]+)", longshore(command, "--help"), re.M)) - {"help"}
            wanted = {one for one in has - ours - signals - once.get(command, set()) if not secret.search(one)}
            self.assertEqual(set(schema()["definitions"][f"{command}Options"]["properties"]), wanted, command)


@unittest.skipUnless(docker_answers(), "SKIPPED: docker does not answer")
class WithServers(unittest.TestCase):
    """One release from its first day on: what the notes say, in their order."""

    def test_a_release_backs_up_proves_and_restores(self):
        values = {
            "repositories": {
                "main": {
                    "url": "s3://backups/app?endpoint=http://store:9000",
                    "credentials": {role: {"secret": "store"} for role in ("backup", "restore", "maintenance")},
                    "verify": {"schedules": {"weekly": {"cron": "1 1 * * 0"}}},
                    "prune": {"options": {"keep-last": 3}, "schedules": {"daily": {"cron": "1 1 * * *"}}},
                    "check": {"options": {"max-age": "1h", "verified": "1h", "drilled": "1h", "name": ["clinic"]}, "schedules": {"hourly": {"cron": "1 * * * *"}}},
                },
                "share": {"url": "file:///srv/backups", "volume": {"persistentVolumeClaim": {"claimName": "share"}}, "mountPath": "/srv/backups"},
            },
            "sources": {"clinic": {"repository": "main", "url": "postgres://postgres@db/clinic", "password": {"secret": "db", "key": "password"},
                                   "options": {"globals": True}, "schedules": {"hourly": {"cron": "7 * * * *"}}}},
            "drills": {"clinic": {"repository": "main", "from": "clinic", "url": "postgres://postgres@staging/postgres",
                                  "password": {"secret": "db", "key": "password"}, "schedules": {"weekly": {"cron": "7 1 * * 6"}}}},
            "copies": {"share": {"repository": "main", "to": "share", "schedules": {"daily": {"cron": "7 3 * * *"}}}},
            "restores": {"clinic": {"repository": "main", "from": "clinic", "url": "postgres://postgres@staging/clinic", "mark": "staging",
                                    "password": {"secret": "db", "key": "password"}, "options": {"prove": "content"},
                                    "beforeSwap": {"configMap": "disarm", "keys": ["disarm.sql"]}}},
        }  # fmt: skip
        secrets = {("db", "password"): PASSWORD, ("store", "access-key"): "longshore", ("store", "secret-key"): PASSWORD}
        jobs = pods(render(values))
        with Servers() as servers, Kubelet(servers.network, secrets, {"disarm.sql": "UPDATE patients SET name = 'nobody';"}) as kubelet:
            servers.sql("db", "postgres", "CREATE DATABASE clinic")
            servers.sql("db", "clinic", "CREATE TABLE patients (id int PRIMARY KEY, name text); INSERT INTO patients SELECT i, 'p' || i FROM generate_series(1, 500) i")
            servers.sql("staging", "postgres", "CREATE DATABASE clinic")
            servers.sql("staging", "clinic", "CREATE TABLE old (id int)")

            def run(name, wanted=0):
                ended = kubelet.run(jobs[f"demo-longshore-{name}"])
                self.assertEqual(ended.code, wanted, f"{name}: {ended}")

            def staging(query):
                return servers.sql("staging", "clinic", query)

            run("backup-clinic-hourly", 66)  # no repository: before init there is nothing, and nothing is made
            run("init-main")
            run("init-share")
            run("doctor-backup-clinic")
            run("doctor-drill-clinic")
            run("check-main-hourly", 76)
            run("backup-clinic-hourly")
            run("verify-main-weekly")
            run("drill-clinic-weekly")
            run("check-main-hourly")
            run("copy-share-daily")
            run("prune-main-daily")
            run("restore-clinic", 77)  # nobody has marked it
            self.assertEqual(staging("SELECT to_regclass('old') IS NOT NULL"), "t")
            run("mark-clinic")
            run("doctor-restore-clinic")
            run("doctor-prune-main")
            run("restore-clinic")
            self.assertEqual(staging("SELECT count(*), count(*) FILTER (WHERE name = 'nobody') FROM patients"), "500|500")
            run("rollback-clinic")
            self.assertEqual(staging("SELECT to_regclass('old') IS NOT NULL, to_regclass('patients') IS NULL"), "t|t")
            self.assertEqual(servers.sql("db", "clinic", "SELECT count(*) FROM patients WHERE name LIKE 'p%'"), "500")
            self.assertEqual(servers.sql("staging", "postgres", "SELECT count(*) FROM pg_database WHERE datname ~ '^longshore_drill'"), "0")

    def test_a_loader_loads_a_drop_once_and_a_broken_one_not_at_all(self):
        values = {"loaders": {"samples": {
            "url": "postgres://postgres@staging/lab", "password": {"secret": "db", "key": "password"}, "table": "lab.samples", "drop": "incoming",
            "volume": {"persistentVolumeClaim": {"claimName": "drops", "readOnly": True}},
            "lease": {"url": "postgresql://postgres@db/postgres", "password": {"secret": "db", "key": "password"}},
        }}}  # fmt: skip
        (pod,) = pods(render(values)).values()
        with Servers() as servers, Kubelet(servers.network, {("db", "password"): PASSWORD}) as kubelet:
            servers.sql("staging", "postgres", "CREATE DATABASE lab")
            servers.sql("staging", "lab", (ROOT / "jobs" / "loader" / "sample.sql").read_text())

            def run(wanted):
                ended = kubelet.run(pod)
                self.assertEqual(ended.code, wanted, ended)
                self.assertNotIn(PASSWORD, ended.stderr + ended.message)
                return servers.sql("staging", "lab", "SELECT count(*) FROM lab.samples")

            drop = kubelet.claim("drops") / "incoming"
            self.assertEqual(run(66), "0")
            shutil.copytree(ROOT / "jobs" / "loader" / "sample", drop)
            loaded = run(0)
            self.assertGreater(int(loaded), 0)
            self.assertEqual(run(0), loaded)
            shutil.rmtree(drop)
            drop.mkdir()
            (drop / "samples.csv").write_text("id,donor,taken,kind,volume_ml,note\nX-1,D-1,2026-11-25T08:00:00Z,serum,1.00,\nX-2,D-1,yesterday,serum,1.00,\n")
            (drop / "_SUCCESS").touch()
            self.assertEqual(run(65), loaded)


if __name__ == "__main__":
    unittest.main()
