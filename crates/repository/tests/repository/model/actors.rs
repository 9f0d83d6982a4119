//! Who is at work in the model: writers, maintenances, an operator, and the dice that they are given.

use super::world::View;
use crate::support::{Table, store_tables};
use repository::retention::Policy;
use repository::{BeginOptions, Error, PruneOptions, Repository, Session, SourceName};
use std::sync::Arc;
use std::time::Duration;
use store::Store;

const HOUR: Duration = Duration::from_secs(3_600);

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    pub fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }
}

pub fn source(number: u64) -> SourceName {
    format!("app{number}").parse().unwrap()
}

/// One of a few contents, so that they come back after they were swept.
pub fn content(dice: &mut Dice) -> Table {
    let (name, version) = (dice.below(3), dice.below(3));
    let row = |n: u32| format!("{name}\t{version}\t{n}\t{}", "x".repeat(40)).into_bytes();
    (format!("t{name}"), (0..30).map(row).collect())
}

pub async fn write(store: Arc<dyn Store>, mut dice: Dice) -> Result<(), Error> {
    let repository = Repository::open(store).await?;
    let options = BeginOptions { source: source(dice.below(2)), compression: 1, program: "model".into() };
    let session = Session::begin(&repository, options).await?;
    let mut tables: Vec<Table> = (0..=dice.below(3)).map(|_| content(&mut dice)).collect();
    tables.sort();
    tables.dedup_by(|a, b| a.0 == b.0);
    let bundle = if dice.one_in(2) { 1 } else { 8 };
    let commit = store_tables(&session, &tables, bundle).await?;
    if dice.one_in(8) {
        session.abandon("interrupted").await;
        return Ok(());
    }
    session.commit(commit).await.map(drop)
}

/// Keeps the newest `last`, or a random number of them.
pub async fn prune(store: Arc<dyn Store>, last: Option<u32>, patient: bool, mut dice: Dice) -> Result<(), Error> {
    let repository = Repository::open(store).await?;
    let drawn = u32::try_from(1 + dice.below(3)).unwrap();
    let fixed = last.is_some();
    let last = last.unwrap_or(drawn);
    let plan = repository.plan_retention(&Policy { last, ..Policy::default() }, None, 0).await?;
    let patience = match fixed {
        true => PruneOptions { grace: HOUR, undo: HOUR, silent: HOUR, least_percent: 0, holder: "last".into() },
        false => patience(patient, &mut dice),
    };
    repository.prune(&plan, &patience).await.map(drop)
}

/// Short times let things happen while a writer sleeps. Where writers are given up, hardly one sleeps through three runs and comes
/// back: a patient world gives up none.
pub fn patience(patient: bool, dice: &mut Dice) -> PruneOptions {
    let mut hours = |short: u64, long: u64| {
        let most = if dice.one_in(3) { long } else { short };
        HOUR * u32::try_from(dice.below(most)).unwrap()
    };
    let (grace, undo) = (hours(2, 30), hours(2, 30));
    let silent = HOUR * if patient { 5_000 } else { u32::try_from(1 + dice.below(30)).unwrap() };
    PruneOptions { grace, undo, silent, least_percent: 0, holder: "model".into() }
}

/// Pins, unpins, removes by name, and undoes removals.
pub async fn operate(view: View, mut dice: Dice) -> Result<(), Error> {
    let repository = Repository::open(Arc::new(view.clone())).await?;
    let source = source(dice.below(2));
    if dice.one_in(3) {
        return repository.undo_removals(Some(&source)).await.map(drop);
    }
    let ids = repository.backup_ids(Some(&source)).await?;
    let Some((_, id)) = ids.get(usize::try_from(dice.below(ids.len().max(1) as u64)).unwrap()) else { return Ok(()) };
    if dice.one_in(4) {
        return repository.mark_removed(&source, &[*id]).await;
    }
    let key = format!("manifests/{source}/{id}");
    if dice.one_in(3) {
        view.world.checker.lock().unwrap().pinned.remove(&key);
        return repository.unpin(&source, *id).await;
    }
    repository.pin(&source, *id).await?;
    let mut checker = view.world.checker.lock().unwrap();
    assert!(checker.needs.contains_key(&key), "{key} is said to be kept for ever, and is gone");
    checker.pinned.insert(key);
    Ok(())
}
