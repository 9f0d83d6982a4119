//! Evidence: what counts as proof, and what never does.

use crate::support::{Faulty, back_up, frame, repository, source, table};
use jiff::{SignedDuration, Timestamp};
use repository::{Evidence, EvidenceKind, Manifest, Outcome, Proofs, Repository, Share, SourceName};
use std::collections::BTreeSet;
use std::sync::Arc;

async fn backed_up() -> (Arc<Faulty>, Repository, Manifest) {
    let (store, repository) = repository().await;
    let manifest = back_up(&repository, &[table("t", 50)], 1).await.unwrap();
    (store, repository, manifest)
}

/// The hour `n` of a day.
fn hour(n: i64) -> Timestamp {
    "2026-03-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(n)
}

fn verified(manifest: &Manifest, at: Timestamp, outcome: Outcome) -> Evidence {
    Evidence {
        source: manifest.header.source.clone(),
        backup: manifest.header.backup,
        kind: EvidenceKind::Verify,
        at,
        outcome,
        share: Evidence::ALL.to_owned(),
        program: "test".to_owned(),
        seconds: 1,
        server_version: None,
        rows: None,
        proof: None,
    }
}

fn drilled(manifest: &Manifest, at: Timestamp, outcome: Outcome) -> Evidence {
    let version = Some("15.2".to_owned());
    let proof = Some("content".to_owned());
    let kind = EvidenceKind::Drill;
    Evidence { kind, server_version: version, rows: Some(50), proof, ..verified(manifest, at, outcome) }
}

fn sampled(manifest: &Manifest, at: Timestamp, outcome: Outcome) -> Evidence {
    Evidence { share: "5%".to_owned(), ..verified(manifest, at, outcome) }
}

async fn put(repository: &Repository, evidence: &[Evidence]) -> Vec<String> {
    let mut keys = Vec::new();
    for one in evidence {
        keys.push(repository.put_evidence(one).await.unwrap());
    }
    keys
}

async fn proofs(repository: &Repository, manifest: &Manifest) -> Proofs {
    let (source, backup) = (&manifest.header.source, manifest.header.backup);
    let all = repository.evidence(Some(source)).await.unwrap();
    let found = all.get(&backup).copied().unwrap_or_default();
    assert_eq!(repository.proofs_of(source, backup).await.unwrap(), found);
    assert_eq!(repository.evidence(None).await.unwrap(), all);
    found
}

#[tokio::test]
async fn the_newest_of_each_counts_and_a_sample_never_as_a_verification() {
    use Outcome::{Bad, Good};
    let (_store, repository, manifest) = backed_up().await;
    assert_eq!(proofs(&repository, &manifest).await, Proofs::default());
    put(&repository, &[sampled(&manifest, hour(1), Good)]).await;
    assert_eq!(proofs(&repository, &manifest).await, Proofs::default(), "a sample is no verification");
    let some =
        [verified(&manifest, hour(3), Good), verified(&manifest, hour(2), Good), drilled(&manifest, hour(4), Good)];
    put(&repository, &some).await;
    let good = Proofs { verified: Some(hour(3)), drilled: Some(hour(4)), failed: None };
    assert_eq!(proofs(&repository, &manifest).await, good);
    assert!(!good.in_doubt());
    // What a sample finds wrong is wrong.
    put(&repository, &[drilled(&manifest, hour(5), Bad), sampled(&manifest, hour(6), Bad)]).await;
    let bad = Proofs { failed: Some(hour(6)), ..good };
    assert_eq!(proofs(&repository, &manifest).await, bad);
    assert!(bad.in_doubt());
    put(&repository, &[verified(&manifest, hour(7), Good)]).await;
    assert!(!proofs(&repository, &manifest).await.in_doubt(), "it was repaired since");
}

#[tokio::test]
async fn a_result_is_of_one_source_even_where_ids_coincide() {
    let (_store, repository, manifest) = backed_up().await;
    let other: SourceName = "other".parse().unwrap();
    let theirs = Evidence { source: other.clone(), ..verified(&manifest, hour(9), Outcome::Good) };
    put(&repository, &[verified(&manifest, hour(1), Outcome::Good), theirs]).await;
    assert_eq!(proofs(&repository, &manifest).await.verified, Some(hour(1)));
    assert_eq!(repository.evidence(Some(&other)).await.unwrap().len(), 0, "there is no such backup of it");
}

