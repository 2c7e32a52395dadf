use std::fmt;

use pushgrid_types::Position;

/// How a partition is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It is being taken over.
    #[default]
    TakingOver,
    /// The view is being told what it has not, or not any more. Reads are refused as unavailable meanwhile.
    CatchingUp {
        /// How far it is told.
        at: Position,
        /// Where the changelog ends.
        end: Position,
    },
    /// All is well.
    Serving,
    /// It has stopped, for good.
    Stopped(Stop),
}

/// Why a partition has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// A later tenure has begun: another router has it.
    Fenced,
    /// The log has been given to another router.
    Lost,
    /// It was closed.
    Closed,
    /// It was abandoned, or its last handle dropped.
    Abandoned,
    /// What keeps it holds something that cannot be read: a person has to look.
    Corrupt,
    /// A task of it has panicked.
    Failed,
}

impl fmt::Display for Health {
    /// Words for an operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakingOver => f.write_str("taking over"),
            Self::CatchingUp { at, end } => write!(f, "catching up, {} of {}", at.0, end.0),
            Self::Serving => f.write_str("serving"),
            Self::Stopped(why) => write!(f, "stopped: {why}"),
        }
    }
}

impl fmt::Display for Stop {
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
