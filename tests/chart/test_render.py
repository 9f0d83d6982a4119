"""What the chart renders is what the jobs can run, with no more rights and no more secrets than each needs, and what it cannot mean is refused.

Run by scripts/lint-deployments.
"""

import re
import unittest

import yaml
from rendered import CHART, FILES, ROOT, Refused, container, cronjobs, environment, minimal, notes, of_kind, pods, render, secrets

FULL = CHART / "ci" / "full-values.yaml"


class EveryPod(unittest.TestCase):
    """Whatever the values."""

    def each(self):
        for file in FILES:
            for name, pod in pods(render(None, file)).items():
                with self.subTest(file=file.name, pod=name):
                    yield name, pod

    def test_has_no_rights_that_a_job_does_not_need(self):
        for _, pod in self.each():
            spec, only = pod["spec"], container(pod)
            self.assertTrue(spec["securityContext"]["runAsNonRoot"])
            self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertNotIn("runAsUser", spec["securityContext"])
            wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            self.assertEqual(only["securityContext"], wanted)
            self.assertIs(spec["automountServiceAccountToken"], False)
            self.assertIs(spec["enableServiceLinks"], False)

    def test_ends_and_is_not_started_again_in_place(self):
        for _, pod in self.each():
            self.assertEqual(pod["spec"]["restartPolicy"], "Never")
            self.assertGreaterEqual(pod["spec"]["terminationGracePeriodSeconds"], 30)

    def test_mounts_what_it_has_and_has_what_it_mounts(self):
        for _, pod in self.each():
            volumes = [volume["name"] for volume in pod["spec"]["volumes"]]
            mounts = [mount["name"] for mount in container(pod)["volumeMounts"]]
            self.assertEqual(sorted(volumes), sorted(mounts))
            self.assertEqual(len(set(volumes)), len(volumes))

    def test_has_memory_that_is_bounded(self):
        for _, pod in self.each():
            self.assertIn("memory", container(pod)["resources"]["limits"])

    def test_names_its_repository_for_metrics(self):
        for name, pod in self.each():
            given = environment(pod)
            # `helm test` tells nobody how it went.
            wanted = "doctor" not in name and bool({"LONGSHORE_REPO", "LONGSHORE_REPO_FILE"} & set(given))
            self.assertEqual("LONGSHORE_REPO_LABEL" in given, wanted, name)
        prune = {"options": {"keep-last": 3}, "schedules": {"daily": {"cron": "7 5 * * *"}}}
        values = {"repositories": {name: {"url": f"s3://{name}/x", "prune": prune} for name in ("here", "there")}}
        values["copies"] = {"away": {"repository": "here", "to": "there", "schedules": {"daily": {"cron": "7 6 * * *"}}}}
        labelled = [(environment(pod)["LONGSHORE_REPO_LABEL"], name) for name, pod in pods(render(values)).items() if "doctor" not in name]
        self.assertEqual({label for label, name in labelled if "prune" in name}, {"here", "there"})
        self.assertEqual([label for label, name in labelled if "copy" in name], ["there"])

    def test_gets_secrets_as_files_and_never_as_variables(self):
        for _, pod in self.each():
            files = secrets(pod)
            named = {value for name, value in environment(pod).items() if name.endswith("_FILE")}
            self.assertEqual(named, set(files), "each file is named by a variable, and each variable's file is there")
            for one in container(pod)["env"]:
                self.assertNotIn("valueFrom", one)
                if re.search("PASSWORD|SECRET|IDENTITY|WRITER_KEY|ACCESS_KEY", one["name"]):
                    self.assertTrue(one["name"].endswith("_FILE"), one["name"])

    def test_is_called_what_kubernetes_takes(self):
        for name, pod in self.each():
            self.assertRegex(name, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
            self.assertLessEqual(len(name), 52)
            for value in pod["metadata"]["labels"].values():
                self.assertLessEqual(len(value), 63)


class ExitCodes(unittest.TestCase):
    def test_what_a_retry_does_not_cure_fails_the_job_at_once(self):
        table = (ROOT / "docs" / "exit-codes.md").read_text()
        rows = re.findall(r"^\| (\d+) \| [^|]+ \| [^|]+ \| *(\w*) *\|$", table, re.M)
        self.assertGreater(len(rows), 10)
        hopeless = [int(code) for code, retry in rows if retry == "no"]
        for name, job in cronjobs(render(None, FULL)).items():
            rules = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
            (failing,) = [rule for rule in rules if rule["action"] == "FailJob"]
            self.assertEqual(failing["onExitCodes"]["values"], sorted(hopeless), name)
            self.assertEqual(failing["onExitCodes"]["containerName"], "longshore")

    def test_a_pod_that_was_evicted_does_not_count_and_comes_first(self):
        for job in cronjobs(render(None, FULL)).values():
            rule = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][0]
            self.assertEqual(rule, {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]})

    def test_can_be_left_to_kubernetes(self):
        (job,) = [one for one in cronjobs(render(minimal(kinds={"backup": {"podFailurePolicy": False}}))).values() if "backup" in one["metadata"]["name"]]
        self.assertNotIn("podFailurePolicy", job["spec"]["jobTemplate"]["spec"])


