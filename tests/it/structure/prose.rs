//! The prose of the code: promises that are cited are defined, terms that were given up stay so, docs open with the noun
//! or the verb that they are about, and files of any length say what they are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{root, sources};

/// Words of our own that the field has others for. ARCHITECTURE's glossary has the ones that took their place.
const GIVEN_UP: &[&str] = &["tenure", "footing", "estate", "roster", "lineup"];

/// Openings that name a thing by a relative clause instead of its noun.
const CLAUSES: &[&str] = &["What", "How", "Whether", "Where", "Why", "Who", "Which", "Whose", "When"];

/// Doc comments that may open like that, per thousand.
const CLAUSES_PER_THOUSAND: usize = 40;

/// Lines of a file above which it has to open with what it is.
const SHORT: usize = 60;

/// Production files above that length that may open without, per hundred.
const SILENT_PER_HUNDRED: usize = 10;

fn rust() -> Result<Vec<(PathBuf, String)>> {
    let files = sources()?.into_iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs"));
    files.map(|file| Ok((file.clone(), std::fs::read_to_string(file)?))).collect()
}

/// All sources but this one, which names what it looks for.
fn others() -> Result<Vec<(PathBuf, String)>> {
    let mut all = rust()?;
    all.retain(|(file, _)| !file.ends_with("structure/prose.rs"));
    Ok(all)
}

fn name(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

/// The first line of each doc comment of an item.
fn openings(source: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    source.lines().filter_map(move |line| {
        let doc = line.trim_start().strip_prefix("///");
        let opens = doc.is_some() && !inside;
        inside = doc.is_some();
        doc.filter(|text| opens && !text.trim().is_empty()).map(str::trim)
    })
}

#[test]
fn every_promise_that_is_cited_is_defined() -> Result<()> {
    let architecture = std::fs::read_to_string(root().join("services/ARCHITECTURE.md"))?;
    let defined: BTreeSet<u32> = architecture
        .lines()
        .filter_map(|line| line.strip_prefix("| P")?.split_whitespace().next()?.parse().ok())
        .collect();
    ensure!(defined == (1..=8).collect(), "ARCHITECTURE defines the promises {defined:?}");
    let mut cited = 0;
    for (file, source) in others()? {
        for after in source.split("promise P").skip(1) {
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            let number: u32 = digits.parse().with_context(|| format!("{} cites no number", name(&file)))?;
            ensure!(defined.contains(&number), "{} cites P{number}, which nobody defines", name(&file));
            cited += 1;
        }
    }
    ensure!(cited > 20, "only {cited} citations were found");
    Ok(())
}

#[test]
fn terms_that_were_given_up_do_not_come_back() -> Result<()> {
    for (file, source) in others()? {
        let mut words = source.split(|it: char| !it.is_ascii_alphabetic()).map(str::to_ascii_lowercase);
        let found = words.find(|word| GIVEN_UP.contains(&word.as_str()));
        ensure!(found.is_none(), "{}: {found:?} has another name: see ARCHITECTURE's glossary", name(&file));
    }
    Ok(())
}

#[test]
fn docs_open_with_a_noun_or_a_verb() -> Result<()> {
    let (mut all, mut clauses) = (0, Vec::new());
    for (file, source) in rust()? {
        for text in openings(&source) {
            all += 1;
            if text.split_whitespace().next().is_some_and(|first| CLAUSES.contains(&first)) {
                clauses.push(format!("{}: {text}", name(&file)));
            }
        }
    }
    ensure!(all > 1000, "only {all} doc comments were found");
    let most = all * CLAUSES_PER_THOUSAND / 1000;
    ensure!(
        clauses.len() <= most,
        "{} of {all} docs open with a clause, not {most}: {clauses:#?}",
        clauses.len()
    );
    Ok(())
}

#[test]
fn files_say_what_they_are() -> Result<()> {
    let long = rust()?.into_iter().filter(|(_, source)| source.lines().count() > SHORT);
    let production = long.filter(|(file, _)| file.starts_with(root().join("services")));
    let (all, silent): (Vec<_>, Vec<_>) = production.partition(|(_, source)| source.starts_with("//!"));
    let silent: Vec<_> = silent.iter().map(|(file, _)| name(file)).collect();
    let most = (all.len() + silent.len()) * SILENT_PER_HUNDRED / 100;
    ensure!(silent.len() <= most, "{} files open without //!, not {most}: {silent:#?}", silent.len());
    Ok(())
}
