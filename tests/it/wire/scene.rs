//! The service that the tests of behaviour talk to.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use anyhow::{Result, ensure};
use pushgrid_it::{Accounts, Server};
use tokio::sync::Mutex;

use super::party::{Agent, Application};

/// The service that tests share while they run at the same time. It ends with the last of them.
static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());

/// A running service and an application server that posts to it.
#[derive(Debug)]
pub(crate) struct Scene {
    server: Arc<Server>,
    app: Application,
}

impl Scene {
    /// The service that other tests use as well.
    pub(crate) async fn shared() -> Result<Self> {
        let mut shared = SHARED.lock().await;
        let server = match shared.upgrade() {
            Some(server) => server,
            None => Arc::new(Server::start().await?),
        };
        *shared = Arc::downgrade(&server);
        Ok(Self { server, app: Application::new() })
    }

    /// A service that nobody else uses: its accounts are those of this test.
    pub(crate) async fn alone() -> Result<Self> {
        Self::alone_with(&[]).await
    }

    /// The same, with `settings`.
    pub(crate) async fn alone_with(settings: &[(&str, &str)]) -> Result<Self> {
        Ok(Self { server: Arc::new(Server::start_with(settings).await?), app: Application::new() })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// A new user agent, connected.
    pub(crate) async fn agent(&self) -> Result<Agent> {
        Agent::new(self.server.connection()).await
    }

    /// Waits until each accepted message is accounted for.
    pub(crate) async fn end(self) -> Result<()> {
        self.server.accounts("the accounts add up", |_| true).await?;
        Ok(())
    }

    /// Waits until this many messages have ended in one way: a 201 does not wait for the router.
    pub(crate) async fn until(&self, outcome: &str, count: u64) -> Result<()> {
        let has = |accounts: &Accounts| accounts.ended(outcome) == count;
        self.server.accounts(&format!("{count} {outcome}"), has).await?;
        Ok(())
    }

    /// Waits until nothing is pending, and messages have ended exactly so.
    pub(crate) async fn end_with(self, outcomes: &[(&str, u64)]) -> Result<()> {
        let expected = outcomes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let is_so = |accounts: &Accounts| accounts.pending == 0 && accounts.ended == expected;
        let accounts = self.server.accounts("every message has ended as it should", is_so).await?;
        ensure!(accounts.accepted == accounts.ended_in_all(), "{accounts:?}");
        Ok(())
    }
}

impl Deref for Scene {
    type Target = Application;

    fn deref(&self) -> &Application {
        &self.app
    }
}
