//! base64url, in the two measures of strictness that the formats need.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// base64url without padding.
pub(crate) fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// Takes the one text that [`encode`] gives, and no other text of the same octets.
pub(crate) fn decode_strictly(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Takes either alphabet, padded or not: the forms in which people paste and libraries send keys.
pub(crate) fn decode_leniently(text: &str) -> Option<Vec<u8>> {
    let bare = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let url_safe: Vec<u8> = bare
        .bytes()
        .map(|octet| match octet {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        })
        .collect();
    URL_SAFE_NO_PAD.decode(url_safe).ok()
}

/// As [`decode_leniently`], for exactly `N` octets.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Longer text cannot be `N` octets: it is not worth decoding.
    if text.len() > N.div_ceil(3) * 4 {
        return None;
    }
    decode_leniently(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn octets_have_one_strict_text(octets: Vec<u8>) {
            prop_assert_eq!(decode_strictly(&encode(&octets)), Some(octets));
        }

        #[test]
        fn a_text_that_is_taken_strictly_is_the_one_text(text in "[A-Za-z0-9_=+/-]{0,12}") {
            if let Some(octets) = decode_strictly(&text) {
                prop_assert_eq!(encode(&octets), text);
            }
        }
    }

    #[test]
    fn lenient_takes_padding_and_the_standard_alphabet() {
        let octets = [0xfb, 0xff, 0xfe, 0x01];
        for same in ["-__-AQ", "-__-AQ==", "+//+AQ", "+//+AQ=="] {
            assert_eq!(decode_array(same), Some(octets), "{same:?}");
        }
        for other in ["-__-AR", "-__-A", "-__-AQ===", "-__-AQ\n", "-__", "-__-AQAA"] {
            assert_eq!(decode_array::<4>(other), None, "{other:?}");
        }
    }
}
