//! The journal: what an interrupted session has stored can be found again.

use crate::support::{Faulty, begin, repository, store_tables, table};
use repository::{Frame, SegmentRefs};
use std::collections::BTreeSet;

/// Objects that the beat lists; nothing when it is not there.
async fn journaled(store: &Faulty, number: u64) -> Option<BTreeSet<String>> {
    let keys = store.keys("sessions/").await;
    let key = keys.iter().find(|key| key.ends_with(&format!("/beat-{number}")))?;
    let frame = Frame::decode(&store.bytes(key).await, key).unwrap();
    let open: serde_json::Value = serde_json::from_slice(&frame.open).unwrap();
    let refs = open["refs"].as_array().unwrap();
    Some(refs.iter().map(|chunk| chunk["object"].as_str().unwrap().to_owned()).collect())
}

fn objects<'a>(segments: impl IntoIterator<Item = &'a SegmentRefs>) -> BTreeSet<String> {
    segments.into_iter().flat_map(|segment| &segment.refs).map(|chunk| chunk.object.clone()).collect()
}

#[tokio::test]
async fn an_interrupted_session_records_what_it_stored_last() {
    let (store, repository) = repository().await;
    let session = begin(&repository).await;
    let commit = store_tables(&session, &[table("t", 500), table("u", 3)], 2).await.unwrap();
    session.abandon("interrupted").await;
    assert_eq!(journaled(&store, 1).await, Some(objects(commit.segments.iter().map(|(_, refs)| refs))));
}
