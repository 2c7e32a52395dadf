//! `pushgrid backup` and `pushgrid restore`: the data of a standalone, and the way back.

use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::Context;
use pushgrid_runtime::logs;
use pushgrid_wiring::backup::{self, Holdings, Progress};
use pushgrid_wiring::{Role, Settings};

use crate::say;
use crate::settings::{self, Sources};

/// Interval between two lines about progress.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The directory to make; must not exist yet
    #[arg(value_name = "TO")]
    to: PathBuf,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// A directory made by `pushgrid backup`
    #[arg(value_name = "FROM")]
    from: PathBuf,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, clap::Args)]
struct Data {
    #[command(flatten)]
    sources: Sources,
    /// The data directory, over that of the settings
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Data {
    /// The settings, as read by standalone.
    fn settings(self) -> anyhow::Result<Settings> {
        let (settings, _) = settings::read(&self.sources, Role::Standalone)?;
        logs::install(settings.log_format, &settings.log_filter)?;
        Ok(match self.data_dir {
            Some(data_dir) => settings.service.with_data_dir(data_dir),
            None => settings.service,
        })
    }
}

pub(crate) fn back_up(args: BackupArgs) -> anyhow::Result<()> {
    let settings = args.data.settings()?;
    let made = backup::back_up(&settings, &args.to, &mut Teller::default().tell());
    let made = made.context("there is no backup")?;
    say::line(&format!("backed up {} into {}", show(&made), args.to.display()));
    Ok(())
}

pub(crate) fn restore(args: RestoreArgs) -> anyhow::Result<()> {
    let settings = args.data.settings()?;
    let restored = backup::restore(&settings, &args.from, &mut Teller::default().tell());
    let restored = restored.context("nothing was restored")?;
    let to = settings.data_dir().display();
    say::line(&format!("restored {} into {to}", show(&restored)));
    say::line(
        "what was delivered after the backup comes again, with the same ids; what has expired meanwhile is not delivered",
    );
    Ok(())
}

fn show(holdings: &Holdings) -> String {
    let Holdings { subscriptions, user_agents, messages, made_at, .. } = holdings;
    let when = made_at.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    let when =
        when.map_or_else(String::new, |when| format!(", as of {}", humantime::format_rfc3339_seconds(when)));
    format!(
        "{subscriptions} subscriptions of {user_agents} user agents and {messages} waiting messages{when}"
    )
}

/// Reports progress on standard error, once the work takes longer than [`PAUSE`].
struct Teller {
    next: Instant,
}

impl Default for Teller {
    fn default() -> Self {
        Self { next: Instant::now() + PAUSE }
    }
}

impl Teller {
    fn tell(mut self) -> impl FnMut(Progress) {
        move |progress| {
            if Instant::now() < self.next {
                return;
            }
            self.next = Instant::now() + PAUSE;
            match progress {
                Progress::Copied(octets, of) => eprintln!("copied {} of {} MiB", octets >> 20, of >> 20),
                Progress::Checking => eprintln!("checking what was copied"),
            }
        }
    }
}
