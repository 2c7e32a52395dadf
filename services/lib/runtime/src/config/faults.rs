use std::borrow::Cow;
use std::fmt;

use super::variable;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file, and the line in it, counted from one.
    File {
        /// The file, as it was named.
        path: String,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A `--set` flag.
    Flag,
    /// Nowhere: it is not set.
    Unset,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting, or the variable that is none; empty when the fault is not about a setting.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Everything that is wrong with the configuration: at least one fault. Displayed one fault on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Fault {
    pub(super) fn new(key: impl Into<Cow<'static, str>>, message: impl Into<String>, origin: Origin) -> Self {
        Self { key: key.into().into_owned(), message: message.into(), origin }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.origin {
            Origin::File { path, line } => write!(f, " ({path} line {line})"),
            Origin::Variable(name) => write!(f, " (environment variable {name})"),
            Origin::Flag => f.write_str(" (--set)"),
            Origin::Unset if self.key.is_empty() => Ok(()),
            Origin::Unset => {
                write!(
                    f,
                    " (not set: set {}, or {} in the configuration file)",
                    variable(&self.key),
                    self.key
                )
            }
        }
    }
}

impl Faults {
    pub(super) const fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// Each fault.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
