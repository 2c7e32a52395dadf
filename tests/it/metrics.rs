use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// One reading of `/metrics`.
#[derive(Debug, Clone)]
pub struct Metrics {
    samples: Vec<(String, f64)>,
}

/// What became of the messages that were accepted (promise P2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    /// Accepted in the life of the service's data.
    pub accepted: u64,
    /// How many ended, by outcome.
    pub ended: BTreeMap<String, u64>,
    /// How many have not ended yet.
    pub pending: u64,
}

impl Metrics {
    /// From the Prometheus text format.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line:?}"))?;
            Ok((name.to_owned(), value.parse().with_context(|| format!("no number: {line:?}"))?))
        });
        Ok(Self { samples: samples.collect::<Result<_>>()? })
    }

    /// The sum of all samples of `name` whose labels have each of `labels`; `None` when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.samples.iter().filter(|(sample, _)| {
            let (family, set) = sample.split_once('{').unwrap_or((sample, ""));
            family == name && labels.iter().all(|(key, value)| set.contains(&format!("{key}=\"{value}\"")))
        });
        values.map(|(_, value)| *value).reduce(|sum, value| sum + value)
    }

    /// Several readings as one: a sum is one over all of them.
    pub(crate) fn together(readings: Vec<Self>) -> Self {
        Self { samples: readings.into_iter().flat_map(|reading| reading.samples).collect() }
    }

    /// The accounts, summed over all that keep a part of them; a fault when nobody does.
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
    /// How many ended with `outcome`.
    pub fn ended(&self, outcome: &str) -> u64 {
        self.ended.get(outcome).copied().unwrap_or_default()
    }

    /// How many ended in any way.
    pub fn ended_in_all(&self) -> u64 {
        self.ended.values().sum()
    }

    /// Whether each accepted message is either pending or ended in one way.
    pub fn add_up(&self) -> bool {
        self.accepted == self.ended_in_all() + self.pending
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are far below 2^53")]
fn whole(count: f64) -> u64 {
    count as u64
}
