//! What a restore's workers do next.
//!
//! Owns the order of loading and building, as a plain data structure: the largest work first, a table's builds as soon as its
//! last rows are in, stage after stage. Promises that every unit is loaded once and every build made once, that no build
//! of a table begins before all its rows are committed, and that workers wait while something may still become ready.
//! Refuses to run anything itself.

use crate::load::Unit;
use engine::{Build, StreamName};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// One piece of work.
#[derive(Debug)]
pub(crate) enum Work {
    Load(Unit),
    Build(StreamName, Build),
}

/// What a worker does now.
#[derive(Debug)]
pub(crate) enum Next {
    Do(Work),
    /// Nothing is ready; something that is being done may change that.
    Wait,
    /// Everything is done.
    End,
}

/// Work that is ready, by size.
#[derive(Debug)]
struct Ready {
    bytes: u64,
    /// Counts down: of equal sizes the first comes first.
    order: u64,
    work: Work,
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        (self.bytes, self.order) == (other.bytes, other.order)
    }
}

impl Eq for Ready {}

impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ready {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.bytes, self.order).cmp(&(other.bytes, other.order))
    }
}

/// What is left of a stream.
#[derive(Debug)]
struct Left {
    bytes: u64,
    /// Units, then builds of the current stage, that are not done.
    running: usize,
    stages: VecDeque<Vec<Build>>,
}

/// All work of a restore.
#[derive(Debug)]
pub(crate) struct Schedule {
    ready: BinaryHeap<Ready>,
    left: BTreeMap<StreamName, Left>,
    order: u64,
    /// Pieces that workers are at.
    busy: usize,
}

impl Schedule {
    /// Everything to load, and what to build of each stream afterwards.
    pub fn new(units: Vec<Unit>, builds: impl Fn(&StreamName) -> Vec<Vec<Build>>) -> Self {
        let mut schedule = Self { ready: BinaryHeap::new(), left: BTreeMap::new(), order: u64::MAX, busy: 0 };
        for unit in units {
            let stream = unit.stream.clone();
            let new = || Left { bytes: 0, running: 0, stages: builds(&stream).into() };
            let left = schedule.left.entry(stream.clone()).or_insert_with(new);
            left.bytes += unit.bytes;
            left.running += 1;
            schedule.push(unit.bytes, Work::Load(unit));
        }
        schedule
    }

    /// How much there is to do at the same time, at most.
    pub fn most_workers(&self) -> usize {
        self.ready.len() + self.left.values().flat_map(|left| &left.stages).map(Vec::len).sum::<usize>()
    }

    /// The next piece, which the caller must give back to [`Schedule::done`].
    pub fn next(&mut self) -> Next {
        match self.ready.pop() {
            Some(ready) => {
                self.busy += 1;
                Next::Do(ready.work)
            }
            None if self.busy > 0 => Next::Wait,
            None => Next::End,
        }
    }

    /// A piece of this stream is done: its builds, or their next stage, may be ready now.
    pub fn done(&mut self, stream: &StreamName) {
        self.busy = self.busy.saturating_sub(1);
        let Some(left) = self.left.get_mut(stream) else { return };
        left.running = left.running.saturating_sub(1);
        if left.running > 0 {
            return;
        }
        let Some(stage) = left.stages.pop_front() else { return };
        left.running = stage.len();
        let bytes = left.bytes;
        for build in stage {
            self.push(bytes, Work::Build(stream.clone(), build));
        }
    }

    fn push(&mut self, bytes: u64, work: Work) {
        self.order -= 1;
        self.ready.push(Ready { bytes, order: self.order, work });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn unit(stream: &str, bytes: u64) -> Unit {
        Unit { stream: StreamName::new(stream), whole: false, bytes, segments: Vec::new() }
    }

    fn builds(stream: &StreamName) -> Vec<Vec<Build>> {
        let build = |number: usize, what: &str| Build { number, what: format!("{what} of {stream}") };
        match stream.as_str() {
            "large" => vec![vec![build(0, "key")], vec![build(1, "index"), build(2, "index")]],
            _ => Vec::new(),
        }
    }

    fn name(next: &Next) -> String {
        match next {
            Next::Do(Work::Load(unit)) => format!("load {} {}", unit.stream, unit.bytes),
            Next::Do(Work::Build(_, build)) => build.what.clone(),
            Next::Wait => "wait".to_owned(),
            Next::End => "end".to_owned(),
        }
    }

    #[test]
    fn builds_begin_when_the_last_rows_are_in_and_before_smaller_tables() {
        let mut schedule = Schedule::new(vec![unit("small", 1), unit("large", 10), unit("large", 12)], builds);
        assert_eq!(schedule.most_workers(), 6);
        let large = StreamName::new("large");
        assert_eq!(name(&schedule.next()), "load large 12");
        assert_eq!(name(&schedule.next()), "load large 10");
        schedule.done(&large);
        assert_eq!(name(&schedule.next()), "load small 1", "a part of the large table is still loading");
        assert_eq!(name(&schedule.next()), "wait");
        schedule.done(&large);
        assert_eq!(name(&schedule.next()), "key of large");
        assert_eq!(name(&schedule.next()), "wait");
        schedule.done(&large);
        assert_eq!(
            (name(&schedule.next()), name(&schedule.next())),
            ("index of large".into(), "index of large".into())
        );
        schedule.done(&large);
        schedule.done(&large);
        assert_eq!(name(&schedule.next()), "wait", "the small table is still loading");
        schedule.done(&StreamName::new("small"));
        assert_eq!(name(&schedule.next()), "end");
    }

    #[test]
    fn a_large_tables_builds_go_before_small_tables_rows() {
        let mut schedule = Schedule::new(vec![unit("small", 1), unit("large", 10)], builds);
        drop(schedule.next());
        schedule.done(&StreamName::new("large"));
        assert_eq!(name(&schedule.next()), "key of large");
    }
}
