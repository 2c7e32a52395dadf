//! Faults of the configuration, as a person reads them: setting, message and origin.
//!
//! Invariant: a fault never holds the value of a secret. Each setting's check is with the reader.

use std::borrow::Cow;
use std::fmt;

use super::variable;

/// Origin of a value.
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
    /// None: the setting is not set.
    Unset,
}

/// One fault of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting, or the unknown variable; empty when the fault is not about a setting.
    pub key: String,
    /// The fault and the remedy.
    pub message: String,
    /// Origin of the value at fault.
    pub origin: Origin,
}

/// All faults of the configuration: at least one. Displayed one on a line.
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
