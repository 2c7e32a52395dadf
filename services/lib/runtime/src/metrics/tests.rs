//! Tested: every metric is described and complete before any event, and rendering and reference mention all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::Shutdown;

/// The value of the series whose line begins with `series` and a space.
fn value(text: &str, series: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(rest.parse().expect("a value is a number"))
}

fn definitions() -> impl Iterator<Item = &'static Definition> {
    let counters = COUNTERS.iter().map(|counter| &counter.0);
    let gauges = GAUGES.iter().map(|gauge| &gauge.0);
    counters.chain(gauges).chain(HISTOGRAMS.iter().map(|histogram| &histogram.definition))
}

#[test]
fn every_metric_is_described_and_at_zero_before_anything_happens() {
    let text = Meter::new().render();
    for metric in definitions() {
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
        let series: Vec<&str> = text
            .lines()
            .filter(|line| {
                line.strip_prefix(metric.name).is_some_and(|rest| rest.starts_with(['{', ' ', '_']))
            })
            .collect();
        let combinations: usize = metric.labels.iter().map(|label| label.values.len()).product();
        assert!(series.len() >= combinations, "{}: {series:?}", metric.name);
        if metric.name != BUILD_INFO.0.name {
            assert!(series.iter().all(|line| line.ends_with(" 0")), "{}: {series:?}", metric.name);
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(value(&text, &format!("pushgrid_build_info{{version=\"{version}\"}}")), Some(1.0));
    assert_eq!(value(&text, "pushgrid_messages_ended_total{outcome=\"dropped_not_delivered\"}"), Some(0.0));
    assert_eq!(value(&text, "pushgrid_ingress_request_seconds_bucket{le=\"0.0005\"}"), Some(0.0));
    assert_eq!(value(&text, "pushgrid_ingress_request_seconds_bucket{le=\"10\"}"), Some(0.0));
}

#[test]
fn names_follow_the_conventions_of_prometheus_and_are_unique() {
    let mut names: Vec<&str> = definitions().map(|metric| metric.name).collect();
    assert!(COUNTERS.iter().all(|counter| counter.0.name.ends_with("_total")));
    assert!(HISTOGRAMS.iter().all(|histogram| histogram.definition.name.ends_with("_seconds")));
    assert!(names.iter().all(|name| name.starts_with("pushgrid_")));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), definitions().count());
}

#[test]
fn handles_of_one_series_share_its_value() {
    let meter = Meter::new();
    let label = [("direction", "in"), ("kind", "ack")];
    meter.counter(&CONNECTION_FRAMES, &label).increment(2);
    meter.clone().counter(&CONNECTION_FRAMES, &label).increment(1);
    meter.gauge(&CONNECTION_SOCKETS, &[]).set(7.0);
    meter.histogram(&DELIVERY_SECONDS, &[]).record(0.004);

    let text = meter.render();
    assert_eq!(value(&text, "pushgrid_connection_frames_total{direction=\"in\",kind=\"ack\"}"), Some(3.0));
    assert_eq!(value(&text, "pushgrid_connection_frames_total{direction=\"out\",kind=\"ack\"}"), Some(0.0));
    assert_eq!(value(&text, "pushgrid_connection_sockets"), Some(7.0));
    assert_eq!(value(&text, "pushgrid_delivery_seconds_bucket{le=\"0.002\"}"), Some(0.0));
    assert_eq!(value(&text, "pushgrid_delivery_seconds_bucket{le=\"0.005\"}"), Some(1.0));
    assert_eq!(value(&text, "pushgrid_delivery_seconds_count"), Some(1.0));
    assert_eq!(value(&Meter::new().render(), "pushgrid_connection_sockets"), Some(0.0));
}

#[test]
fn a_scrape_asks_for_what_is_kept_elsewhere() {
    let meter = Meter::new();
    let ledger = Arc::new(AtomicU64::new(41));
    let (counter, source) = (meter.counter(&MESSAGES_ACCEPTED, &[]), Arc::clone(&ledger));
    meter.on_scrape(move || counter.absolute(source.load(Ordering::Relaxed)));
    assert_eq!(value(&meter.render(), "pushgrid_messages_accepted_total"), Some(41.0));
    ledger.fetch_add(1, Ordering::Relaxed);
    assert_eq!(value(&meter.render(), "pushgrid_messages_accepted_total"), Some(42.0));
}

#[test]
fn a_series_has_all_labels_of_its_metric_in_order_and_no_other_value() {
    let frames = |labels: &[(&str, &str)]| CONNECTION_FRAMES.0.has_series(labels);
    assert!(frames(&[("direction", "in"), ("kind", "ack")]));
    assert!(!frames(&[("kind", "ack"), ("direction", "in")]));
    assert!(!frames(&[("direction", "in")]));
    assert!(!frames(&[("direction", "in"), ("kind", "something else")]));
    assert!(CONNECTION_SOCKETS.0.has_series(&[]));
}

#[test]
fn the_process_describes_itself() {
    let text = Meter::new().render();
    let of = |name| value(&text, name).expect("there is a /proc");
    assert!(of("process_resident_memory_bytes") > 1_000_000.0);
    assert!(of("process_open_fds") >= 3.0 && of("process_open_fds") <= of("process_max_fds"));
    assert!(of("process_start_time_seconds") > 1_700_000_000.0);
    assert!(of("process_cpu_seconds_total") >= 0.0);
    assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"));
}

#[test]
fn the_reference_mentions_every_metric_and_every_label_value() {
    let reference = Meter::reference();
    for metric in definitions() {
        let row =
            reference.lines().find(|line| line.contains(&format!("`{}`", metric.name))).expect(metric.name);
        assert!(row.contains(metric.help), "{row}");
        for label in metric.labels {
            assert!(row.contains(label.key) && label.values.iter().all(|value| row.contains(value)), "{row}");
        }
    }
    for metric in PROCESS {
        assert!(reference.contains(metric.0));
    }
}

#[tokio::test(start_paused = true)]
async fn upkeep_ends_with_the_process() {
    let (meter, shutdown) = (Meter::new(), Shutdown::new());
    let upkeep = shutdown.spawn("upkeep", meter.clone().upkeep(shutdown.clone()));
    meter.histogram(&DELIVERY_SECONDS, &[]).record(1.0);
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    shutdown.drain();
    upkeep.await.unwrap();
    assert_eq!(value(&meter.render(), "pushgrid_delivery_seconds_count"), Some(1.0));
}
