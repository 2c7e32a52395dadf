//! Health of a partition as an operator sees it, and the reasons for a stop. A stopped partition never serves
//! again; a new take-over starts afresh. Not here: the states' changes (`core`).

use std::fmt;

use pushgrid_types::{Position, Sequence};

/// State of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Take-over under way.
    #[default]
    TakingOver,
    /// Replay of the changelog into the view. Reads are refused as unavailable meanwhile.
    CatchingUp {
        /// Applied offset of the view.
        at: Position,
        /// End of the changelog.
        end: Position,
    },
    /// Owned, with the view complete.
    Serving,
    /// Owned, but the log is read no further until this message ends: the window behind is full.
    Full {
        /// Oldest open message.
        at: Sequence,
    },
    /// Stopped, for good.
    Stopped(StopReason),
}

/// Reasons for which a partition stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Fenced: another router has announced a later leader epoch.
    Fenced,
    /// The log was assigned to another router.
    Lost,
    /// Closed by the owner.
    Closed,
    /// Abandoned by the owner, or the last handle dropped.
    Abandoned,
    /// The log or the changelog is unreadable: an operator has to look.
    Corrupt,
    /// A task of the partition panicked.
    Failed,
}

impl fmt::Display for Health {
    /// Writes words for an operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakingOver => f.write_str("taking over"),
            Self::CatchingUp { at, end } => write!(f, "catching up, {} of {}", at.0, end.0),
            Self::Serving => f.write_str("serving"),
            Self::Full { at } => {
                write!(
                    f,
                    "reading no further: message {} of the log, which may be a newer release's, is open",
                    at.0
                )
            }
            Self::Stopped(why) => write!(f, "stopped: {why}"),
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced => f.write_str("another router has taken the partition over"),
            Self::Lost => f.write_str("the partition was given to another router"),
            Self::Closed => f.write_str("closed"),
            Self::Abandoned => f.write_str("abandoned"),
            Self::Failed => f.write_str("a task of it failed"),
            Self::Corrupt => f.write_str("its store holds data that cannot be read"),
        }
    }
}