class WhoHoldsWhat(unittest.TestCase):
    """docs/guides/permissions.md and encryption.md: what is absent matters."""

    def setUp(self):
        self.pods = pods(render(None, FULL))

    def of(self, kind):
        found = {name: pod for name, pod in self.pods.items() if pod["metadata"]["labels"]["app.kubernetes.io/component"] == kind}
        self.assertTrue(found, kind)
        return found

    def names(self, pod):
        return {name for name, _ in secrets(pod).values()}

    def test_a_backup_has_neither_a_reading_nor_a_deleting_credential(self):
        for name, pod in self.of("backup").items():
            self.assertFalse(self.names(pod) & {"s3-restore", "s3-maintenance", "offsite-restore", "offsite-identity"}, name)

    def test_a_backup_knows_its_own_database_and_no_other(self):
        databases = {"clinic-db", "billing-db", "wards-db", "events-db", "big-db", "staging-db", "staging-wards", "drills-db"}
        for name, pod in self.of("backup").items():
            self.assertEqual(len(self.names(pod) & databases), 1, name)

    def test_maintenance_has_no_database_no_identity_and_no_writers_key(self):
        for kind in ("verify", "prune", "init"):
            for name, pod in self.of(kind).items():
                self.assertLessEqual(self.names(pod), {"s3-maintenance", "slack"}, name)

    def test_a_check_reads_with_the_least_that_there_is(self):
        for pod in self.of("check").values():
            self.assertEqual(self.names(pod), {"s3-backup", "slack", "pings"})

    def test_a_drill_cannot_write_backups(self):
        for pod in self.of("drill").values():
            self.assertEqual(self.names(pod), {"s3-restore", "drills-db", "slack"})

    def test_a_restore_has_the_lease_that_it_is_given_and_its_others_have_none(self):
        pod = self.pods["demo-longshore-restore-staging"]
        self.assertIn("valkey", self.names(pod))
        self.assertEqual({name: environment(pod)[f"LONGSHORE_{name}"] for name in ("JOB", "LEASE")}, {"JOB": "lab.donors", "LEASE": "redis://valkey:6379"})
        self.assertIn("LONGSHORE_LEASE_PASSWORD_FILE", environment(pod))
        for name in ("restore-wards", "rollback-staging", "mark-staging"):
            self.assertFalse({"LONGSHORE_JOB", "LONGSHORE_LEASE"} & set(environment(self.pods[f"demo-longshore-{name}"])), name)

    def test_the_way_back_and_the_mark_need_no_repository(self):
        for kind in ("rollback", "mark"):
            for pod in self.of(kind).values():
                self.assertEqual(self.names(pod), {"staging-db", "slack"})
                self.assertNotIn("LONGSHORE_REPO", environment(pod))

    def test_a_load_knows_its_database_and_its_lease_and_no_store(self):
        found = {name: self.names(pod) for name, pod in self.of("load").items()}
        self.assertEqual(found, {"demo-longshore-load-samples": {"lab-db", "valkey", "slack", "pings"}, "demo-longshore-load-donors": {"lab-db", "valkey", "slack"}})
        for pod in self.of("load").values():
            self.assertNotIn("LONGSHORE_REPO", environment(pod))

    def test_only_a_load_sees_drops_and_can_only_read_them(self):
        for name, pod in self.pods.items():
            mounts = [mount for mount in container(pod)["volumeMounts"] if mount["name"] == "drops"]
            wanted = [{"name": "drops", "mountPath": "/drops", "readOnly": True}] if "-load-" in name else []
            self.assertEqual(mounts, wanted, name)

    def test_without_loaders_there_is_no_account_for_them(self):
        self.assertNotIn("demo-longshore-load", {one["metadata"]["name"] for one in of_kind(render(minimal()), "ServiceAccount")})

    def test_a_copy_reads_here_and_writes_there(self):
        (pod,) = self.of("copy").values()
        found = {variable: source for path, source in secrets(pod).items() for variable, value in environment(pod).items() if value == path}
        self.assertEqual(found["LONGSHORE_S3_ACCESS_KEY_FILE"], ("s3-restore", "AWS_ACCESS_KEY_ID"))
        self.assertEqual(found["LONGSHORE_S3_SECRET_KEY_FILE"], ("s3-restore", "AWS_SECRET_ACCESS_KEY"))
        self.assertEqual(found["LONGSHORE_TO_S3_SECRET_KEY_FILE"], ("offsite-backup", "secret-key"))
        self.assertEqual(found["LONGSHORE_TO_WRITER_KEY_FILE"], ("offsite-writer", "writer.key"))
        self.assertNotIn("LONGSHORE_TO_IDENTITY_FILE", found)
        self.assertEqual(environment(pod)["LONGSHORE_TO_REPOSITORY_KEY"], "lsr1-example")

    def test_each_credential_has_its_service_account(self):
        wanted = {"backup": "backup", "check": "backup", "drill": "restore", "restore": "restore", "rollback": "restore", "mark": "restore",
                  "verify": "maintenance", "prune": "maintenance", "init": "maintenance", "copy": "copy", "load": "load"}  # fmt: skip
        accounts = {one["metadata"]["name"] for one in of_kind(render(None, FULL), "ServiceAccount")}
        for kind, account in wanted.items():
            for pod in self.of(kind).values():
                self.assertEqual(pod["spec"]["serviceAccountName"], f"demo-longshore-{account}")
                self.assertIn(pod["spec"]["serviceAccountName"], accounts)

    def test_a_role_of_the_cloud_is_its_accounts_own(self):
        objects = render(None, CHART / "ci" / "irsa-values.yaml")
        annotations = {one["metadata"]["name"]: one["metadata"].get("annotations", {}) for one in of_kind(objects, "ServiceAccount")}
        role = "eks.amazonaws.com/role-arn"
        self.assertTrue(annotations["demo-longshore-backup"][role].endswith("/longshore-backup"))
        self.assertTrue(annotations["demo-longshore-maintenance"][role].endswith("/longshore-maintenance"))
        self.assertEqual(annotations["demo-longshore-restore"]["eks.amazonaws.com/sts-regional-endpoints"], "true")
        self.assertNotIn(role, annotations["copies"])


