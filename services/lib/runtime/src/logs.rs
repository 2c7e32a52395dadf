//! Logs: to standard error, as text for people or as JSON for machines.

use std::io::IsTerminal;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterFn, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a line looks.
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

/// Whose events may be more detailed than "info". Detail of other crates can show request paths and headers (h2 logs
/// a path that it cannot parse), so no filter lets it through.
const OURS: &str = "pushgrid";

/// Logs could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is not one.
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
    let filter = EnvFilter::try_new(filter)?;
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
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str, events: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = subscriber(format, filter, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
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
        let error = subscriber(Format::Text, "pushgrid=very", false, io::sink).err().unwrap();
        assert!(error.to_string().contains("such as info"), "{error}");
    }
}
