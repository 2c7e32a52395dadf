//! The `Crypto-Key` and `Encryption` fields of the drafts before RFC 8291 and RFC 8292.

/// The entries of a field, each a list of parameters: `a=1;b=2,a=3` has two. Names come as written, for comparison in
/// any case. Quotes around values are taken off; anything but a parameter is passed over, as the drafts ask.
pub(crate) fn entries(field: &str) -> impl Iterator<Item = impl Iterator<Item = (&str, &str)>> {
    split_outside_quotes(field, ',').map(|entry| split_outside_quotes(entry, ';').filter_map(parameter))
}

fn parameter(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let value = value.trim();
    let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    Some((name.trim(), bare))
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |letter| {
        quoted ^= letter == '"';
        letter == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str) -> Vec<Vec<(&str, &str)>> {
        entries(field).map(Iterator::collect).collect()
    }

    #[test]
    fn reads_every_form_that_senders_write() {
        let one = vec![vec![("dh", "A"), ("p256ecdsa", "B")]];
        for form in ["dh=A;p256ecdsa=B", "dh=A; p256ecdsa=B", " dh = A ;p256ecdsa=\"B\""] {
            assert_eq!(read(form), one, "{form:?}");
        }
        assert_eq!(read("dh=A,p256ecdsa=B"), [[("dh", "A")], [("p256ecdsa", "B")]]);
        assert_eq!(read("keyid=\"a,b;c\";dh=A=="), [[("keyid", "a,b;c"), ("dh", "A==")]]);
        assert_eq!(read("x;dh=A"), [[("dh", "A")]]);
    }
}
