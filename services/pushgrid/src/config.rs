use clap::Subcommand;
use pushgrid_runtime::metrics::Meter;
use pushgrid_wiring::Role;

use crate::say;
use crate::settings::{self, Sources};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check the settings, and report every fault in them
    Check(CheckArgs),
    /// Print every setting with default and meaning, as a TOML file to start from
    Defaults,
    /// Print every environment variable, as a table
    Env,
    /// Print every metric, as a table
    Metrics,
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    #[command(flatten)]
    sources: Sources,
    /// The role to check for: some settings are needed by some roles only
    #[arg(long, value_name = "ROLE", default_value = "standalone", value_parser = role)]
    role: Role,
}

fn role(name: &str) -> Result<Role, String> {
    let roles = [Role::Standalone, Role::Ingress, Role::Router, Role::Connection];
    let names = roles.map(Role::as_str).join(", ");
    roles.into_iter().find(|role| role.as_str() == name).ok_or_else(|| format!("write one of {names}"))
}

/// Reads settings and starts nothing.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Check(args) => {
            settings::read(&args.sources, args.role)?;
            say::line("the settings are good");
        }
        What::Defaults => say::text(&settings::listing()?.to_toml()),
        What::Env => say::text(&settings::listing()?.to_env()),
        What::Metrics => say::text(&Meter::reference()),
    }
    Ok(())
}
