//! The service under the tests of behaviour.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use anyhow::{Result, ensure};
use pushgrid_it::{Accounts, Server};
use tokio::sync::Mutex;

use super::party::{Agent, Application};

/// Service shared by tests that run at the same time. Ends with the last of them.
static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());

/// Running service with an application server.
#[derive(Debug)]
pub(crate) struct Scene {
    server: Arc<Server>,
    app: Application,
}

impl Scene {
    /// Uses the shared service.
    pub(crate) async fn shared() -> Result<Self> {
        let mut shared = SHARED.lock().await;
        let server = match shared.upgrade() {
            Some(server) => server,
            None => Arc::new(Server::start().await?),
        };
        *shared = Arc::downgrade(&server);
        Ok(Self { server, app: Application::new() })
    }

    /// Starts a service for this test alone, with an account of its own.
    pub(crate) async fn alone() -> Result<Self> {
        Self::alone_with(&[]).await
    }

    /// Starts a service for this test alone, with `settings`.
    pub(crate) async fn alone_with(settings: &[(&str, &str)]) -> Result<Self> {
        Ok(Self { server: Arc::new(Server::start_with(settings).await?), app: Application::new() })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Makes a new user agent, connected.
    pub(crate) async fn agent(&self) -> Result<Agent> {
        Agent::new(self.server.connection()).await
    }

    /// Waits until each accepted message is accounted for.
    pub(crate) async fn end(self) -> Result<()> {
        self.server.accounts("the accounts add up", |_| true).await?;
        Ok(())
    }

    /// Waits until this many messages have this outcome: a 201 does not wait for the router.
    pub(crate) async fn until(&self, outcome: &str, count: u64) -> Result<()> {
        let has = |accounts: &Accounts| accounts.ended(outcome) == count;
        self.server.accounts(&format!("{count} {outcome}"), has).await?;
        Ok(())
    }

    /// Waits until nothing is pending, and checks the outcomes.
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
