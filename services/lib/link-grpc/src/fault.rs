//! What a router answers when it did not do what it was asked: the one place that maps errors to gRPC and back.

use prost::Message as _;
use pushgrid_proto::wire::router::v1::{Failed, Fault, StoreFault, fault};
use pushgrid_store::{ErrorKind, LinkError, StoreError};
use tonic::{Code, Status};

/// Why a call did not succeed, as its caller sees it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A router has said so.
    Said(LinkError),
    /// No router has answered: it cannot be reached, or not in time. The call may have happened.
    Lost,
}

impl Failure {
    /// Whether the same call may succeed a moment later, perhaps elsewhere.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Lost | Self::Said(LinkError::Unavailable) => true,
            Self::Said(LinkError::TooManySubscriptions { .. } | LinkError::Store(_)) => false,
        }
    }

    /// The same for one more caller. What a driver said is said once.
    pub(crate) const fn again(&self) -> Self {
        match self {
            Self::Lost => Self::Lost,
            Self::Said(LinkError::Unavailable) => Self::Said(LinkError::Unavailable),
            Self::Said(LinkError::TooManySubscriptions { limit }) => {
                Self::Said(LinkError::TooManySubscriptions { limit: *limit })
            }
            Self::Said(LinkError::Store(StoreError { kind, source: _ })) => {
                Self::Said(LinkError::Store(StoreError::plain(*kind)))
            }
        }
    }

    /// What the caller of the link gets to know.
    pub(crate) fn into_error(self) -> LinkError {
        match self {
            Self::Said(error) => error,
            Self::Lost => LinkError::Unavailable,
        }
    }
}

/// The status for `error`, with all that the other side needs to make the same error of it.
pub(crate) fn to_status(error: &LinkError) -> Status {
    let code = match error {
        LinkError::Unavailable => Code::Unavailable,
        LinkError::TooManySubscriptions { .. } => Code::ResourceExhausted,
        LinkError::Store(StoreError { kind, .. }) => match kind {
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Unknown => Code::DeadlineExceeded,
            ErrorKind::Corrupt => Code::DataLoss,
            ErrorKind::Closed => Code::Aborted,
        },
    };
    Status::with_details(code, error.to_string(), to_wire(error).encode_to_vec().into())
}

/// What a status says.
pub(crate) fn from_status(status: &Status) -> Failure {
    if let Some(error) = Fault::decode(status.details()).ok().and_then(|fault| from_wire(&fault)) {
        return Failure::Said(error);
    }
    match status.code() {
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable => Failure::Lost,
        // The two sides do not understand each other, and never will.
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => {
            Failure::Said(StoreError::new(ErrorKind::Corrupt, status.message().to_owned()).into())
        }
    }
}

/// The entry `index` of a batch, which failed.
pub(crate) fn failed(index: usize, error: &LinkError) -> Failed {
    Failed { index: u32::try_from(index).expect("batches are bounded"), fault: Some(to_wire(error)) }
}

/// What is said of an entry of a batch.
pub(crate) fn from_failed(failed: &Failed) -> Failure {
    failed.fault.as_ref().and_then(from_wire).map_or(Failure::Lost, Failure::Said)
}

fn to_wire(error: &LinkError) -> Fault {
    let kind = match error {
        LinkError::Unavailable => fault::Kind::Unavailable(fault::Unavailable {}),
        LinkError::TooManySubscriptions { limit } => {
            fault::Kind::TooManySubscriptions(fault::TooManySubscriptions { limit: *limit as u64 })
        }
        LinkError::Store(StoreError { kind, .. }) => fault::Kind::Store(
            match kind {
                ErrorKind::Unavailable => StoreFault::Unavailable,
                ErrorKind::Unknown => StoreFault::Unknown,
                ErrorKind::Corrupt => StoreFault::Corrupt,
                ErrorKind::Closed => StoreFault::Closed,
            }
            .into(),
        ),
    };
    Fault { kind: Some(kind) }
}

fn from_wire(fault: &Fault) -> Option<LinkError> {
    let store = |kind| Some(LinkError::Store(StoreError::plain(kind)));
    match fault.kind.as_ref()? {
        fault::Kind::Unavailable(fault::Unavailable {}) => Some(LinkError::Unavailable),
        fault::Kind::TooManySubscriptions(many) => {
            Some(LinkError::TooManySubscriptions { limit: usize::try_from(many.limit).unwrap_or(usize::MAX) })
        }
        fault::Kind::Store(kind) => match StoreFault::try_from(*kind).ok()? {
            StoreFault::Unspecified => None,
            StoreFault::Unavailable => store(ErrorKind::Unavailable),
            StoreFault::Unknown => store(ErrorKind::Unknown),
            StoreFault::Corrupt => store(ErrorKind::Corrupt),
            StoreFault::Closed => store(ErrorKind::Closed),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors() -> Vec<LinkError> {
        let kinds = [ErrorKind::Unavailable, ErrorKind::Unknown, ErrorKind::Corrupt, ErrorKind::Closed];
        let stores = kinds.map(|kind| LinkError::Store(StoreError::plain(kind)));
        let others = [LinkError::Unavailable, LinkError::TooManySubscriptions { limit: 1000 }];
        others.into_iter().chain(stores).collect()
    }

    #[test]
    fn every_error_comes_back_as_itself() {
        for error in errors() {
            let status = from_status(&to_status(&error)).into_error();
            assert_eq!(format!("{status:?}"), format!("{error:?}"));
            let entry = from_failed(&failed(3, &error)).into_error();
            assert_eq!(format!("{entry:?}"), format!("{error:?}"));
        }
    }

    #[test]
    fn codes_are_those_that_other_grpc_tools_know() {
        let codes: Vec<Code> = errors().iter().map(|error| to_status(error).code()).collect();
        let expected = [
            Code::Unavailable,
            Code::ResourceExhausted,
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::DataLoss,
            Code::Aborted,
        ];
        assert_eq!(codes, expected);
    }

    #[test]
    fn a_connection_that_failed_may_be_tried_again_and_a_misunderstanding_may_not() {
        for code in [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal] {
            assert!(matches!(from_status(&Status::new(code, "transport")), Failure::Lost), "{code:?}");
        }
        for code in [Code::InvalidArgument, Code::Unimplemented] {
            assert!(!from_status(&Status::new(code, "what?")).may_pass(), "{code:?}");
        }
        assert!(from_status(&to_status(&LinkError::Unavailable)).may_pass());
        assert!(!from_status(&to_status(&LinkError::Store(StoreError::plain(ErrorKind::Closed)))).may_pass());
    }

    #[test]
    fn details_of_a_stranger_do_not_confuse() {
        let status = Status::with_details(Code::Internal, "", (&b"\xff\x01"[..]).into());
        assert!(matches!(from_status(&status), Failure::Lost));
    }
}
