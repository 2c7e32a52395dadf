use pushgrid_types::{Position, Tenure};

/// How many are remembered: as many take-overs lie behind a place from which a catch-up need not begin at the start.
const KEPT: usize = 16;

/// The last claims of a changelog, none left out between the first that is remembered and the last.
///
/// They answer which tenure a reader must already have passed who begins in the middle: a record of a lower one does
/// not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Rising. Begins with zero, nobody's tenure, while it goes back to the start of the changelog.
    known: Vec<u64>,
}

impl Claims {
    /// Of a changelog that is read from its start.
    pub(crate) fn from_the_start() -> Self {
        Self { known: vec![0] }
    }

    /// From what [`Self::as_slice`] gave; `None` if that is not in order.
    pub(crate) fn from_known(known: Vec<u64>) -> Option<Self> {
        let rising = known.windows(2).all(|pair| pair[0] < pair[1]);
        (rising && !known.is_empty() && known.len() <= KEPT).then_some(Self { known })
    }

    /// The tenures, rising; at least one.
    pub(crate) fn as_slice(&self) -> &[u64] {
        &self.known
    }

    /// Enters a claim that was read. Those that were read before are passed over.
    pub(crate) fn passed(&mut self, tenure: Tenure) {
        if self.known.last().is_some_and(|last| *last < tenure.0) {
            self.known.push(tenure.0);
            let forgotten = self.known.len().saturating_sub(KEPT);
            self.known.drain(..forgotten);
        }
    }

    /// The highest tenure whose claim stands before `position`; `None` when that is no longer known.
    pub(crate) fn before(&self, position: Position) -> Option<Tenure> {
        // The claim of a tenure stands one place before its number.
        let passed = self.known.partition_point(|tenure| *tenure <= position.0);
        passed.checked_sub(1).map(|last| Tenure(self.known[last]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_the_last_claim_before_it() {
        let mut claims = Claims::from_the_start();
        for tenure in [3, 8, 8, 3] {
            claims.passed(Tenure(tenure));
        }
        let before = |position| claims.before(Position(position)).map(|it| it.0);
        // The claim of tenure 3 stands at place 2, that of tenure 8 at place 7.
        assert_eq!([0, 2, 3, 7, 8, 99].map(before), [0, 0, 3, 3, 8, 8].map(Some));
    }

    #[test]
    fn what_was_forgotten_is_not_guessed() {
        let mut claims = Claims::from_the_start();
        for tenure in 1..=40 {
            claims.passed(Tenure(tenure * 10));
        }
        assert_eq!(claims.as_slice().len(), KEPT);
        assert_eq!(claims.before(Position(249)), None);
        assert_eq!(claims.before(Position(250)), Some(Tenure(250)));
        assert_eq!(Claims::from_known(claims.as_slice().to_vec()), Some(claims));
        assert_eq!(Claims::from_known(vec![3, 3]), None);
        assert_eq!(Claims::from_known(Vec::new()), None);
    }
}
