//! Last claims of a changelog, by which a reader from the middle knows the leader epoch in force there.
//! Bound: 16 claims; an earlier place means reading from the start.

use pushgrid_types::{LeaderEpoch, Position};

/// Claims remembered: a replay from behind so many take-overs need not begin at the start.
const KEPT: usize = 16;

/// The last claims of a changelog, without a gap between first and last.
///
/// The claims tell the leader epoch in force at a place of the changelog: a record of a lower one there does
/// not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Rising. Begins with zero, nobody's leader epoch, while the list goes back to the start of the
    /// changelog.
    known: Vec<u64>,
}

impl Claims {
    /// Claims for reading a changelog from the start.
    pub(crate) fn from_the_start() -> Self {
        Self { known: vec![0] }
    }

    /// Restores [`Self::as_slice`]; `None` if the list is empty, too long or not rising.
    pub(crate) fn from_known(known: Vec<u64>) -> Option<Self> {
        let rising = known.windows(2).all(|pair| pair[0] < pair[1]);
        (rising && !known.is_empty() && known.len() <= KEPT).then_some(Self { known })
    }

    /// Leader epochs, rising; at least one.
    pub(crate) fn as_slice(&self) -> &[u64] {
        &self.known
    }

    /// Enters a claim from the changelog; a repeated one changes nothing.
    pub(crate) fn passed(&mut self, leader_epoch: LeaderEpoch) {
        if self.known.last().is_some_and(|last| *last < leader_epoch.0) {
            self.known.push(leader_epoch.0);
            let forgotten = self.known.len().saturating_sub(KEPT);
            self.known.drain(..forgotten);
        }
    }

    /// Highest leader epoch whose claim stands before `position`; `None` if no longer known.
    pub(crate) fn before(&self, position: Position) -> Option<LeaderEpoch> {
        // The claim of a leader epoch stands one place before its number.
        let passed = self.known.partition_point(|leader_epoch| *leader_epoch <= position.0);
        passed.checked_sub(1).map(|last| LeaderEpoch(self.known[last]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_the_last_claim_before_it() {
        let mut claims = Claims::from_the_start();
        for leader_epoch in [3, 8, 8, 3] {
            claims.passed(LeaderEpoch(leader_epoch));
        }
        let before = |position| claims.before(Position(position)).map(|it| it.0);
        // The claim of leader epoch 3 stands at place 2, that of leader epoch 8 at place 7.
        assert_eq!([0, 2, 3, 7, 8, 99].map(before), [0, 0, 3, 3, 8, 8].map(Some));
    }

    #[test]
    fn what_was_forgotten_is_not_guessed() {
        let mut claims = Claims::from_the_start();
        for leader_epoch in 1..=40 {
            claims.passed(LeaderEpoch(leader_epoch * 10));
        }
        assert_eq!(claims.as_slice().len(), KEPT);
        assert_eq!(claims.before(Position(249)), None);
        assert_eq!(claims.before(Position(250)), Some(LeaderEpoch(250)));
        assert_eq!(Claims::from_known(claims.as_slice().to_vec()), Some(claims));
        assert_eq!(Claims::from_known(vec![3, 3]), None);
        assert_eq!(Claims::from_known(Vec::new()), None);
    }
}
