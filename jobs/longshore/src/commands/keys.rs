//! `longshore keys`: who can read an encrypted repository, and who can write it.
//!
//! Owns recipients and writers as an operator sees them. Promises that secrets go into files that are made for them, and nowhere else.

use crate::key_file::KeyFile;
use clap::{Args, Subcommand};
use jobkit::format::counted;
use jobkit::{Align, Exit, Failure, Kit, RepoArgs, text_table};
use repository::{Identity, Recipient, Repository};
use serde_json::json;
use std::path::PathBuf;

/// Longest name of a writer, in bytes.
const LONGEST: usize = 63;

/// Options of `keys`.
#[derive(Debug, Clone, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Show the recipients and the writers of a repository
    List(Place),
    /// Let another recipient read the repository; takes an identity, and rewrites no backup
    Add(Reader),
    /// Delete what is wrapped for a recipient; takes the permission to delete
    Remove(Reader),
    /// Make the key of another backup job; takes an identity
    NewWriter(NewWriter),
    /// Refuse from now on what a writer has signed; takes an identity
    RemoveWriter(RemoveWriter),
    /// Make an age identity, as age-keygen does; its recipient is printed
    NewIdentity(NewIdentity),
}

#[derive(Debug, Clone, Args)]
struct Place {
    #[command(flatten)]
    repo: RepoArgs,
}

#[derive(Debug, Clone, Args)]
struct Reader {
    #[command(flatten)]
    repo: RepoArgs,
    /// The age recipient
    #[arg(value_name = "age1…")]
    recipient: String,
}

#[derive(Debug, Clone, Args)]
struct Writer {
    #[command(flatten)]
    repo: RepoArgs,
    /// What the job is called
    #[arg(value_name = "NAME", value_parser = writer_name)]
    name: String,
}

#[derive(Debug, Clone, Args)]
struct NewWriter {
    #[command(flatten)]
    writer: Writer,
    /// The file to make
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Clone, Args)]
struct RemoveWriter {
    #[command(flatten)]
    writer: Writer,
    /// Give up every backup that it has made: none of them is restored any more
    #[arg(long)]
    give_up_backups: bool,
}

#[derive(Debug, Clone, Args)]
struct NewIdentity {
    /// The file to make
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A name that shows well in lists and logs.
pub fn writer_name(text: &str) -> Result<String, String> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.@".contains(&c);
    if text.is_empty() || text.len() > LONGEST || !text.bytes().all(plain) {
        return Err(format!("a name has 1 to {LONGEST} letters, digits, dots, dashes, underscores and @"));
    }
    Ok(text.to_owned())
}

/// Does what was asked.
pub async fn run(args: KeysArgs, kit: Kit) -> Result<(), Failure> {
    match args.what {
        What::List(place) => list(&encrypted(&place.repo).await?, &kit).await,
        What::Add(reader) => {
            let recipient: Recipient = reader.recipient.parse()?;
            encrypted(&reader.repo).await?.add_recipient(&recipient).await?;
            say(&kit, &json!({ "added": recipient.to_string() }), format!("{recipient} can read it\n"))
        }
        What::Remove(reader) => {
            let recipient: Recipient = reader.recipient.parse()?;
            encrypted(&reader.repo).await?.remove_recipient(&recipient).await?;
            let text =
                format!("{recipient} finds no keys there any more; whoever used them before may have kept them\n");
            say(&kit, &json!({ "removed": recipient.to_string() }), text)
        }
        What::NewWriter(NewWriter { writer, out }) => {
            let file = KeyFile::create(&out)?;
            let new = encrypted(&writer.repo).await?.add_writer(&writer.name).await?;
            file.write(&new.key.expose())?;
            let text = format!("the key of {:?} is in {}\n", writer.name, out.display());
            say(&kit, &json!({ "writer": writer.name, "public": new.public, "file": out }), text)
        }
        What::RemoveWriter(RemoveWriter { writer, give_up_backups }) => {
            let repository = encrypted(&writer.repo).await?;
            if !give_up_backups {
                assert_nothing_signed(&repository, &writer.name).await?;
            }
            let gone = repository.remove_writer(&writer.name).await?;
            let text = format!("nothing that {:?} has signed is believed any more\n", gone.name);
            say(&kit, &json!({ "removed": gone }), text)
        }
        What::NewIdentity(NewIdentity { out }) => {
            let (file, identity) = (KeyFile::create(&out)?, Identity::generate());
            let recipient = identity.recipient().to_string();
            // As age-keygen does it: the file says whose it is.
            file.write(&format!("# public key: {recipient}\n{}", identity.expose().as_str()))?;
            let text = format!("{recipient}\n");
            say(&kit, &json!({ "recipient": recipient, "file": out }), text)
        }
    }
}

/// Fails when there are backups that nobody would restore any more without this writer.
async fn assert_nothing_signed(repository: &Repository, name: &str) -> Result<(), Failure> {
    let Some(writer) = repository.signers().iter().find(|signer| signer.name == name) else { return Ok(()) };
    let (backups, _) = repository.readable_backups(None).await?;
    let mut signed = backups.iter().filter(|manifest| manifest.signer == Some(writer.public));
    let Some(newest) = signed.next_back() else { return Ok(()) };
    let (number, header) = (counted(signed.count() as u64 + 1, "backup"), &newest.header);
    let what = format!(
        "{name:?} has signed {number}, such as {}@{}, and none of them could be restored then",
        header.source, header.backup
    );
    Err(Failure::new(Exit::Refused, what).hint(
        "copy those that you trust into another repository first (`longshore copy` signs anew), or export them; then say --give-up-backups; nothing was changed",
    ))
}

/// Opens a repository that has keys.
async fn encrypted(repo: &RepoArgs) -> Result<Repository, Failure> {
    let repository = repo.open().await?;
    if repository.fingerprint().is_none() {
        let what = format!("{} is not encrypted: it has no keys", repository.location());
        return Err(Failure::new(Exit::Config, what).hint("`longshore init --recipient age1…` makes one that is"));
    }
    Ok(repository)
}

async fn list(repository: &Repository, kit: &Kit) -> Result<(), Failure> {
    let recipients = repository.recipients().await?;
    let result = json!({
        "repository_key": repository.fingerprint(), "recipients": recipients, "writers": repository.signers(),
    });
    kit.printer.print(&result, |_| {
        let readers: String = recipients.iter().map(|name| format!("  {name}\n")).collect();
        let columns = [("WRITER", Align::Left), ("SINCE (UTC)", Align::Left), ("SIGNS AS", Align::Left)];
        let lines = repository.signers().iter().map(|signer| {
            vec![signer.name.clone(), signer.added.strftime("%Y-%m-%d %H:%M:%S").to_string(), signer.public.to_string()]
        });
        let fingerprint = repository.fingerprint().unwrap_or_default();
        format!("fingerprint {fingerprint}\n\nrecipients\n{readers}\n{}", text_table(&columns, lines))
    })
}

fn say(kit: &Kit, result: &serde_json::Value, text: String) -> Result<(), Failure> {
    kit.progress.finish();
    kit.printer.print(result, |_| text)
}
