//! Hosts of URLs: names, and literals of addresses in all the forms that a resolver would take for one.
//!
//! Invariant: a host that the connector or the system's resolver reads as an address is a literal here.

use std::net::{IpAddr, Ipv4Addr};

/// Longest name in DNS, in octets (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;

/// The host of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// A name, which DNS has to resolve.
    Name,
    /// An address.
    Address(IpAddr),
}

/// Reads a host, with the brackets of IPv6; `None` for one that is neither a name nor an address.
pub(crate) fn parse_host(host: &str) -> Option<Host> {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse().ok().map(|address| Host::Address(IpAddr::V6(address)));
    }
    let bare = host.strip_suffix('.').unwrap_or(host);
    let in_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    if bare.len() > NAME_MAX || bare.split('.').any(str::is_empty) || !bare.bytes().all(in_name) {
        return None;
    }
    // As the URL standard has it, a host that ends in a number is an address or nothing.
    let last = bare.rsplit('.').next().unwrap_or(bare);
    let is_hex = |text: &str| text.bytes().all(|octet| octet.is_ascii_hexdigit());
    let is_number = last.bytes().all(|octet| octet.is_ascii_digit()) || after_0x(last).is_some_and(is_hex);
    if !is_number {
        return Some(Host::Name);
    }
    inet_aton(bare).map(|address| Host::Address(IpAddr::V4(address)))
}

/// Reads an IPv4 address in every form that `getaddrinfo` takes: 1 to 4 numbers, each decimal, octal (`0…`) or
/// hexadecimal (`0x…`), the last one filling the octets that are left.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let mut parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let last = parts.pop()?;
    let room = 32_u32.checked_sub(8 * u32::try_from(parts.len()).ok()?).filter(|bits| *bits > 0)?;
    if last.checked_shr(room).unwrap_or(0) != 0 || parts.iter().any(|part| *part > 0xff) {
        return None;
    }
    let high = parts.iter().enumerate().fold(0, |all, (place, part)| all | part << (24 - 8 * place));
    Some(Ipv4Addr::from_bits(high | last))
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match after_0x(text) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    digits.bytes().all(|octet| octet.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, radix).ok())?
}

fn after_0x(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_every_form_of_the_systems_resolver() {
        for (text, address) in [
            ("8.8.8.8", "8.8.8.8"),
            ("8.8.8.8.", "8.8.8.8"),
            ("127.1", "127.0.0.1"),
            ("10.2.3", "10.2.0.3"),
            ("10.2.65535", "10.2.255.255"),
            ("1.16777215", "1.255.255.255"),
            ("0x7f.0X1", "127.0.0.1"),
            ("010.0.0.1", "8.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("4294967295", "255.255.255.255"),
            ("0", "0.0.0.0"),
            ("[::1]", "::1"),
            ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ] {
            assert_eq!(parse_host(text), Some(Host::Address(address.parse().unwrap())), "{text}");
        }
    }

    #[test]
    fn a_host_that_ends_in_no_number_is_a_name() {
        for name in
            ["app.example", "app.example.", "a_b.c-d", "1.example", "0x7f.example", "0xample", "localhost"]
        {
            assert_eq!(parse_host(name), Some(Host::Name), "{name}");
        }
        for neither in [
            "",
            ".",
            "a..b",
            "a%31",
            "256.1.1.1",
            "1.65536.1",
            "10.2.65536",
            "4294967296",
            "08",
            "app.1",
            "0x",
            "[::1",
            "::1",
        ] {
            assert_eq!(parse_host(neither), None, "{neither}");
        }
    }
}
