//! Reading of `/metrics` pages in the Prometheus text format, added up over processes.
//!
//! Invariant: no page panics; a line that cannot be read is left out.

use std::collections::BTreeMap;

/// The samples of one or several `/metrics` pages.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    samples: Vec<Sample>,
    /// Processor seconds of each role, over all its processes.
    cpu: BTreeMap<String, f64>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

impl Scrape {
    /// Adds a page in the Prometheus text format. Other lines are left out.
    pub(super) fn add(&mut self, page: &str) {
        let page: Vec<_> = page.lines().filter_map(sample).collect();
        let role = page.iter().find(|sample| sample.name == "pushgrid_role" && sample.value > 0.0);
        let cpu = page.iter().find(|sample| sample.name == "process_cpu_seconds_total");
        if let Some((role, cpu)) = role.zip(cpu) {
            let role = pairs(&role.labels).remove("role").unwrap_or_default();
            *self.cpu.entry(role).or_default() += cpu.value;
        }
        self.samples.extend(page);
    }

    /// Processor seconds of each role, over all its processes.
    pub(super) fn cpu_by_role(&self) -> &BTreeMap<String, f64> {
        &self.cpu
    }

    /// The sum over all labels; `None` without any such metric.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        self.sum_where(name, "")
    }

    /// The sum over the samples whose labels have `pair`, such as `outcome="delivered"`.
    pub(super) fn sum_where(&self, name: &str, pair: &str) -> Option<f64> {
        let found = self.samples.iter().filter(|sample| sample.name == name && sample.labels.contains(pair));
        found.map(|sample| sample.value).reduce(|sum, value| sum + value)
    }

    /// The labels of the first sample of this name.
    pub(super) fn labels(&self, name: &str) -> BTreeMap<String, String> {
        let found = self.samples.iter().find(|sample| sample.name == name);
        found.map(|sample| pairs(&sample.labels)).unwrap_or_default()
    }
}

/// Parses `name{labels} value`, or `name value`; a time stamp may follow.
fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (name, labels, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            // A label may hold a brace; nothing after the labels does.
            let (labels, rest) = rest.rsplit_once('}')?;
            (name, labels, rest)
        }
        None => line.split_once(' ').map(|(name, rest)| (name, "", rest))?,
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels: labels.to_owned(), value })
}

/// Parses `key="value",…`; escapes within values are kept.
fn pairs(labels: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    let mut rest = labels;
    while let Some((key, after)) = rest.split_once("=\"") {
        let Some(end) = closing_quote(after) else { break };
        pairs.insert(key.trim_start_matches([',', ' ']).to_owned(), after[..end].to_owned());
        rest = &after[end + 1..];
    }
    pairs
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|octet| {
        let closes = octet == b'"' && !escaped;
        escaped = octet == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = "# HELP x y\n# TYPE x counter\n\
        pushgrid_messages_ended_total{outcome=\"delivered\"} 7\n\
        pushgrid_messages_ended_total{outcome=\"expired\"} 2\n\
        process_cpu_seconds_total 1.25e1 1700000000\n\
        pushgrid_build_info{version=\"0.1.0\",commit=\"a}b\\\"c\"} 1\n";

    #[test]
    fn samples_are_summed_over_labels_and_pages() {
        let mut scrape = Scrape::default();
        scrape.add(PAGE);
        assert_eq!(scrape.sum("pushgrid_messages_ended_total"), Some(9.0));
        assert_eq!(scrape.sum_where("pushgrid_messages_ended_total", "outcome=\"delivered\""), Some(7.0));
        assert_eq!(scrape.sum("process_cpu_seconds_total"), Some(12.5));
        assert_eq!(scrape.sum("process_cpu_seconds"), None);
        scrape.add(PAGE);
        assert_eq!(scrape.sum("process_cpu_seconds_total"), Some(25.0));
    }

    #[test]
    fn labels_may_hold_braces_and_quotes() {
        let mut scrape = Scrape::default();
        scrape.add(PAGE);
        let labels = scrape.labels("pushgrid_build_info");
        assert_eq!((labels["version"].as_str(), labels["commit"].as_str()), ("0.1.0", "a}b\\\"c"));
        assert!(scrape.labels("nothing").is_empty());
    }

    #[test]
    fn processors_are_counted_for_each_role() {
        let mut scrape = Scrape::default();
        for (role, seconds) in [("router", 2), ("ingress", 1), ("router", 3)] {
            let roles = "pushgrid_role{role=\"standalone\"} 0\npushgrid_role{role=";
            scrape.add(&format!("{roles}\"{role}\"}} 1\nprocess_cpu_seconds_total {seconds}\n"));
        }
        let cpu = scrape.cpu_by_role();
        assert_eq!((cpu.len(), cpu["router"], cpu["ingress"]), (2, 5.0, 1.0));
    }

    proptest! {
        #[test]
        fn any_page_is_read_without_panic(page: String) {
            let mut scrape = Scrape::default();
            scrape.add(&page);
            scrape.add(&format!("x{{{page}}} 1"));
            scrape.labels("x");
        }
    }
}
