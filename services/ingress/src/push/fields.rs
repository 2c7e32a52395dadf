use http::HeaderMap;
use pushgrid_types::{Topic, TraceParent, Ttl, Urgency};

use crate::refusal::Refusal;

/// What the header fields ask for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) ttl: Ttl,
    pub(super) urgency: Urgency,
    pub(super) topic: Option<Topic>,
}

/// RFC 8030 sections 5.2 to 5.4. Each field comes once: two lines are a list, and none of the three is a list.
pub(super) fn parse(fields: &HeaderMap) -> Result<Asked, Refusal> {
    let ttl = one(fields, "ttl").map_err(|Several| Refusal::BadTtl)?.ok_or(Refusal::NoTtl)?;
    let urgency = one(fields, "urgency").map_err(|Several| Refusal::BadUrgency)?;
    let topic = one(fields, "topic").map_err(|Several| Refusal::BadTopic)?;
    Ok(Asked {
        ttl: ttl.parse().map_err(|_| Refusal::BadTtl)?,
        urgency: urgency.map_or(Ok(Urgency::default()), str::parse).map_err(|_| Refusal::BadUrgency)?,
        topic: topic.map(str::parse).transpose().map_err(|_| Refusal::BadTopic)?,
    })
}

/// Where the sender's trace goes on. What is not a `traceparent` is as good as none (W3C Trace Context section 4.3).
pub(super) fn trace_parent(fields: &HeaderMap) -> Option<TraceParent> {
    one(fields, "traceparent").ok()??.parse().ok()
}

/// A field that came more than once, or not as text.
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

    use super::*;

    fn with(fields: &[(&'static str, &'static str)]) -> Result<Asked, Refusal> {
        let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), *value));
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, HeaderValue::from_static(value));
        }
        parse(&map)
    }

    #[test]
    fn a_message_needs_a_ttl_and_nothing_else() {
        let asked = with(&[("ttl", " 60 ")]).unwrap();
        assert_eq!((asked.ttl, asked.urgency, asked.topic), (Ttl::from_secs(60), Urgency::Normal, None));
        assert!(matches!(with(&[]), Err(Refusal::NoTtl)));
        assert!(matches!(with(&[("ttl", "")]), Err(Refusal::BadTtl)));
    }

    #[test]
    fn two_lines_of_one_field_are_refused_even_when_they_agree() {
        assert!(matches!(with(&[("ttl", "5"), ("ttl", "5")]), Err(Refusal::BadTtl)));
        let urgencies = [("ttl", "5"), ("urgency", "low"), ("urgency", "low")];
        assert!(matches!(with(&urgencies), Err(Refusal::BadUrgency)));
        assert!(matches!(with(&[("ttl", "5"), ("topic", "a"), ("topic", "a")]), Err(Refusal::BadTopic)));
    }

    #[test]
    fn urgency_is_one_of_four_words_in_any_case() {
        assert_eq!(with(&[("ttl", "5"), ("urgency", "HIGH")]).unwrap().urgency, Urgency::High);
        for bad in ["urgent", "high, low", ""] {
            assert!(matches!(with(&[("ttl", "5"), ("urgency", bad)]), Err(Refusal::BadUrgency)), "{bad:?}");
        }
    }
}
