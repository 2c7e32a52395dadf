//! The layers of settings above the defaults: file, environment and flags, flattened to keys.
//!
//! Invariant: `Debug` and faults show no value. Meaning and bounds of a setting are not known here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::faults::{Fault, Faults, Origin};
use super::listing::Setting;
use super::variable;

/// Prefix of the name of every variable of the service.
pub(super) const PREFIX: &str = "PUSHGRID_";

/// Prefixes of variables for the scripts around, not settings of a process. Variables that Kubernetes makes for a
/// service called `pushgrid` are passed over, too.
pub const FOREIGN_VARIABLES: [&str; 4] =
    ["PUSHGRID_LOCAL_", "PUSHGRID_COMPOSE_", "PUSHGRID_TEST_", "PUSHGRID_BINARY"];

/// Largest configuration file, in octets.
const FILE_LIMIT: u64 = 1024 * 1024;

/// Deepest nesting of tables to be followed. Keys have two or three parts.
const DEPTH: usize = 8;

/// Values set, each with the origin; no setting is known yet.
#[derive(Debug, Default)]
pub struct Layers {
    /// Lowest first.
    layers: [BTreeMap<String, Entry>; 3],
}

const FILE: usize = 0;
const ENVIRONMENT: usize = 1;
const FLAGS: usize = 2;

/// One value in one layer.
#[derive(Debug)]
pub(super) struct Entry {
    value: Value,
    pub(super) origin: Origin,
}

enum Value {
    /// A value. A list of texts has become one text, joined by commas.
    Text(String),
    /// Something other than a value, in words.
    NotOne(&'static str),
}

impl std::fmt::Debug for Value {
    /// Hides the value, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Value(..)")
    }
}

/// An entry, and the rank of the layer.
pub(super) struct Found<'a> {
    pub(super) entry: &'a Entry,
    pub(super) layer: usize,
}

/// A name set without being a setting.
pub(super) struct Unknown {
    pub(super) key: String,
    pub(super) origin: Origin,
}

impl Entry {
    pub(super) fn text(&self) -> Result<&str, String> {
        match &self.value {
            Value::Text(text) => Ok(text),
            Value::NotOne(what) => Err(format!("it is {what}: write one value")),
        }
    }
}

impl Layers {
    /// No layer above the defaults.
    pub fn none() -> Self {
        Self::default()
    }

