//! State inherited from the previous owner: the commit of the log's offset, and the note beside. A commit or
//! note at odds with the log or the changelog costs the account, never a message.

use pushgrid_runtime::Backoff;
use pushgrid_store::{Change, ChangelogRecord, Commit, ErrorKind, Offsets, StoreError};
use pushgrid_types::{Position, Sequence};

use crate::context::{Halt, PartitionContext};
use crate::note::Note;

/// First sequence of a log.
const FIRST: Sequence = Sequence(1);

/// Attempts, with backoff, at a log with an end before the commit, until the log is taken for one made anew:
/// by then a new partition leader knows all records of the previous one.
const EVIDENCE: u32 = 6;

/// Place from which to go on.
pub(crate) struct Inherited {
    /// First possibly open sequence.
    pub(crate) next: Sequence,
    /// Note beside the commit; `None` if the account begins anew.
    pub(crate) note: Option<Note>,
}

/// Reads the last commit and its note. A commit with an empty note is an operator's: all earlier messages
/// count as done, and the account begins anew.
///
/// Topics can be deleted and made anew while the commit survives. If the brokers repeatedly place the end of
/// the log before the commit, the log is read from the start, so that no message accepted since is lost. A
/// note of another changelog is ignored, and so is a damaged one or one of a newer release: retries cannot
/// mend it, and ranges above the commit only spare redelivery.
pub(crate) async fn inherited(
    context: &PartitionContext,
    offsets: &dyn Offsets,
    pause: &mut Backoff,
) -> Result<Inherited, Halt> {
    let mut short = 0;
    let (commit, end) = loop {
        match commit_and_end(offsets).await {
            // A broker that has just begun to lead may not know the end of the log yet.
            Ok((Some(commit), end)) if commit.next > end && short < EVIDENCE => {
                short += 1;
                let error = StoreError::new(ErrorKind::Unavailable, "the log ends before what was committed");
                context.after(error, pause, "believe where the log ends").await?;
            }
            Ok(answer) => break answer,
            Err(error) => context.after(error, pause, "read the last commit").await?,
        }
    };
    let Some(Commit { next, note }) = commit else {
        return Ok(Inherited { next: FIRST, note: None });
    };
    if next > end {
        tracing::error!(
            committed = next.0,
            end = end.0,
            "the log ends before what was committed: its topic was made anew; it is read from its start, and the account \
             begins anew"
        );
        return Ok(Inherited { next: FIRST, note: None });
    }
    if note.is_empty() {
        return Ok(Inherited { next: next.max(FIRST), note: None });
    }
    let note = match Note::decode(&note, next) {
        Ok(note) => note,
        Err(error) => {
            tracing::error!(
                %error,
                committed = next.0,
                "the account begins anew at what was committed; messages above it that have ended may be redelivered"
            );
            return Ok(Inherited { next: next.max(FIRST), note: None });
        }
    };
    loop {
        match is_of_changelog(context, &note).await {
            Ok(true) => return Ok(Inherited { next, note: Some(note) }),
            Ok(false) => {
                tracing::error!(
                    position = note.position.0,
                    "the note of the commit names another changelog: the topic was made anew; the account begins anew"
                );
                return Ok(Inherited { next, note: None });
            }
            Err(error) => context.after(error, pause, "compare the commit with the changelog").await?,
        }
    }
}

async fn commit_and_end(offsets: &dyn Offsets) -> Result<(Option<Commit>, Sequence), StoreError> {
    let commit = offsets.committed().await?;
    // In this order: the end only moves on.
    let end = if commit.is_some() { offsets.end().await? } else { FIRST };
    Ok((commit, end))
}

/// True if the note fits this changelog: the last claim of the note must be there.
async fn is_of_changelog(context: &PartitionContext, note: &Note) -> Result<bool, StoreError> {
    let last = note.claims.as_slice().last().copied().unwrap_or_default();
    let from = Position(last.saturating_sub(1));
    let mut reading = context.changelog.read(context.partition, from).await?;
    if note.position > reading.end() {
        return Ok(false);
    }
    if last == 0 {
        return Ok(true);
    }
    let claim = reading.next(1).await?;
    Ok(matches!(claim.first(), Some(ChangelogRecord::Entry(entry))
        if entry.change == Change::Claimed && entry.by.0 == last))
}
