/// How an accepted message ended: exactly one for each (promise P2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The user agent acknowledged it.
    Delivered,
    /// Its TTL ended first.
    Expired,
    /// A newer message of its topic took its place.
    Replaced,
    /// The application server deleted it.
    Cancelled,
    /// Its subscription ended first.
    Unsubscribed,
    /// The user agent could not decrypt it.
    Undecryptable,
    /// It was given up, and why.
    Dropped(DropReason),
}

/// Why a message was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The user agent said that it did not show it: unknown to it, seen before, or out of quota.
    NotDelivered,
}

impl Outcome {
    /// All of them: the position of each is its stored form, so the order only ever grows at its end.
    pub const ALL: [Self; 7] = [
        Self::Delivered,
        Self::Expired,
        Self::Replaced,
        Self::Cancelled,
        Self::Unsubscribed,
        Self::Undecryptable,
        Self::Dropped(DropReason::NotDelivered),
    ];

    /// Its position in [`Self::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Delivered => 0,
            Self::Expired => 1,
            Self::Replaced => 2,
            Self::Cancelled => 3,
            Self::Unsubscribed => 4,
            Self::Undecryptable => 5,
            Self::Dropped(DropReason::NotDelivered) => 6,
        }
    }

    /// The word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Cancelled => "cancelled",
            Self::Unsubscribed => "unsubscribed",
            Self::Undecryptable => "undecryptable",
            Self::Dropped(DropReason::NotDelivered) => "dropped_not_delivered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_stands_at_its_index() {
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), position);
        }
    }
}
