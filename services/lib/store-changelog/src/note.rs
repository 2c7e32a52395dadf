//! What the commit of a partition carries besides its sequence.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pushgrid_store::Commit;
use pushgrid_types::{Outcome, Position, Sequence};

use crate::claims::Claims;
use crate::varint;

const VERSION: u8 = 1;

/// Octets of a note before they become text.
const OCTETS: usize = Commit::MAX_NOTE / 4 * 3;

/// Octets that the ranges of a note may take: the rest is more than everything else ever takes, which is 30 numbers
/// of at most 10 octets.
pub(crate) const RANGES: usize = OCTETS - 320;

/// What the next owner of a partition has to know. All of it is of one moment, the same as that of the sequence which is
/// committed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// The last claims of the changelog.
    pub(crate) claims: Claims,
    /// The changes before this position are in the counts.
    pub(crate) position: Position,
    /// Messages above the committed sequence that are in no range, and left the log all the same, did so by changes at or
    /// after this position. It is `position` unless ranges had to be left out.
    pub(crate) collect_from: Position,
    /// Messages that were accepted before the committed sequence.
    pub(crate) before: u64,
    /// Messages in the ranges.
    pub(crate) beyond: u64,
    /// How the messages before the committed sequence and in the ranges have ended, and those in the mailbox, by
    /// [`Outcome::index`].
    pub(crate) ended: [u64; Outcome::ALL.len()],
    /// Sequences above the committed one that have been dealt with: rising, apart from each other.
    pub(crate) ranges: Vec<Range<u64>>,
}

/// A text that is no note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the note of a commit cannot be read")]
pub(crate) struct Invalid;

impl Note {
    /// How many octets `range` takes when it follows one that ends at `after`.
    pub(crate) fn cost(after: u64, range: &Range<u64>) -> usize {
        varint::len(range.start - after) + varint::len(range.end - range.start)
    }

    /// As text. The ranges must cost no more than [`RANGES`], and begin at or after `next`.
    pub(crate) fn encode(&self, next: Sequence) -> String {
        let mut octets = vec![VERSION];
        let mut put = |number| varint::put(&mut octets, number);
        put(u64::try_from(self.claims.as_slice().len()).expect("there are few"));
        let mut last = 0;
        for tenure in self.claims.as_slice() {
            put(tenure - last);
            last = *tenure;
        }
        put(self.position.0);
        put(self.position.0 - self.collect_from.0);
        put(self.before);
        put(self.beyond);
        put(u64::try_from(self.ended.len()).expect("there are few"));
        self.ended.into_iter().for_each(&mut put);
        let mut after = next.0;
        for range in &self.ranges {
            put(range.start - after);
            put(range.end - range.start);
            after = range.end;
        }
        URL_SAFE_NO_PAD.encode(octets)
    }

    /// The note of a commit of `next`.
    pub(crate) fn decode(text: &str, next: Sequence) -> Result<Self, Invalid> {
        let octets = URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid)?;
        let Some((&VERSION, mut rest)) = octets.split_first() else { return Err(Invalid) };
        let mut take = || varint::take(&mut rest).ok_or(Invalid);
        let claims = take()?;
        let mut known: Vec<u64> = Vec::new();
        for _ in 0..claims {
            let last = known.last().copied().unwrap_or_default();
            known.push(last.checked_add(take()?).ok_or(Invalid)?);
        }
        let position = take()?;
        let collect_from = position.checked_sub(take()?).ok_or(Invalid)?;
        let (before, beyond) = (take()?, take()?);
        let mut ended = [0; Outcome::ALL.len()];
        let counts = usize::try_from(take()?).map_err(|_| Invalid)?;
        for count in ended.get_mut(..counts).ok_or(Invalid)? {
            *count = take()?;
        }
        let mut ranges = Vec::new();
        let mut after = next.0;
        while !rest.is_empty() {
            let mut take = || varint::take(&mut rest).ok_or(Invalid);
            let start = after.checked_add(take()?).ok_or(Invalid)?;
            let end = start.checked_add(take()?).ok_or(Invalid)?;
            if end == start {
                return Err(Invalid);
            }
            ranges.push(start..end);
            after = end;
        }
        Ok(Self {
            claims: Claims::from_known(known).ok_or(Invalid)?,
            position: Position(position),
            collect_from: Position(collect_from),
            before,
            beyond,
            ended,
            ranges,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_note_comes_back_from_its_text(
            tenures in vec(1..u64::MAX / 64, 1..16),
            (position, back) in (0..u64::MAX).prop_flat_map(|it| (Just(it), 0..=it)),
            before: u64,
            beyond: u64,
            ended: [u64; Outcome::ALL.len()],
            next in 1..1_u64 << 60,
            steps in vec((0..100_000_u64, 1..100_000_u64), 0..400),
        ) {
            let mut known: Vec<u64> = tenures;
            known.sort_unstable();
            known.dedup();
            let mut ranges = Vec::new();
            let mut after = next;
            let mut cost = 0;
            for (open, dealt) in steps {
                let range = after + open..after + open + dealt;
                cost += Note::cost(after, &range);
                after = range.end;
                ranges.push(range);
            }
            prop_assert!(cost <= RANGES);
            let note = Note {
                claims: Claims::from_known(known).unwrap(),
                position: Position(position),
                collect_from: Position(back),
                before,
                beyond,
                ended,
                ranges,
            };
            let text = note.encode(Sequence(next));
            prop_assert!(text.len() <= Commit::MAX_NOTE && text.bytes().all(|octet| octet.is_ascii_graphic()));
            prop_assert_eq!(Note::decode(&text, Sequence(next)), Ok(note));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[A-Za-z0-9_-]{0,200}", next: u64) {
            let _ = Note::decode(&text, Sequence(next));
            let _ = Note::decode(&format!("AQ{text}"), Sequence(next));
        }
    }

    #[test]
    fn the_largest_note_fits() {
        // What costs most: numbers of ten octets, and as many ranges as are allowed.
        let mut ranges = Vec::new();
        let (mut after, mut cost) = (0, 0);
        loop {
            let range = after + 1..after + 2;
            cost += Note::cost(after, &range);
            if cost > RANGES {
                break;
            }
            after = range.end;
            ranges.push(range);
        }
        let known = (0..16).map(|it| u64::MAX / 16 * (it + 1)).collect();
        let note = Note {
            claims: Claims::from_known(known).unwrap(),
            position: Position(u64::MAX),
            collect_from: Position(0),
            before: u64::MAX,
            beyond: u64::MAX,
            ended: [u64::MAX; Outcome::ALL.len()],
            ranges,
        };
        let text = note.encode(Sequence(0));
        assert!(text.len() <= Commit::MAX_NOTE, "{} characters", text.len());
        assert_eq!(Note::decode(&text, Sequence(0)), Ok(note));
    }
}
