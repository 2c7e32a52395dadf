//! The names of keys.

use pushgrid_types::{Partition, UserAgentId};

/// Of the key that scripts derive all others of a partition from.
pub(crate) fn meta(prefix: &str, partition: Partition) -> Vec<u8> {
    of_partition(prefix, partition, b"meta", b"")
}

/// Of the claim on a user agent.
pub(crate) fn claim(prefix: &str, partition: Partition, user_agent: UserAgentId) -> Vec<u8> {
    of_partition(prefix, partition, b"at", user_agent.as_octets())
}

/// Of the members.
pub(crate) fn members(prefix: &str) -> Vec<u8> {
    format!("{prefix}:{{members}}").into_bytes()
}

fn of_partition(prefix: &str, partition: Partition, kind: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut key = format!("{prefix}:{{{}}}:", partition.0).into_bytes();
    key.extend_from_slice(kind);
    key.extend_from_slice(rest);
    key
}
