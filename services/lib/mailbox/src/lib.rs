//! The rule of the mailbox, once for all adapters: the fate of a message on the way in, decided from facts,
//! and the outcome of a stored message, by the cause of its end.
//!
//! An adapter answers [`Facts`] from its own state, asks [`judge`], and writes the resulting [`Change`]: the
//! embedded store by SQL inside a transaction, the changelog's writer from the view, the model from maps.
//! Everything else that ends a stored message is a [`Cause`]: the adapter finds the messages concerned, and
//! ends each with the outcome of the cause.
//!
//! Not here: I/O, waiting, and any state. An adapter asked about a second message has to answer from the
//! state after the changes of the first.
//!
//! Invariant: every question is asked at most once for a message, and only when the answer decides something,
//! so that an adapter pays for no needless look-up.
//! Invariant: the answer depends on the mailbox and the subscriptions alone. A message ended before gets the
//! answer of the first time, or a later one, and no change: so a repeated call ends nothing twice.
//! Invariant: no adapter names an outcome of its own for a message of the mailbox, but for a lost one.

mod cause;
mod judge;

pub use cause::Cause;
pub use judge::{Change, Decision, Facts, Place, REPEAT, judge};
