//! The tracker alone: commits, ranges and counts over reads, ends, moves and losses.

use pushgrid_store::Commit;

use super::Read::{Again, DealtWith, New};
use super::*;
use crate::claims::Claims;
use crate::note::{Note, RANGES};

fn range(start: u64, end: u64) -> std::ops::Range<u64> {
    start..end
}

fn id(sequence: u64) -> MessageId {
    MessageId::from_octets(u128::from(sequence).to_be_bytes())
}

fn tracker(ahead: Ahead) -> Tracker {
    Tracker::new(Start {
        next: Sequence(10),
        before: 9,
        ahead,
        ended: [0; Outcome::ALL.len()],
        position: Position(100),
        waiting: 3,
        is_known: true,
    })
}

/// Tracker after reading these sequences.
fn having_read(sequences: impl IntoIterator<Item = u64>) -> Tracker {
    let mut tracker = tracker(Ahead::default());
    for sequence in sequences {
        assert_eq!(tracker.read(Sequence(sequence), Some(id(sequence))), New);
    }
    tracker
}

fn settle(tracker: &mut Tracker, sequences: impl IntoIterator<Item = u64>) {
    for sequence in sequences {
        assert!(tracker.settle(Sequence(sequence), Outcome::Delivered));
    }
}

fn move_all(tracker: &mut Tracker, from: u64, sequences: impl IntoIterator<Item = u64>) {
    let moved: Vec<_> = sequences.into_iter().map(Sequence).collect();
    for sequence in &moved {
        assert!(tracker.start_moving(*sequence));
    }
    let came = moved.len() as u64;
    let entered = Entered { moved, came, ..Entered::default() };
    tracker.enter(Position(from), Position(from + came), &entered);
}

fn commit(tracker: &Tracker, octets: usize) -> Option<(u64, Note)> {
    let Commit { next, note } = tracker.snapshot(&Claims::from_the_start(), None, octets).commit?;
    Some((next.0, Note::decode(&note, next).unwrap()))
}

#[test]
fn the_commit_stands_at_the_oldest_that_is_not_dealt_with() {
    let mut tracker = having_read(10..20);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.ranges), (10, 9, vec![]));
    settle(&mut tracker, [10, 11, 14]);
    move_all(&mut tracker, 100, [12, 15, 19]);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.beyond), (13, 12, 3));
    assert_eq!(note.ranges, [14..16, 19..20]);
    assert_eq!((note.position, note.collect_from), (Position(103), Position(103)));
    assert_eq!(note.ended[Outcome::Delivered.index()], 3);
    settle(&mut tracker, [13, 16, 17, 18]);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.beyond, note.ranges), (20, 19, 0, vec![]));
    assert_eq!(tracker.len(), 0);
    assert_eq!(tracker.waiting(), 6);
}

#[test]
fn what_is_on_its_way_is_not_dealt_with_and_nobody_else_ends_it() {
    let mut tracker = having_read(10..12);
    assert!(tracker.start_moving(Sequence(10)));
    assert!(!tracker.start_moving(Sequence(10)));
    assert!(!tracker.settle(Sequence(10), Outcome::Expired));
    assert!(!tracker.is_open(Sequence(10)));
    assert_eq!(commit(&tracker, RANGES).unwrap().0, 10);
}

#[test]
fn gaps_are_no_messages() {
    let mut tracker = having_read([10, 15, 16, 30, 40]);
    settle(&mut tracker, [15, 30]);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.beyond, note.ranges), (10, 9, 2, vec![15..16, 30..40]));
    settle(&mut tracker, [10, 16, 40]);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.beyond), (41, 14, 0));
}

