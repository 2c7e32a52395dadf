//! Ranges of addresses, as the IANA's special-purpose registries divide them (RFC 6890).
//!
//! Invariant: an IPv6 address that stands for an IPv4 address is judged as the IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Judgement of an address: true if it may be connected to.
pub(crate) type Judge = fn(IpAddr) -> bool;

/// The judgement under a value of `webhook.allow_private`.
pub(crate) fn judge(allow_private: bool) -> Judge {
    if allow_private { |_| true } else { is_public }
}

/// True for an address of the public internet: of no private, local, reserved or otherwise special range.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        // This network, private, loopback; multicast, reserved, broadcast.
        [0 | 10 | 127 | 224..=255, ..]
            // Shared by customers of a carrier (RFC 6598), link-local.
            | [100, 64..=127, ..]
            | [169, 254, ..]
            // Private; protocol assignments and documentation.
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [192, 0, 0 | 2, _]
            // Benchmarking; documentation.
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Unspecified, loopback, IPv4-compatible; IPv4-mapped; NAT64 (RFC 6052); 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        // Protocol assignments, Teredo and benchmarking among them; documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        // Only 2000::/3 is global unicast: fc00::/7, fe80::/10 and ff00::/8 are outside, and what nobody has yet.
        [first, ..] => first >> 13 == 1,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_are(addresses: &[&str], public: bool) {
        for text in addresses {
            assert_eq!(is_public(text.parse().unwrap()), public, "{text}");
            if let Ok(v4) = text.parse::<Ipv4Addr>() {
                let [a, b, c, d] = v4.octets();
                for v6 in [
                    format!("::ffff:{v4}"),
                    format!("::{v4}"),
                    format!("64:ff9b::{v4}"),
                    format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
                ] {
                    assert_eq!(is_public(v6.parse().unwrap()), public, "{v6}");
                }
            }
            assert!(judge(true)(text.parse().unwrap()));
        }
    }

    #[test]
    fn the_edges_of_each_refused_range_are_refused() {
        all_are(
            &[
                "0.0.0.0",
                "0.255.255.255",
                "10.0.0.0",
                "10.255.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.0",
                "127.0.0.1",
                "127.255.255.255",
                "169.254.0.0",
                "169.254.169.254",
                "169.254.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.0.0.0",
                "192.0.0.255",
                "192.0.2.0",
                "192.0.2.255",
                "192.168.0.0",
                "192.168.255.255",
                "198.18.0.0",
                "198.19.255.255",
                "198.51.100.0",
                "198.51.100.255",
                "203.0.113.0",
                "203.0.113.255",
                "224.0.0.0",
                "239.255.255.255",
                "240.0.0.0",
                "255.255.255.254",
                "255.255.255.255",
            ],
            false,
        );
        all_are(
            &[
                "::",
                "::1",
                "fc00::",
                "fdff:ffff::1",
                "fe80::",
                "febf:ffff::1",
                "fec0::1",
                "ff00::",
                "ff02::1",
                "ffff::1",
                "2001:db8::",
                "2001:db8:ffff::1",
                "2001::1",
                "2001:2::1",
                "2001:1ff::1",
                "3fff::1",
                "3fff:fff::1",
                "64:ff9b:1::808:808",
                "100::1",
                "::ffff:0:8.8.8.8",
                "1fff::1",
                "4000::1",
                "5f00::1",
            ],
            false,
        );
    }

    #[test]
    fn the_neighbours_of_each_refused_range_are_not() {
        all_are(
            &[
                "1.0.0.0",
                "8.8.8.8",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "169.255.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "191.255.255.255",
                "192.0.1.0",
                "192.0.3.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "198.51.99.255",
                "198.51.101.0",
                "203.0.112.255",
                "203.0.114.0",
                "223.255.255.255",
            ],
            true,
        );
        all_are(
            &["2000::1", "2001:200::1", "2001:db7::1", "2001:db9::1", "2606:4700::1111", "3fff:1000::1"],
            true,
        );
    }
}
