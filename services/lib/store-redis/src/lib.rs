//! The view, presence and membership over Redis: one server, one that Sentinel watches over, or Redis Cluster.
//!
//! [`Redis`] is the connection that everything here shares. [`RedisView`] is for the owner of a partition,
//! [`RedisDirectory`] for an ingress, [`RedisPresence`] for who holds which socket, [`RedisMembership`] for who is there.
//!
//! What is not here: anything durable. Redis may lose everything, or the last of what it was told, at any time. Whoever
//! keeps the changelog tells the view again, from where it says that it is.
//!
//! # Keys
//! All keys of partition `p` begin with `PREFIX:{p}:`. The braces are a hash tag, so they are in one place of a cluster,
//! and one script does a whole batch, atomically with the check of its caller's footing. The names are made in the
//! scripts, from that of `meta`.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `meta` | hash | `t` tenure, `p` position, `c` the life of the server in which the view was said to be complete |
//! | `s` + user agent | hash | channel -> incarnation (12), time of creation (8), hash of the VAPID key (0 or 32) |
//! | `q` + user agent | sorted set | message id + channel, by sequence |
//! | `m` + user agent | hash | message id -> tenure, sequence, expiry, octets, channel, topic, message; `t` + channel + topic -> message id, sequence; `o` -> octets of all bodies |
//! | `due` | sorted set | user agent + message id, by expiry |
//! | `at` + user agent | string | who holds it: epoch, node, session |
//!
//! Members are in one hash, `PREFIX:{members}`: id -> end of the lease by the clock of Redis, and what it says of itself.
//! Values are octets; numbers in them are big-endian.
//!
//! # Ages
//! Every key runs out some day, so that nothing is left behind by partitions, user agents or versions that are no more.
//! `meta` is made when a tenure begins on an empty view (or a first batch is told to one), and runs out 30 days after
//! that, whatever happens. All other keys of the view run out 60 days after they were last written. When `meta` has run
//! out, the owner is told that the view is at position 0 and tells it the whole changelog again, which writes every key
//! that is still needed. As every such key was last written when `meta` was made or later, none runs out before: no
//! subscription or message is ever missing from a view that says it is there. (A presence runs out after 7 days, and is
//! made anew by its session.)
//!
//! # No for an answer
//! An ingress may refuse a message for good only if it is certain that its subscription does not exist. So a directory
//! says no only while the owner's word that the view is complete stands. That word is gone with `meta`; it is taken back
//! when the view is found behind; and it counts only in the life of the server in which it was given (its
//! `master_replid`), for a fail-over can lose the last writes. The owner's sweep ([`pushgrid_store::View::due`]) gives it
//! again, having made sure that nothing was lost. Where the user may not ask `INFO replication`, the last is not checked.
//!
//! # Numbers
//! Scripts compare tenures, positions, sequences and epochs as doubles, which are exact up to 2^53; larger ones are
//! refused. Names of nodes and sessions are octets to them.
//!
//! Invariant: no id, topic, address or password is in an error, a log line or `Debug`.
//! Invariant: every call ends within `redis.timeout`.

mod address;
mod answer;
mod batch;
mod client;
mod config;
mod connect;
mod directory;
mod failure;
mod key;
mod member;
mod membership;
mod memory;
mod policy;
mod presence;
mod script;
mod view;

use std::error::Error;

pub use batch::{MAX_CHANGES, MAX_OCTETS};
pub use client::{Figures, Redis};
pub use config::Config;
pub use directory::RedisDirectory;
pub use membership::RedisMembership;
pub use presence::RedisPresence;
pub use view::RedisView;

/// Why there is no connection to Redis.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The settings are of no use to the driver.
    #[error("the settings of redis cannot be used")]
    Settings {
        /// What the driver said.
        #[source]
        source: redis::RedisError,
    },
    /// User, password or database are not accepted.
    #[error("redis does not accept redis.url")]
    Rejected {
        /// What Redis said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// There was no answer in the time that a start waits.
    #[error("redis cannot be reached at redis.url")]
    Unreachable {
        /// The last failure.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It drops keys when its memory is full.
    #[error(
        "redis drops keys when its memory is full (maxmemory-policy {policy}), which would end subscriptions silently: \
         set `maxmemory-policy noeviction` in its configuration, or use another redis"
    )]
    Evicts {
        /// The policy.
        policy: String,
    },
}

impl ConnectError {
    /// Whether a setting, here or of Redis, has to change before a start can succeed.
    pub const fn is_bad_configuration(&self) -> bool {
        match self {
            Self::Settings { .. } | Self::Rejected { .. } | Self::Evicts { .. } => true,
            Self::Unreachable { .. } => false,
        }
    }
}