#[test]
fn what_an_earlier_life_has_dealt_with_is_passed_over_and_counted_once() {
    // The note spoke of 12 and 13, with a gap up to 20; the changelog of 25.
    let mut ahead = Ahead::new(vec![range(12, 20)], 2);
    ahead.collect(Sequence(25), id(25), Position(90));
    ahead.collect(Sequence(13), id(13), Position(91));
    assert_eq!(ahead.len(), 3);
    let mut tracker = tracker(ahead);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.beyond, note.ranges.clone()), (10, 9, 2, vec![range(12, 20)]));
    assert_eq!(note.collect_from, Position(90), "25 is found again, with its id");
    let read: Vec<_> =
        [10, 12, 13, 20, 25, 26, 25].into_iter().map(|it| tracker.read(Sequence(it), Some(id(it)))).collect();
    assert_eq!(read, [New, DealtWith, DealtWith, New, DealtWith, New, Again]);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.beyond), (10, 9, 3));
    settle(&mut tracker, [10, 20]);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.beyond), (26, 14, 0));
}

#[test]
fn what_the_log_has_forgotten_meanwhile_stays_counted() {
    let mut ahead = Ahead::new(vec![range(12, 14)], 2);
    ahead.collect(Sequence(25), id(25), Position(90));
    let mut tracker = tracker(ahead);
    assert_eq!(tracker.read(Sequence(30), Some(id(30))), New);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before + note.beyond), (30, 12));
}

#[test]
fn what_does_not_fit_is_counted_when_it_comes_again() {
    let mut tracker = having_read(10..20);
    settle(&mut tracker, [11, 15]);
    move_all(&mut tracker, 110, [13]);
    move_all(&mut tracker, 120, [17]);
    // Two octets for each range.
    let (next, note) = commit(&tracker, 4).unwrap();
    assert_eq!((next, note.ranges), (10, vec![11..12, 13..14]));
    assert_eq!((note.before, note.beyond), (9, 2));
    assert_eq!(note.ended[Outcome::Delivered.index()], 1, "15 ends again");
    assert_eq!((note.position, note.collect_from), (Position(121), Position(120)), "17 is found again");
    let (_, note) = commit(&tracker, 0).unwrap();
    assert_eq!((note.ranges.len(), note.beyond, note.ended), (0, 0, [0; Outcome::ALL.len()]));
    assert_eq!(note.collect_from, Position(110));
}

#[test]
fn nothing_is_committed_that_would_forget_what_only_the_last_note_knew() {
    let mut tracker = tracker(Ahead::new(vec![range(17, 18)], 1));
    assert_eq!(commit(&tracker, 0), None);
    for sequence in 10..20 {
        tracker.read(Sequence(sequence), Some(id(sequence)));
    }
    settle(&mut tracker, [11, 13]);
    assert_eq!(commit(&tracker, 5), None);
    assert!(commit(&tracker, 6).is_some());
    settle(&mut tracker, [10, 12, 14, 15, 16]);
    assert_eq!(commit(&tracker, 0).unwrap().0, 18, "and when it is behind, all is well");
}

fn lost(start: u64, end: u64) -> std::ops::Range<Sequence> {
    Sequence(start)..Sequence(end)
}

#[test]
fn what_the_log_has_lost_is_counted_once() {
    let mut tracker = tracker(Ahead::default());
    assert_eq!(tracker.lose(lost(10, 1_000_010)), 1_000_000);
    assert_eq!(tracker.len(), 0, "it takes no room");
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.ended[LOST.index()]), (1_000_010, 1_000_009, 1_000_000));
    assert_eq!(tracker.lose(lost(10, 1_000_010)), 0, "it was lost before");

    // Behind a message that is open: the next owner reads that again, and meets the same gap.
    let mut tracker = having_read(10..13);
    settle(&mut tracker, [10, 12]);
    assert_eq!(tracker.lose(lost(13, 20)), 7);
    assert_eq!(tracker.read(Sequence(20), Some(id(20))), New);
    settle(&mut tracker, [20]);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.beyond, note.ranges.clone()), (11, 10, 9, vec![range(12, 21)]));
    assert_eq!(note.ended[LOST.index()], 7);
    let start = |note: Note| Start {
        next: Sequence(next),
        before: note.before,
        ahead: Ahead::new(note.ranges, note.beyond),
        ended: note.ended,
        position: note.position,
        waiting: 3,
        is_known: true,
    };
    let mut following = Tracker::new(start(note.clone()));
    assert_eq!(following.read(Sequence(11), Some(id(11))), New);
    assert_eq!(following.lose(lost(12, 20)), 0, "all of it is in the note");
    assert_eq!(following.read(Sequence(20), Some(id(20))), DealtWith);
    settle(&mut following, [11]);
    let (next, end) = commit(&following, RANGES).unwrap();
    assert_eq!((next, end.before, end.ended[LOST.index()]), (21, 20, 7));

    // The note had no room for the gap: it is not in its counts either.
    let (next, short) = commit(&tracker, 0).unwrap();
    assert_eq!((next, short.beyond, short.ended[LOST.index()]), (11, 0, 0));
    let mut following = Tracker::new(start(short));
    assert_eq!(following.lose(lost(11, 20)), 9);
}

