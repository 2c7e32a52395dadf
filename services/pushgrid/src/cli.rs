use clap::{Parser, Subcommand};
use pushgrid_runtime::config::Faults;
use pushgrid_wiring::Failure;
use pushgrid_wiring::backup::BackupFailure;

use crate::settings::Sources;
use crate::{backup, broadcast, config, keys, listen, send};

/// The parsed command line.
#[derive(Parser)]
#[command(name = "pushgrid", version, about = "A Web Push service that you run yourself")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run everything, show one message's life, and keep serving
    Demo(Sources),
    /// Run all roles in one process, on the embedded store
    Standalone(Sources),
    /// Run the role of a grid that serves application servers
    Ingress(Sources),
    /// Run the role of a grid that owns messages and subscriptions
    Router(Sources),
    /// Run the role of a grid that serves user agents
    Connection(Sources),
    /// Be a user agent: subscribe, and print each message as it comes
    Listen(listen::Args),
    /// Be an application server: encrypt, sign and send one message
    Send(send::Args),
    /// Set, remove or list broadcasts of a running service
    Broadcast(broadcast::Args),
    /// Make and rotate keys
    Keys(keys::Args),
    /// Check the settings, or print what can be set
    Config(config::Args),
    /// Copy the data of a standalone, running or not, and its endpoint keys into a new directory
    Backup(backup::BackupArgs),
    /// Bring a backup back into an empty data directory
    Restore(backup::RestoreArgs),
    /// Load a running service of your own, and report
    Bench(pushgrid_bench::Args),
}

/// True when the same command can work only after a setting has been changed.
pub(crate) fn is_bad_configuration(error: &anyhow::Error) -> bool {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    let backup = error.chain().find_map(|cause| cause.downcast_ref::<BackupFailure>());
    error.is::<Faults>()
        || backup.is_some_and(BackupFailure::is_bad_configuration)
        || failure.is_some_and(Failure::is_bad_configuration)
}
