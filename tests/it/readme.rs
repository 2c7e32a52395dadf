//! README as the tests read it: its shell lines, its code, its sentences.

use anyhow::{Context as _, Result};

/// The whole text.
pub(crate) fn text() -> Result<String> {
    Ok(std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"))?)
}

/// Lines for a shell, without prompt and comment.
pub(crate) fn shell() -> Result<Vec<String>> {
    let text = text()?;
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("$ "));
    Ok(lines.map(|line| line.split(" #").next().unwrap_or(line).trim_end().to_owned()).collect())
}

/// First code block of a language.
pub(crate) fn code(language: &str) -> Result<String> {
    let text = text()?;
    let (_, code) = text.split_once(&format!("```{language}\n")).context("README has none")?;
    let (code, _) = code.split_once("```").context("it does not end")?;
    Ok(code.to_owned())
}
