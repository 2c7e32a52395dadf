//! The settings of the command: read once, all faults at once.

use std::path::PathBuf;

use pushgrid_runtime::config::{Faults, Layers, Listing, Reader};
use pushgrid_runtime::logs::Format;
use pushgrid_wiring::{Role, Settings as ServiceSettings};

/// Sources of settings, beside defaults and the environment.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Sources {
    /// Settings from a TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over all others; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    overrides: Vec<String>,
}

/// The settings of a process.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) service: ServiceSettings,
    pub(crate) log_format: Format,
    pub(crate) log_filter: String,
}

/// Reads every setting, for a process of `role`. Fails with all faults at once; then none of the settings is used.
pub(crate) fn read(sources: &Sources, role: Role) -> Result<(Settings, Listing), Faults> {
    let layers = Layers::load(sources.config.as_deref(), std::env::vars(), &sources.overrides)?;
    from_layers(layers, role)
}

/// The listing of every setting, independent of this process's settings.
pub(crate) fn listing() -> Result<Listing, Faults> {
    from_layers(Layers::none(), Role::Standalone).map(|(_, listing)| listing)
}

fn from_layers(layers: Layers, role: Role) -> Result<(Settings, Listing), Faults> {
    let mut reader = Reader::new(layers);
    let settings = Settings {
        service: ServiceSettings::read(&mut reader, role),
        log_format: reader.choice(
            "log.format",
            Format::OPTIONS,
            "text",
            "Form of log lines: text for people, JSON for machines.",
        ),
        log_filter: reader.text(
            "log.filter",
            "info",
            "Log lines to be written: a level, or one for each part, such as info,pushgrid_router=debug.",
        ),
    };
    Ok((settings, reader.finish()?))
}
