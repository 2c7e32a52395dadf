use anyhow::Context;
use pushgrid_runtime::{Shutdown, logs};
use pushgrid_wiring::Role;
use pushgrid_wiring::standalone::{Addresses, Standalone};

use crate::say;
use crate::settings::{self, Sources};

/// All roles in one process, until a signal.
pub(crate) async fn run(sources: Sources) -> anyhow::Result<()> {
    let (standalone, shutdown) = Box::pin(start(&sources)).await?;
    Box::pin(standalone.run(shutdown, announce)).await?;
    Ok(())
}

/// Reads the settings and builds the process: it listens, and signals are heard.
pub(crate) async fn start(sources: &Sources) -> anyhow::Result<(Standalone, Shutdown)> {
    let (settings, _) = settings::read(sources, Role::Standalone)?;
    logs::install(settings.log_format, &settings.log_filter)?;
    let stop_timeout = settings.service.stop_timeout();
    let standalone = Box::pin(Standalone::build(settings.service)).await.context("could not start")?;
    let shutdown = Shutdown::new();
    tokio::spawn(shutdown.clone().on_signals(stop_timeout));
    Ok((standalone, shutdown))
}

/// One line that is true when it is printed: scripts wait for it.
fn announce(addresses: &Addresses) {
    let Addresses { ingress, connection, admin, .. } = addresses;
    say::line(&format!(
        "ready role=standalone ingress=http://{ingress} connection=ws://{connection} admin=http://{admin}"
    ));
}
