//! The report of a measurement: figures as text for people and as JSON for tools.
//!
//! Both forms come from one list of figures. Nothing is measured here.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::scrape::Scrape;

/// The figures of one scenario, in the order in which they are printed.
pub(super) struct Run {
    scenario: &'static str,
    /// The parameters of the run, in words.
    setting: String,
    figures: Vec<Figure>,
    lost: u64,
}

struct Figure {
    /// Key in the JSON form, with the unit.
    key: String,
    /// Label for people.
    label: String,
    value: Value,
    /// The value and its unit, for people.
    shown: String,
}

/// Names of a figure: key in the JSON form, label for people, and unit.
pub(super) struct Name<'a>(pub(super) &'static str, pub(super) &'a str, pub(super) &'static str);

impl Run {
    pub(super) fn new(scenario: &'static str, setting: String) -> Self {
        Self { scenario, setting, figures: Vec::new(), lost: 0 }
    }

    /// Adds a count.
    pub(super) fn count(&mut self, name: &Name<'_>, value: u64) {
        self.push(name, value.into(), value.to_string());
    }

    /// Adds a measured quantity; one that the server does not tell is left out.
    pub(super) fn measure(&mut self, name: &Name<'_>, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into().filter(|value| value.is_finite()) {
            self.push(name, rounded(value).into(), shown(value));
        }
    }

    /// Adds the percentiles of a latency in microseconds, as milliseconds.
    pub(super) fn latency(&mut self, key: &str, label: &str, latency: &Histogram<u64>) {
        if latency.is_empty() {
            return;
        }
        let points = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];
        let mut line = String::new();
        for (point, quantile) in points {
            let value = millis(latency.value_at_quantile(quantile).min(latency.max()));
            let _ = write!(line, "{point} {}  ", shown(value));
            let figure = Figure {
                key: format!("{key}_ms_{point}"),
                label: String::new(),
                value: rounded(value).into(),
                shown: String::new(),
            };
            self.figures.push(figure);
        }
        let last = self.figures.last_mut().expect("four were pushed");
        (last.label, last.shown) = (label.to_owned(), format!("{}ms", line.trim_end().to_owned() + " "));
    }

    /// Sets the number of accepted messages that did not arrive: any makes the command fail.
    pub(super) fn set_lost(&mut self, lost: u64) {
        self.lost = lost;
        self.count(&Name("lost", "lost", ""), lost);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    fn push(&mut self, name: &Name<'_>, value: Value, shown: String) {
        let Name(key, label, unit) = *name;
        let shown = if unit.is_empty() { shown } else { format!("{shown} {unit}") };
        self.figures.push(Figure { key: key.to_owned(), label: label.to_owned(), value, shown });
    }

    fn to_text(&self) -> String {
        let mut text = format!("\n{}: {}\n", self.scenario, self.setting);
        for figure in self.figures.iter().filter(|figure| !figure.label.is_empty()) {
            let _ = writeln!(text, "  {:<56}  {}", figure.label, figure.shown);
        }
        text
    }

    fn to_json(&self) -> Value {
        let figures: Map<String, Value> =
            self.figures.iter().map(|figure| (figure.key.clone(), figure.value.clone())).collect();
        json!({"scenario": self.scenario, "setting": self.setting, "figures": figures})
    }
}

/// All runs of a measurement, and the server and machine that were measured.
pub(super) struct Report {
    version: String,
    /// Commit of the server, when its metrics name one.
    commit: Option<String>,
    cores: usize,
    pub(super) runs: Vec<Run>,
}

impl Report {
    /// An empty report about the server of these metrics.
    pub(super) fn of(scrape: &Scrape) -> Self {
        let mut build = scrape.labels("pushgrid_build_info");
        Self {
            version: build.remove("version").unwrap_or_else(|| "of an unknown version".to_owned()),
            commit: build.remove("commit"),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            runs: Vec::new(),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let commit = self.commit.as_ref().map(|commit| format!(" (commit {commit})")).unwrap_or_default();
        let mut text = format!(
            "server {}{commit}; this machine has {} cores, for the load and for a server on it\n",
            self.version, self.cores
        );
        for run in &self.runs {
            text += &run.to_text();
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let runs: Vec<Value> = self.runs.iter().map(Run::to_json).collect();
        json!({
            "server": {"version": self.version, "commit": self.commit},
            "machine": {"cores": self.cores, "system": std::env::consts::OS, "processor": std::env::consts::ARCH},
            "runs": runs,
        })
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let text = format!("{:#}\n", self.to_json());
        std::fs::write(file, text).with_context(|| format!("cannot write the report to {}", file.display()))
    }
}

fn millis(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64() * 1e3
}

/// Rounds to three decimals, more than the measurement is worth.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Formats with as many digits as are worth reading.
fn shown(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_reads_as_text_and_as_json() {
        let mut run = Run::new("push", "200 a second".into());
        run.measure(&Name("accepted_per_second", "accepted", "a second"), 199.7654);
        run.measure(&Name("commits_per_message", "commits", ""), None);
        let mut latency = Histogram::<u64>::new(3).unwrap();
        for micros in 1..=1000 {
            latency.record(micros).unwrap();
        }
        run.latency("post", "POST to 201", &latency);
        run.latency("socket", "POST to socket", &Histogram::new(3).unwrap());
        run.set_lost(2);
        assert_eq!(
            run.to_text(),
            "\npush: 200 a second\n  \
             accepted                                                  200 a second\n  \
             POST to 201                                               p50 0.50  p90 0.90  p99 0.99  max 1.00 ms\n  \
             lost                                                      2\n"
        );
        let figures = json!({
            "accepted_per_second": 199.765, "lost": 2,
            "post_ms_p50": 0.5, "post_ms_p90": 0.9, "post_ms_p99": 0.99, "post_ms_max": 1.0,
        });
        assert_eq!(run.to_json(), json!({"scenario": "push", "setting": "200 a second", "figures": figures}));
    }

    #[test]
    fn the_report_names_the_server() {
        let mut scrape = Scrape::default();
        scrape.add("pushgrid_build_info{version=\"0.1.0\",commit=\"abc\"} 1");
        let report = Report::of(&scrape);
        assert!(report.to_text().starts_with("server 0.1.0 (commit abc); this machine has "));
        let unknown = Report::of(&Scrape::default());
        assert!(unknown.to_text().starts_with("server of an unknown version; this machine"));
        assert_eq!(unknown.to_json()["server"]["commit"], Value::Null);
    }
}
