//! Encrypted repositories over a store in memory: what each set of keys can do, and what it cannot.

use crate::support::{
    Faulty, SIZES, Table, assert_holds, assert_sound, back_up, begin, frame, source, store_tables, table,
};
use repository::{Access, Error, Identity, Manifest, PruneOptions, Repository, Share, WriterKey, retention};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// A repository, and the keys that there are.
struct World {
    store: Arc<Faulty>,
    owner: Identity,
    writer: WriterKey,
}

impl World {
    async fn new() -> Self {
        let (store, owner) = (Faulty::new(), Identity::generate());
        let made = Repository::init(Arc::clone(&store) as Arc<dyn Store>, SIZES, &[owner.recipient()]).await.unwrap();
        let writer = made.add_writer("nightly").await.unwrap().key;
        // As it travels: by its text.
        let writer = WriterKey::parse(&writer.expose()).unwrap();
        Self { store, owner, writer }
    }

    async fn open(&self, access: Access) -> Result<Repository, Error> {
        Repository::open_with(Arc::clone(&self.store) as Arc<dyn Store>, &access).await
    }

    async fn as_writer(&self) -> Repository {
        self.open(Access { writer: Some(self.writer.clone()), ..Access::default() }).await.unwrap()
    }

    async fn as_reader(&self, identity: &Identity) -> Repository {
        self.open(Access { identities: vec![identity.clone()], ..Access::default() }).await.unwrap()
    }

    async fn without_keys(&self) -> Repository {
        self.open(Access::default()).await.unwrap()
    }
}

fn tables() -> Vec<Table> {
    vec![table("canary_one", 400), table("canary_two", 3), table("canary_three", 1)]
}

/// Keeps the newest backup, without any patience.
async fn prune(repository: &Repository) -> Result<repository::Pruned, Error> {
    let options = PruneOptions {
        grace: Duration::ZERO,
        undo: Duration::ZERO,
        silent: Duration::from_secs(3_600),
        least_percent: 0,
        holder: "test".into(),
    };
    let policy = retention::Policy { last: 1, ..retention::Policy::default() };
    let plans = repository.plan_retention(&policy, None, 0).await?;
    repository.prune(&plans, &options).await
}

async fn all_chunks(repository: &Repository, manifest: &Manifest) -> Vec<repository::ChunkRef> {
    let lists = repository::read_all(repository, manifest).await.unwrap();
    let documents = manifest.header.documents.iter().flat_map(|document| document.refs.clone());
    lists.into_iter().flat_map(|list| list.refs).chain(documents).collect()
}

/// The backup job's files and credentials: everything in the store, and the writer's key.
#[tokio::test]
async fn a_writer_cannot_read_back_what_it_wrote() {
    let world = World::new().await;
    let manifest = back_up(&world.as_writer().await, &tables(), 2).await.unwrap();
    let reader = world.as_reader(&world.owner).await;
    assert_holds(&reader, &manifest, &tables()).await;
    let chunks = all_chunks(&reader, &manifest).await;
    assert!(chunks.len() > 3);
    for poor in [world.as_writer().await, world.without_keys().await] {
        for chunk in &chunks {
            let read = poor.read_chunk(chunk, "the test").await;
            assert!(matches!(read, Err(Error::Sealed { .. })), "{read:?}");
        }
        for list in &manifest.header.lists {
            assert!(matches!(poor.read_list(list, "the test").await, Err(Error::Sealed { .. })));
        }
        let seen = poor.manifest(&source(), manifest.header.backup).await.unwrap().unwrap();
        assert!(seen.sealed && seen.about.is_null() && matches!(seen.about(), Err(Error::Sealed { .. })));
    }
    // Nothing of it stands anywhere in the clear, compressed or not: neither rows nor names.
    for key in world.store.keys("").await {
        let bytes = world.store.bytes(&key).await;
        let open = repository::Frame::decode(&bytes, &key).map(|frame| frame.open).unwrap_or_default();
        let has = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"canary");
        assert!(!has(&bytes) && !has(&open) && !key.contains("canary"), "{key}");
    }
}

