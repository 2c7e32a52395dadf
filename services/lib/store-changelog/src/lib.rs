//! The durable state of one partition: a changelog in front, a view behind, and the part of the log that is its own.
//!
//! [`take_over`] makes the owner of a partition out of a [`Share`](pushgrid_store::Share) of the log, a
//! [`Changelog`](pushgrid_store::Changelog) and a [`View`](pushgrid_store::View). What comes of it is an [`Estate`]: the
//! router's side of the log, the [`PartitionStore`] (mailbox and subscriptions), and the account of promise P2.
//!
//! What is not here: any driver, and anything that knows of more than one partition.
//!
//! # What is kept where
//! - The **log** has every accepted message, in the order of the sequences.
//! - The **changelog** has every change of the mailbox and the subscriptions, each with the tenure of its writer. It is
//!   written first, and is the only truth about them.
//! - The **view** has what the changelog comes to, and its own position in it. It may lose anything at any time.
//! - The **commit** of the log's offset is the sequence before which everything has been dealt with, and a note.
//!
//! # Who counts
//! A claim in the changelog begins a tenure. An entry counts if no claim of a higher tenure stands before it; so what a
//! router writes after it was overtaken never counts, whatever it believes. A router learns of that in three ways: the
//! view refuses a tenure that is not the latest; the offsets refuse the commit of one that has lost the log; and an
//! append whose place is not the one after the last known place has the router read what lies between, before
//! anybody is answered. The last of these needs nobody's help, so no change is ever answered that does not count.
//!
//! A reader who begins in the middle has to know which claims it has passed. The note carries the last 16; one who
//! begins before the first of them reads from the start, and tells the view only what it has not.
//!
//! Compaction knows nothing of tenures: a late record of a fenced router takes the place of the earlier one with its key.
//! Whoever reads such a record, and finds in the view that what it would undo holds, writes that again by its own
//! right, before its counts go past it (`reassert`).
//!
//! # Taking over
//! - Claim, and read the last commit.
//! - Begin the tenure in the view, which says how far it is.
//! - Read the changelog from there, or from where the note's counts end if that is earlier, to its end: tell the view
//!   what it has not, count the messages that ended after the note, and collect the sequences of those that were stored or
//!   ended after it. A claim of a higher tenure ends everything.
//! - Say that the view is complete.
//! - Read the log from the committed sequence: what the note or the changelog says was dealt with is passed over.
//!
//! # One cycle of the writer
//! One task makes all changes, so that they need no locks and come in groups. It takes what has gathered, asks the view
//! everything it has to know in at most one call of each kind, all at the same time, and decides: each operation sees
//! what those before it in the cycle have come to. Then one append to the changelog, one call to the view, the counts,
//! the answers. A cycle ends or makes each thing at most once (a message that is stored and ended in it only ends), so
//! that an append which got no answer can be written again, in whole or in part, without harm. Before it is, the
//! changelog is read: it may be there, or a later claim may be.
//!
//! When the view has lost something, any call says so, and the writer brings it up before it goes on; reads are refused
//! as unavailable meanwhile. Once a second it looks after a view that nobody asks anything.
//!
//! # The note, and why the account is exact
//! A commit is made a quarter of a second after something has changed, of one moment: the committed sequence `next`, the
//! position S of the changelog up to which cycles are counted, and the following.
//! - `before`: messages before `next`. All have been dealt with.
//! - `ranges`: sequences above `next` that have been dealt with, and `beyond`, how many messages those are.
//! - `ended`: how messages have ended: those that ended in the log and are before `next` or in the ranges, and those
//!   whose end stands in the changelog before S.
//! - `collect_from`: S, or less when not all ranges have room. What was left out is then known from nowhere but the
//!   changelog, and stands there at or after this position; ends in the log that were left out are not in `ended`.
//! - the claims.
//!
//! The next owner has: accepted = `before` + `beyond` + the sequences it has collected that are neither before `next`
//! nor in a range. Ended = `ended` + the ends in the changelog from S on, each sequence once. Pending = what the view
//! says is waiting, counted on its own; every further message of the log adds one to accepted and pending. A message is
//! never counted twice: an end in the log is in the note and then never read again, or is not and then has not
//! happened; an end in the changelog stands before S or after it. None is forgotten: a message that left the log did so
//! by the note or by the changelog. So accepted = ended + pending at rest, over any crash, and when the view is lost.
//!
//! Invariant: nothing is answered, counted or taken from the log before it is in the changelog and in the view; but how a
//! message ended that was never stored is only in memory until the next commit, and may happen again (promise P3).
//! Invariant: a message that arrives at the mailbox only to end there (replaced, or without its subscription) has that
//! written down too: what took its place may be gone when the log is read again.
//! Invariant: queue, cycle, prefetch, window, batch and pause are bounded by [`Tuning`]; retries end with the partition.
//!
//! What it asks of those who keep the changelog: an end must outlive the oldest state to which a view can fall back, and
//! the oldest commit (`delete.retention.ms` of the topic, in Kafka); and records of one writer must never change their
//! order (an idempotent producer).

mod append;
mod claims;
mod committer;
mod core;
mod feed;
mod ground;
mod health;
mod mailbox;
mod note;
mod operation;
mod pause;
mod reassert;
mod replay;
mod store;
mod subscriptions;
mod take_over;
mod tracker;
mod tuning;
mod varint;
mod writer;

pub use health::{Health, Stop};
pub use store::{Figures, PartitionStore};
pub use take_over::{Deps, Estate, take_over};
pub use tuning::Tuning;

#[cfg(test)]
mod tests;
