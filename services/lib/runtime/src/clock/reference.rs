//! The agreement on time: a pure function from the votes of members to the time of the grid and the time of day.
//!
//! Invariant: every member computes the same from the same votes, and fewer than half of the clocks, when wrong,
//! change nothing.

use pushgrid_types::{ClockOffset, ClockVote};

/// Agreed times of a grid, against the clock of the lease keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    /// The time by which messages are judged.
    pub(super) judged: ClockOffset,
    /// The time of day, as most clocks have it.
    pub(super) wall: ClockOffset,
}

impl Reference {
    /// The time of day is the median of the members' wall clocks and of the keeper's own clock, which is always at
    /// zero; the judging time is the median of the members' judging clocks. So the former is right while fewer than
    /// half of the clocks are wrong, and the latter goes on whatever happens to clocks.
    ///
    /// Of an even number, every instant between the two in the middle is a median: the one nearest to the other of
    /// the two times is taken, and in the end the one nearest to the keeper's clock. The result does not depend on
    /// the caller.
    ///
    /// While no member votes yet, `line` (the last judging clock reported) decides between the clocks, of which `own`
    /// then is one.
    pub(super) fn of(votes: &[ClockVote], own: ClockOffset, line: Option<ClockOffset>) -> Self {
        let walls = votes.iter().map(|vote| vote.wall).chain([ClockOffset::ZERO]);
        if votes.is_empty() {
            let (low, high) = middle(walls.chain([own]).collect());
            let judged = line.unwrap_or_default().clamp(low, high);
            return Self { judged, wall: judged };
        }
        let (low, high) = middle(walls.collect());
        let (first, last) = middle(votes.iter().map(|vote| vote.judged).collect());
        // Nearest to zero, the keeper: first among the medians of wall clocks, then of judging clocks.
        let judged = ClockOffset::ZERO.clamp(low, high).clamp(first, last);
        Self { judged, wall: judged.clamp(low, high) }
    }

    /// Times of a process among members that judge by wall clocks and do not vote: its own wall clock, which the
    /// operator keeps with theirs. The keeper's clock has no part in theirs.
    pub(super) const fn of_walls(own: ClockOffset) -> Self {
        Self { judged: own, wall: own }
    }
}

/// The two in the middle of at least one offset; the same twice when the number is odd.
fn middle(mut offsets: Vec<ClockOffset>) -> (ClockOffset, ClockOffset) {
    offsets.sort_unstable();
    (offsets[(offsets.len() - 1) / 2], offsets[offsets.len() / 2])
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn at(micros: i64) -> ClockOffset {
        ClockOffset::from_micros(micros)
    }

    fn vote(judged: i64, wall: i64) -> ClockVote {
        ClockVote { judged: at(judged), wall: at(wall) }
    }

    fn reference(judged: i64, wall: i64) -> Reference {
        Reference { judged: at(judged), wall: at(wall) }
    }

    #[test]
    fn the_first_member_takes_the_time_of_the_keeper() {
        assert_eq!(Reference::of(&[], at(2 * HOUR), None), reference(0, 0));
        assert_eq!(Reference::of(&[vote(0, 2 * HOUR)], at(9), None), reference(0, 0));
    }

    #[test]
    fn the_last_time_of_the_grid_decides_between_its_first_member_and_the_keeper() {
        assert_eq!(Reference::of(&[], at(-HOUR), Some(at(-HOUR))), reference(-HOUR, -HOUR));
        assert_eq!(Reference::of(&[], at(5), Some(at(-HOUR))), reference(0, 0), "both say that it is over");
    }

    #[test]
    fn two_who_judge_differently_follow_the_clocks() {
        let votes = [vote(0, 0), vote(-HOUR, -HOUR)];
        assert_eq!(Reference::of(&votes, at(0), None), reference(0, 0));
        let keeper_is_wrong = [vote(-HOUR, -HOUR), vote(0, -HOUR)];
        assert_eq!(Reference::of(&keeper_is_wrong, at(0), None), reference(-HOUR, -HOUR));
    }

    #[test]
    fn who_leaves_changes_nothing_though_the_keeper_is_wrong() {
        let votes = [vote(-HOUR, -HOUR), vote(-HOUR, -HOUR)];
        assert_eq!(Reference::of(&votes, at(-HOUR), None), reference(-HOUR, -HOUR));
        assert_eq!(Reference::of(&votes[..1], at(-HOUR), None), reference(-HOUR, -HOUR));
    }

    /// Members, most of which have about the same judging and wall clocks; and others.
    fn grid() -> impl Strategy<Value = (Vec<ClockVote>, Vec<ClockVote>)> {
        const NEAR: i64 = 1000;
        (0..8_usize).prop_flat_map(|wrong| {
            let right = vec((-NEAR..=NEAR, -NEAR..=NEAR), wrong + 1..wrong + 10);
            let wrong = vec((any::<i64>(), any::<i64>()), wrong);
            let votes =
                |of: Vec<(i64, i64)>| of.into_iter().map(|(judged, wall)| vote(judged, wall)).collect();
            (right.prop_map(votes), wrong.prop_map(votes))
        })
    }

    proptest! {
        #[test]
        fn fewer_than_half_change_nothing((right, wrong) in grid(), shift: i32, own: i64, line: Option<i64>) {
            // The keeper's clock is one of the right ones, or one of those that are wrong.
            let shifted = |vote: &ClockVote| ClockVote {
                judged: vote.judged.plus(at(shift.into())),
                wall: vote.wall.plus(at(shift.into())),
            };
            let keeper_is_right = right.iter().chain(&wrong).copied().collect::<Vec<_>>();
            let answer = Reference::of(&keeper_is_right, at(own), line.map(at));
            prop_assert!(answer.judged.as_micros().abs() <= 1000, "{:?}", answer);
            prop_assert!(answer.wall.as_micros().abs() <= 1000, "{:?}", answer);

            let shift = i64::from(shift);
            let fewer = &wrong[..wrong.len().saturating_sub(1)];
            prop_assume!(right.len() > fewer.len() + 1);
            let keeper_is_wrong = right.iter().map(shifted).chain(fewer.iter().copied()).collect::<Vec<_>>();
            let answer = Reference::of(&keeper_is_wrong, at(own), line.map(at));
            prop_assert!((answer.judged.as_micros() - shift).abs() <= 1000, "{:?}", answer);
            prop_assert!((answer.wall.as_micros() - shift).abs() <= 1000, "{:?}", answer);
        }

        #[test]
        fn everybody_comes_to_the_same(mut votes in vec((any::<i64>(), any::<i64>()), 1..9), own: [i64; 2]) {
            let of = |votes: &[(i64, i64)], own| {
                let votes: Vec<_> = votes.iter().map(|(judged, wall)| vote(*judged, *wall)).collect();
                Reference::of(&votes, at(own), None)
            };
            let one = of(&votes, own[0]);
            votes.reverse();
            prop_assert_eq!(of(&votes, own[1]), one);
        }
    }
}
