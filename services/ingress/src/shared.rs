use std::sync::Arc;

use pushgrid_crypto::vapid::Verifier;
use pushgrid_crypto::{EndpointTokens, MessageAddresses};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{Directory, EventLog, RouterLink};
use pushgrid_types::{Clock, Rng};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::figures::Figures;
use crate::limit::PerUserAgent;

/// What an ingress works with.
#[derive(Debug)]
pub struct Deps {
    /// Opens endpoints.
    pub tokens: EndpointTokens,
    /// Names messages.
    pub addresses: MessageAddresses,
    /// Checks who sends.
    pub verifier: Verifier,
    /// What endpoints and messages begin with: an origin without a slash at its end.
    pub public_url: String,
    /// Who may receive, and how much is waiting.
    pub directory: Arc<dyn Directory>,
    /// Where accepted messages go.
    pub log: Arc<dyn EventLog>,
    /// Who takes messages back, and knows for certain who may receive.
    pub router: Arc<dyn RouterLink>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where new identifiers come from.
    pub rng: Arc<dyn Rng>,
    /// Where its figures go.
    pub meter: Meter,
}

/// What every request of an ingress shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) deps: Deps,
    pub(crate) rates: PerUserAgent,
    pub(crate) in_flight: Semaphore,
    pub(crate) figures: Figures,
}
