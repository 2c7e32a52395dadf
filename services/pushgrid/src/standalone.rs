use anyhow::Context;
use pushgrid_runtime::{Shutdown, logs};
use pushgrid_wiring::standalone::{Addresses, Standalone};

use crate::say;
use crate::settings::{self, Sources};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
}

/// All roles in one process, until a signal.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let (settings, _) = settings::read(&args.sources)?;
    logs::install(settings.log_format, &settings.log_filter)?;
    let stop_timeout = settings.standalone.stop_timeout();
    let standalone = Box::pin(Standalone::build(settings.standalone)).await.context("could not start")?;
    let shutdown = Shutdown::new();
    tokio::spawn(shutdown.clone().on_signals(stop_timeout));
    Box::pin(standalone.run(shutdown, announce)).await?;
    Ok(())
}

/// One line that is true when it is printed: scripts wait for it.
fn announce(addresses: &Addresses) {
    let Addresses { ingress, connection, admin, .. } = addresses;
    say::line(&format!(
        "ready role=standalone ingress=http://{ingress} connection=ws://{connection} admin=http://{admin}"
    ));
}
