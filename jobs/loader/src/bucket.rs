//! A drop in a bucket: looked at, then fetched.
//!
//! Owns the way from a list of objects to a directory with the same files, which is then frozen, hashed and loaded as any other. Promises that nothing is fetched
//! of a drop that is not complete, is not what its manifest says, or has names that a directory's files cannot have; that each file is the object that was
//! listed, all of it, or the load fails; that memory does not grow with a file; and that signals and a lost lease end it. Writes nothing into the bucket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drops::{Complete, DROP_YAML, Marks, Part, SHA256SUMS, SUCCESS, Survey};
use jobkit::{Exit, Failure, Kit, Progress, s3_credentials};
use lease::RunId;
use loader::Permit;
use store::{Location, Object, Objects, ReadError};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use crate::args::LoadArgs;
use crate::failed;
use crate::scratch::{Scratch, create, unkept};

/// Files fetched at the same time.
const AT_ONCE: usize = 4;

/// What is to be fetched.
struct Found {
    files: Vec<Object>,
    marks: Vec<(Object, Vec<u8>)>,
    notes: Vec<String>,
}

/// Fetches a drop into a directory of the run's own.
///
/// # Errors
/// [`Exit::NoInput`] when it is not there, not complete or changed meanwhile; [`Exit::Data`] and [`Exit::Refused`] as for a directory;
/// [`Exit::Unavailable`] when the bucket could not be reached, or there is no room; what `permit` ends with.
pub(crate) async fn fetch(
    args: &LoadArgs,
    kit: &Kit,
    location: &Location,
    run: RunId,
    permit: &dyn Permit,
) -> Result<Scratch, Failure> {
    let credentials = s3_credentials(location, [args.s3_access_key.as_ref(), args.s3_secret_key.as_ref()])?;
    let objects = Box::pin(Objects::open(location, credentials)).await.map_err(failed::of_store)?;
    kit.progress.stage("look at the bucket");
    let found = tokio::select! {
        biased;
        error = permit.ended() => return Err(failed::of_load(error)),
        found = Box::pin(look(&objects, args.completeness())) => found?,
    };
    for note in &found.notes {
        tracing::warn!("{note}");
    }
    let parent = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let made = tokio::task::spawn_blocking(move || Scratch::make(&parent, run)).await;
    let scratch = made.unwrap_or_else(|join| Err(lost(join)))?;
    let bytes = found.files.iter().fold(0u64, |sum, object| sum.saturating_add(object.len));
    scratch.refuse_without_room(bytes)?;
    kit.progress.stage("fetch the drop");
    kit.progress.set_total(bytes, 0);
    for (object, content) in &found.marks {
        let kept =
            create(scratch.path(), &object.name).and_then(|mut file| std::io::Write::write_all(&mut file, content));
        kept.map_err(|error| unkept(scratch.path(), &object.name, error))?;
    }
    fetch_all(Arc::new(objects), found.files, scratch.path(), &kit.progress, permit).await?;
    Ok(scratch)
}

/// Looks at the marks, and then at the whole list: marks are written last, so what they speak of is there when the list is made.
async fn look(objects: &Objects, how: Complete) -> Result<Found, Failure> {
    const MARKS: [&str; 3] = [DROP_YAML, SHA256SUMS, SUCCESS];
    let mut survey = Survey::new(objects.location());
    let mut marks = Vec::new();
    for name in MARKS {
        if let Some(object) = objects.find(name).await.map_err(failed::of_store)? {
            survey.add(&object.name, object.len).map_err(failed::of_drop)?;
            let content = whole(objects, &object).await?;
            marks.push((object, content));
        }
    }
    let (mut files, mut listed, mut after) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let (page, more) = objects.list(after.as_deref()).await.map_err(failed::of_store)?;
        after = page.last().map(|object| object.name.clone());
        for object in page {
            match survey.add(&object.name, object.len).map_err(failed::of_drop)? {
                Part::File => files.push(object),
                Part::Mark => listed.push(object),
                Part::Nothing => {}
            }
        }
        if !more {
            break;
        }
    }
    for name in MARKS {
        let read = marks.iter().map(|(object, _)| object).find(|object| object.name == name);
        if read != listed.iter().find(|object| object.name == name) {
            return Err(failed::of_drop(drops::Error::changed(name, "it came, went or was replaced")));
        }
    }
    let notes = survey.check(&content_of(&marks), how).map_err(failed::of_drop)?;
    Ok(Found { files, marks, notes })
}

fn content_of(marks: &[(Object, Vec<u8>)]) -> Marks {
    let of = |name: &str| marks.iter().find(|(object, _)| object.name == name).map(|(_, content)| content.clone());
    Marks { drop_yaml: of(DROP_YAML), sha256sums: of(SHA256SUMS), success: of(SUCCESS) }
}

/// All bytes of a mark, whose size was looked at.
async fn whole(objects: &Objects, object: &Object) -> Result<Vec<u8>, Failure> {
    let unread = |error| unread(object, error);
    let mut content = Vec::new();
    let mut reading = objects.read(object).await.map_err(unread)?;
    while let Some(piece) = reading.next().await.map_err(unread)? {
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

/// Fetches all files, a few at a time. Nothing is at work in the directory any more when this returns, however it ends.
async fn fetch_all(
    objects: Arc<Objects>,
    files: Vec<Object>,
    folder: &Path,
    progress: &Progress,
    permit: &dyn Permit,
) -> Result<(), Failure> {
    let mut files = files.into_iter();
    let mut tasks = JoinSet::new();
    let done = loop {
        while tasks.len() < AT_ONCE
            && let Some(object) = files.next()
        {
            tasks.spawn(fetch_one(Arc::clone(&objects), object, folder.to_owned(), progress.clone()));
        }
        let ended = tokio::select! {
            biased;
            error = permit.ended() => break Err(failed::of_load(error)),
            ended = tasks.join_next() => ended,
        };
        match ended.map(|ended| ended.unwrap_or_else(|join| Err(lost(join)))) {
            None => break Ok(()),
            Some(Ok(())) => {}
            Some(Err(failure)) => break Err(failure),
        }
    };
    tasks.shutdown().await;
    done
}

async fn fetch_one(objects: Arc<Objects>, object: Object, folder: PathBuf, progress: Progress) -> Result<(), Failure> {
    let (name, unread) = (&object.name, |error| unread(&object, error));
    let kept = |error| unkept(&folder, name, error);
    // Made at once: a task that is ended makes nothing later.
    let mut file = tokio::fs::File::from_std(create(&folder, name).map_err(kept)?);
    let mut reading = objects.read(&object).await.map_err(unread)?;
    while let Some(piece) = reading.next().await.map_err(unread)? {
        file.write_all(&piece).await.map_err(kept)?;
        progress.add(0, piece.len() as u64);
    }
    file.flush().await.map_err(kept)
}

fn unread(object: &Object, error: ReadError) -> Failure {
    match error {
        ReadError::Changed { how } => failed::of_drop(drops::Error::changed(&object.name, how)),
        ReadError::Store(error) => failed::of_store(error),
    }
}

fn lost(join: tokio::task::JoinError) -> Failure {
    Failure::new(Exit::Internal, "a task that fetches the drop has ended").because(join)
}
