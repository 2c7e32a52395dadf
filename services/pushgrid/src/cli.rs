use clap::{Parser, Subcommand};
use pushgrid_runtime::config::Faults;
use pushgrid_wiring::Failure;

use crate::settings::Sources;
use crate::{bench, config, keys, listen, send};

/// What was asked for.
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
    /// Make and rotate keys
    Keys(keys::Args),
    /// Check the settings, or print what can be set
    Config(config::Args),
    /// Load a running service of your own, and report
    Bench(bench::Args),
}

/// Whether a person has to change a setting before the same command can work.
pub(crate) fn is_bad_configuration(error: &anyhow::Error) -> bool {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    error.is::<Faults>() || failure.is_some_and(Failure::is_bad_configuration)
}
