use anyhow::Context;
use pushgrid_runtime::{Shutdown, logs};
use pushgrid_wiring::Role;
use pushgrid_wiring::standalone::{self, Serving};

use crate::say;
use crate::settings::{self, Sources};

/// Runs all roles in one process until a signal.
pub(crate) async fn run(sources: Sources) -> anyhow::Result<()> {
    serve(&sources, Shutdown::new(), announce).await
}

/// Serves until `shutdown` drains, which a signal begins. `ready` is called once every part serves.
pub(crate) async fn serve(
    sources: &Sources,
    shutdown: Shutdown,
    ready: impl FnOnce(&Serving),
) -> anyhow::Result<()> {
    let (settings, _) = settings::read(sources, Role::Standalone)?;
    logs::install(settings.log_format, &settings.log_filter)?;
    tokio::spawn(shutdown.clone().on_signals(settings.service.stop_timeout()));
    let mut started = false;
    let starts = |serving: &Serving| {
        started = true;
        ready(serving);
    };
    let served = Box::pin(standalone::run(settings.service, shutdown, starts)).await;
    if started { Ok(served?) } else { served.context("could not start") }
}

/// Prints the line for which scripts wait: true when printed.
fn announce(serving: &Serving) {
    say::line(&format!("ready {}", serving.addresses));
}
