use pushgrid_store::Commit;

use super::Read::{Again, DealtWith, New};
use super::*;
use crate::claims::Claims;
use crate::note::{Note, RANGES};

fn range(start: u64, end: u64) -> std::ops::Range<u64> {
    start..end
}

fn tracker(ahead: Ahead) -> Tracker {
    Tracker::new(Start {
        next: Sequence(10),
        before: 9,
        ahead,
        ended: [0; Outcome::ALL.len()],
        position: Position(100),
        waiting: 3,
    })
}

/// A tracker that has read these.
fn having_read(sequences: impl IntoIterator<Item = u64>) -> Tracker {
    let mut tracker = tracker(Ahead::default());
    for sequence in sequences {
        assert_eq!(tracker.read(Sequence(sequence)), New);
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
    let Commit { next, note } = tracker.commit(&Claims::from_the_start(), octets)?;
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
    ahead.collect(Sequence(25), Position(90));
    ahead.collect(Sequence(13), Position(91));
    assert_eq!(ahead.len(), 3);
    let mut tracker = tracker(ahead);
    let (next, note) = commit(&tracker, RANGES).unwrap();
    assert_eq!((next, note.before, note.beyond, note.ranges), (10, 9, 3, vec![12..20, 25..26]));
    let read: Vec<_> =
        [10, 12, 13, 20, 25, 26, 25].into_iter().map(|it| tracker.read(Sequence(it))).collect();
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
    ahead.collect(Sequence(25), Position(90));
    let mut tracker = tracker(ahead);
    assert_eq!(tracker.read(Sequence(30)), New);
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
        tracker.read(Sequence(sequence));
    }
    settle(&mut tracker, [11, 13]);
    assert_eq!(commit(&tracker, 5), None);
    assert!(commit(&tracker, 6).is_some());
    settle(&mut tracker, [10, 12, 14, 15, 16]);
    assert_eq!(commit(&tracker, 0).unwrap().0, 18, "and when it is behind, all is well");
}
