//! The nearest known name for one that is not a setting.
//!
//! Invariant: only names are compared and shown, never values.

use super::faults::Fault;
use super::layers::{PREFIX, Unknown};
use super::listing::Setting;
use super::{Origin, variable};

/// Longest name to be compared: comparing takes time by the product of the lengths.
const COMPARED: usize = 100;

/// The fault of a name that is not a setting.
pub(super) fn unknown(unknown: Unknown, known: &[Setting]) -> Fault {
    let known: Vec<&str> = known.iter().map(|setting| setting.key.as_str()).collect();
    let (shown, hint) = match &unknown.origin {
        Origin::Variable(name) => {
            let meant = name.strip_prefix(PREFIX).unwrap_or(name).replace("__", ".").to_lowercase();
            (name.clone(), nearest(&meant, &known).map(variable))
        }
        Origin::File { .. } | Origin::Flag | Origin::Unset => {
            (unknown.key.clone(), nearest(&unknown.key, &known).map(str::to_owned))
        }
    };
    let hint = hint.map_or_else(
        || "remove it, or see `pushgrid config defaults` for all settings".to_owned(),
        |name| format!("did you mean {name}?"),
    );
    Fault::new(shown, format!("there is no such setting: {hint}"), unknown.origin)
}

/// The known key that was probably meant, if any is near enough: a few typing errors away, or of the same name in
/// another section.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    if key.len() > COMPARED {
        return None;
    }

    let typed = known.iter().map(|known| (distance(key, known), *known)).min();
    let near = typed.filter(|(distance, _)| *distance <= 1 + key.len() / 5).map(|(_, known)| known);
    near.or_else(|| known.iter().copied().find(|known| name(known) == name(key)))
}

/// The last part of a key.
fn name(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}

/// Number of characters to be changed, added or removed (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, right) in to.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_changes() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn a_typing_error_and_a_wrong_section_are_recognised_and_noise_is_not() {
        let known = ["ingress.listen", "connection.listen", "kafka.brokers"];
        let nearest = |key| super::nearest(key, &known);
        assert_eq!(nearest("ingres.lisen"), Some("ingress.listen"));
        assert_eq!(nearest("router.brokers"), Some("kafka.brokers"));
        assert_eq!(nearest("something.else"), None);
        assert_eq!(nearest(&"x".repeat(101)), None);
    }
}
