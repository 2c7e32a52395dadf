//! Memory used by Redis, for measurements.

use redis::{Cmd, Value};

const USED: &str = "used_memory:";

pub(crate) fn question() -> Cmd {
    let mut command = redis::cmd("INFO");
    command.arg("memory");
    command
}

/// Octets used by one server, or by all of a cluster.
pub(crate) fn used(answer: &Value) -> Option<u64> {
    let of_text = |text: &str| text.lines().find_map(|line| line.strip_prefix(USED)?.trim().parse().ok());
    let sum = |all: &mut dyn Iterator<Item = Option<u64>>| all.flatten().reduce(|sum, used| sum + used);
    match answer {
        Value::BulkString(octets) => of_text(&String::from_utf8_lossy(octets)),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => of_text(text),
        Value::Array(items) => sum(&mut items.iter().map(used)),
        Value::Map(pairs) => sum(&mut pairs.iter().map(|(_, value)| used(value))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(octets: u64) -> Value {
        let text = format!("# Memory\r\nused_memory:{octets}\r\nused_memory_human:1K\r\n");
        Value::BulkString(text.into_bytes())
    }

    #[test]
    fn one_server_or_all_of_a_cluster_are_added_up() {
        assert_eq!(used(&says(1000)), Some(1000));
        let name = || Value::SimpleString("127.0.0.1:6379".to_owned());
        assert_eq!(used(&Value::Map(vec![(name(), says(1000)), (name(), says(24))])), Some(1024));
        assert_eq!(used(&Value::Array(vec![says(1), Value::Nil])), Some(1));
        assert_eq!(used(&Value::Nil), None);
    }
}
