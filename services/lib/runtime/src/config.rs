//! Settings, read from layers: defaults < TOML file < environment < flags.
//!
//! A role asks the [`Reader`] for each setting by key, default and meaning. The settings asked for are all there are:
//! the same calls give the values, the listing of all defaults and variables, and the faults of everything else.
//!
//! Keys are written `section.name`, or `section.part.name`. The variable of a key is `PUSHGRID_SECTION__NAME`.
//!
//! Invariant: all faults are reported at once, each with its origin and its remedy.
//! Invariant: no fault shows the value of a secret.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

mod faults;
mod layers;
mod listing;
mod nearest;
mod secret;
mod value;

#[cfg(test)]
mod tests;

pub use faults::{Fault, Faults, Origin};
pub use layers::{FOREIGN_VARIABLES, Layers};
pub use listing::Listing;
pub use secret::Secret;
pub(crate) use value::{show_duration, show_octets};

use listing::{Initial, Setting};

/// The environment variable that sets `key`: `ingress.listen` is set by `PUSHGRID_INGRESS__LISTEN`.
pub fn variable(key: &str) -> String {
    format!("{}{}", layers::PREFIX, key.replace('.', "__").to_uppercase())
}

/// Reads settings, records which were asked for, and collects faults.
///
/// Guarantee: a setting with a fault reads as the default, so that reading goes on to the next fault; such values
/// never reach a running role, because [`Reader::finish`] fails. Two callers may ask for one key: it is listed once.
#[derive(Debug)]
pub struct Reader {
    layers: Layers,
    settings: Vec<Setting>,
    faults: Vec<Fault>,
}

impl Reader {
    /// A reader of `layers`.
    pub fn new(layers: Layers) -> Self {
        Self { layers, settings: Vec::new(), faults: Vec::new() }
    }

    /// An IP address and a port, such as `127.0.0.1:8080`. Names are not resolved.
    pub fn address(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        default: impl Into<Cow<'static, str>>,
        doc: &'static str,
    ) -> SocketAddr {
        self.parsed(&key.into(), default.into(), doc.into(), value::address)
    }

    /// Any text, also an empty one.
    pub fn text(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        default: impl Into<Cow<'static, str>>,
        doc: &'static str,
    ) -> String {
        self.parsed(&key.into(), default.into(), doc.into(), |text| Ok(text.to_owned()))
    }

    /// Any text, or none.
    pub fn optional_text(&mut self, key: impl Into<Cow<'static, str>>, doc: &'static str) -> Option<String> {
        let key = key.into();
        self.record(&key, Initial::None, doc.into());
        self.value(&key, |text| Ok(text.to_owned()))
    }

    /// A secret: the value of `key`, or the contents of the file named by `key` with `_file` appended, whichever is
    /// in the higher layer. Surrounding white space is removed. Both in one layer is a fault, and so is an empty
    /// secret. Neither faults nor listings ever show the secret.
    pub fn secret(&mut self, key: impl Into<Cow<'static, str>>, doc: &'static str) -> Option<Secret> {
        let key = key.into();
        let file_key = format!("{key}_file");
        self.record(&key, Initial::None, doc.into());
        self.record(&file_key, Initial::None, format!("A file that holds `{key}`.").into());
        match (self.layers.find(&key).map(|found| found.layer), self.layers.find(&file_key)) {
            (None, None) => None,
            (Some(_), None) => self.value(&key, secret::parse),
            (Some(layer), Some(file)) if layer > file.layer => self.value(&key, secret::parse),
            (Some(layer), Some(file)) if layer == file.layer => {
                self.fault(key, format!("it is set twice: keep it, or {file_key}, not both"));
                None
            }
            (_, Some(_)) => self.value(&file_key, secret::read),
        }
    }

    /// An `http` or `https` origin such as `https://push.example`, without a path; a final slash is removed.
    pub fn url(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        default: Option<&'static str>,
        doc: &'static str,
    ) -> Option<String> {
        let key = key.into();
        let known = default.map_or(Initial::None, |text| Initial::Text(text.into()));
        self.record(&key, known, doc.into());
        self.value(&key, value::url).or_else(|| default.map(str::to_owned))
    }

