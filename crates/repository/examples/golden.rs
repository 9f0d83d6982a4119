//! Makes a golden repository: `golden <folder>` writes `<folder>/repository` and `<folder>/expected.json`.
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
    let expected = generate::generate(&root).await?;
    std::fs::write(folder.join("expected.json"), format!("{}\n", serde_json::to_string_pretty(&expected)?))?;
    Ok(())
}