class Doctors(unittest.TestCase):
    """What `helm test` starts: the credentials of a job, and nothing that tells others or belongs to the job alone."""

    def test_a_doctor_has_no_signals_and_no_options_of_its_job(self):
        own = re.compile("^LONGSHORE_(PING|WEBHOOK|PUSH_GATEWAY|BEFORE_SWAP|NAME|FROM|TAG|GLOBALS|PROVE|KEEP|MAX_RATE)")
        for file in FILES:
            objects = render(None, file)
            for pod in of_kind(objects, "Pod"):
                with self.subTest(file=file.name, pod=pod["metadata"]["name"]):
                    self.assertEqual([name for name in environment(pod) if own.match(name)], [])
                    self.assertFalse({path for path in secrets(pod) if re.search("ping|webhook|gateway", path)})
                    self.assertNotIn("before-swap", [volume["name"] for volume in pod["spec"]["volumes"]])

    def test_a_ping_of_a_schedule_is_not_the_doctors(self):
        doctors = {pod["metadata"]["name"]: pod for pod in of_kind(render(None, FULL), "Pod")}
        self.assertIn("LONGSHORE_PING", environment(pods(render(None, FULL))["demo-longshore-backup-billing-hourly"]))
        self.assertNotIn("LONGSHORE_PING", environment(doctors["demo-longshore-doctor-backup-billing"]))

    def test_a_doctor_has_what_its_job_reaches_others_with(self):
        doctor = {pod["metadata"]["name"]: pod for pod in of_kind(render(None, FULL), "Pod")}["demo-longshore-doctor-backup-clinic"]
        job = pods(render(None, FULL))["demo-longshore-backup-clinic-hourly"]
        for name in ("LONGSHORE_REPO", "LONGSHORE_SOURCE", "LONGSHORE_SOURCE_PASSWORD_FILE", "LONGSHORE_S3_ACCESS_KEY_FILE", "LONGSHORE_S3_SECRET_KEY_FILE", "LONGSHORE_WORKERS"):
            self.assertEqual(environment(doctor)[name], environment(job)[name])
        self.assertEqual(environment(doctor)["LONGSHORE_FOR"], "backup")


