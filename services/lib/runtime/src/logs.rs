//! Logs: to standard error, as text for people or as JSON for machines.

use std::io::IsTerminal;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterFn, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::spans;

pub mod testing;

/// Format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object on a line.
    Json,
}

impl Format {
    /// All formats by name, for [`crate::config::Reader::choice`].
    pub const OPTIONS: &[(&str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

/// Prefix of the targets that may log more detail than "info". Detail of other crates can show request paths and
/// headers (h2 logs a path that it cannot parse), so no filter lets it through.
const OURS: &str = "pushgrid";

/// Reason that logs could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is not valid.
    #[error("the log filter is not one: write a level such as info, or info,pushgrid_router=debug")]
    Filter(#[from] ParseError),
    /// The process has a subscriber already.
    #[error("logs are installed already")]
    Installed(#[from] TryInitError),
}

/// Sends all events that pass `filter` (such as `info,pushgrid_router=debug`) to standard error, from now until the
/// process ends. Called once, by `main`.
pub fn install(format: Format, filter: &str) -> Result<(), LogsError> {
    let ansi = format == Format::Text && std::io::stderr().is_terminal();
    let subscriber = subscriber(format, filter, ansi, std::io::stderr)?;
    Ok(subscriber.try_init()?)
}

fn subscriber<W>(
    format: Format,
    filter: &str,
    ansi: bool,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, LogsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A line that passes the filter says what it is about, whatever the filter says of spans.
    let context = format!("{}=error", spans::CONTEXT).parse()?;
    let filter = EnvFilter::try_new(filter)?.add_directive(context);
    let ours = FilterFn::new(|event| event.target().starts_with(OURS) || *event.level() <= Level::INFO);
    let lines = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(writer);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok(tracing_subscriber::registry().with(lines).with(filter).with(ours))
}

#[cfg(test)]
mod tests {
    use super::testing::Kept;
    use super::*;

    fn logged(format: Format, filter: &str, events: impl FnOnce()) -> String {
        let kept = Kept::begin(format, filter).unwrap();
        events();
        kept.text()
    }

    #[test]
    fn json_is_one_object_on_a_line_with_its_fields() {
        let lines = logged(Format::Json, "info", || tracing::info!(count = 3, "sent \"it\""));
        let object: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
        assert_eq!((&object["message"], &object["count"]), (&"sent \"it\"".into(), &3.into()));
        assert_eq!(lines.lines().count(), 1);
    }

    #[test]
    fn text_is_filtered_by_level() {
        let lines = logged(Format::Text, "info", || {
            tracing::debug!("too much");
            tracing::warn!("enough");
        });
        assert!(lines.contains("WARN") && lines.contains("enough") && !lines.contains("too much"), "{lines}");
    }

    #[test]
    fn no_filter_makes_other_crates_talkative() {
        let lines = logged(Format::Text, "trace,h2::server=trace", || {
            tracing::debug!(target: "h2::server", "malformed path");
            tracing::trace!(target: "pushgrid_router", "ours");
        });
        assert!(lines.contains("ours") && !lines.contains("malformed"), "{lines}");
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_an_example() {
        let error = subscriber(Format::Text, "pushgrid=very", false, std::io::sink).err().unwrap();
        assert!(error.to_string().contains("such as info"), "{error}");
    }
}
