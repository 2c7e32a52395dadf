//! The view, presence and membership over Redis: one server, one behind Sentinel, or Redis Cluster.
//!
//! [`Redis`] is the connection shared by all. [`RedisView`] is for the owner of a partition, [`RedisDirectory`] for
//! an ingress, [`RedisPresence`] for the claims of sessions, [`RedisMembership`] for the live processes.
//!
//! Not here: anything durable. Redis may lose everything, or the last writes, at any time. The owner of the changelog
//! applies the changes again, from the view's position.
//!
//! # Keys
//! All keys of partition `p` begin with `PREFIX:{p}:`. The braces are a hash tag: the keys lie on one node of a
//! cluster, and one script does a whole batch, atomically with the check of the caller's read barrier. The scripts
//! derive all names from the name of `meta`.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `meta` | hash | `t` leader epoch, `p` position, `h` identity of the changelog, `e` highest epoch of a claim, `c` the life of the server in which the view was said to be complete, `x` how many user agents are set aside, `x` + user agent for each, `a` position while there are some (then `p` is 0), `k` leader epoch of the last owner to count by channel, `g` leader epoch since which all have |
//! | `s` + user agent | hash | channel -> incarnation (12), time of creation (8), hash of the VAPID key (0 or 32) |
//! | `q` + user agent | sorted set | message id + channel, by sequence |
//! | `m` + user agent | hash | message id -> leader epoch, sequence, expiry, octets, channel, topic, message; `t` + channel + topic -> message id, sequence; `o` -> octets of all bodies; `n` + `g` of `meta` -> messages counted since, `n` + channel -> messages of the channel |
//! | `due` | sorted set | user agent + message id, by expiry |
//! | `at` + user agent | string | holder: epoch, node, session |
//!
//! Members are in one hash, `PREFIX:{members}`: id -> end of the lease by the clock of Redis, and the member's entry;
//! the clocks of members are in another, `PREFIX:{members}:clocks`: id -> version, length of the lease, clocks. A
//! foreign value there is passed over, and removed if without a lease or after the end of the lease. Values are
//! octets, numbers big-endian.
//!
//! # Ages
//! Every key expires some day, so former partitions, user agents and versions leave nothing behind. `meta` is made
//! when a leader epoch begins on an empty view (or a first batch is applied to one), and expires 30 days later,
//! whatever happens. All other keys of the view expire 60 days after the last write. Once `meta` has expired, the
//! owner finds the view at position 0 and replays the whole changelog, which writes every key still needed. As every
//! such key was last written when `meta` was made or later, none expires before: no subscription or message is ever
//! missing from a view with a `meta`. (A presence expires after 7 days, and the session makes another.)
//!
//! # Denials
//! An ingress may refuse a message for good only if the subscription certainly does not exist. So a directory denies
//! a subscription only while the owner's mark stands: "this view is complete". The mark is gone with `meta`; a view
//! found behind loses the mark; and the mark counts only in the life of the server in which the owner set it
//! (`master_replid`), for a fail-over can lose the last writes. The owner's sweep ([`pushgrid_store::View::due`])
//! sets the mark again, once sure that nothing was lost. Where the user may not ask `INFO replication`, the life of
//! the server is not checked.
//!
//! # Foreign values
//! No value makes a script fail. A `meta` or `due` of another type or form is as good as lost: the script removes the
//! key, and the owner finds the view at position 0. A foreign value in the keys or in a change of one user agent sets
//! this user agent *aside*: the name is kept in `meta`, so that name and position are lost only together, and the
//! keys are removed, with the ends in `due`. From then on changes of the user agent are passed over, questions are
//! answered as [`pushgrid_store::ViewError::Unreadable`], and no directory denies a subscription, until the owner has
//! restored the user agent from the changelog. A script is never rolled back, so the partial effects of a failed
//! change are removed with the rest.
//!
//! # Other releases
//! Owners of the first release and of this one can follow each other, in both directions. The first knows of no user
//! agent aside: while there is one, the first release reads position 0 and replays the whole changelog. Nor does the
//! first count messages by channel, so counts hold only while no such owner has come between.
//!
//! # Numbers
//! Scripts compare leader epochs, positions, sequences and epochs as doubles, which are exact up to 2^53; larger ones
//! are refused, or set the user agent aside. Names of nodes and sessions are octets to scripts.
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
mod figures;
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
pub use client::Redis;
pub use config::Config;
pub use directory::RedisDirectory;
pub use figures::Figures;
pub use membership::RedisMembership;
pub use presence::RedisPresence;
pub use view::RedisView;

/// Errors of a first connection to Redis.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The driver cannot use the settings.
    #[error("the settings of redis cannot be used")]
    Settings {
        /// Error of the driver.
        #[source]
        source: redis::RedisError,
    },
    /// Redis rejects the user, the password or the database.
    #[error("redis does not accept redis.url")]
    Rejected {
        /// Answer of Redis.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Redis did not answer within `redis.start_timeout`.
    #[error("redis cannot be reached at redis.url")]
    Unreachable {
        /// Last failure.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Redis evicts keys when memory is full.
    #[error(
        "redis drops keys when its memory is full (maxmemory-policy {policy}), which would end subscriptions silently: \
         set `maxmemory-policy noeviction` in its configuration, or use another redis"
    )]
    Evicts {
        /// Eviction policy of Redis.
        policy: String,
    },
}

impl ConnectError {
    /// True if a setting, here or of Redis, has to change before a start can succeed; false if a retry may help.
    pub const fn is_bad_configuration(&self) -> bool {
        match self {
            Self::Settings { .. } | Self::Rejected { .. } | Self::Evicts { .. } => true,
            Self::Unreachable { .. } => false,
        }
    }
}
