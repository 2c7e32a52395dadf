//! Texts to values and back. A message names the fault of the text and the form to write.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use pushgrid_types::cast::saturating;

/// Milliseconds of each unit, largest first.
const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Octets of each unit, largest first.
const OCTETS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Longest part of a value in a message, in characters.
const SHOWN: usize = 60;

/// Bounds of a value, and the way to show them.
pub(super) struct Bounds<T> {
    range: RangeInclusive<T>,
    show: fn(&T) -> String,
}

impl<T: PartialOrd> Bounds<T> {
    pub(super) const fn new(range: RangeInclusive<T>, show: fn(&T) -> String) -> Self {
        Self { range, show }
    }

    pub(super) fn check(&self, value: T) -> Result<T, String> {
        if self.range.contains(&value) {
            Ok(value)
        } else {
            Err(format!("{} is out of range: write a value from {}", (self.show)(&value), self.ends()))
        }
    }

    fn ends(&self) -> String {
        format!("{} to {}", (self.show)(self.range.start()), (self.show)(self.range.end()))
    }
}

impl<T: PartialOrd> fmt::Display for Bounds<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "From {}", self.ends())
    }
}

/// A value in quotes, on one line, and not longer than a message can bear.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(SHOWN).collect();
    let dots = if short.len() < text.len() { ".." } else { "" };
    format!("{short:?}{dots}")
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{} is not an address: write an IP address and a port, such as 127.0.0.1:8080 or [::]:8080",
            quoted(text)
        )
    })
}

pub(super) fn count(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{} is not a whole number: write digits only, such as 100", quoted(text)))
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{} is neither true nor false: write one of them", quoted(text)))
}

pub(super) fn choice<T: Copy>(text: &str, options: &[(&str, T)], names: &str) -> Result<T, String> {
    let chosen = options.iter().find(|(name, _)| *name == text);
    chosen
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("{} is not a choice: write one of {names}", quoted(text)))
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("it is empty: write a path".to_owned()) } else { Ok(text.into()) }
}

/// Checks an origin. No message shows the text, which may carry a password.
pub(super) fn url(text: &str) -> Result<String, String> {
    const HOW: &str = "write an origin such as https://push.example or http://localhost:8080";
    let origin = text.strip_suffix('/').unwrap_or(text);
    let uri: ::http::Uri = origin.parse().map_err(|_| format!("it is not a URL: {HOW}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("it is neither http nor https: {HOW}"));
    }
    let authority = uri.authority().expect("a URI with a scheme that parses has an authority");
    if authority.as_str().contains('@') {
        return Err(format!("it carries a user name: {HOW}"));
    }
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if authority.host().is_empty() || !(port.is_empty() || is_port(port)) {
        return Err(format!("its host or port is not one: {HOW}"));
    }
    let bare = origin.len() == uri.scheme_str().map_or(0, str::len) + "://".len() + authority.as_str().len();
    if bare { Ok(origin.to_owned()) } else { Err(format!("it has more than scheme, host and port: {HOW}")) }
}

/// True of a colon and a port.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()));
    digits.is_some_and(|digits| digits.parse::<u16>().is_ok_and(|port| port > 0))
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim_start()))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let millis = split_unit(text).and_then(|(number, unit)| {
        let (_, scale) = DURATIONS.iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(*scale)
    });
    millis.map(Duration::from_millis).ok_or_else(|| {
        format!(
            "{} is not a length of time: write a whole number and a unit, such as 250ms, 10s, 5m, 12h or 30d",
            quoted(text)
        )
    })
}

/// The shortest exact form, rounded down to milliseconds.
pub(crate) fn show_duration(duration: &Duration) -> String {
    let millis = saturating::<u64>(duration.as_millis());
    let exact = DURATIONS.iter().find(|(_, scale)| millis > 0 && millis.is_multiple_of(*scale));
    let (unit, scale) = exact.unwrap_or(&("s", 1000));
    format!("{}{unit}", millis / scale)
}

pub(super) fn octets(text: &str) -> Result<usize, String> {
    let octets = split_unit(text).and_then(|(number, unit)| {
        let scale = match unit {
            "" | "B" => 1,
            unit => OCTETS.iter().find(|(name, _)| *name == unit)?.1,
        };
        usize::try_from(number).ok()?.checked_mul(scale)
    });
    octets
        .ok_or_else(|| format!("{} is not a number of octets: write 5630, 64KiB, 1MiB or 1GiB", quoted(text)))
}

/// The shortest exact form.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "it stands beside functions of other types in `Bounds`"
)]
pub(crate) fn show_octets(octets: &usize) -> String {
    let exact = OCTETS.iter().find(|(_, scale)| *octets > 0 && octets.is_multiple_of(*scale));
    let (unit, scale) = exact.unwrap_or(&("", 1));
    format!("{}{unit}", octets / scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_duration_comes_back_from_its_text(millis in 0..u64::MAX) {
            let shown = show_duration(&Duration::from_millis(millis));
            prop_assert_eq!(duration(&shown), Ok(Duration::from_millis(millis)));
        }

        #[test]
        fn a_number_of_octets_comes_back_from_its_text(number: usize) {
            prop_assert_eq!(octets(&show_octets(&number)), Ok(number));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text: String) {
            let _ = (duration(&text), octets(&text), url(&text), address(&text), count(&text), switch(&text));
        }

        #[test]
        fn an_url_that_is_taken_is_a_bare_origin(text in "https?://[a-z@:/?#0-9.\\[\\]]{0,12}") {
            if let Ok(origin) = url(&text) {
                let (_, host) = origin.split_once("://").expect("it was taken");
                prop_assert!(!host.is_empty() && !host.contains(['/', '?', '#', '@']));
            }
        }
    }

    #[test]
    fn units_are_taken_as_written() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("30d"), Ok(Duration::from_hours(720)));
        assert_eq!(octets("64KiB"), Ok(65_536));
        assert_eq!(octets("5630"), Ok(5630));
        for bad in ["", "10", "s", "-1s", "1.5s", "10 years", "1s1", "18446744073709551615d"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "KiB", "64kb", "1KiBs", "-1", "18446744073709551615GiB"] {
            assert!(octets(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        assert_eq!(url("https://push.example/"), Ok("https://push.example".to_owned()));
        assert_eq!(url("http://[::1]:8080"), Ok("http://[::1]:8080".to_owned()));
        for bad in [
            "push.example",
            "ftp://push.example",
            "https://push.example/a",
            "https://push.example?a",
            "https://push.example#a",
            "https://push.example//",
            "https://user:word@push.example",
            "https://push.example:",
            "https://push.example:99999",
            "https://push.example:0",
            "https://push.example:+80",
            "https://",
        ] {
            assert!(url(bad).is_err(), "{bad:?}");
        }
    }
}
