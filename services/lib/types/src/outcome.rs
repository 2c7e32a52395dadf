//! The outcomes of messages, with stored forms and labels in metrics.
//!
//! Invariant: the index of an outcome never changes, for records and notes of earlier releases hold the index.

/// The one end of an accepted message (promise P2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The user agent acknowledged the message.
    Delivered,
    /// The TTL ended first.
    Expired,
    /// A newer message of the same topic replaced the message (promise P5).
    Replaced,
    /// The application server deleted the message.
    Cancelled,
    /// The subscription ended first.
    Unsubscribed,
    /// The user agent could not decrypt the message.
    Undecryptable,
    /// The message was given up, for this reason.
    Dropped(DropReason),
}

/// Reason for giving a message up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The user agent reported the message as not shown: unknown, seen before, or out of quota.
    NotDelivered,
    /// The log deleted the message before a router read it: the retention is shorter than the grid was without
    /// routers.
    LostFromLog,
    /// The stored message is damaged, and no other copy is left.
    Damaged,
}

/// Statement of a receipt, as a status of HTTP (RFC 8030 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReceiptStatus {
    /// 204: the user agent has acknowledged the message.
    Acknowledged,
    /// 410: the message was given up.
    GivenUp,
}

impl ReceiptStatus {
    /// Status code of HTTP.
    pub const fn code(self) -> u16 {
        match self {
            Self::Acknowledged => 204,
            Self::GivenUp => 410,
        }
    }
}

impl Outcome {
    /// All outcomes: the position of each is its stored form, so the list only ever grows at the end.
    pub const ALL: [Self; 9] = [
        Self::Delivered,
        Self::Expired,
        Self::Replaced,
        Self::Cancelled,
        Self::Unsubscribed,
        Self::Undecryptable,
        Self::Dropped(DropReason::NotDelivered),
        Self::Dropped(DropReason::LostFromLog),
        Self::Dropped(DropReason::Damaged),
    ];

    /// The outcome to write where a release of seven outcomes reads: such a release refuses a note or a record with
    /// any other, and the partition with it.
    #[must_use]
    pub const fn for_earlier_releases(self) -> Self {
        match self {
            Self::Dropped(_) => Self::Dropped(DropReason::NotDelivered),
            other => other,
        }
    }

    /// Position in [`Self::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Delivered => 0,
            Self::Expired => 1,
            Self::Replaced => 2,
            Self::Cancelled => 3,
            Self::Unsubscribed => 4,
            Self::Undecryptable => 5,
            Self::Dropped(DropReason::NotDelivered) => 6,
            Self::Dropped(DropReason::LostFromLog) => 7,
            Self::Dropped(DropReason::Damaged) => 8,
        }
    }

    /// Statement of the receipt of a message that ended like this (RFC 8030 section 6.3); `None` when none is due.
    ///
    /// A user agent that cannot decrypt a message has received it, and acknowledges it (Push API). A message that its own
    /// sender replaced or took back gives no receipt (RFC 8030 section 5.4): it was neither acknowledged nor given up by the
    /// service.
    pub const fn receipt(self) -> Option<ReceiptStatus> {
        match self {
            Self::Delivered | Self::Undecryptable => Some(ReceiptStatus::Acknowledged),
            //= RFC 8030 section 6.3
            //# If the user agent fails to acknowledge the receipt of the push message and the push service ceases to
            //# retry delivery of the message prior to its advertised expiration, then the push service MUST push a
            //# failure response with a status code of 410 (Gone).
            Self::Expired | Self::Unsubscribed | Self::Dropped(_) => Some(ReceiptStatus::GivenUp),
            Self::Replaced | Self::Cancelled => None,
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
            Self::Dropped(DropReason::LostFromLog) => "dropped_lost_from_log",
            Self::Dropped(DropReason::Damaged) => "dropped_damaged",
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
