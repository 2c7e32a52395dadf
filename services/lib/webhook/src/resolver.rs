//! The resolver behind the connector: looks a name up once, and gives the connector the addresses that were judged.
//!
//! Invariant: the connector connects to an address of the answer and asks for no other, so a name that resolves
//! differently a moment later changes nothing. Literals in a host never come here: `url.rs` judges them.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io, vec};

use hyper_util::client::legacy::connect::dns::Name;
use tower::{BoxError, Service};

use crate::address::Judge;

type Pending<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Looks up the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> Pending<Vec<SocketAddr>, io::Error> + Send + Sync>;

/// Failure of a look-up: the name has addresses, all of them of refused ranges.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("all addresses of the name are of refused ranges")]
pub(crate) struct AllRefused;

/// Resolves to the allowed addresses of a name, in the order of the system's resolver.
///
/// Fails with [`AllRefused`] if none of them is allowed, and with the error of the look-up if there are none.
#[derive(Clone)]
pub(crate) struct Resolver {
    lookup: Lookup,
    may_connect: Judge,
}

impl Resolver {
    /// Asks the system's resolver.
    pub(crate) fn system(may_connect: Judge) -> Self {
        // The connector puts the port in.
        let lookup = async |name: String| Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.collect());
        Self::new(lookup, may_connect)
    }

    /// Asks `lookup`.
    pub(crate) fn new<L, F>(lookup: L, may_connect: Judge) -> Self
    where
        L: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self { lookup: Arc::new(move |name| Box::pin(lookup(name))), may_connect }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pending<Self::Response, BoxError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (asked, may_connect) = ((self.lookup)(name.as_str().to_owned()), self.may_connect);
        Box::pin(async move {
            let mut addresses = asked.await?;
            if addresses.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            addresses.retain(|address| may_connect(address.ip()));
            if addresses.is_empty() { Err(AllRefused.into()) } else { Ok(addresses.into_iter()) }
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver(..)")
    }
}