    /// A length of time with its unit: `250ms`, `10s`, `5m`, `12h` or `30d`.
    pub fn duration(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        default: impl Into<Cow<'static, str>>,
        range: RangeInclusive<Duration>,
        doc: &'static str,
    ) -> Duration {
        let range = value::Bounds::new(range, value::show_duration);
        let doc = format!("{doc} {range}.").into();
        self.parsed(&key.into(), default.into(), doc, |text| range.check(value::duration(text)?))
    }

    /// A whole number.
    pub fn count(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        default: u64,
        range: RangeInclusive<u64>,
        doc: &'static str,
    ) -> u64 {
        let key = key.into();
        let range = value::Bounds::new(range, u64::to_string);
        self.record(&key, Initial::Bare(default.to_string()), format!("{doc} {range}.").into());
        self.value(&key, |text| range.check(value::count(text)?)).unwrap_or(default)
    }

    /// A number of octets: `5630`, `64KiB`, `1MiB`.
    pub fn octets(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        default: impl Into<Cow<'static, str>>,
        range: RangeInclusive<usize>,
        doc: &'static str,
    ) -> usize {
        let range = value::Bounds::new(range, value::show_octets);
        let doc = format!("{doc} {range}.").into();
        self.parsed(&key.into(), default.into(), doc, |text| range.check(value::octets(text)?))
    }

    /// `true` or `false`.
    pub fn switch(&mut self, key: impl Into<Cow<'static, str>>, default: bool, doc: &'static str) -> bool {
        let key = key.into();
        self.record(&key, Initial::Bare(default.to_string()), doc.into());
        self.value(&key, value::switch).unwrap_or(default)
    }

    /// One of `options`, by its name.
    pub fn choice<T: Copy>(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        options: &'static [(&'static str, T)],
        default: &'static str,
        doc: &'static str,
    ) -> T {
        let names = options.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let doc = format!("{doc} One of {names}.").into();
        self.parsed(&key.into(), default.into(), doc, |text| value::choice(text, options, &names))
    }

    /// A file or directory; a relative path is taken from the working directory.
    pub fn path(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        default: impl Into<Cow<'static, str>>,
        doc: &'static str,
    ) -> PathBuf {
        self.parsed(&key.into(), default.into(), doc.into(), value::path)
    }

    /// Adds a fault for the setting `key`, found by a check of the caller's own. `message` names the fault and the
    /// remedy, and must not show a secret.
    pub fn fault(&mut self, key: impl Into<Cow<'static, str>>, message: impl Into<String>) {
        let key = key.into();
        let file_key = format!("{key}_file");
        let found = self.layers.find(&key).or_else(|| self.layers.find(&file_key));
        let origin = found.map_or(Origin::Unset, |found| found.entry.origin.clone());
        self.faults.push(Fault::new(key, message, origin));
    }

    /// Ends the reading. Fails with all faults; a key or variable that nobody asked for is one, with the nearest
    /// known name.
    pub fn finish(mut self) -> Result<Listing, Faults> {
        for unknown in self.layers.unknown(&self.settings) {
            self.faults.push(nearest::unknown(unknown, &self.settings));
        }
        if self.faults.is_empty() { Ok(Listing::new(self.settings)) } else { Err(Faults::new(self.faults)) }
    }

    fn parsed<T>(
        &mut self,
        key: &str,
        default: Cow<'static, str>,
        doc: Cow<'static, str>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let value = self.value(key, &parse);
        let value =
            value.unwrap_or_else(|| parse(&default).expect("a default is written in the source and valid"));
        self.record(key, Initial::Text(default), doc);
        value
    }

    fn value<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let entry = self.layers.find(key)?.entry;
        match entry.text().and_then(parse) {
            Ok(value) => Some(value),
            Err(message) => {
                self.faults.push(Fault::new(key.to_owned(), message, entry.origin.clone()));
                None
            }
        }
    }

    fn record(&mut self, key: &str, default: Initial, doc: Cow<'static, str>) {
        if let Some(known) = self.settings.iter().find(|setting| setting.key == key) {
            debug_assert_eq!(known.default, default, "{key} is asked for with two defaults");
            return;
        }
        self.settings.push(Setting { key: key.to_owned(), default, doc });
    }
}
