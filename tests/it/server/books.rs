//! Waits for the account of a service (promise P2).

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::eventually;
use crate::metrics::{Accounts, Metrics};

/// Deadline for the service to come to rest after the last message.
pub(super) const QUIET: Duration = Duration::from_secs(30);

/// Reads metrics until the account adds up and is `as_hoped`. The error shows the account.
pub(super) async fn wait(
    limit: Duration,
    what: &str,
    as_hoped: impl Fn(&Accounts) -> bool,
    read: impl AsyncFn() -> Result<Metrics>,
) -> Result<Accounts> {
    eventually(limit, what, async || {
        let accounts = read().await?.accounts()?;
        ensure!(accounts.add_up(), "the accounts do not add up: {accounts:?}");
        ensure!(as_hoped(&accounts), "the accounts are {accounts:?}");
        Ok(Some(accounts))
    })
    .await
}
