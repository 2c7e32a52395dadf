//! Log lines for tests of this workspace: kept in memory, and read back.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};

use super::{Format, LogsError, subscriber};

/// A line of [`Format::Json`].
pub type Line = serde_json::Value;

/// Log lines of the current thread, kept in memory instead of written, until dropped.
#[derive(Debug)]
pub struct Kept {
    page: Page,
    _guard: DefaultGuard,
    /// While a thread's subscriber is the only one, an event that another thread meets first is never enabled.
    _second: Dispatch,
}

#[derive(Debug, Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// Begins to keep the lines that pass `filter`, in a format.
    pub fn begin(format: Format, filter: &str) -> Result<Self, LogsError> {
        let page = Page::default();
        let second = Dispatch::new(NoSubscriber::default());
        let writer = page.clone();
        let subscriber = subscriber(format, filter, false, move || writer.clone())?;
        Ok(Self { page, _guard: tracing::subscriber::set_default(subscriber), _second: second })
    }

    /// All lines, as they would have been written.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.page.0.lock()).into_owned()
    }

    /// Lines of [`Format::Json`] with a message, in their order.
    pub fn with(&self, message: &str) -> Vec<Line> {
        let lines = self.text();
        let all = lines.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        all.filter(|line| line["message"] == message).collect()
    }
}

impl io::Write for Page {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