class Options(unittest.TestCase):
    def env(self, name, *files, values=None):
        return environment(pods(render(values, *files))[f"demo-longshore-{name}"])

    def test_become_variables(self):
        env = self.env("backup-clinic-hourly", FULL)
        self.assertEqual(env["LONGSHORE_MAX_RATE"], "20MiB")
        self.assertEqual(env["LONGSHORE_WORKERS"], "2")
        self.assertEqual(env["LONGSHORE_GLOBALS"], "true")
        self.assertEqual(env["LONGSHORE_NAME"], "clinic")

    def test_of_a_schedule_win_over_its_sources(self):
        self.assertEqual(self.env("backup-clinic-weekly", FULL)["LONGSHORE_GLOBALS"], "false")

    def test_of_the_production_example_give_every_backup_the_tag_that_imports_know_it_by(self):
        backups = {name: pod for name, pod in pods(render(None, CHART / "examples" / "production-values.yaml")).items() if "-longshore-backup-" in name}
        self.assertTrue(backups)
        for name, pod in backups.items():
            self.assertIn("production", environment(pod)["LONGSHORE_TAG"].splitlines(), name)

    def test_in_lists_stand_on_lines_of_their_own(self):
        self.assertEqual(self.env("prune-main-daily", FULL)["LONGSHORE_KEEP_TAG"], "release\naudit")

    def test_keep_their_dollars(self):
        self.assertIn("price_in_$(USD)", self.env("backup-clinic-hourly", FULL)["LONGSHORE_EXCLUDE_TABLE_DATA"])
        raw = {one["name"]: one["value"] for one in container(pods(render(None, FULL))["demo-longshore-backup-clinic-hourly"])["env"]}
        self.assertIn("price_in_$$(USD)", raw["LONGSHORE_EXCLUDE_TABLE_DATA"])

    def test_that_are_large_numbers_stay_numbers(self):
        values = minimal()
        values["sources"]["app"]["options"] = {"max-rate": 20000000}
        self.assertEqual(self.env("backup-app-hourly", values=values)["LONGSHORE_MAX_RATE"], "20000000")

    def test_that_are_null_are_left_out(self):
        self.assertNotIn("LONGSHORE_ONLY_SCHEMA", self.env("restore-staging", FULL))

    def test_files_before_a_swap_are_mounted_in_their_order(self):
        pod = pods(render(None, FULL))["demo-longshore-restore-staging"]
        folder = "/etc/longshore/before-swap"
        self.assertEqual(environment(pod)["LONGSHORE_BEFORE_SWAP"], f"{folder}/disarm.sql\n{folder}/more.sql")
        (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "before-swap"]
        self.assertEqual([item["path"] for item in volume["configMap"]["items"]], ["disarm.sql", "more.sql"])


