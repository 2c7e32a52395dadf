//! The listing of all settings: a TOML file of the defaults, and a table of the variables.
//!
//! Invariant: a listing holds defaults and meanings alone, never a value that was set.

use std::borrow::Cow;
use std::fmt::Write;

use super::variable;

/// A setting asked for by a caller.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) default: Initial,
    pub(super) doc: Cow<'static, str>,
}

/// Default of a setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Initial {
    /// Not set.
    None,
    /// A text.
    Text(Cow<'static, str>),
    /// A number or a switch.
    Bare(String),
}

/// Every setting asked for, in that order, with default and meaning. Holds no value that was set.
#[derive(Debug)]
pub struct Listing {
    settings: Vec<Setting>,
}

impl Listing {
    pub(super) const fn new(settings: Vec<Setting>) -> Self {
        Self { settings }
    }

    /// A TOML file with every setting at its default; settings without a default are commented out. Reading the file
    /// back changes nothing.
    pub fn to_toml(&self) -> String {
        let mut sections: Vec<&str> = Vec::new();
        for setting in &self.settings {
            let (section, _) = setting.split();
            if !sections.contains(&section) {
                sections.push(section);
            }
        }
        let mut toml = String::new();
        for section in sections {
            let gap = if toml.is_empty() { "" } else { "\n" };
            let _ = writeln!(toml, "{gap}[{section}]");
            for setting in self.settings.iter().filter(|setting| setting.split().0 == section) {
                let (_, name) = setting.split();
                let _ = writeln!(toml, "# {} [{}]", setting.doc, variable(&setting.key));
                let _ = match &setting.default {
                    Initial::None => writeln!(toml, "# {name} = \"\""),
                    Initial::Text(text) => writeln!(toml, "{name} = {}", basic_string(text)),
                    Initial::Bare(text) => writeln!(toml, "{name} = {text}"),
                };
            }
        }
        toml
    }

    /// A Markdown table of every setting, its environment variable, default and meaning.
    pub fn to_env(&self) -> String {
        let mut table = String::from("| setting | variable | default | meaning |\n|---|---|---|---|\n");
        for setting in &self.settings {
            let default = match &setting.default {
                Initial::None => "none".to_owned(),
                Initial::Text(text) if text.is_empty() => "empty".to_owned(),
                Initial::Text(text) => format!("`{text}`"),
                Initial::Bare(text) => format!("`{text}`"),
            };
            let variable = variable(&setting.key);
            let cells =
                [format!("`{}`", setting.key), format!("`{variable}`"), default, setting.doc.to_string()];
            let cells = cells.map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        }
        table
    }
}

impl Setting {
    /// The section, and the name within.
    fn split(&self) -> (&str, &str) {
        self.key.rsplit_once('.').expect("every key is written in the source, with its section")
    }
}

/// A TOML basic string.
fn basic_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            other if other.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(other));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
