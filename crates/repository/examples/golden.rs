//! Makes a golden repository: `golden <folder> [sealed]` writes `<folder>/repository` and `<folder>/expected.json`, and beside them
//! the keys of an encrypted one, which no other repository has.
//!
//! Run by hand when a format is new; a golden repository that stands is never written again.

extern crate longshore_repository as repository;

#[path = "../../../tests/golden/generate.rs"]
mod generate;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let folder = std::env::args_os().nth(1).ok_or("which folder?")?;
    let folder = std::path::PathBuf::from(folder);
    let root = folder.join("repository");
    if root.exists() {
        return Err(format!("{} is there already; golden repositories are not replaced", root.display()).into());
    }
    std::fs::create_dir_all(&root)?;
    let (expected, keys) = match std::env::args().nth(2).as_deref() {
        Some("sealed") => generate::generate_sealed(&root).await?,
        Some(other) => return Err(format!("{other:?} is no kind of repository").into()),
        None => (generate::generate(&root).await?, Vec::new()),
    };
    for (name, text) in keys {
        std::fs::write(folder.join(name), text)?;
    }
    std::fs::write(folder.join("expected.json"), format!("{}\n", serde_json::to_string_pretty(&expected)?))?;
    Ok(())
}
