//! Dependencies of an ingress, and the context of its requests.

use std::sync::Arc;

use pushgrid_crypto::vapid::Verifier;
use pushgrid_crypto::{EndpointTokens, MessageAddresses, ReceiptAddresses};
use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Latch, Outage};
use pushgrid_store::{Directory, EventLog, IngressLink};
use pushgrid_types::{Clock, Rng, WallClock};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::figures::Figures;
use crate::limit::PerUserAgent;

/// Dependencies of an [`crate::Ingress`].
#[derive(Debug)]
pub struct Deps {
    /// Listener for application servers.
    pub listener: TcpListener,
    /// Opens endpoints.
    pub tokens: EndpointTokens,
    /// Names messages.
    pub addresses: MessageAddresses,
    /// Names receipt subscriptions.
    pub receipts: ReceiptAddresses,
    /// The origin at which receipts are read, without a slash at the end.
    pub receipts_url: String,
    /// Verifier of senders' credentials.
    pub verifier: Verifier,
    /// The origin of endpoints and message addresses, without a slash at the end.
    pub public_url: String,
    /// Looks up whether a subscription lives, and how much is waiting.
    pub directory: Arc<dyn Directory>,
    /// The log for accepted messages.
    pub log: Arc<dyn EventLog>,
    /// Cancels messages, and knows for certain which subscriptions live.
    pub router: Arc<dyn IngressLink>,
    /// Stamps messages.
    pub clock: Arc<dyn Clock>,
    /// The time of day, which application servers go by.
    pub wall: Arc<dyn WallClock>,
    /// Source of new identifiers.
    pub rng: Arc<dyn Rng>,
    /// Recorder of metrics.
    pub meter: Meter,
    /// Ready from the start of serving until the drain.
    pub latch: Latch,
}

/// The context shared by all requests of an ingress.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) tokens: EndpointTokens,
    pub(crate) addresses: MessageAddresses,
    pub(crate) receipts: ReceiptAddresses,
    pub(crate) receipts_url: String,
    pub(crate) verifier: Verifier,
    pub(crate) public_url: String,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) router: Arc<dyn IngressLink>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wall: Arc<dyn WallClock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) meter: Meter,
    pub(crate) rates: PerUserAgent,
    pub(crate) in_flight: Semaphore,
    pub(crate) figures: Figures,
    pub(crate) outages: Outages,
}

/// Outages of the dependencies of an ingress, each logged once.
#[derive(Debug)]
pub(crate) struct Outages {
    pub(crate) append: Outage,
    pub(crate) look_up: Outage,
    pub(crate) cancel: Outage,
    pub(crate) receipts: Outage,
}

impl Outages {
    pub(crate) fn new() -> Self {
        Self {
            append: Outage::new("take messages"),
            look_up: Outage::new("look up subscriptions"),
            cancel: Outage::new("cancel messages"),
            receipts: Outage::new("make receipt subscriptions"),
        }
    }
}
