//! The processes of a grid.

use anyhow::Context;
use pushgrid_runtime::{Shutdown, logs};
use pushgrid_wiring::{Addresses, Role, connection, ingress, router};

use crate::say;
use crate::settings::{self, Sources};

/// Runs one role of a grid until a signal.
pub(crate) async fn run(sources: Sources, role: Role) -> anyhow::Result<()> {
    let (settings, _) = settings::read(&sources, role)?;
    logs::install(settings.log_format, &settings.log_filter)?;
    let shutdown = Shutdown::new();
    tokio::spawn(shutdown.clone().on_signals(settings.service.stop_timeout()));
    let service = settings.service;
    let ran = match role {
        Role::Ingress => Box::pin(ingress::run(service, shutdown, announce)).await,
        Role::Router => Box::pin(router::run(service, shutdown, announce)).await,
        Role::Connection => Box::pin(connection::run(service, shutdown, announce)).await,
        Role::Standalone => unreachable!("it has a command of its own"),
    };
    ran.with_context(|| format!("the {} failed", role.as_str()))
}

/// Prints the line for which scripts wait: true when printed.
fn announce(addresses: &Addresses) {
    say::line(&format!("ready {addresses}"));
}
