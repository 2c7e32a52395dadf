//! The `maxmemory-policy` of Redis: only `noeviction` keeps subscriptions when memory is full.

use redis::{Cmd, RedisError, Value};

const NAME: &[u8] = b"maxmemory-policy";

/// Eviction policy of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Refuses writes, and keeps every key.
    Keeps,
    /// Evicts keys, by this policy.
    Evicts(String),
    /// Not told.
    Untold,
}

pub(crate) fn question() -> Cmd {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg(NAME);
    command
}

/// True if `error` only says that the user, or anybody, may not ask: hosted servers lack the command.
pub(crate) fn is_untold(error: &RedisError) -> bool {
    match error.code() {
        Some("NOPERM") => true,
        Some("ERR") => error.detail().is_some_and(|detail| detail.contains("unknown")),
        _ => false,
    }
}

/// Policy in the answer of one server, or of all servers of a cluster; any that evicts counts.
pub(crate) fn of(answer: &Value) -> Policy {
    let mut all = Vec::new();
    collect(answer, &mut all);
    match all.iter().find(|policy| policy.as_str() != "noeviction") {
        Some(policy) => Policy::Evicts(policy.clone()),
        None if all.is_empty() => Policy::Untold,
        None => Policy::Keeps,
    }
}

fn collect(answer: &Value, all: &mut Vec<String>) {
    match answer {
        Value::Array(items) => match items.as_slice() {
            [name, policy] if text(name) == Some(NAME) => all.extend(text(policy).map(shown)),
            items => items.iter().for_each(|item| collect(item, all)),
        },
        Value::Map(pairs) => {
            for (name, value) in pairs {
                if text(name) == Some(NAME) {
                    all.extend(text(value).map(shown));
                } else {
                    collect(value, all);
                }
            }
        }
        _ => {}
    }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(octets) => Some(octets),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(policy: &str) -> Value {
        Value::Array(vec![Value::BulkString(NAME.to_vec()), Value::BulkString(policy.as_bytes().to_vec())])
    }

    #[test]
    fn every_server_has_to_keep_what_it_has() {
        assert_eq!(of(&says("noeviction")), Policy::Keeps);
        assert_eq!(of(&says("allkeys-lru")), Policy::Evicts("allkeys-lru".to_owned()));
        assert_eq!(of(&Value::Array(vec![])), Policy::Untold);
        let at = |host: &str| Value::BulkString(host.as_bytes().to_vec());
        let cluster = Value::Map(vec![(at("a:1"), says("noeviction")), (at("b:1"), says("volatile-ttl"))]);
        assert_eq!(of(&cluster), Policy::Evicts("volatile-ttl".to_owned()));
        let map = Value::Map(vec![(at("maxmemory-policy"), at("noeviction"))]);
        assert_eq!(of(&Value::Array(vec![map.clone(), map])), Policy::Keeps);
    }
}
