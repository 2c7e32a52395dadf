//! Names of keys. Invariant: keys of one partition share a hash tag, so a cluster keeps them in one slot.

use pushgrid_types::{Partition, UserAgentId};

/// Key of `meta`, from which scripts derive all other keys of the partition.
pub(crate) fn meta(prefix: &str, partition: Partition) -> Vec<u8> {
    of_partition(prefix, partition, b"meta", b"")
}

/// Key of the claim on a user agent.
pub(crate) fn claim(prefix: &str, partition: Partition, user_agent: UserAgentId) -> Vec<u8> {
    of_partition(prefix, partition, b"at", user_agent.as_octets())
}

/// Key of the members.
pub(crate) fn members(prefix: &str) -> Vec<u8> {
    format!("{prefix}:{{members}}").into_bytes()
}

/// Key of the members' clocks: apart from the members, because a release without clocks reads everything among the
/// members.
pub(crate) fn clocks(prefix: &str) -> Vec<u8> {
    format!("{prefix}:{{members}}:clocks").into_bytes()
}

fn of_partition(prefix: &str, partition: Partition, kind: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut key = format!("{prefix}:{{{}}}:", partition.0).into_bytes();
    key.extend_from_slice(kind);
    key.extend_from_slice(rest);
    key
}
