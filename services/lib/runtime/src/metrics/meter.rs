//! The meter: recorder of all metrics of one process or test, and their Prometheus and Markdown forms.
//!
//! Invariant: every series exists from the start, and memory is bounded while somebody runs the upkeep. Names, help
//! and labels are in the parent module.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Key, KeyName, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use parking_lot::Mutex;

use super::{
    BUILD_INFO, COUNTERS, Counter, Definition, GAUGES, Gauge, HISTOGRAMS, Histogram, PROCESS, VERSION,
    process,
};
use crate::Shutdown;

const METADATA: Metadata<'static> = Metadata::new("pushgrid", Level::INFO, None);

/// Interval at which the observations of histograms are counted into buckets. Until then each observation takes eight
/// octets.
const UPKEEP: Duration = Duration::from_secs(1);

/// Recorder of metrics. Clones share all values; two meters share nothing.
///
/// Guarantee: measuring never fails and never waits.
#[derive(Clone)]
pub struct Meter {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: PrometheusRecorder,
    hooks: Mutex<Vec<Arc<dyn Fn() + Send + Sync>>>,
}

impl Meter {
    /// A meter with every metric at 0.
    pub fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for histogram in HISTOGRAMS {
            let name = Matcher::Full(histogram.definition.name.to_owned());
            builder = builder
                .set_buckets_for_metric(name, histogram.buckets)
                .expect("every histogram is defined with buckets");
        }
        let inner = Inner { recorder: builder.build_recorder(), hooks: Mutex::default() };
        let meter = Self { inner: Arc::new(inner) };
        meter.describe();
        meter.touch();
        meter
    }

    /// The handle of a counter, for one value of each of its labels. `absolute` raises the counter to a number kept
    /// elsewhere.
    pub fn counter(
        &self,
        of: &'static Counter,
        label: &[(&'static str, &'static str)],
    ) -> ::metrics::Counter {
        self.inner.recorder.register_counter(&key(&of.0, label), &METADATA)
    }

    /// The handle of a gauge, for one value of each of its labels.
    pub fn gauge(&self, of: &'static Gauge, label: &[(&'static str, &'static str)]) -> ::metrics::Gauge {
        self.inner.recorder.register_gauge(&key(&of.0, label), &METADATA)
    }

    /// The handle of a histogram, which takes seconds, for one value of each of its labels. Needs [`Self::upkeep`] to
    /// be running.
    pub fn histogram(
        &self,
        of: &'static Histogram,
        label: &[(&'static str, &'static str)],
    ) -> ::metrics::Histogram {
        self.inner.recorder.register_histogram(&key(&of.definition, label), &METADATA)
    }

    /// Registers `f` to be called before each [`Self::render`], to bring gauges up to date. `f` must not wait. Kept
    /// for the life of the meter.
    pub fn on_scrape(&self, f: impl Fn() + Send + Sync + 'static) {
        self.inner.hooks.lock().push(Arc::new(f));
    }

    /// All metrics in the Prometheus text format, those of the process included.
    pub fn render(&self) -> String {
        // Called without the lock: a hook may do what it likes with the meter.
        let hooks = self.inner.hooks.lock().clone();
        for hook in hooks {
            hook();
        }
        let mut text = self.inner.recorder.handle().render();
        process::render(&mut text);
        text
    }

    /// Counts observations of histograms into buckets once a second, so that memory is bounded also without scrapes.
    /// Ends when the process begins to drain, for a drain is short.
    pub async fn upkeep(self, shutdown: Shutdown) {
        let handle = self.inner.recorder.handle();
        let mut ticks = tokio::time::interval(UPKEEP);
        let rounds = async {
            loop {
                ticks.tick().await;
                handle.run_upkeep();
            }
        };
        tokio::select! {
            () = rounds => {}
            () = shutdown.draining() => {}
        }
    }

    /// A Markdown table of every metric: name, type, unit, labels and meaning.
    pub fn reference() -> String {
        let mut table = String::from("| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
        let counters = COUNTERS.iter().map(|counter| ("counter", &counter.0));
        let gauges = GAUGES.iter().map(|gauge| ("gauge", &gauge.0));
        let histograms = HISTOGRAMS.iter().map(|histogram| ("histogram", &histogram.definition));
        for (kind, metric) in counters.chain(gauges).chain(histograms) {
            let labels: Vec<String> = metric.labels.iter().map(describe_label).collect();
            let (unit, labels) = (unit_word(metric.unit), labels.join("; "));
            let _ = writeln!(table, "| `{}` | {kind} | {unit} | {labels} | {} |", metric.name, metric.help);
        }
        for metric in PROCESS {
            let _ = writeln!(
                table,
                "| `{}` | {} | {} | | {} |",
                metric.0,
                metric.1,
                unit_word(metric.2),
                metric.3
            );
        }
        table
    }

    fn describe(&self) {
        let recorder = &self.inner.recorder;
        let parts = |metric: &Definition| {
            (
                KeyName::from_const_str(metric.name),
                Some(metric.unit),
                ::metrics::SharedString::const_str(metric.help),
            )
        };
        for metric in COUNTERS {
            let (name, unit, help) = parts(&metric.0);
            recorder.describe_counter(name, unit, help);
        }
        for metric in GAUGES {
            let (name, unit, help) = parts(&metric.0);
            recorder.describe_gauge(name, unit, help);
        }
        for metric in HISTOGRAMS {
            let (name, unit, help) = parts(&metric.definition);
            recorder.describe_histogram(name, unit, help);
        }
    }

    /// Creates every series, so that a rate over the first event is right.
    fn touch(&self) {
        for counter in COUNTERS {
            series(&counter.0, |label| self.counter(counter, label).absolute(0));
        }
        for gauge in GAUGES {
            series(&gauge.0, |label| self.gauge(gauge, label).set(0.0));
        }
        for histogram in HISTOGRAMS {
            series(&histogram.definition, |label| drop(self.histogram(histogram, label)));
        }
        self.gauge(&BUILD_INFO, &[(VERSION.key, VERSION.values[0])]).set(1.0);
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter(..)")
    }
}

fn key(of: &Definition, label: &[(&'static str, &'static str)]) -> Key {
    debug_assert!(
        of.has_series(label),
        "{} has no series {label:?}: it is to be added to its definition",
        of.name
    );
    let labels = label.iter().map(|(key, value)| ::metrics::Label::from_static_parts(key, value));
    Key::from_parts(of.name, labels.collect::<Vec<_>>())
}

/// Calls `each` with every combination of label values.
fn series(of: &'static Definition, mut each: impl FnMut(&[(&'static str, &'static str)])) {
    let mut all = vec![Vec::new()];
    for label in of.labels {
        let longer = |start: Vec<_>| {
            label.values.iter().map(move |value| [start.as_slice(), &[(label.key, *value)]].concat())
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    for labels in all {
        each(&labels);
    }
}

fn describe_label(label: &super::Label) -> String {
    format!("`{}`: {}", label.key, label.values.join(", "))
}

fn unit_word(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "seconds",
        Unit::Bytes => "octets",
        _ => "",
    }
}
