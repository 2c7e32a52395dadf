//! Header fields that are lists: links (RFC 8288) and preferences (RFC 7240).

use http::HeaderMap;
use http::header::{HeaderName, LINK};

/// A `Link` field that mentions a relation and cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Link cannot be read: write <address>; rel=\"relation\"")]
pub struct InvalidLink;

/// Targets of the links of a request to `relation`, in order. A line that does not mention the relation is not read, so a
/// fault in it is none. Links with an anchor say nothing about the request.
pub fn linked<'a>(fields: &'a HeaderMap, relation: &str) -> Result<Vec<&'a str>, InvalidLink> {
    let mut targets = Vec::new();
    for line in fields.get_all(LINK) {
        let mentions =
            line.as_bytes().windows(relation.len()).any(|it| it.eq_ignore_ascii_case(relation.as_bytes()));
        if !mentions {
            continue;
        }
        // Whoever means one has to say so in a way that can be read.
        let mut rest = line.to_str().map_err(|_| InvalidLink)?.trim_start_matches(is_blank);
        while !rest.is_empty() {
            let (target, is_meant, after) = link(rest, relation).ok_or(InvalidLink)?;
            targets.extend(is_meant.then_some(target));
            rest = after;
        }
    }
    Ok(targets)
}

/// Value of a preference (RFC 7240 section 2), empty for one without a value; `None` if it is not named. The first of
/// several counts. A line that cannot be read to its end counts as far as it can.
pub fn preference(fields: &HeaderMap, name: &str) -> Option<String> {
    const PREFER: HeaderName = HeaderName::from_static("prefer");
    fields.get_all(PREFER).iter().filter_map(|line| line.to_str().ok()).find_map(|line| {
        let mut rest = line.trim_start_matches(is_blank);
        while !rest.is_empty() {
            let (preference, after) = preference_of(rest)?;
            if preference.0.eq_ignore_ascii_case(name) {
                return Some(preference.1);
            }
            rest = after;
        }
        None
    })
}

/// The first link of a list: its target, true if its relation is the one that is meant, and the links after it.
fn link<'a>(list: &'a str, relation: &str) -> Option<(&'a str, bool, &'a str)> {
    let (target, mut rest) = list.strip_prefix('<')?.split_once('>')?;
    let (mut found, mut has_anchor) = (None, false);
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with(',') {
            break;
        }
        let (name, value, after) = member(rest.strip_prefix(';')?.trim_start())?;
        rest = after;
        match name.to_ascii_lowercase().as_str() {
            // A second one is passed over (RFC 8288 section 3.3).
            "rel" => drop(found.get_or_insert(value)),
            "anchor" => has_anchor = true,
            _ => {}
        }
    }
    let is_meant = !has_anchor
        && found.is_some_and(|all| all.split_ascii_whitespace().any(|it| it.eq_ignore_ascii_case(relation)));
    Some((target.trim(), is_meant, rest.trim_start_matches(is_blank)))
}

/// The first preference of a list, without its parameters, and the preferences after it.
fn preference_of(list: &str) -> Option<((&str, String), &str)> {
    let (name, value, mut rest) = member(list)?;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with(',') {
            return Some(((name, value), rest.trim_start_matches(is_blank)));
        }
        (_, _, rest) = member(rest.strip_prefix(';')?.trim_start())?;
    }
}

/// A name, its value (a token, or a text in quotes; empty without one), and what follows.
fn member(text: &str) -> Option<(&str, String, &str)> {
    let end = text.find([';', ',', '=']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let Some(after) = rest.strip_prefix('=') else { return Some((name.trim(), String::new(), rest)) };
    let (value, rest) = value(after.trim_start())?;
    Some((name.trim(), value, rest))
}

/// A value, a token or in quotes, and what follows.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let (mut value, mut characters) = (String::new(), quoted.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

/// Empty members of a list are passed over.
const fn is_blank(character: char) -> bool {
    matches!(character, ',' | ' ' | '\t')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn prefer(lines: &[&'static str], name: &str) -> Option<String> {
        let field = HeaderName::from_static("prefer");
        let fields: HeaderMap =
            lines.iter().map(|line| (field.clone(), HeaderValue::from_static(line))).collect();
        preference(&fields, name)
    }

    // Holds: A-47.
    #[test]
    fn a_preference_is_read_by_its_own_grammar() {
        for lines in [
            &["respond-async"][..],
            &["Respond-Async"],
            &["respond-async, wait=10"],
            &["return=minimal; foo=\"some, parameter\", respond-async"],
            &["handling=\"a\\\",b\" ; x , respond-async;y=1"],
            &["foo", ", respond-async ,"],
            &["respond-async=\"\""],
        ] {
            assert_eq!(prefer(lines, "respond-async").as_deref(), Some(""), "{lines:?}");
        }
        for lines in [
            &[][..],
            &["respond-asynchronously"],
            &["x=\"respond-async\""],
            &["x=\", respond-async\""],
            &["x; respond-async"],
            &["x=\"open, respond-async"],
        ] {
            assert_eq!(prefer(lines, "respond-async"), None, "{lines:?}");
        }
        assert_eq!(prefer(&["wait = \"0\"; x=1, wait=5"], "wait").as_deref(), Some("0"));
    }
}