#[tokio::test]
async fn strangers_and_what_is_damaged_are_ignored() {
    let (store, repository, manifest) = backed_up().await;
    let backup = manifest.header.backup;
    let some = [verified(&manifest, hour(1), Outcome::Good), verified(&manifest, hour(2), Outcome::Good)];
    let keys = put(&repository, &some).await;
    store.damage(&keys[1]).await;
    let ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    // Keys that are not in the layout.
    for stranger in [
        format!("evidence/{backup}/{ulid}"),
        format!("evidence/{backup}/{ulid}-verify-well"),
        format!("evidence/{backup}/{}-verify-good", ulid.to_lowercase()),
        format!("evidence/note/{ulid}-verify-good"),
        "evidence/README".to_owned(),
    ] {
        store.replace(&stranger, b"hello".to_vec()).await;
    }
    // Objects whose content is not what stands at their place: another kind, another result, backup, repository, format.
    let good = store.bytes(&keys[0]).await;
    let open = repository::Frame::decode(&good, "evidence").unwrap().open;
    let mut open: serde_json::Value = serde_json::from_slice(&open).unwrap();
    open["at"] = hour(8).to_string().into();
    let with = |member: &str, value: serde_json::Value| {
        let mut changed = open.clone();
        changed[member] = value;
        changed
    };
    let late = "7ZZZZZZZZZZZZZZZZZZZZZZZZ";
    for (n, (kind, content)) in [
        (6, open.clone()),
        (11, with("outcome", "bad".into())),
        (11, with("share", "5%".into())),
        (11, with("backup", ulid.into())),
        (11, with("repository", ulid.into())),
        (11, with("format", 2.into())),
        (11, with("at", "yesterday".into())),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("evidence/{backup}/{late}{n}-verify-good");
        store.replace(&key, frame(kind, &content)).await;
        assert_eq!(proofs(&repository, &manifest).await.verified, Some(hour(1)), "{n}");
        store.delete(&key).await;
    }
    // The frame that the loop changes counts when it is not changed.
    store.replace(&format!("evidence/{backup}/{late}0-verify-good"), frame(11, &open)).await;
    assert_eq!(proofs(&repository, &manifest).await.verified, Some(hour(8)));
}

#[tokio::test]
async fn more_than_a_page_of_evidence_is_read_and_gone_backups_cost_no_read() {
    let (store, repository, manifest) = backed_up().await;
    let mut evidence = Vec::new();
    for n in 0..1100 {
        evidence.push(verified(&manifest, hour(n), Outcome::Good));
    }
    evidence.push(drilled(&manifest, hour(1), Outcome::Good));
    put(&repository, &evidence).await;
    let found = proofs(&repository, &manifest).await;
    assert_eq!((found.verified, found.drilled), (Some(hour(1099)), Some(hour(1))));
    let key = store.keys("manifests/").await.remove(0);
    store.delete(&key).await;
    assert_eq!(repository.evidence(None).await.unwrap().len(), 0);
    // A source has its last drill even when the backup is gone.
    let sources = BTreeSet::from([source(), "other".parse().unwrap()]);
    let newest = repository.newest_proofs(&sources, hour(0)).await.unwrap();
    assert_eq!(newest[&source()].drilled, Some(hour(1)));
    assert_eq!(newest[&source()].verified, Some(hour(1099)));
    assert_eq!(newest.len(), 1);
    assert_eq!(repository.newest_proofs(&sources, hour(2)).await.unwrap()[&source()].drilled, None, "it is older");
}

/// Not knowing is not the same as not proven: what is proven must not be pruned for that.
#[tokio::test]
async fn a_store_that_cannot_be_read_is_an_error() {
    let (store, repository, manifest) = backed_up().await;
    put(&repository, &[verified(&manifest, hour(1), Outcome::Good)]).await;
    store.fail_reads("evidence/");
    assert!(matches!(repository.evidence(None).await, Err(repository::Error::Store { .. })));
    assert!(matches!(
        repository.newest_proofs(&BTreeSet::from([source()]), hour(0)).await,
        Err(repository::Error::Store { .. })
    ));
}

#[tokio::test]
async fn a_verification_says_of_each_backup_whether_it_is_whole() {
    let (store, repository, first) = backed_up().await;
    let second = back_up(&repository, &[table("t", 50), table("u", 50)], 1).await.unwrap();
    let ids = repository.backup_ids(None).await.unwrap();
    let own = format!("-{}", second.header.session);
    let new = store.keys("chunks/").await.into_iter().find(|key| key.ends_with(&own)).unwrap();
    store.damage(&new).await;
    let found = repository.verify(&ids, Share::ALL, &|_| {}).await.unwrap();
    let whole = |manifest: &Manifest, whole| (source(), manifest.header.backup, whole);
    assert_eq!(found.checked, [whole(&first, true), whole(&second, false)]);
}
