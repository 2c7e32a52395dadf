//! Webhooks: posts the receipts of deliveries to URLs that application servers have named, signed by the Standard
//! Webhooks specification. The URLs come from outside, so most of this crate keeps a post from going where an
//! application server could not go itself (server-side request forgery).
//!
//! Not here: which receipts are due, to whom, how often an attempt is repeated, and where URLs are kept.
//!
//! Invariant: unless `webhook.allow_private` is set, no connection is made to an address of a refused range, by
//! literal, by name or by redirect. The address that was judged is the one that is connected to.
//! Invariant: no URL, host, address or secret is in an error, in `Debug`, or in a metric.
//! Invariant: an attempt takes no longer than `webhook.timeout`, reads no body of an answer, and follows no redirect;
//! at most 64 are under way in the process.
//! Invariant: the environment has no say: no proxy, and no roots but those built in and of `webhook.ca_file`.

mod address;
mod config;
mod connector;
mod host;
mod post;
mod resolver;
mod signature;
mod url;
mod webhooks;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use connector::InvalidCaFile;
pub use post::PostError;
pub use url::InvalidWebhook;
pub use webhooks::Webhooks;
