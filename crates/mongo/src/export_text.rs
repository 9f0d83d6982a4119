//! What an export says of itself: `README.txt`, and the command that brings it back.
//!
//! Owns the words. Promises that the command holds no password and asks for what keeps a restore exact: the order of documents, versions of indexes, documents older than a validator. Refuses to be a script: the vendor's tool reads
//! the folder by itself.

use crate::catalog::{Catalog, Sort};
use engine::ExportOptions;

/// The command, for an export in this folder.
pub(crate) fn restore_with(folder: &str) -> String {
    format!(
        "mongorestore --config=server.yaml --maintainInsertionOrder --keepIndexVersion --bypassDocumentValidation --dir={folder}/{}",
        crate::export::DUMP
    )
}

const ABOUT: &str = "\
This folder is a backup of a MongoDB database as plain files, in the layout of mongodump. It needs no program of its own: mongorestore brings it
back, bsondump shows what is in it.
";

const FILES: &str = "\
What is what
------------
  dump/                               what mongorestore reads
  dump/prelude.json                   the server's version
  dump/DATABASE/NAME.bson             the documents of one collection, as the server had them, one after the other
  dump/DATABASE/NAME.metadata.json    its options and indexes; of a view all there is
  dump/DATABASE/system.buckets.NAME.bson   the documents of a time series, in the server's own form
  tables.tsv                          which file holds which collection: file, collection, documents, bytes, digest (columns between
                                      tabs; a tab, line feed or backslash in a name is written \\t, \\n, \\\\)
  SHA256SUMS                          sums of all files; check them with: sha256sum -c SHA256SUMS
Names of files are those of collections, escaped as in a URL; very long ones are cut, and the metadata has the whole name.

";

const KEEP: &str = "\
Keep it as you keep the database: all of its content is readable here.
";

/// `README.txt`.
pub(crate) fn readme(catalog: &Catalog, options: &ExportOptions, notes: &[String]) -> String {
    let about = &options.about;
    let mut text = format!("{ABOUT}\n");
    let mut fact = |name: &str, value: &str| text.push_str(&format!("{name:<14}{value}\n"));
    fact("backup", &options.backup);
    fact("taken", &options.taken);
    fact("of", &format!("{} at {}, {} {}", about.database, about.server, about.engine, about.version));
    fact("written by", &options.programs.0);
    fact("exported by", &options.programs.1);
    text.push('\n');
    text.push_str(&how(catalog));
    text.push_str(FILES);
    text.push_str(KEEP);
    let notes: Vec<&String> = about.notes.iter().chain(notes).collect();
    if !notes.is_empty() {
        text.push_str("\nTo know\n-------\n");
        notes.iter().for_each(|note| text.push_str(&format!("- {note}\n")));
    }
    text
}

fn how(catalog: &Catalog) -> String {
    let series = catalog.collections.iter().any(|one| one.sort == Sort::TimeSeries);
    let series = if series { "Time series take the roles backup and restore on admin.\n" } else { "" };
    format!(
        "How to restore\n--------------\n  {}\n\n\
         server.yaml is a file of one line that nobody else may read:\n\n  uri: \"mongodb://USER:PASSWORD@HOST/?authSource=admin\"\n\n\
         Without the password in it mongorestore asks for it. Take one of version 100.5 or newer, and a server of MongoDB {} or newer.\n\
         The documents go into a database of the name that they come from; --nsFrom='{}.*' --nsTo='OTHER.*' give it another.\n\n\
         mongorestore puts documents into what is there: restore only where nothing is. It does not say whether all have come; the last\n\
         lines that it prints count them, and tables.tsv has how many there should be. --maintainInsertionOrder makes it stop at the first\n\
         error and keeps the order of capped collections; without --keepIndexVersion indexes of old become new ones; without\n\
         --bypassDocumentValidation documents older than a validator are left out.\n{series}\n",
        restore_with("."),
        catalog.server_version.split('.').take(2).collect::<Vec<_>>().join("."),
        catalog.database,
    )
}