/// What was sealed says nothing about its content by its name: the same rows have other ids in another repository.
#[tokio::test]
async fn ids_say_nothing_about_content() {
    let (one, two) = (World::new().await, World::new().await);
    let (first, second) = (
        back_up(&one.as_writer().await, &tables(), 1).await.unwrap(),
        back_up(&two.as_writer().await, &tables(), 1).await.unwrap(),
    );
    let ids = |chunks: Vec<repository::ChunkRef>| chunks.into_iter().map(|chunk| chunk.id).collect::<Vec<_>>();
    let first = ids(all_chunks(&one.as_reader(&one.owner).await, &first).await);
    let second = ids(all_chunks(&two.as_reader(&two.owner).await, &second).await);
    assert!(first.len() == second.len() && first.iter().all(|id| !second.contains(id)));
}

#[tokio::test]
async fn deduplication_keeps_working_with_the_writers_key_alone() {
    let world = World::new().await;
    let first = back_up(&world.as_writer().await, &tables(), 1).await.unwrap();
    let second = back_up(&world.as_writer().await, &tables(), 1).await.unwrap();
    assert_eq!(second.header.totals.added_bytes, 0, "everything was there");
    assert_eq!(second.header.totals.reused_chunks, second.header.totals.chunks);
    assert_eq!(second.header.lists, first.header.lists, "lists are shared");
    // Boundaries come back from hints that only writers can read.
    assert_eq!(begin(&world.as_writer().await).await.boundaries().len(), 1);
    assert!(world.without_keys().await.backup_ids(None).await.unwrap().len() == 2);
}

#[tokio::test]
async fn verify_and_prune_need_no_key_and_find_what_is_damaged() {
    let world = World::new().await;
    let mut made = Vec::new();
    for rows in [300, 400, 500] {
        made.push(back_up(&world.as_writer().await, &[table("t", rows)], 1).await.unwrap());
    }
    let backups: Vec<_> = made.iter().map(|manifest| (source(), manifest.header.backup)).collect();
    assert_sound(&world.without_keys().await, &backups).await;
    assert_sound(&world.as_reader(&world.owner).await, &backups).await;
    let poor = world.without_keys().await;
    for _ in 0..4 {
        prune(&poor).await.unwrap();
    }
    assert_eq!(poor.backup_ids(None).await.unwrap(), backups[2..]);
    assert_holds(&world.as_reader(&world.owner).await, &made[2], &[table("t", 500)]).await;
    for key in world.store.keys("chunks/").await {
        let before = world.store.bytes(&key).await;
        world.store.damage(&key).await;
        let found = world.without_keys().await.verify(&backups[2..], Share::ALL, &|_| {}).await.unwrap();
        assert_eq!(found.damage.iter().map(|damage| &damage.object).collect::<Vec<_>>(), [&key]);
        world.store.replace(&key, before).await;
    }
}

#[tokio::test]
async fn recipients_come_and_go_and_no_chunk_is_rewritten() {
    let world = World::new().await;
    let manifest = back_up(&world.as_writer().await, &tables(), 1).await.unwrap();
    let before = world.store.keys("chunks/").await;
    let (safe, stranger) = (Identity::generate(), Identity::generate());
    let refused = world.open(Access { identities: vec![safe.clone()], ..Access::default() }).await;
    assert!(matches!(refused, Err(Error::Keys { .. })), "{refused:?}");
    // A writer cannot make a reader.
    let refused = world.as_writer().await.add_recipient(&stranger.recipient()).await;
    assert!(matches!(refused, Err(Error::Sealed { .. })), "{refused:?}");
    let owner = world.as_reader(&world.owner).await;
    owner.add_recipient(&safe.recipient()).await.unwrap();
    // Losing one identity is survivable: the other one opens everything, and can let others in.
    let other = world.as_reader(&safe).await;
    assert_holds(&other, &manifest, &tables()).await;
    other.remove_recipient(&world.owner.recipient()).await.unwrap();
    assert!(world.open(Access { identities: vec![world.owner.clone()], ..Access::default() }).await.is_err());
    let last = other.remove_recipient(&safe.recipient()).await;
    assert!(matches!(last, Err(Error::Keys { .. })), "{last:?}");
    assert_holds(&world.as_reader(&safe).await, &manifest, &tables()).await;
    assert_eq!(world.store.keys("chunks/").await, before);
}

