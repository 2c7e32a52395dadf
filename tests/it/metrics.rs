//! Readings of `/metrics`, and the account of messages (promise P2) in them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// Reading of `/metrics`.
#[derive(Debug, Clone)]
pub struct Metrics {
    samples: Vec<(String, f64)>,
}

/// Account of accepted messages (promise P2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    /// Accepted in the life of the service's data.
    pub accepted: u64,
    /// Ended messages by outcome.
    pub ended: BTreeMap<String, u64>,
    /// Messages without an outcome so far.
    pub pending: u64,
}

impl Metrics {
    /// Parses the Prometheus text format.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line:?}"))?;
            Ok((name.to_owned(), value.parse().with_context(|| format!("no number: {line:?}"))?))
        });
        Ok(Self { samples: samples.collect::<Result<_>>()? })
    }

    /// Sum of all samples of `name` whose labels include `labels`; `None` without a sample.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.samples.iter().filter(|(sample, _)| {
            let (family, set) = sample.split_once('{').unwrap_or((sample, ""));
            family == name && labels.iter().all(|(key, value)| set.contains(&format!("{key}=\"{value}\"")))
        });
        values.map(|(_, value)| *value).reduce(|sum, value| sum + value)
    }

    /// Joins several readings: a sum is one over all of them.
    pub(crate) fn together(readings: Vec<Self>) -> Self {
        Self { samples: readings.into_iter().flat_map(|reading| reading.samples).collect() }
    }

    /// Account, summed over all processes that keep a part. A fault without any.
    pub fn accounts(&self) -> Result<Accounts> {
        const ENTRY: &str = "pushgrid_account{entry=\"";
        let entries = self.samples.iter().filter_map(|(sample, value)| {
            Some((sample.strip_prefix(ENTRY)?.strip_suffix("\"}")?, whole(*value)))
        });
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (entry, count) in entries {
            *sums.entry(entry.to_owned()).or_default() += count;
        }
        let mut take = |entry| sums.remove(entry).with_context(|| format!("no account of what is {entry}"));
        let (accepted, pending) = (take("accepted")?, take("pending")?);
        sums.retain(|_, count| *count > 0);
        Ok(Accounts { accepted, ended: sums, pending })
    }
}

impl Accounts {
    /// Messages that ended with `outcome`.
    pub fn ended(&self, outcome: &str) -> u64 {
        self.ended.get(outcome).copied().unwrap_or_default()
    }

    /// Messages that ended with any outcome.
    pub fn ended_in_all(&self) -> u64 {
        self.ended.values().sum()
    }

    /// True when accepted messages are the sum of pending and ended ones.
    pub fn add_up(&self) -> bool {
        self.accepted == self.ended_in_all() + self.pending
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are far below 2^53")]
fn whole(count: f64) -> u64 {
    count as u64
}
