//! Metrics of the process, from `/proc`. On systems without `/proc` they are left out.

use std::fmt::Write;
use std::fs;

use super::{PROCESS, ProcessMetric};

/// Ticks of a second in `/proc`: the same on every architecture of Linux.
const TICKS: f64 = 100.0;

/// Appends the metrics in the Prometheus text format, in the order of [`PROCESS`].
pub(super) fn render(text: &mut String) {
    let values = [resident(), cpu(), open_fds(), max_fds(), started()];
    for (ProcessMetric(name, kind, _, help), value) in PROCESS.iter().zip(values) {
        if let Some(value) = value {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        }
    }
}

/// The number in the first line of a file that begins with `label`.
fn line(path: &str, label: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A field of `/proc/self/stat`, numbered from 1 as in proc(5). Fields are counted from the end of the second, the
/// name, which may hold any character.
fn stat(field: usize) -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(field - 3)?.parse().ok()
}

fn resident() -> Option<f64> {
    Some(line("/proc/self/status", "VmRSS:")? * 1024.0)
}

fn cpu() -> Option<f64> {
    Some((stat(14)? + stat(15)?) / TICKS)
}

fn open_fds() -> Option<f64> {
    // Since Linux 6.2 the size of the directory is the count; listing takes long with a million entries.
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    let count = if size > 0 { size } else { fs::read_dir("/proc/self/fd").ok()?.count() as u64 };
    u32::try_from(count).ok().map(f64::from)
}

fn max_fds() -> Option<f64> {
    line("/proc/self/limits", "Max open files")
}

fn started() -> Option<f64> {
    Some(line("/proc/stat", "btime")? + stat(22)? / TICKS)
}
