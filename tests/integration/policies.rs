//! What a credential may do: every job runs under exactly the policy that `doctor` prints for it, against a real MinIO, and
//! does nothing that it should not be able to.

use crate::place::{LARGE, Place, Target, assert_failed, until};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::servers::{ObjectServer, PostgresServer, TestDatabase, minio, own, postgres};
use testkit::{Job, Signal};

const ROWS: &str = "create table rows (id int primary key, body text);
     insert into rows select i, md5(i::text) from generate_series(1, 20000) i";
/// Everything of `prune` that takes its time takes a second.
const IMPATIENT: [&str; 7] =
    ["prune", "--undo-period=1s", "--grace=1s", "--silent=1h", "--keep-last=1", "--output", "json"];

/// A bucket, and a user for each job.
struct Bucket {
    server: Arc<ObjectServer>,
    name: String,
    place: Place,
    backup: (String, String),
    restore: (String, String),
    maintenance: (String, String),
}

impl Bucket {
    /// The users get what `doctor --print-policy` prints; the repository is made by maintenance. `None`, said loudly, without
    /// MinIO's client.
    async fn new(server: Arc<ObjectServer>, name: String) -> Option<Bucket> {
        if !server.has_client() {
            return None;
        }
        let place = Place::not_yet().by_way_of(server.url(&name, server.port));
        let mut users = Vec::new();
        for job in ["backup", "restore", "maintenance"] {
            users.push(server.user(&policy(&place.repo, job).await.to_string()));
        }
        let [backup, restore, maintenance] = users.try_into().ok()?;
        let bucket = Bucket { server, name, place, backup, restore, maintenance };
        bucket.maintain(["init"]).run().await.success();
        Some(bucket)
    }

    /// The same bucket and prefix without the repository in it.
    fn sealed(&self) -> &Bucket {
        self.server.mc(&["rm", "--recursive", "--force", &format!("test/{}/repo/", self.name)]);
        self
    }

    fn maintain<const N: usize>(&self, arguments: [&str; N]) -> Job {
        as_user(self.place.job(arguments), &self.maintenance)
    }

    fn back_up<const N: usize>(&self, arguments: [&str; N]) -> Job {
        as_user(self.place.job(arguments), &self.backup)
    }

    fn bring_back<const N: usize>(&self, arguments: [&str; N]) -> Job {
        as_user(self.place.job(arguments), &self.restore)
    }

    async fn backup_of(&self, db: &TestDatabase) -> String {
        let made = as_user(self.place.backup(&db.url()), &self.backup).run().await.success().json();
        made["id"].as_str().unwrap().to_owned()
    }

    async fn restored(&self, db: &TestDatabase) {
        let target = Target::of(db);
        as_user(self.place.restore(&target.url), &self.restore).run().await.success();
    }

    /// Keys of the bucket's objects below a folder of the repository, by the administrator's eyes.
    fn keys(&self, folder: &str) -> Vec<String> {
        let listed = self.server.mc(&["ls", "--recursive", "--json", &format!("test/{}/repo/{folder}", self.name)]);
        let keys = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        keys.map(|it| format!("repo/{folder}{}", it["key"].as_str().unwrap())).collect()
    }

