use std::sync::Arc;

use pushgrid_crypto::{EndpointTokens, MessageAddresses};
use pushgrid_runtime::metrics::Meter;
use pushgrid_types::{Clock, Rng, WallClock};
use pushgrid_webhook::Webhooks;

use crate::Config;

/// Dependencies common to all partitions of a process, over any adapters: made once, and shared by a
/// [`crate::Router`] with its workers, or given to the one [`crate::PartitionWorker`] of standalone.
#[derive(Debug)]
pub struct RouterContext {
    /// Settings of the section `router`.
    pub config: Config,
    /// Seals endpoints.
    pub tokens: EndpointTokens,
    /// Prefix of endpoint URLs: an origin without a trailing slash.
    pub public_url: String,
    /// Names the messages of receipts.
    pub addresses: MessageAddresses,
    /// Posts receipts.
    pub webhooks: Webhooks,
    /// The time of day, which those who are posted to go by.
    pub wall: Arc<dyn WallClock>,
    /// Clock by which messages expire.
    pub clock: Arc<dyn Clock>,
    /// Source of new identifiers.
    pub rng: Arc<dyn Rng>,
    /// Recorder of metrics.
    pub meter: Meter,
}
