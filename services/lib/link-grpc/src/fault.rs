//! Errors of calls to routers: the one place that maps [`LinkError`] to gRPC and back.
//! Invariant: an error comes back as itself; a status that no router of this project made is [`Failure::Lost`] or
//! corrupt.

use prost::Message as _;
use pushgrid_proto::wire::router::v1::{Failed, Fault, StoreFault, fault};
use pushgrid_store::{ErrorKind, LinkError, StoreError};
use pushgrid_types::cast::{fitting, saturating};
use tonic::{Code, Status};

/// Failure of a call, as its caller sees it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The router answered with an error.
    Said(LinkError),
    /// No answer: the router is out of reach, or late. The call may have happened.
    Lost,
}

impl Failure {
    /// True when a retry may succeed, perhaps at another router.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Lost | Self::Said(LinkError::Unavailable) => true,
            Self::Said(LinkError::TooManySubscriptions { .. } | LinkError::Store(_)) => false,
        }
    }

    /// Copies the failure for one more caller, without the source of a store error: a driver's error is reported once.
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

    /// Error for the caller of the link.
    pub(crate) fn into_error(self) -> LinkError {
        match self {
            Self::Said(error) => error,
            Self::Lost => LinkError::Unavailable,
        }
    }
}

/// Encodes `error` as a status, with all details for decoding the same error.
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

/// Decodes a status.
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
        // A retry cannot mend a misunderstanding between the two sides.
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

/// Encodes the failure of entry `index` of a batch.
pub(crate) fn failed(index: usize, error: &LinkError) -> Failed {
    Failed { index: fitting::<u32>(index), fault: Some(to_wire(error)) }
}

/// Decodes the failure of an entry of a batch.
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
            Some(LinkError::TooManySubscriptions { limit: saturating::<usize>(many.limit) })
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
