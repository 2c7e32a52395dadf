//! The map in ARCHITECTURE: every file and folder that it names is there.

use std::path::Path;

use anyhow::{Result, ensure};

use super::{root, written};

const MAP: &str = "services/ARCHITECTURE.md";

/// Endings of the files that the map names.
const FILES: &[&str] = &["rs", "lua", "md", "toml"];

/// Beginnings of the folders that the map names, beside those with a slash at their end.
const TREES: &[&str] = &["services/", "lib/", "proto/", "tests/", "deploy/"];

/// True of a code span that names a file or a folder of the repository.
fn is_path(span: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "_-./*".contains(letter);
    let is_file = Path::new(span).extension().is_some_and(|kind| FILES.iter().any(|file| *file == kind));
    let is_folder =
        span.ends_with('/') || span.contains("/src/") || TREES.iter().any(|it| span.starts_with(it));
    !span.starts_with(['/', '.']) && span.chars().all(allowed) && (is_file || is_folder)
}

/// Paths that the map names by their ends, and that nothing in `files` has.
fn missing<'m>(map: &'m str, files: &[String]) -> Vec<&'m str> {
    let spans = map.split('`').skip(1).step_by(2);
    let is_there = |path: &str| {
        let (path, is_open) = path.strip_suffix('*').map_or((path, false), |path| (path, true));
        let wanted = format!("/{}", path.trim_end_matches('/'));
        files.iter().any(|file| {
            file.match_indices(&wanted).any(|(at, _)| {
                let rest = &file[at + wanted.len()..];
                is_open || rest.is_empty() || rest.starts_with('/')
            })
        })
    };
    spans.filter(|span| is_path(span) && !is_there(span)).collect()
}

#[test]
fn every_path_on_the_map_is_there() -> Result<()> {
    let map = std::fs::read_to_string(root().join(MAP))?;
    let paths = map.split('`').skip(1).step_by(2).filter(|span| is_path(span)).count();
    ensure!(paths > 80, "only {paths} paths were found in {MAP}");
    let mut files = Vec::new();
    written(root(), &mut files)?;
    let name = |file: &Path| format!("/{}", file.strip_prefix(root()).unwrap_or(file).display());
    let files: Vec<String> = files.iter().map(|file| name(file)).collect();
    let missing = missing(&map, &files);
    ensure!(missing.is_empty(), "{MAP} names what is not there: {missing:?}");
    Ok(())
}

#[test]
fn a_path_that_is_not_there_is_found() {
    let files = ["/services/lib/store/src/log.rs", "/services/router/src/clock.rs"].map(str::to_owned);
    let map = "`lib/store`, `store/src/log.rs`, `log.rs`, `router/src/clo*`, `store/`, `/readyz`, `EventLog::append`";
    assert_eq!(missing(map, &files), Vec::<&str>::new());
    let gone = "`lib/sto`, `router/src/log.rs`, `og.rs`, `router/src/clic*`, `mailbox/`";
    assert_eq!(
        missing(gone, &files),
        ["lib/sto", "router/src/log.rs", "og.rs", "router/src/clic*", "mailbox/"]
    );
}
