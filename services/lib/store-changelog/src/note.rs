//! Offset metadata of a partition: the note committed with the offset, and its encoding (version 1, numbers
//! as `varint`, base64url). Invariant: a release of seven outcomes reads every note, and hands on unknown
//! counts.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pushgrid_store::Commit;
use pushgrid_types::cast::fitting;
use pushgrid_types::{DropReason, Outcome, Position, Sequence};

use crate::claims::Claims;
use crate::varint;

const VERSION: u8 = 1;

/// Outcomes known to the earliest release, which refuses a note with more.
const EARLIER: usize = 7;

/// Outcomes added since, and the outcome shown to the earliest release instead.
const LATER: [Outcome; 2] =
    [Outcome::Dropped(DropReason::LostFromLog), Outcome::Dropped(DropReason::Damaged)];
const STANDS_FOR_LATER: Outcome = Outcome::Dropped(DropReason::NotDelivered);

/// Sequences from here on belong to no message. Ranges there carry the counts of [`LATER`], each one longer
/// than the count: an earlier release hands such ranges on from note to note.
const BEYOND: u64 = 1 << 62;

/// Bound of each such count: all these ranges end within 64 bits.
const COUNT_MAX: u64 = (1 << 60) - 2;

/// Octets of a note before base64.
const OCTETS: usize = Commit::MAX_NOTE / 4 * 3;

/// Octets allowed for ranges of messages in a note. The reserve covers everything else: 28 numbers of at most
/// 10 octets, and the ranges beyond all messages.
pub(crate) const RANGES: usize = OCTETS - 320;

/// Checkpoint for the next owner. All fields are of one moment, the moment of the sequence committed beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// Last claims of the changelog.
    pub(crate) claims: Claims,
    /// Position up to which changes are counted.
    pub(crate) position: Position,
    /// Position from which the changelog tells of every message above the committed sequence that is
    /// acknowledged and in no range. Equal to `position` unless ranges had no room, or a subscription
    /// readable only by a newer release stands before it.
    pub(crate) collect_from: Position,
    /// Messages accepted before the committed sequence.
    pub(crate) before: u64,
    /// Messages in the ranges.
    pub(crate) beyond: u64,
    /// Outcomes of the messages before the committed sequence, in the ranges and in the mailbox, by
    /// [`Outcome::index`].
    pub(crate) ended: [u64; Outcome::ALL.len()],
    /// Acknowledged sequences above the committed one: rising, with gaps between.
    pub(crate) ranges: Vec<Range<u64>>,
}

/// Error of decoding a malformed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the note of a commit cannot be read")]
pub(crate) struct Invalid;

impl Note {
    /// Octets of `range` in a note, after a range up to `after`.
    pub(crate) fn cost(after: u64, range: &Range<u64>) -> usize {
        varint::len(range.start - after) + varint::len(range.end - range.start)
    }

    /// Encodes the note. The ranges must cost no more than [`RANGES`], and begin at or after `next`.
    pub(crate) fn encode(&self, next: Sequence) -> String {
        let mut octets = vec![VERSION];
        let mut put = |number| varint::put(&mut octets, number);
        put(fitting::<u64>(self.claims.as_slice().len()));
        // Leader epochs rise, so their differences are short.
        let mut last = 0;
        for leader_epoch in self.claims.as_slice() {
            put(leader_epoch - last);
            last = *leader_epoch;
        }
        put(self.position.0);
        put(self.position.0 - self.collect_from.0);
        put(self.before);
        put(self.beyond);
        // The earliest release adds `LATER` to an outcome it knows, and carries the exact counts in ranges it does
        // not read.
        let later = LATER.map(|outcome| self.ended[outcome.index()].min(COUNT_MAX));
        let mut shown = self.ended;
        let stands = &mut shown[STANDS_FOR_LATER.index()];
        *stands = stands.saturating_add(later.iter().sum());
        put(fitting::<u64>(EARLIER));
        shown.into_iter().take(EARLIER).for_each(&mut put);
        let mut after = next.0;
        for range in self.ranges.iter().chain(&beyond(later)) {
            put(range.start - after);
            put(range.end - range.start);
            after = range.end;
        }
        URL_SAFE_NO_PAD.encode(octets)
    }