class Schedules(unittest.TestCase):
    def test_defaults_keep_runs_apart_and_late_ones_alive(self):
        spec = cronjobs(render(None, FULL))["demo-longshore-backup-clinic-hourly"]["spec"]
        self.assertEqual((spec["concurrencyPolicy"], spec["suspend"], spec["startingDeadlineSeconds"]), ("Forbid", False, 3600))
        self.assertNotIn("timeZone", spec)
        job = spec["jobTemplate"]["spec"]
        self.assertEqual((job["backoffLimit"], job["activeDeadlineSeconds"], job["ttlSecondsAfterFinished"]), (2, 43200, 604800))

    def test_the_nearest_setting_counts(self):
        jobs = cronjobs(render(None, FULL))
        weekly = jobs["demo-longshore-backup-clinic-weekly"]["spec"]
        self.assertEqual(weekly["timeZone"], "Europe/Zurich")
        self.assertEqual(weekly["jobTemplate"]["spec"]["activeDeadlineSeconds"], 86400)
        limits = weekly["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["resources"]
        self.assertEqual(limits, {"limits": {"memory": "2Gi"}, "requests": {"cpu": "100m", "memory": "256Mi"}})
        self.assertEqual(jobs["demo-longshore-check-main-hourly"]["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"], 900)

    def test_restores_wait_for_somebody(self):
        jobs = cronjobs(render(None, FULL))
        for name in ("restore-staging", "rollback-staging", "mark-staging", "init-main"):
            self.assertIs(jobs[f"demo-longshore-{name}"]["spec"]["suspend"], True, name)
        self.assertEqual(jobs["demo-longshore-restore-staging"]["spec"]["jobTemplate"]["spec"]["backoffLimit"], 0)

    def test_a_mark_says_which_environment(self):
        pod = pods(render(None, FULL))["demo-longshore-mark-staging"]
        self.assertEqual(container(pod)["args"], ["mark", "--as", "staging"])

    def test_a_restore_may_have_a_time_of_its_own(self):
        spec = cronjobs(render(None, FULL))["demo-longshore-restore-wards"]["spec"]
        self.assertEqual((spec["suspend"], spec["schedule"]), (False, "17 3 * * 1"))
        self.assertNotIn("demo-longshore-rollback-wards", cronjobs(render(None, FULL)))

    def test_a_load_waits_for_somebody_or_has_a_time_of_its_own(self):
        jobs = cronjobs(render(None, FULL))
        byhand, timed = (jobs[f"demo-longshore-load-{name}"]["spec"] for name in ("donors", "samples"))
        self.assertEqual((byhand["suspend"], timed["suspend"], timed["schedule"]), (True, False, "*/20 * * * *"))
        self.assertEqual({byhand["concurrencyPolicy"], timed["concurrencyPolicy"]}, {"Forbid"})
        self.assertEqual((byhand["jobTemplate"]["spec"]["backoffLimit"], timed["jobTemplate"]["spec"]["backoffLimit"]), (0, 2))

    def test_a_load_is_told_what_goes_where(self):
        jobs = pods(render(None, FULL))
        env = environment(jobs["demo-longshore-load-samples"])
        image = container(jobs["demo-longshore-load-samples"])["image"]
        wanted = {"JOB": "samples", "TABLE": "lab.samples", "DROP": "/drops/incoming/samples", "TARGET": "postgres://loader@lab-db/lab", "LEASE": "redis://valkey:6379",
                  "MODE": "upsert", "IMAGE": image}  # fmt: skip
        self.assertEqual({name: env[f"LONGSHORE_{name}"] for name in wanted}, wanted)
        self.assertEqual(container(jobs["demo-longshore-load-samples"])["args"], ["load"])
        donors = jobs["demo-longshore-load-donors"]
        self.assertEqual(environment(donors)["LONGSHORE_JOB"], "lab.donors")
        self.assertEqual(secrets(donors)[environment(donors)["LONGSHORE_LEASE_FILE"]], ("valkey", "url"))

    def test_a_drop_in_a_bucket_needs_keys_and_no_volume(self):
        url = "s3://lab/incoming?endpoint=http://store:9000"
        loader = {"url": "postgres://u@db/app", "table": "t", "drop": url, "credentials": {"secret": "s3-drops"}, "lease": {"url": "redis://valkey"}}
        pod = pods(render({"loaders": {"x": loader}}))["demo-longshore-load-x"]
        self.assertEqual(environment(pod)["LONGSHORE_DROP"], url)
        self.assertNotIn("drops", {mount["name"] for mount in container(pod)["volumeMounts"]})
        keys = {name: secrets(pod)[environment(pod)[f"LONGSHORE_S3_{name}_KEY_FILE"]] for name in ("ACCESS", "SECRET")}
        self.assertEqual(keys, {"ACCESS": ("s3-drops", "access-key"), "SECRET": ("s3-drops", "secret-key")})

    def test_suspending_all_keeps_what_is_started_by_hand(self):
        jobs = cronjobs(render({"jobDefaults": {"suspend": True}}, FULL))
        self.assertEqual({one["spec"]["suspend"] for one in jobs.values()}, {True})

    def test_an_encrypted_repository_is_made_by_a_person(self):
        self.assertNotIn("demo-longshore-init-offsite", cronjobs(render(None, FULL)))

    def test_long_names_are_cut_and_stay_apart(self):
        values = minimal()
        schedules = {f"a-name-that-is-as-long-as-it-may-be-{end}": {"cron": "7 * * * *"} for end in ("one", "two")}
        values["sources"]["app"]["schedules"] = schedules
        names = [name for name in cronjobs(render(values, release="a-release-with-a-long-name")) if "-backup-" in name]
        self.assertEqual(len(names), 2)
        self.assertEqual({len(name) for name in names}, {52})


class Platforms(unittest.TestCase):
    def contexts(self, *more, **values):
        return [pod["spec"]["securityContext"] for pod in pods(render(minimal(**values), more=more)).values()]

    def test_kubernetes_lets_the_pods_group_read_secrets(self):
        for context in self.contexts():
            self.assertEqual(context["fsGroup"], 65532)

    def test_openshift_chooses_users_and_groups(self):
        for contexts in (self.contexts(platform="openshift"), self.contexts("--api-versions", "security.openshift.io/v1")):
            for context in contexts:
                self.assertEqual(sorted(context), ["runAsNonRoot", "seccompProfile"])

    def test_a_user_that_is_asked_for_is_taken(self):
        for context in self.contexts(podSecurityContext={"runAsUser": 10001}):
            self.assertEqual(context["runAsUser"], 10001)

    def test_no_proxy_keeps_a_job_alive(self):
        for pod in pods(render(minimal())).values():
            self.assertEqual(pod["metadata"]["labels"]["sidecar.istio.io/inject"], "false")
        for pod in pods(render(minimal(istio={"sidecar": "native"}))).values():
            self.assertEqual(pod["metadata"]["annotations"]["sidecar.istio.io/nativeSidecar"], "true")
            self.assertNotIn("sidecar.istio.io/inject", pod["metadata"]["labels"])
        for pod in pods(render(minimal(istio={"sidecar": "unmanaged"}))).values():
            self.assertFalse([key for key in {**pod["metadata"]["labels"], **(pod["metadata"].get("annotations") or {})} if "istio" in key])

    def test_the_network_policy_is_for_every_pod_of_the_release(self):
        objects = render(None, FULL)
        (policy,) = of_kind(objects, "NetworkPolicy")
        chosen = policy["spec"]["podSelector"]["matchLabels"].items()
        for name, pod in pods(objects).items():
            self.assertLessEqual(chosen, pod["metadata"]["labels"].items(), name)
        self.assertEqual((policy["spec"]["policyTypes"], policy["spec"]["ingress"]), (["Ingress", "Egress"], []))
        ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        self.assertLessEqual({53, 443, 5432, 3306, 27017, 6379, 6432}, ports)


class Alerts(unittest.TestCase):
    def rules(self, values=None):
        (rule,) = of_kind(render(values, FULL), "PrometheusRule")
        return rule["spec"]["groups"][0]["rules"]

    def test_there_is_a_page_for_each_and_an_alert_for_each_page(self):
        alerts = {path.stem for path in (CHART / "alerts").glob("*.yaml")}
        self.assertEqual(alerts, {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")})
        self.assertEqual({rule["alert"] for rule in self.rules({"prometheusRule": {"disabled": []}})}, alerts)
        for rule in self.rules():
            self.assertEqual(rule["annotations"]["runbook_url"], f"https://docs.example.org/longshore/runbooks/{rule['alert']}.md")

    def test_they_are_the_documented_ones(self):
        """docs/guides/monitoring.md has them without the sources' names."""
        text = (ROOT / "docs" / "guides" / "monitoring.md").read_text()
        documented = dict(re.findall(r"- alert: (\w+)\n +expr: (.*)\n", text))
        for rule in self.rules({"prometheusRule": {"disabled": []}, "sources": {"billing": {"maxAgeHours": 26}}}):
            self.assertEqual(bare(rule["expr"]), bare(documented[rule["alert"]]))

    def test_each_source_has_its_own_age(self):
        fresh = {rule["expr"] for rule in self.rules() if rule["alert"] == "LongshoreNoFreshBackup"}
        self.assertIn('time() - longshore_backup_started_timestamp_seconds{source="billing.prod", scope=""} > 3 * 3600', fresh)
        self.assertIn('time() - longshore_backup_started_timestamp_seconds{source="clinic", scope=""} > 26 * 3600', fresh)
        self.assertIn('time() - longshore_backup_started_timestamp_seconds{source=~"prod[.].+", scope=""} > 26 * 3600', fresh)

    def test_they_look_at_this_releases_sources_only(self):
        (failed,) = [rule for rule in self.rules() if rule["alert"] == "LongshoreRunFailed"]
        names = re.search('source=~"([^"]*)"', failed["expr"])[1]
        for source in ("", "clinic", "billing.prod", "prod.hr", "prod"):
            self.assertRegex(source, f"^(?:{names})$")
        for source in ("other", "billing-prod", "production", "clinic2"):
            self.assertNotRegex(source, f"^(?:{names})$")


def bare(expression: str) -> str:
    """Without matchers of sources, and without what they leave behind."""
    return re.sub(r"\{, ", "{", re.sub(r",? *source=~?\"[^\"]*\"", "", expression)).replace("{}", "")


class Refusals(unittest.TestCase):
    """What cannot work is said before anything is installed."""

    def refused(self, values, words, *files):
        with self.assertRaises(Refused) as caught:
            render(values, *files)
        self.assertIn(words, str(caught.exception))

    def source(self, **more):
        values = minimal()
        values["sources"]["app"] |= more
        return values

    def test_options_that_the_command_does_not_have(self):
        self.refused(self.source(options={"max-rat": "20MiB"}), "max-rat")
        self.refused(self.source(schedules={"hourly": {"cron": "7 * * * *", "options": {"keep-last": 1}}}), "keep-last")

    def test_values_that_nobody_reads(self):
        self.refused(minimal(source={}), "source")
        self.refused(minimal(jobDefaults={"backofLimit": 1}), "backofLimit")

    def test_schedules_that_are_none(self):
        self.refused(self.source(schedules={"hourly": {"cron": "7 * * *"}}), "cron")
        self.refused(self.source(schedules={"hourly": {}}), "cron")

    def test_repositories_that_are_not_there(self):
        self.refused(self.source(repository="mian"), 'sources.app names the repository "mian"; repositories has: main')

    def test_two_urls_or_none(self):
        self.refused(self.source(urlFrom={"secret": "s", "key": "k"}), "sources.app: url and urlFrom are both there")
        self.refused(self.source(url=""), "sources.app: url is missing")

    def test_half_a_secret(self):
        self.refused(self.source(password={"secret": "s"}), "key")

    def test_production_as_a_target(self):
        for name in ("production", "prod-eu", "live"):
            restore = {"repository": "main", "from": "app", "url": "postgres://u@db/app", "mark": name}
            self.refused(minimal(restores={"x": restore}), "mark")

    def test_restores_with_half_a_lease(self):
        def restore(**lease):
            return minimal(restores={"x": {"repository": "main", "from": "app", "url": "postgres://u@db/app", "lease": lease}})

        self.refused(restore(url="redis://valkey"), "restores.x.lease.job: the job of the loads and restores")
        self.refused(restore(job="a"), "restores.x.lease: url is missing")
        for url in ("file:///srv/leases", "valkey:6379", "redis", "s3://bucket/leases"):
            self.refused(restore(job="a", url=url), "a file is no lease between pods")
        self.refused(restore(job="a b", url="redis://valkey"), "job")
        self.assertTrue(render(restore(job="a", url="redis://valkey")))

    def loader(self, **more):
        one = {"url": "postgres://u@db/app", "table": "t", "drop": "d", "volume": {"emptyDir": {}}, "lease": {"url": "redis://valkey"}}
        return {"loaders": {"x": {name: value for name, value in (one | more).items() if value is not None}}}

    def test_loads_that_no_server_keeps_apart(self):
        for lease in (None, {}, {"url": ""}, {"password": {"secret": "s", "key": "k"}}):
            self.refused(self.loader(lease=lease), "loaders.x.lease: name the server that keeps two loads apart")
        for url in ("file:///srv/leases", "valkey:6379"):
            self.refused(self.loader(lease={"url": url}), "a file is no lease between pods")
        self.refused(self.loader(lease={"url": "redis://valkey", "urlFrom": {"secret": "s", "key": "k"}}), "loaders.x.lease: url and urlFrom are both there")
        self.assertEqual(list(cronjobs(render(self.loader()))), ["demo-longshore-load-x"])

    def test_loads_that_lack_something(self):
        for field, words in (("url", "loaders.x: url is missing"), ("table", "which table"), ("drop", "which folder"), ("volume", "where are the drops")):
            self.refused(self.loader(**{field: None}), words)

    def test_drops_outside_of_their_volume(self):
        for drop in ("/etc", "..", "a/../..", "../etc"):
            self.refused(self.loader(drop=drop), "drop")
        self.assertTrue(render(self.loader(drop="2026..11/..a")))

    def test_rows_that_would_be_gone_with_the_pod(self):
        for path in ("/tmp/r.csv", "r.csv", "/dev/shm/r.csv"):
            self.refused(self.loader(options={"max-rejects": 1, "rejects": path}), "gone with the pod")

    def test_options_of_loads_that_are_for_one_occasion(self):
        for option in ("reload", "history", "job", "lease"):
            self.refused(self.loader(options={option: True}), option)

    def test_alerts_without_metrics(self):
        self.refused(minimal(prometheusRule={"enabled": True}), "signals.pushGateway")

    def test_a_check_that_checks_nothing(self):
        check = {"schedules": {"hourly": {"cron": "7 * * * *"}}}
        self.refused({"repositories": {"main": {"url": "s3://b/p", "check": check}}}, "say max-age")

    def test_a_deadline_that_skips_runs_and_a_grace_that_is_too_short(self):
        self.refused(minimal(jobDefaults={"startingDeadlineSeconds": 5}), "startingDeadlineSeconds")
        self.refused(minimal(jobDefaults={"terminationGracePeriodSeconds": 10}), "terminationGracePeriodSeconds")

    def test_names_that_no_object_can_have(self):
        values = minimal()
        values["sources"]["My_App"] = values["sources"].pop("app")
        self.refused(values, "My_App")


class Documents(unittest.TestCase):
    def test_the_first_steps_name_jobs_that_their_values_make(self):
        text = (ROOT / "docs" / "start-kubernetes.md").read_text()
        blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)]
        staging = CHART / "examples" / "staging-values.yaml"
        there = {name for values in blocks if values.keys() & {"sources", "loaders"} for name in cronjobs(render(values, release="longshore"))}
        there |= set(cronjobs(render(None, staging, release="longshore")))
        named = set(re.findall(r"--from=cronjob/(\S+)", text))
        self.assertGreater(len(named), 4)
        self.assertLessEqual(named, there)
        for values in blocks:
            render(minimal(**values))


class Notes(unittest.TestCase):
    def test_name_jobs_that_exist(self):
        for file in FILES:
            with self.subTest(file=file.name):
                there = set(cronjobs(render(None, file)))
                named = re.findall(r"--from=cronjob/(\S+)", notes(None, file))
                self.assertLessEqual(set(named), there)
                self.assertTrue(named or not there)

    def test_say_what_is_missing(self):
        text = notes(minimal())
        self.assertIn("No drill is scheduled", text)
        self.assertIn("Nothing prunes the repository main", text)
        self.assertIn("Nobody is told", text)
        self.assertIn("Nothing is backed up yet", notes())

    def test_say_how_loads_are_begun(self):
        loaders = {"loaders": {name: Refusals().loader()["loaders"]["x"] for name in ("donors", "samples")}}
        self.assertIn("Load the drop of donors", notes(loaders))


if __name__ == "__main__":
    unittest.main()
