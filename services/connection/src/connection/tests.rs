mod ends;
mod hello;
mod messages;
mod subscriptions;

use crate::connection::begin;

/// What the task of one connection may take, in octets. Buffers and the outbox come on top.
const FUTURE_MAX: usize = 700;

fn future_size<A, B, C, D, E>(_: impl Fn(A, B, C, D) -> E) -> usize
where
    E: Future<Output: Future>,
{
    size_of::<E::Output>()
}

#[test]
fn the_task_of_a_connection_is_small() {
    let size = future_size(begin);
    assert!(size <= FUTURE_MAX, "{size} octets");
}