    /// Decodes the note of a commit of `next`. Any malformed text is [`Invalid`].
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
        // Ranges beyond all messages carry counts: each is taken back from the outcome that stood for it.
        let messages = ranges.partition_point(|range| range.start < BEYOND);
        for (range, outcome) in ranges.split_off(messages).into_iter().zip(LATER) {
            let count = range.end - range.start - 1;
            let [shown, later] = [STANDS_FOR_LATER, outcome].map(Outcome::index);
            ended[shown] = ended[shown].checked_sub(count).ok_or(Invalid)?;
            ended[later] = ended[later].checked_add(count).ok_or(Invalid)?;
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

/// Ranges carrying these counts; none while all are zero.
fn beyond(counts: [u64; LATER.len()]) -> Vec<Range<u64>> {
    if counts == [0; LATER.len()] {
        return Vec::new();
    }
    let mut from = BEYOND;
    let mut range = |count: u64| {
        let range = from..from + count + 1;
        // Ranges that touch would become one.
        from = range.end + 1;
        range
    };
    counts.map(&mut range).to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_note_comes_back_from_its_text(
            leader_epochs in vec(1..u64::MAX / 64, 1..16),
            (position, back) in (0..u64::MAX).prop_flat_map(|it| (Just(it), 0..=it)),
            before: u64,
            beyond: u64,
            ended in proptest::array::uniform9(0..COUNT_MAX),
            next in 1..1_u64 << 60,
            steps in vec((0..100_000_u64, 1..100_000_u64), 0..400),
        ) {
            let mut known: Vec<u64> = leader_epochs;
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

    fn note(ended: [u64; Outcome::ALL.len()]) -> Note {
        let claims = Claims::from_known(vec![0, 5]).unwrap();
        let (position, ranges) = (Position(9), vec![12..20, 30..31]);
        Note { claims, position, collect_from: position, before: 9, beyond: 3, ended, ranges }
    }

    /// Notes of the release of seven outcomes, and of the later ones that named all outcomes.
    #[test]
    fn a_note_of_an_earlier_release_is_read() {
        let of_seven = "AQIABQkACQMHAQIDBAUGBwIICgE";
        assert_eq!(Note::decode(of_seven, Sequence(10)), Ok(note([1, 2, 3, 4, 5, 6, 7, 0, 0])));
        let of_nine = "AQIABQkACQMJAQIDBAUGBwgJAggKAQ";
        assert_eq!(Note::decode(of_nine, Sequence(10)), Ok(note([1, 2, 3, 4, 5, 6, 7, 8, 9])));
    }

    #[test]
    fn an_earlier_release_reads_a_note_and_carries_what_it_does_not_know() {
        let plain = note([1, 2, 3, 4, 5, 6, 7, 0, 0]);
        assert_eq!(plain.encode(Sequence(10)), "AQIABQkACQMHAQIDBAUGBwIICgE");

        let mut written = note([1, 2, 3, 4, 5, 6, 7, 1000, 0]);
        let octets = URL_SAFE_NO_PAD.decode(written.encode(Sequence(10))).unwrap();
        let (counts, ranges) = octets[8..].split_at(9);
        assert_eq!(counts, [7, 1, 2, 3, 4, 5, 6, 0xef, 7], "seven, of which the last stands for 1000 more");
        // Such a release counts on, passes the ranges of messages, and keeps those beyond.
        let mut rest = &ranges[4..];
        let mut take = || varint::take(&mut rest).unwrap();
        let [gap, lost, between, damaged] = [take(), take(), take(), take()];
        assert_eq!((31 + gap, lost, between, damaged, rest.len()), (BEYOND, 1001, 1, 1, 0));
        let mut carried = [&octets[..14], &[10, 0xf2, 7]].concat();
        for number in [BEYOND - 40, lost, between, damaged] {
            varint::put(&mut carried, number);
        }
        written.ended = [1, 2, 3, 4, 5, 10, 10, 1000, 0];
        written.ranges.clear();
        assert_eq!(Note::decode(&URL_SAFE_NO_PAD.encode(carried), Sequence(40)), Ok(written));
    }

    /// Note that a router of the release of seven outcomes committed after taking a partition over from this
    /// one.
    #[test]
    fn what_an_earlier_release_has_carried_is_read() {
        let note = Note::decode("AQMAAQIFAPIHAAcBAAAAAADvB_z_________P-kHAQg", Sequence(4)).unwrap();
        assert_eq!((note.before, note.ended), (1010, [1, 0, 0, 0, 0, 0, 0, 1000, 7]));
        assert_eq!((note.beyond, note.ranges), (0, Vec::new()));
    }

    #[test]
    fn the_largest_note_fits() {
        // The costliest note: numbers of ten octets, and as many ranges as fit.
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
            ended: [COUNT_MAX; Outcome::ALL.len()],
            ranges,
        };
        let text = note.encode(Sequence(0));
        assert!(text.len() <= Commit::MAX_NOTE, "{} characters", text.len());
        assert_eq!(Note::decode(&text, Sequence(0)), Ok(note));
    }
}
