//! JSON of tokens, parsed with unique member names.
//!
//! Invariant: two parsers cannot read two tokens out of one text: an object with a repeated name is no value here.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value in which no object has a member name twice (RFC 7515 section 4, RFC 7519 section 4), at any
/// depth.
///
/// The parser ends at 128 levels; deeper nesting is refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Object(BTreeMap<String, Json>),
    Array(Vec<Json>),
    Text(String),
    Number(f64),
    /// A truth value or null: of no use in a token.
    Other,
}

/// The members of the object; `None` when the octets are anything but one object.
pub(super) fn object(octets: &[u8]) -> Option<BTreeMap<String, Json>> {
    match serde_json::from_slice(octets) {
        Ok(Json::Object(members)) => Some(members),
        Ok(Json::Array(_) | Json::Text(_) | Json::Number(_) | Json::Other) | Err(_) => None,
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated member names")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "times are exact up to 2^53, and beyond that only too large"
    )]
    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "times are exact up to 2^53, and beyond that only too large"
    )]
    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((name, value)) = members.next_entry()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member name is there twice"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Holds: C-22.
    #[test]
    fn a_name_twice_is_refused_at_any_depth() {
        assert!(object(br#"{"a":1,"b":{"a":[{"a":null}]}}"#).is_some());
        for bad in [r#"{"a":1,"a":1}"#, r#"{"x":{"a":1,"a":2}}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#] {
            assert_eq!(object(bad.as_bytes()), None, "{bad}");
        }
    }

    // Holds: C-31.
    #[test]
    fn depth_and_everything_that_is_no_object_are_refused() {
        let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(nested(100).as_bytes()).is_some());
        assert_eq!(object(nested(200).as_bytes()), None);
        assert_eq!(object(nested(100_000).as_bytes()), None);
        for bad in
            ["", "{", "[]", "1", "\"x\"", "null", "{}x", "{} {}", "{\"a\":NaN}", "{\"a\":1e400}", "{'a':1}"]
        {
            assert_eq!(object(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn numbers_of_every_form_are_one_kind() {
        let members = object(br#"{"a":-1,"b":1700000000,"c":1.7e9,"d":0.5}"#).unwrap();
        let numbers: Vec<_> = members.into_values().collect();
        assert_eq!(numbers, [-1.0, 1.7e9, 1.7e9, 0.5].map(Json::Number));
    }
}