/// What is wrapped can be opened by `age` itself, too: it is text.
#[tokio::test]
async fn wrapped_keys_are_age_files_in_json() {
    let world = World::new().await;
    let keys = world.store.keys("keys/").await;
    assert_eq!(keys, [format!("keys/{}", world.owner.recipient())]);
    let text: serde_json::Value = serde_json::from_slice(&world.store.bytes(&keys[0]).await).unwrap();
    assert!(text["age"].as_str().unwrap().starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    let secret = world.owner.expose();
    assert!(!text.to_string().contains(secret.as_str()));
    // A flipped bit of it is found before it is opened.
    world.store.damage(&keys[0]).await;
    let refused = world.open(Access { identities: vec![world.owner.clone()], ..Access::default() }).await;
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
}

/// A manifest's SQL runs in the target: one that nobody known has signed is not read at all.
#[tokio::test]
async fn manifests_of_unknown_signers_are_refused() {
    let world = World::new().await;
    let manifest = back_up(&world.as_writer().await, &tables(), 1).await.unwrap();
    let key = format!("manifests/app/{}", manifest.header.backup);
    let signed = world.store.bytes(&key).await;
    // Unsigned, in the clear, as somebody without any key can write it.
    let forged = frame(3, &serde_json::to_value(&manifest.header).unwrap());
    world.store.replace(&key, forged).await;
    for repository in [world.as_writer().await, world.as_reader(&world.owner).await, world.without_keys().await] {
        let read = repository.manifest(&source(), manifest.header.backup).await;
        assert!(matches!(read, Err(Error::Signer { signer: None, .. })), "{read:?}");
    }
    world.store.replace(&key, signed).await;
    // Signed by a writer that is not known any more.
    let owner = world.as_reader(&world.owner).await;
    assert_eq!(owner.remove_writer("nightly").await.unwrap().name, "nightly");
    let read = world.as_reader(&world.owner).await.manifest(&source(), manifest.header.backup).await;
    assert!(matches!(read, Err(Error::Signer { signer: Some(_), .. })), "{read:?}");
    assert!(matches!(owner.remove_writer("nightly").await, Err(Error::Keys { .. })));
    // It hears of that before it makes a backup that nobody will believe.
    let opened = world.open(Access { writer: Some(world.writer.clone()), ..Access::default() }).await;
    assert!(matches!(&opened, Err(Error::Keys { what }) if what.contains("not known")), "{opened:?}");
    // It stops no verification, and can be given up by name.
    let poor = world.without_keys().await;
    let found = poor.verify(&[(source(), manifest.header.backup)], Share::ALL, &|_| {}).await.unwrap();
    assert_eq!(found.damage[0].object, key);
    assert!(matches!(prune(&poor).await, Err(Error::Signer { .. })));
    poor.mark_removed(&source(), &[manifest.header.backup]).await.unwrap();
    for _ in 0..3 {
        drop(prune(&poor).await);
    }
    assert_eq!(poor.backup_ids(None).await.unwrap(), []);
}

/// Whoever can write into the store cannot make a signer known.
#[tokio::test]
async fn a_list_of_signers_that_the_root_has_not_signed_is_refused() {
    let world = World::new().await;
    let first = world.store.bytes("signers/1").await;
    let other = World::new().await;
    let list = json!({ "repository": "x", "number": 2, "signers": [] });
    for forged in [frame(17, &list).into(), other.store.bytes("signers/1").await, first] {
        world.store.replace("signers/2", forged).await;
        assert!(world.open(Access::default()).await.is_err());
    }
    world.store.delete("signers/2").await;
    world.without_keys().await;
}

/// Somebody who can replace objects puts a repository of their own in its place: with their keys, or with none.
#[tokio::test]
async fn another_repository_in_its_place_is_refused() {
    let (world, other) = (World::new().await, World::new().await);
    let plain = Faulty::new();
    Repository::init(Arc::clone(&plain) as Arc<dyn Store>, SIZES, &[]).await.unwrap();
    let fingerprint = world.without_keys().await.fingerprint().unwrap();
    let accesses = || {
        [
            Access { writer: Some(world.writer.clone()), ..Access::default() },
            Access { pinned: Some(fingerprint.clone()), ..Access::default() },
            Access { identities: vec![world.owner.clone()], ..Access::default() },
        ]
    };
    for access in accesses() {
        world.open(access).await.unwrap();
    }
    for replacement in [other.store.bytes("repository.json").await, plain.bytes("repository.json").await] {
        world.store.replace("repository.json", replacement).await;
        for access in accesses() {
            let opened = world.open(access.clone()).await;
            assert!(matches!(opened, Err(Error::Keys { .. })), "{access:?}: {opened:?}");
        }
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_written() {
    let world = World::new().await;
    let before = world.store.keys("").await;
    let options = repository::BeginOptions { source: source(), compression: 3, program: "test".into() };
    let begun = repository::Session::begin(&world.without_keys().await, options).await;
    assert!(matches!(begun, Err(Error::Keys { .. })), "{begun:?}");
    assert_eq!(world.store.keys("").await, before);
    // A reader can write: it holds all keys.
    let session = begin(&world.as_reader(&world.owner).await).await;
    let commit = store_tables(&session, &tables(), 1).await.unwrap();
    let manifest = session.commit(commit).await.unwrap();
    assert_holds(&world.as_reader(&world.owner).await, &manifest, &tables()).await;
    world.as_writer().await.manifest(&source(), manifest.header.backup).await.unwrap().unwrap();
}

/// A box that was moved or changed does not open, even when every plain hash was made to fit.
#[tokio::test]
async fn a_sealed_section_cannot_be_changed_or_moved() {
    let world = World::new().await;
    let manifest = back_up(&world.as_writer().await, &[table("t", 1), table("u", 200)], 1).await.unwrap();
    let reader = world.as_reader(&world.owner).await;
    let chunks = all_chunks(&reader, &manifest).await;
    let chunk = chunks.iter().find(|chunk| chunk.offset == 0).unwrap();
    let key = world.store.keys("chunks/").await.into_iter().find(|key| key.ends_with(&chunk.object)).unwrap();
    let before = world.store.bytes(&key).await;
    for at in 0..before.len() {
        let mut bad = before.to_vec();
        bad[at] ^= 1;
        let mut forged = chunk.clone();
        forged.stored_sha256 = repository::Hash::of(&bad);
        world.store.replace(&key, bad).await;
        assert!(reader.read_chunk(&forged, "the test").await.is_err(), "byte {at}");
    }
}

#[test]
fn keys_with_slips_are_refused_and_never_shown() {
    let slip = |text: &str| WriterKey::parse(text).unwrap_err().to_string();
    for text in
        ["", "longshore-writer-1-00", "AGE-SECRET-KEY-1CANARY", &format!("longshore-writer-1-{}", "00".repeat(180))]
    {
        let said = slip(text);
        assert!(!said.contains("CANARY") && said.contains("writer's key"), "{said}");
    }
    let said = Identity::parse_all("# mine\nAGE-SECRET-KEY-1CANARY").unwrap_err().to_string();
    assert!(said.contains("line 2") && !said.contains("CANARY"), "{said}");
    let identity = Identity::generate();
    let file = format!("# created today\n\n{}\n", identity.expose().as_str());
    assert_eq!(Identity::parse_all(&file).unwrap()[0].recipient().to_string(), identity.recipient().to_string());
    let said = identity.expose().parse::<repository::Recipient>().unwrap_err().to_string();
    assert!(!said.contains("AGE-SECRET"), "{said}");
    assert!(!format!("{identity:?}").contains("SECRET"));
}
