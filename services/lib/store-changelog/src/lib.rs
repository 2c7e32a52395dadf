//! The durable state of one partition: a changelog in front, a materialized view behind, and the partition's
//! part of the log.
//!
//! [`take_over`] makes the owner of a partition out of a [`Share`](pushgrid_store::Share) of the log, a
//! [`Changelog`](pushgrid_store::Changelog) and a [`View`](pushgrid_store::View). The result is a
//! [`TakenOver`]: the router's side of the log, the [`PartitionStore`] (mailbox and subscriptions), and the
//! account of promise P2. Together with a presence, this is the router's
//! [`PartitionState`](pushgrid_store::PartitionState).
//!
//! Not here: any driver, and any knowledge of more than one partition.
//!
//! # Places of the data
//! - The **log** has every accepted message, in the order of the sequences.
//! - The **changelog** has every change of the mailbox and the subscriptions, each with the leader epoch of
//!   the writer. Written first, the changelog is the only truth about both.
//! - The **view** has the result of the changelog, and its own position there. Anything in the view may be
//!   lost at any time.
//! - The **commit** of the log's offset is the sequence before which all messages have left the log, and a
//!   note.
//!
//! # Leader epochs
//! A claim in the changelog begins a leader epoch. An entry counts if no claim of a higher leader epoch
//! stands before; so no entry of a fenced router ever counts, whatever the router believes. A router learns
//! of being fenced in three ways: the view refuses a leader epoch other than the latest; the offsets refuse
//! the commit of a router that has lost the log; and after an append at another place than the one expected,
//! the router reads the changelog in between before answering anybody. The last way needs nobody's help, so
//! no change that does not count is ever answered.
//!
//! A reader from the middle has to know the claims before the first record read. The note carries the last 16
//! claims. A reader from before the first of these reads from the start instead, and applies to the view only
//! the missing changes.
//!
//! Compaction knows nothing of leader epochs: a late record of a fenced router replaces the earlier one with
//! the same key. The reader of such a record writes the view's state of the key again, under the reader's own
//! leader epoch, before the counts go past the record (`reassert`).
//!
//! An unreadable record changes nothing and is passed over (`unreadable`). A damaged one is treated as late:
//! the replaced record is written again.
//!
//! # Taking over
//! - Claim, and read the last commit.
//! - Begin the leader epoch in the view, which answers with a position. A view of another changelog is
//!   discarded first (`foreign`).
//! - Read the changelog to its end, from this position or from the end of the note's counts, whichever is
//!   earlier: apply the missing changes to the view, count the messages ended after the note, and collect the
//!   sequences of those stored or ended after the note. A claim of a higher leader epoch ends the take-over.
//! - Mark the view complete.
//! - Read the log from the committed sequence, passing over messages already out of the log by the note or
//!   the changelog.
//!
//! # One cycle of the writer
//! One task makes all changes, in groups and without locks. The writer takes the queued operations, asks the
//! view for all facts in at most one call of each kind, all at the same time, and decides: each operation
//! sees the results of those before in the cycle. Then one append to the changelog, one call to the view, the
//! counts, the answers. A cycle ends or makes each thing at most once (a message stored and ended in one
//! cycle only ends), so that an append without an answer can be written again, in whole or in part, without
//! harm. Before such a repetition the changelog is read: the changes may be there, or a later claim may be.
//!
//! Once the view has lost something, every call fails as behind, and the writer replays the changelog before
//! going on; reads are refused as unavailable meanwhile. An idle view is checked once a second.
//!
//! # A user agent that the view cannot keep
//! An unreadable user agent does not hold up the others: the view sets the user agent aside. The writer reads
//! the user agent's entries in the changelog, beside all other work, and has the view restore them; the
//! backoff between attempts doubles. Meanwhile reads and changes of the user agent are refused as
//! [`Corrupt`](pushgrid_store::ErrorKind), except messages to store: these go to the changelog, unjudged, and
//! wait there with the others. Messages replaced by then by a newer one of the same topic end at the
//! restoration. The user agent's waiting messages are pending in the account all the time.
//!
//! # The note, and why the account is exact
//! A commit is made a quarter of a second after a change, of one moment: the committed sequence `next`, the
//! position S of the changelog up to which cycles are counted, and the following.
//! - `before`: messages before `next`. All have left the log.
//! - `ranges`: sequences above `next` already out of the log, and `beyond`, the number of messages in them.
//! - `ended`: outcomes of the messages ended in the log, if before `next` or in the ranges, and of the
//!   messages with an end in the changelog before S.
//! - `collect_from`: S, or less when not all ranges have room. Messages left out are then known from the
//!   changelog alone, and stand there at or after this position; ends in the log of messages left out are not
//!   in `ended`.
//! - the claims.
//!
//! The next owner has: accepted = `before` + `beyond` + the collected sequences neither before `next` nor in
//! a range. Ended = `ended` + the ends in the changelog from S on, each sequence once. Pending = the messages
//! in the view, counted independently; every further message of the log adds one to accepted and pending. A
//! message is never counted twice: an end in the log is in the note and then never read again, or is not and
//! then has not happened; an end in the changelog stands before S or after. None is forgotten: a message left
//! the log by the note or by the changelog. So accepted = ended + pending at rest, over any crash, and when
//! the view is lost.
//!
//! Invariant: nothing is answered, counted or taken from the log before the change is in the changelog and in
//! the view; but the outcome of a never stored message is only in memory until the next commit, or a flush of the
//! consumer, and may happen again (promise P3). A flush fails while an end has no room in the note.
//! Invariant: a message with a receipt ends only after the receipt is in the log (`receipts`).
//! Invariant: a message ended on arrival at the mailbox (replaced, or without a subscription) has an entry
//! for this end too: the message in its place may be gone when the log is read again.
//! Invariant: queue, cycle, prefetch, window, batch and backoff are bounded by [`Tuning`]; retries end with
//! the partition.
//!
//! Required of the changelog: an end must outlive the oldest state to which a view can fall back, and the
//! oldest commit (`delete.retention.ms` of the topic, in Kafka); and records of one writer must never change
//! order (an idempotent producer).

mod append;
mod aside;
mod claims;
mod committer;
mod consumer;
mod context;
mod core;
mod feed;
mod foreign;
mod gauges;
mod health;
mod inherit;
mod lifecycle;
mod lost;
mod mailbox;
mod note;
mod operation;
mod owing;
mod reader;
mod reassert;
mod receipts;
mod replay;
mod restore;
mod spare;
mod store;
mod subscriptions;
mod take_over;
mod tracker;
mod tuning;
mod unreadable;
mod varint;
mod writer;

pub use gauges::PartitionGauges;
pub use health::{Health, StopReason};
pub use receipts::Receipts;
pub use store::{Figures, PartitionStore};
pub use take_over::{Deps, SpareClaim, TakenOver, take_over};
pub use tuning::Tuning;

#[cfg(test)]
mod tests;
