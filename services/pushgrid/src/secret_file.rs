//! Files that only their owner may read (mode 0600), written whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// Writes a file that must not exist yet.
pub(crate) fn create(path: &Path, text: &str) -> Result<()> {
    let written = write_beside(path, text)?;
    written
        .persist_noclobber(path)
        .map_err(|error| error.error)
        .with_context(|| format!("cannot create {}: name a file that does not exist yet", path.display()))?;
    sync_folder(path)
}

/// Writes a file, in place of any that is there. Returns the new file, still open.
pub(crate) fn replace(path: &Path, text: &str) -> Result<File> {
    let written = write_beside(path, text)?;
    let file = written
        .persist(path)
        .map_err(|error| error.error)
        .with_context(|| format!("cannot write {}", path.display()))?;
    sync_folder(path)?;
    Ok(file)
}

/// Writes the text to disk under another name in the same folder, from which it can take the final name in one step.
fn write_beside(path: &Path, text: &str) -> Result<NamedTempFile> {
    let folder = folder_of(path);
    let failed = || format!("cannot write into {}: check that it exists and is yours", folder.display());
    // Made with mode 0600.
    let mut file = NamedTempFile::new_in(&folder).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    Ok(file)
}

/// Syncs the folder, without which the new name is not durable.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    let synced = File::open(&folder).and_then(|it| it.sync_all());
    synced.with_context(|| format!("cannot make {} durable", folder.display()))
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_its_owners_alone_and_is_never_overwritten_by_create() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, "one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = create(&path, "two").unwrap_err();
        assert!(error.to_string().ends_with("name a file that does not exist yet"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        replace(&path, "three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_bare_name_stands_in_the_present_folder() {
        assert_eq!(folder_of(Path::new("key")), Path::new("."));
        assert_eq!(folder_of(Path::new("/etc/key")), Path::new("/etc"));
    }
}
