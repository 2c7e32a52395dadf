//! The header fields of a push message (RFC 8030 sections 5.2 to 5.4), and the trace of the request.

use http::HeaderMap;
use pushgrid_crypto::ReceiptAddresses;
use pushgrid_runtime::http::{linked, preference};
use pushgrid_types::{Topic, TraceParent, Urgency};

use super::fault::Fault;
use crate::accept::{Receipts, Terms};

/// Relation of a link to a receipt subscription (RFC 8030 section 5.1).
pub(super) const RECEIPT: &str = "urn:ietf:params:push:receipt";

/// Path of a receipt subscription, before its address.
pub(super) const RECEIPTS_PATH: &str = "/receipts/";

/// Reads `TTL`, `Urgency` and `Topic` (RFC 8030 sections 5.2 to 5.4), and the wish for a receipt (section 5.1). Each field comes once: two lines are a
/// list, and none of the three is a list.
pub(super) fn parse(fields: &HeaderMap, addresses: &ReceiptAddresses) -> Result<Terms, Fault> {
    let ttl = one(fields, "ttl").map_err(|Several| Fault::BadTtl)?.ok_or(Fault::NoTtl)?;
    //= RFC 8030 section 5.3
    //# Multiple values for the Urgency header field MUST NOT be included in requests; otherwise, the push
    //# service MUST return a 400 (Bad Request) status code.
    let urgency = one(fields, "urgency").map_err(|Several| Fault::BadUrgency)?;
    let topic = one(fields, "topic").map_err(|Several| Fault::BadTopic)?;
    Ok(Terms {
        ttl: ttl.parse().map_err(|_| Fault::BadTtl)?,
        urgency: urgency.map_or(Ok(Urgency::default()), str::parse).map_err(|_| Fault::BadUrgency)?,
        receipts: receipts(fields, addresses)?,
        replaces: topic.map(str::parse).transpose().map_err(|_| Fault::BadTopic)?.map(Topic::into),
    })
}

/// The wish for a receipt, `Prefer: respond-async`, and the receipt subscription that is named in `Link`, by a URL of any
/// origin: the address alone tells that it is ours.
fn receipts(fields: &HeaderMap, addresses: &ReceiptAddresses) -> Result<Receipts, Fault> {
    let is_wanted = preference(fields, "respond-async").is_some();
    let mut named = None;
    for target in linked(fields, RECEIPT).map_err(|_| Fault::BadReceipts)? {
        let address = target.rsplit_once(RECEIPTS_PATH).map(|(_origin, address)| address);
        let to = address.and_then(|address| addresses.open(address)).ok_or(Fault::BadReceipts)?;
        if named.replace(to).is_some_and(|other| other != to) {
            return Err(Fault::BadReceipts);
        }
    }
    Ok(match named {
        None if is_wanted => Receipts::New,
        None => Receipts::Unwanted,
        Some(to) if is_wanted => Receipts::To(to),
        Some(to) => Receipts::Named(to),
    })
}

/// The position in the sender's trace. An invalid `traceparent` counts as none (W3C Trace Context section
/// 4.3).
pub(super) fn trace_parent(fields: &HeaderMap) -> Option<TraceParent> {
    one(fields, "traceparent").ok()??.parse().ok()
}

/// A field received more than once, or not as text.
#[derive(Debug)]
struct Several;

fn one<'a>(fields: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Several> {
    let mut lines = fields.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Several);
    }
    line.to_str().map(|text| Some(text.trim_matches([' ', '\t']))).map_err(|_| Several)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use pushgrid_crypto::EndpointKeys;
    use pushgrid_types::{SystemRng, Ttl};

    use super::*;

    fn with(fields: &[(&'static str, &'static str)]) -> Result<Terms, Fault> {
        let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), *value));
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, HeaderValue::from_static(value));
        }
        parse(&map, &ReceiptAddresses::new(&EndpointKeys::generate(&SystemRng)))
    }

    // Holds.
    #[test]
    fn a_message_needs_a_ttl_and_nothing_else() {
        let asked = with(&[("ttl", " 60 ")]).unwrap();
        assert_eq!((asked.ttl, asked.urgency, asked.replaces), (Ttl::from_secs(60), Urgency::Normal, None));
        assert!(matches!(with(&[]), Err(Fault::NoTtl)));
        assert!(matches!(with(&[("ttl", "")]), Err(Fault::BadTtl)));
    }

    #[test]
    fn a_topic_is_stored_as_it_came_and_nobody_reaches_another_namespace_by_it() {
        let asked = with(&[("ttl", "5"), ("topic", "News-1")]).unwrap();
        assert_eq!(asked.replaces.map(|key| key.as_str().to_owned()).as_deref(), Some("News-1"));
        assert!(matches!(with(&[("ttl", "5"), ("topic", "gcm:News-1")]), Err(Fault::BadTopic)));
    }

    // Holds.
    #[test]
    fn two_lines_of_one_field_are_refused_even_when_they_agree() {
        assert!(matches!(with(&[("ttl", "5"), ("ttl", "5")]), Err(Fault::BadTtl)));
        let urgencies = [("ttl", "5"), ("urgency", "low"), ("urgency", "low")];
        assert!(matches!(with(&urgencies), Err(Fault::BadUrgency)));
        assert!(matches!(with(&[("ttl", "5"), ("topic", "a"), ("topic", "a")]), Err(Fault::BadTopic)));
    }

    // Holds.
    #[test]
    fn urgency_is_one_of_four_words_in_any_case() {
        assert_eq!(with(&[("ttl", "5"), ("urgency", "HIGH")]).unwrap().urgency, Urgency::High);
        for bad in ["urgent", "high, low", ""] {
            assert!(matches!(with(&[("ttl", "5"), ("urgency", bad)]), Err(Fault::BadUrgency)), "{bad:?}");
        }
    }
}
