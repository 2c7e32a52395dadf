//! Standard output, which may be closed: `pushgrid send ... | head -1` is no fault.

use std::io::Write;

/// Writes one line, if anybody reads it.
pub(crate) fn line(text: &str) {
    self::text(&format!("{text}\n"));
}

/// Writes `text` as it is, if anybody reads it.
pub(crate) fn text(text: &str) {
    let mut output = std::io::stdout().lock();
    // A reader that closed the pipe has seen enough; the work of the command stands.
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}