    /// Versions of everything, or of one object: ids, oldest first; marks of deletion are not among them.
    fn versions(&self, key: &str) -> Vec<String> {
        let place = format!("test/{}/{key}", self.name);
        let listed = self.server.mc(&["ls", "--recursive", "--versions", "--json", &place]);
        let lines = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut found: Vec<Value> = lines.filter(|it| it["isDeleteMarker"] != json!(true)).collect();
        found.sort_by_key(|it| it["versionOrdinal"].as_u64());
        found.iter().map(|it| it["versionId"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn as_user(job: Job, (key, secret): &(String, String)) -> Job {
    job.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret)
}

async fn policy(repo: &str, job: &str) -> Value {
    // Without credentials: nothing is asked of anybody.
    Job::new(["doctor", "--repo", repo, "--print-policy", job]).run().await.success().json()
}

async fn check_of(job: Job, part: &str, name: &str) -> Value {
    let found = job.run().await.json();
    let all = found["checks"].as_array().unwrap_or_else(|| panic!("{found}"));
    let check = all.iter().find(|it| it["part"] == part && it["name"] == name);
    check.unwrap_or_else(|| panic!("no check {part} {name}: {found}")).clone()
}

#[tokio::test]
async fn every_job_works_with_the_least_that_doctor_prints() {
    let objects = minio().await;
    let name = objects.create_bucket().await;
    let Some(bucket) = Bucket::new(objects, name).await else { return };
    let server = Arc::new(own(15, &[]).await);
    let db = server.create_database().await;
    db.exec(ROWS).await;
    let first = bucket.backup_of(&db).await;
    db.exec("update rows set body = body || 'x' where id % 7 = 0").await;
    bucket.backup_of(&db).await;
    bucket.restored(&db).await;
    drilled(&bucket, &server).await;
    read_by_all(&bucket).await;
    let folder = bucket.place.folder.path().join("exported").display().to_string();
    bucket.bring_back(["export", "--from", "app", "--to", &folder]).run().await.success();
    maintained(&bucket, &first).await;
    bucket.restored(&db).await;
    for (job, purpose) in [
        (bucket.back_up(["doctor", "--for", "backup", "--output", "json"]), "backup"),
        (bucket.bring_back(["doctor", "--for", "restore", "--output", "json"]), "restore"),
        (bucket.maintain(["doctor", "--for", "maintenance", "--output", "json"]), "maintenance"),
    ] {
        let found = job.run().await.success().json();
        assert_eq!((&found["ok"], &found["for"]), (&json!(true), &json!(purpose)), "{found}");
    }
}

async fn drilled(bucket: &Bucket, server: &PostgresServer) {
    let drill = bucket.bring_back(["drill", "--from", "app", "--output", "json"]);
    let drill = drill.env("LONGSHORE_TARGET", server.url("postgres")).run().await.success().json();
    assert!(drill["evidence"].is_string(), "a drill that is not recorded did not happen: {drill}");
}

async fn read_by_all(bucket: &Bucket) {
    for user in [&bucket.backup, &bucket.restore, &bucket.maintenance] {
        as_user(bucket.place.job(["list"]), user).run().await.success();
        as_user(bucket.place.job(["show", "app"]), user).run().await.success();
        as_user(bucket.place.job(["check", "--max-age", "1h", "--drilled", "1h"]), user).run().await.success();
    }
}

/// Verifies, pins and prunes until nothing is left to do.
async fn maintained(bucket: &Bucket, first: &str) {
    let verified = bucket.maintain(["verify", "--output", "json"]).run().await.success().json();
    assert_eq!(verified["recorded"], 2, "{verified}");
    let first = format!("app@{first}");
    bucket.maintain(["pin", &first]).run().await.success();
    bucket.maintain(["pin", "--remove", &first]).run().await.success();
    until("everything unneeded to go", async || {
        let pruned = bucket.maintain(IMPATIENT).run().await.success().json();
        let swept = &pruned["swept"];
        bucket.keys("manifests/").len() == 1 && swept["unreferenced"] == 0 && swept["waiting"] == 0
    })
    .await;
    // A verdict stays for a year.
    assert!(bucket.keys("gc/").iter().all(|key| key.ends_with("/verdict")) && bucket.keys("pins/").is_empty());
    bucket.maintain(["verify"]).run().await.success();
}

/// Maintenance writes where writers do: a tombstone in place of a manifest, and the end of a session.
#[tokio::test]
async fn a_silent_writer_is_given_up_with_maintenances_own_credential() {
    let objects = minio().await;
    let name = objects.create_bucket().await;
    let Some(bucket) = Bucket::new(objects, name).await else { return };
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let killed =
        as_user(bucket.place.backup(&db.url()), &bucket.backup).run_and_signal("read rows", Signal::Kill).await;
    assert_ne!(killed.code, Some(0), "{}", killed.report());
    until("the killed writer to be given up", async || {
        let prune = bucket.maintain(["prune", "--silent=1s", "--output", "json"]).run().await.success().json();
        !prune["revoked"].as_array().unwrap().is_empty()
    })
    .await;
    assert_eq!((bucket.keys("manifests/").len(), bucket.keys("sessions/").len() >= 2), (1, true), "no tombstone");
    let listed = as_user(bucket.place.job(["list", "--output", "json"]), &bucket.backup).run().await.success();
    assert_eq!(listed.json(), json!([]));
}

/// Encryption asks for nothing more, and the machine that writes can read neither chunks nor what is wrapped for others.
#[tokio::test]
async fn an_encrypted_repository_works_with_the_same_policies() {
    let objects = minio().await;
    let name = objects.create_bucket().await;
    let Some(plain) = Bucket::new(objects, name).await else { return };
    let file = |name: &str| plain.place.folder.path().join(name).display().to_string();
    let bucket = plain.sealed();
    let (identity, spare, writer, other) = (file("identity"), file("spare"), file("writer"), file("other"));
    let mut recipients = Vec::new();
    for out in [&identity, &spare] {
        let made = Job::new(["keys", "new-identity", "--out", out]).run().await.success();
        recipients.push(made.stdout.trim().to_owned());
    }
    let [first, second] = recipients.as_slice() else { panic!("{recipients:?}") };
    let init = ["init", "--recipient", first, "--recipient", second, "--writer-key-out", &writer];
    bucket.maintain(init).run().await.success();
    let reads = |job: Job| job.env("LONGSHORE_IDENTITY_FILE", &identity);
    let writes = |job: Job| job.env("LONGSHORE_WRITER_KEY_FILE", &writer);
    reads(bucket.maintain(["keys", "new-writer", "another", "--out", &other])).run().await.success();
    let db = postgres(15).await.create_database().await;
    db.exec(ROWS).await;
    for _ in 0..2 {
        writes(as_user(bucket.place.backup(&db.url()), &bucket.backup)).run().await.success();
    }
    let target = Target::of(&db);
    reads(as_user(bucket.place.restore(&target.url), &bucket.restore)).run().await.success();
    bucket.maintain(["verify"]).run().await.success();
    bucket.maintain(IMPATIENT).run().await.success();
    let doctor = |job: &str| ["doctor", "--for", job, "--output", "json"].map(str::to_owned);
    let of = async |job: Job| check_of(job, "repository", "decrypt").await["outcome"].clone();
    let job = |purpose: &str, user| as_user(Job::new(doctor(purpose)).env("LONGSHORE_REPO", &bucket.place.repo), user);
    assert_eq!(of(writes(job("backup", &bucket.backup))).await, "good", "the writer cannot read");
    assert_eq!(of(reads(job("restore", &bucket.restore))).await, "good");
    assert_eq!(of(job("maintenance", &bucket.maintenance)).await, "good");
    assert_eq!(of(job("restore", &bucket.restore)).await, "bad", "no identity");
    assert_eq!(of(reads(job("maintenance", &bucket.maintenance))).await, "warning", "more than it needs");
    let keyless = job("backup", &bucket.backup);
    assert_eq!(check_of(keyless.clone(), "repository", "encrypt").await["outcome"], "bad");
    keyless.run().await.expect_code(78);
    assert_failed(bucket.maintain(["keys", "remove", second]).run().await, 77, "no permission");
    assert_eq!(bucket.keys("keys/").len(), 2);
}

/// A credential that does another's work is refused, and has changed nothing.
#[tokio::test]
async fn a_credential_does_no_other_jobs_work() {
    let objects = minio().await;
    let name = objects.create_bucket().await;
    let Some(bucket) = Bucket::new(objects, name).await else { return };
    let db = postgres(15).await.create_database().await;
    db.exec(ROWS).await;
    let id = format!("app@{}", bucket.backup_of(&db).await);
    // A backup's own: it may keep what it makes, and give up nothing.
    as_user(bucket.place.backup(&db.url()).env("LONGSHORE_PIN", "true"), &bucket.backup).run().await.success();
    assert_eq!(bucket.keys("pins/").len(), 1);
    let before = bucket.keys("");
    let refused = as_user(bucket.place.backup(&db.url()), &bucket.restore).run().await;
    assert_failed(refused, 77, "no permission");
    for user in [&bucket.backup, &bucket.restore] {
        assert_failed(as_user(bucket.place.job(IMPATIENT), user).run().await, 77, "no permission");
        assert_failed(as_user(bucket.place.job(["prune", "--remove", &id]), user).run().await, 77, "no permission");
        assert_failed(as_user(bucket.place.job(["pin", "--remove", "app"]), user).run().await, 77, "no permission");
    }
    assert_failed(as_user(bucket.place.job(["pin", &id]), &bucket.restore).run().await, 77, "no permission");
    assert_eq!(bucket.keys(""), before, "a refused job changed something");
    let elsewhere = bucket.server.url(&bucket.name, bucket.server.port).replace("/repo?", "/other?");
    let other = Place::not_yet().by_way_of(elsewhere);
    assert_failed(as_user(other.job(["init"]), &bucket.maintenance).run().await, 77, "no permission");
}

#[tokio::test]
async fn a_backups_credential_deletes_nothing_and_what_it_replaces_comes_back() {
    let objects = minio().await;
    if !objects.has_client() {
        return;
    }
    let name = objects.create_versioned_bucket(None).await;
    let Some(bucket) = Bucket::new(objects, name).await else { return };
    let db = postgres(15).await.create_database().await;
    db.exec(ROWS).await;
    bucket.backup_of(&db).await;
    let chunk = bucket.keys("chunks/").remove(0);
    let user = (bucket.backup.0.as_str(), bucket.backup.1.as_str());
    let object = format!("{}/{chunk}", bucket.name);

    let deleted = bucket.server.try_mc(Some(user), &["rm", &format!("test/{object}")]);
    assert!(deleted.is_err_and(|said| said.contains("ermission") || said.contains("Denied")));
    let version = bucket.versions(&chunk);
    assert_eq!(version.len(), 1, "{version:?}");
    let forever = ["rm", "--version-id", &version[0], &format!("test/{object}")];
    assert!(bucket.server.try_mc(Some(user), &forever).is_err(), "a version was deleted");
    let tried = bucket.back_up(["doctor", "--output", "json"]);
    let delete = check_of(tried.clone(), "store", "delete").await;
    assert!(delete["outcome"] == "good" && delete["found"].as_str().unwrap().contains("refused"), "{delete}");
    let replace = check_of(tried, "store", "replace").await;
    assert!(
        replace["outcome"] == "good" && replace["found"].as_str().unwrap().contains("keeps what was there"),
        "{replace}"
    );

    // MinIO has no policy against that; its versions undo it.
    bucket.server.replace(user, &object, "not a chunk").unwrap();
    let damaged = bucket.maintain(["verify"]).run().await.expect_code(65);
    assert!(damaged.stdout.contains(chunk.rsplit('/').next().unwrap()), "{}", damaged.report());
    let versions = bucket.versions(&chunk);
    assert_eq!((versions.len(), &versions[0]), (2, &version[0]), "what was there is kept");
    let here = format!("test/{object}");
    bucket.server.mc(&["cp", "--version-id", &versions[0], &here, &here]);
    bucket.maintain(["verify"]).run().await.success();
    bucket.restored(&db).await;
}

/// Deletes leave versions, which prune says; a key that was deleted can be created again.
#[tokio::test]
async fn a_bucket_with_versions_is_pruned_and_told_so() {
    let objects = minio().await;
    if !objects.has_client() {
        return;
    }
    let name = objects.create_versioned_bucket(None).await;
    pruned_with_versions(objects, name).await;
}

/// Object Lock: every object is locked for a day from the moment it is there. Nothing of the jobs minds.
#[tokio::test]
async fn every_job_works_where_objects_are_locked() {
    let objects = minio().await;
    if !objects.has_client() {
        return;
    }
    for mode in ["COMPLIANCE", "GOVERNANCE"] {
        let name = objects.create_versioned_bucket(Some((mode, "1d"))).await;
        let Some(bucket) = pruned_with_versions(objects.clone(), name).await else { return };
        let lock =
            check_of(bucket.maintain(["doctor", "--for", "maintenance", "--output", "json"]), "store", "object lock");
        assert_eq!(lock.await["found"], format!("every new object is locked: {mode}, 1 day"));
        let chunk = bucket.keys("chunks/").remove(0);
        let version = bucket.versions(&chunk).remove(0);
        let place = format!("test/{}/{chunk}", bucket.name);
        let unlocked = bucket.server.try_mc(None, &["rm", "--version-id", &version, &place]);
        assert!(unlocked.is_err(), "an administrator deleted a locked version: {unlocked:?}");
    }
}

async fn pruned_with_versions(objects: Arc<ObjectServer>, name: String) -> Option<Bucket> {
    let bucket = Bucket::new(objects, name).await?;
    let db = postgres(15).await.create_database().await;
    db.exec(ROWS).await;
    let first = bucket.backup_of(&db).await;
    db.exec("update rows set body = md5(body)").await;
    let second = bucket.backup_of(&db).await;
    let pin = format!("app@{second}");
    bucket.maintain(["pin", &pin]).run().await.success();
    bucket.maintain(["pin", "--remove", &pin]).run().await.success();
    bucket.maintain(["pin", &pin]).run().await.success();
    let before = bucket.versions("repo/chunks/").len();
    let mut said = Vec::new();
    until("the first backup and its chunks to go", async || {
        let pruned = bucket.maintain(IMPATIENT).run().await.success().json();
        if pruned["swept"]["deleted"] != 0 {
            said.push(pruned["keeps_versions"].clone());
        }
        !said.is_empty() && pruned["swept"]["unreferenced"] == 0 && pruned["swept"]["waiting"] == 0
    })
    .await;
    assert!(said.iter().all(|it| *it == json!(true)), "{said:?}");
    assert!(bucket.keys("manifests/").iter().all(|key| !key.contains(&first)));
    assert!(bucket.keys("chunks/").len() < before, "nothing was deleted");
    assert_eq!(bucket.versions("repo/chunks/").len(), before, "a delete left no version");
    bucket.maintain(["verify"]).run().await.success();
    bucket.restored(&db).await;
    Some(bucket)
}

/// What the guide says of the two stores: AWS has a condition against replacing, which MinIO does not take.
#[tokio::test]
async fn minio_refuses_the_condition_that_aws_has_against_replacing() {
    let objects = minio().await;
    if !objects.has_client() {
        return;
    }
    let print = ["doctor", "--repo", "s3://bucket/repo", "--print-policy", "backup", "--store"];
    let of = async |store: &str| Job::new([&print[..], &[store]].concat()).run().await.success().stdout;
    let (aws, plain) = (of("aws").await, of("minio").await);
    objects.try_policy("plain", &plain).unwrap();
    let refused = objects.try_policy("if-exists", &aws).unwrap_err();
    assert!(refused.contains("StringLikeIfExists"), "{refused}");
    let known = aws.replace("StringLikeIfExists", "StringLike");
    let refused = objects.try_policy("with-condition", &known).unwrap_err();
    assert!(refused.contains("s3:if-none-match"), "{refused}");
}
