use clap::Subcommand;
use pushgrid_runtime::metrics::Meter;

use crate::say;
use crate::settings::{self, Sources};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check the settings, and report everything that is wrong with them
    Check(Sources),
    /// Print every setting with its default and meaning, as a TOML file to start from
    Defaults,
    /// Print every environment variable, as a table
    Env,
    /// Print every metric, as a table
    Metrics,
}

/// Looks at settings and starts nothing.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Check(sources) => {
            settings::read(sources)?;
            say::line("the settings are good");
        }
        What::Defaults => say::text(&settings::listing()?.to_toml()),
        What::Env => say::text(&settings::listing()?.to_env()),
        What::Metrics => say::text(&Meter::reference()),
    }
    Ok(())
}
