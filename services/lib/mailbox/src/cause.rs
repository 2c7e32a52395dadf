use pushgrid_types::Outcome;

/// Cause of the end of a stored message. Together with [`crate::judge`], which decides about messages on the
/// way into the mailbox, the causes are all the ways a stored message can end.
///
/// The first cause stands: a message out of the mailbox has an outcome, and no later cause finds the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Arrival of a newer message of the same subscription and topic (RFC 8030 section 5.4).
    Replaced,
    /// End of a subscription of the same channel, of any incarnation: another incarnation may have taken the
    /// place of the one addressed.
    Unsubscribed,
    /// Expiry now or in the past ([`Message::is_expired`](pushgrid_types::Message::is_expired); RFC 8030
    /// section 5.2).
    Expired,
    /// Outcome stated by the taker of the message: acknowledged, refused by the user agent, taken back by the
    /// application server, or expired on the way.
    Reported(Outcome),
}

impl Cause {
    /// Outcome of the message.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Replaced => Outcome::Replaced,
            Self::Unsubscribed => Outcome::Unsubscribed,
            Self::Expired => Outcome::Expired,
            Self::Reported(outcome) => outcome,
        }
    }
}