    /// The layers above the defaults: `file`, then `environment`, then `overrides` of the form `section.key=value`,
    /// the last of which wins. Of the environment, only variables with the prefix `PUSHGRID_` are read; an empty
    /// variable counts as not set.
    ///
    /// Fails with every fault of form: a file that cannot be read or is not TOML, a malformed override.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        overrides: &[String],
    ) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut layers = Self::none();
        if let Some(path) = file {
            layers.read_file(path, &mut faults);
        }
        for (name, value) in environment {
            layers.read_variable(name, value);
        }
        for (position, text) in overrides.iter().enumerate() {
            match flag(text) {
                Some((key, value)) => {
                    let entry = Entry { value: Value::Text(value), origin: Origin::Flag };
                    layers.layers[FLAGS].insert(key, entry);
                }
                None => faults.push(Fault::new(
                    "",
                    // The text is not shown: a part may be a secret.
                    format!("--set number {} is not of the form section.key=value", position + 1),
                    Origin::Unset,
                )),
            }
        }
        if faults.is_empty() { Ok(layers) } else { Err(Faults::new(faults)) }
    }

    /// The entry of `key` in the highest layer that has one.
    pub(super) fn find(&self, key: &str) -> Option<Found<'_>> {
        let mut ranked = self.layers.iter().enumerate().rev();
        ranked.find_map(|(layer, entries)| entries.get(key).map(|entry| Found { entry, layer }))
    }

    /// Takes out every entry without a setting among `known`, in the order of the layers.
    pub(super) fn unknown(&mut self, known: &[Setting]) -> Vec<Unknown> {
        let is_known = |key: &String, entry: &Entry| match entry.value {
            Value::Text(_) => known.iter().any(|setting| setting.key == *key),
            // An empty section, or a setting that has a fault already.
            Value::NotOne(_) => known.iter().any(|setting| {
                setting
                    .key
                    .strip_prefix(key.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }),
        };
        let mut unknown = Vec::new();
        for layer in &mut self.layers {
            let strange = layer.extract_if(.., |key, entry| !is_known(key, entry));
            unknown.extend(strange.map(|(key, entry)| Unknown { key, origin: entry.origin }));
        }
        unknown
    }

    fn read_file(&mut self, path: &Path, faults: &mut Vec<Fault>) {
        let shown = path.display().to_string();
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_string(&mut text));
        if let Err(error) = read {
            let message = format!("the configuration file {shown} cannot be read: {error}");
            return faults.push(Fault::new("", message, Origin::Unset));
        }
        if text.len() as u64 > FILE_LIMIT {
            let message = format!("the configuration file {shown} is larger than {FILE_LIMIT} octets");
            return faults.push(Fault::new("", message, Origin::Unset));
        }
        let line = |offset: usize| text.as_bytes()[..offset].split(|octet| *octet == b'\n').count();
        let origin = |offset| Origin::File { path: shown.clone(), line: line(offset) };
        let (table, errors) = DeTable::parse_recoverable(&text);
        // The display of such an error shows the line, which may hold a secret. Its message does not.
        faults.extend(errors.iter().map(|error| {
            let offset = error.span().map_or(0, |span| span.start.min(text.len()));
            Fault::new("", format!("the configuration file is not TOML: {}", error.message()), origin(offset))
        }));
        flatten(table.get_ref(), "", DEPTH, &mut |key, value, offset| {
            self.layers[FILE].insert(key, Entry { value, origin: origin(offset) });
        });
    }

    fn read_variable(&mut self, name: String, value: String) {
        let Some(rest) = name.strip_prefix(PREFIX) else { return };
        if value.is_empty()
            || FOREIGN_VARIABLES.iter().any(|foreign| name.starts_with(foreign))
            || is_service_link(rest, &value)
        {
            return;
        }
        let key = rest.replace("__", ".").to_lowercase();
        // A name in small letters is a mistake: it is kept under a key that no setting has.
        let key = if variable(&key) == name { key } else { name.clone() };
        let entry = Entry { value: Value::Text(value), origin: Origin::Variable(name) };
        self.layers[ENVIRONMENT].insert(key, entry);
    }
}

/// Parses `section.key=value`.
fn flag(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let is_key =
        |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'_' | b'.');
    (key.contains('.') && key.bytes().all(is_key)).then(|| (key.to_owned(), value.to_owned()))
}

/// True of a variable that Kubernetes made for a service whose name begins with `pushgrid` (its "service links"),
/// such as `PUSHGRID_INGRESS_SERVICE_HOST` or `PUSHGRID_PORT_8080_TCP`. `rest` is the name after the prefix.
fn is_service_link(rest: &str, value: &str) -> bool {
    let is_address = value.starts_with("tcp://") || value.starts_with("udp://");
    let names_a_port = rest.split_once("PORT_").is_some_and(|(_, tail)| {
        let tail = tail.trim_start_matches(|character: char| character.is_ascii_digit());
        tail.starts_with("_TCP") || tail.starts_with("_UDP")
    });
    let names_a_service = rest.ends_with("SERVICE_HOST") || rest.contains("SERVICE_PORT");
    !rest.contains("__") && (names_a_service || names_a_port || (rest.ends_with("PORT") && is_address))
}

/// Calls `each` with the key, the value and the offset of every value in `table`.
fn flatten(table: &DeTable<'_>, above: &str, depth: usize, each: &mut impl FnMut(String, Value, usize)) {
    for (name, value) in table {
        let key =
            if above.is_empty() { name.get_ref().to_string() } else { format!("{above}.{}", name.get_ref()) };
        match value.get_ref() {
            DeValue::Table(inner) if depth > 1 && !inner.is_empty() => flatten(inner, &key, depth - 1, each),
            other => each(key, scalar(other), name.span().start),
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Value {
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.to_string(),
            Err(_) => number.to_string(),
        },
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(switch) => switch.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Table(_) => return Value::NotOne("a table"),
        DeValue::Array(list) => {
            let texts: Option<Vec<&str>> = list.iter().map(|item| item.get_ref().as_str()).collect();
            match texts {
                Some(texts) => texts.join(","),
                None => return Value::NotOne("a list of something other than texts"),
            }
        }
    };
    Value::Text(text)
}