#[test]
fn what_was_dealt_with_is_not_lost() {
    let mut ahead = Ahead::new(vec![range(12, 15)], 3);
    ahead.collect(Sequence(16), id(16), Position(101));
    let mut tracker = tracker(ahead);
    assert_eq!(tracker.lose(lost(10, 20)), 6, "without three in a range and one in the changelog");
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before), (20, 19));
    assert!(tracker.was_read(Sequence(19)) && !tracker.is_open(Sequence(19)));
}

#[test]
fn without_a_note_nothing_is_known_of_what_the_log_has_forgotten() {
    let mut tracker = Tracker::new(Start {
        next: Sequence(1),
        before: 0,
        ahead: Ahead::default(),
        ended: [0; Outcome::ALL.len()],
        position: Position(100),
        waiting: 0,
        is_known: false,
    });
    assert_eq!(tracker.lose(lost(1, 500)), 0);
    assert_eq!(tracker.read(Sequence(500), Some(id(500))), New);
    assert_eq!(tracker.lose(lost(501, 510)), 9, "but of what was lost later");
}

#[test]
fn what_is_dealt_with_behind_an_open_message_takes_the_room_of_its_runs() {
    const LAST: u64 = 400_000;
    let mut tracker = having_read(10..LAST);
    // From both ends of each hundred, so that runs grow forwards, backwards and together.
    for hundred in (100..LAST).step_by(100) {
        settle(&mut tracker, (hundred + 50..hundred + 100).rev());
        move_all(&mut tracker, 1000 + hundred, hundred..hundred + 50);
    }
    settle(&mut tracker, 11..100);
    assert_eq!(tracker.len(), 2);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!(
        (next, note.before, note.beyond, note.ranges.clone()),
        (10, 9, LAST - 11, vec![range(11, LAST)])
    );
    assert_eq!(note.ended[Outcome::Delivered.index()], (LAST - 100) / 2 + 89);
    // What does not fit is left out whole: the ends are counted again, the moves looked for from the first on.
    let left_out = tracker.snapshot(&Claims::from_the_start(), None, 0).left_out;
    assert_eq!(left_out, LAST - 11);
    let (_, short) = commit(&tracker, 0).unwrap();
    assert_eq!((short.beyond, short.ended[Outcome::Delivered.index()]), (0, 0));
    assert_eq!(short.collect_from, Position(1100));
    settle(&mut tracker, [10]);
    assert_eq!((tracker.len(), commit(&tracker, RANGES).unwrap().0), (0, LAST));
}

#[test]
fn a_message_of_another_log_is_not_taken_for_the_one_that_is_read() {
    let mut ahead = Ahead::default();
    for sequence in [10, 11, 15, 40] {
        ahead.collect(Sequence(sequence), id(900 + sequence), Position(90));
    }
    ahead.collect(Sequence(12), id(12), Position(91));
    ahead.end_at(Sequence(20));
    assert_eq!(ahead.len(), 4, "40 was in another log for sure");
    let mut tracker = tracker(ahead);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before + note.beyond, note.ranges), (10, 9, vec![]), "no range without a name");
    assert_eq!(note.collect_from, Position(90));
    let read: Vec<_> =
        [10, 11, 12, 16].map(|it| tracker.read(Sequence(it), Some(id(it)))).into_iter().collect();
    assert_eq!(read, [New, New, DealtWith, New]);
    settle(&mut tracker, [10, 11, 16]);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.beyond), (17, 9 + 7, 0), "four here, three of another log");
    assert_eq!(note.collect_from, note.position);
}
