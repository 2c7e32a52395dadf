mod broadcasts;
mod ends;
mod hello;
mod messages;
mod subscriptions;
mod urgency;
mod waiting;

use super::*;
use crate::connection::serve;

/// Octets that the task of one connection may take. Buffers and the send queue come on top.
const FUTURE_MAX: usize = 616;

fn future_size<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn the_task_of_a_connection_is_small() {
    let size = future_size(serve::<Autopush>);
    println!("{size} octets in the task of a connection");
    assert!(size <= FUTURE_MAX, "{size} octets");
}

#[test]
fn whoever_is_told_of_an_end_is_told_its_reason() {
    for reason in CloseReason::ALL {
        let end = End::For(reason);
        let told = close_frame(end);
        assert_eq!(told.is_some(), end.is_told(), "{reason:?}");
        // Faults of a user agent have their own words.
        if let Some(close) = told.filter(|_| reason != CloseReason::Protocol) {
            assert_eq!(CloseReason::from(close), reason);
        }
    }
    assert_eq!(close_frame(End::Abandoned), None);
    for close in Close::ALL {
        assert_eq!(close_frame(End::Fault(close)), Some(close));
    }
}
