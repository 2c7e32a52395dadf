use pushgrid_types::CloseReason;

use crate::router_session::RouterFailure;
use crate::send_queue::Ending;

/// End of a connection. `F` is a fault in the words of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End<F> {
    /// For a reason common to every protocol.
    For(CloseReason),
    /// For a fault of the user agent, in the words of the protocol.
    Fault(F),
    /// The node stops at once: nobody is told, neither the router nor the user agent.
    Abandoned,
}

impl<F: Into<CloseReason>> End<F> {
    /// Reason under which the end is counted.
    pub(crate) fn reason(self) -> CloseReason {
        match self {
            Self::For(reason) => reason,
            Self::Fault(fault) => fault.into(),
            Self::Abandoned => CloseReason::Draining,
        }
    }

    /// Tells whether the user agent hears of the end: not one already gone, nor one that does not read.
    pub(crate) const fn is_told(&self) -> bool {
        !matches!(
            self,
            Self::For(CloseReason::Client | CloseReason::Slow | CloseReason::Io) | Self::Abandoned
        )
    }
}

impl<F> From<Ending> for End<F> {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Draining => Self::For(CloseReason::Draining),
            Ending::Resync => Self::For(CloseReason::Resync),
            Ending::Superseded => Self::For(CloseReason::Superseded),
            Ending::Abandoned => Self::Abandoned,
        }
    }
}

impl<F> From<RouterFailure> for End<F> {
    fn from(failure: RouterFailure) -> Self {
        match failure {
            RouterFailure::Unavailable => Self::For(CloseReason::Unavailable),
            RouterFailure::Abandoned => Self::Abandoned,
        }
    }
}
