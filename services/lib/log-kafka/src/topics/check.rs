//! The wanted and the existing state of a topic, compared.
//! Invariant: nothing is changed here; a fault comes with the command or setting to mend it. Asking the
//! brokers is the parent module.

use std::collections::HashMap;
use std::time::Duration;

use pushgrid_runtime::config::variable;
use pushgrid_types::cast::saturating;
use rdkafka::admin::ConfigResource;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;

use super::{DIRTY, SEGMENT, SEGMENT_AGE, TOMBSTONES};
use crate::{Config, Failure};

const POLICY: &str = "cleanup.policy";
const INSYNC: &str = "min.insync.replicas";
const RETENTION: &str = "retention.ms";
const RETENTION_OCTETS: &str = "retention.bytes";
const TOMBSTONE_AGE: &str = "delete.retention.ms";

/// Required state of a topic.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) topic: String,
    pub(super) partitions: u16,
    /// True if the partitions are those of user agents, by `kafka.partitions`.
    is_partitioned: bool,
    pub(super) replication: u16,
    insync: u16,
    policy: &'static str,
    /// Settings for creation.
    pub(super) settings: Vec<(&'static str, String)>,
}

/// Existing state of a topic.
#[derive(Debug, Default)]
pub(super) struct Found {
    partitions: usize,
    /// Smallest replication of the partitions.
    replication: usize,
    has_leaders: bool,
    settings: HashMap<String, String>,
}

impl Wanted {
    /// Required state of both topics of messages in a cluster of `brokers` brokers.
    pub(super) fn both(config: &Config, brokers: usize) -> [Self; 2] {
        let accepted = [(RETENTION, millis(config.retention)), (RETENTION_OCTETS, "-1".to_owned())];
        [
            Self::new(config, brokers, config.accepted(), "delete", &accepted),
            Self::new(config, brokers, config.state(), "compact", &compacted()),
        ]
    }

    /// Required state of the topic of broadcasts.
    pub(super) fn broadcasts(config: &Config, brokers: usize) -> Self {
        let topic = Self::new(config, brokers, config.broadcasts(), "compact", &compacted());
        Self { partitions: 1, is_partitioned: false, ..topic }
    }

    fn new(
        config: &Config,
        brokers: usize,
        topic: String,
        policy: &'static str,
        settings: &[(&'static str, String)],
    ) -> Self {
        let replication = match config.replication {
            0 => u16::try_from(brokers.clamp(1, 3)).unwrap_or(3),
            replication => replication,
        };
        let insync = match config.min_insync {
            0 => replication.saturating_sub(1).max(1),
            insync => insync,
        };
        let common = [
            (POLICY, String::from(policy)),
            (INSYNC, insync.to_string()),
            ("compression.type", "producer".to_owned()),
            // Retention goes by the clocks of the brokers, not of every ingress.
            ("message.timestamp.type", "LogAppendTime".to_owned()),
        ];
        let settings = common.into_iter().chain(settings.iter().cloned()).collect();
        let partitions = config.partitions;
        Self { topic, partitions, is_partitioned: true, replication, insync, policy, settings }
    }

    /// Advice for a topic after a failed creation.
    pub(super) fn how_to_make(&self, config: &Config) -> String {
        let settings: Vec<String> =
            self.settings.iter().map(|(name, value)| format!("--config {name}={value}")).collect();
        format!(
            "start as many brokers as {} says, or make it: kafka-topics.sh --bootstrap-server {} --create --topic {} \
             --partitions {} --replication-factor {} {}",
            variable("kafka.replication"),
            config.brokers,
            self.topic,
            self.partitions,
            self.replication,
            settings.join(" ")
        )
    }
}

impl Found {
    /// Existing topic by the metadata of one topic, without its settings; `None` when missing.
    pub(super) fn of(metadata: &Metadata) -> Result<Option<Self>, String> {
        let Some(topic) = metadata.topics().first() else { return Ok(None) };
        if let Some(error) = topic.error() {
            return match RDKafkaErrorCode::from(error) {
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Ok(None),
                // Created a moment ago, without leaders yet.
                RDKafkaErrorCode::LeaderNotAvailable => Ok(Some(Self::default())),
                other => Err(format!("the brokers do not show it: {other}")),
            };
        }
        let partitions = topic.partitions();
        Ok(Some(Self {
            partitions: partitions.len(),
            replication: partitions
                .iter()
                .map(|partition| partition.replicas().len())
                .min()
                .unwrap_or_default(),
            has_leaders: partitions.iter().all(|partition| partition.leader() >= 0),
            settings: HashMap::new(),
        }))
    }

    pub(super) fn take(&mut self, resource: ConfigResource) {
        let entries = resource.entries.into_iter();
        self.settings.extend(entries.filter_map(|entry| Some((entry.name, entry.value?))));
    }

    /// True once all partitions are known and have leaders.
    pub(super) fn is_complete(&self) -> bool {
        self.partitions > 0 && self.has_leaders
    }

    fn number(&self, setting: &str) -> Option<i128> {
        self.settings.get(setting)?.parse().ok()
    }
}

/// Verifies a topic. Oddities that break no promise are logged only.
pub(super) fn check(config: &Config, wanted: &Wanted, found: &Found) -> Result<(), Failure> {
    let topic = &wanted.topic;
    let wrong = |what: String, mend: String| Err(Failure::Wrong { topic: topic.clone(), what, mend });
    let alter = |setting: &str, value: &str| {
        format!(
            "mend it: kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {topic} \
             --add-config {setting}={value}",
            config.brokers
        )
    };
    if found.partitions != usize::from(wanted.partitions) && !wanted.is_partitioned {
        return wrong(
            format!("it has {} partitions, and must have one", found.partitions),
            "delete it: it is made again, and the broadcasts are set again".to_owned(),
        );
    }
    if found.partitions != usize::from(wanted.partitions) {
        return wrong(
            format!("it has {} partitions, and kafka.partitions is {}", found.partitions, wanted.partitions),
            format!(
                "set {}={}, for the partitions of a topic in use cannot be changed; or delete both topics if nothing in \
                 them is needed",
                variable("kafka.partitions"),
                found.partitions
            ),
        );
    }
    if found.replication < usize::from(wanted.replication) {
        return wrong(
            format!(
                "{} brokers hold each partition, and it should be {}",
                found.replication, wanted.replication
            ),
            format!(
                "add replicas with kafka-reassign-partitions.sh, or accept it with {}={}",
                variable("kafka.replication"),
                found.replication
            ),
        );
    }
    let policy = found.settings.get(POLICY).map_or("", String::as_str);
    if policy != wanted.policy {
        return wrong(
            format!("{POLICY} is {policy:?}, and must be {:?}", wanted.policy),
            alter(POLICY, wanted.policy),
        );
    }
    let insync = found.number(INSYNC).unwrap_or_default();
    if insync < i128::from(wanted.insync) {
        return wrong(
            format!("{INSYNC} is {insync}, and should be {}", wanted.insync),
            format!(
                "{}; or accept it with {}={insync}",
                alter(INSYNC, &wanted.insync.to_string()),
                variable("kafka.min_insync")
            ),
        );
    }
    check_retention(config, wanted, found);
    Ok(())
}

fn check_retention(config: &Config, wanted: &Wanted, found: &Found) {
    let topic = wanted.topic.as_str();
    let is_short = |setting, at_least: Duration| {
        // -1 is for ever.
        found
            .number(setting)
            .is_some_and(|found| (0..).contains(&found) && found < i128::from(millis_of(at_least)))
    };
    if wanted.policy == "delete" {
        if is_short(RETENTION, config.retention) {
            tracing::warn!(topic, "{RETENTION} is shorter than kafka.retention");
        }
        if found.number(RETENTION_OCTETS).is_some_and(|octets| octets >= 0) {
            tracing::warn!(
                topic,
                "{RETENTION_OCTETS} is set: messages may be deleted before they are dealt with"
            );
        }
    } else if is_short(TOMBSTONE_AGE, TOMBSTONES) {
        tracing::warn!(
            topic,
            "{TOMBSTONE_AGE} is shorter than seven days: the account may miss ends of messages"
        );
    }
}

/// Settings of a compacted topic.
fn compacted() -> [(&'static str, String); 4] {
    [
        ("min.cleanable.dirty.ratio", DIRTY.to_owned()),
        ("segment.ms", SEGMENT_AGE.to_owned()),
        ("segment.bytes", SEGMENT.to_owned()),
        (TOMBSTONE_AGE, millis(TOMBSTONES)),
    ]
}

fn millis_of(duration: Duration) -> u64 {
    saturating::<u64>(duration.as_millis())
}

fn millis(duration: Duration) -> String {
    millis_of(duration).to_string()
}

#[cfg(test)]
mod tests {
    use pushgrid_runtime::config::{Layers, Reader};

    use super::*;

    fn config(overrides: &[&str]) -> Config {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        Config::read(&mut Reader::new(Layers::load(None, std::iter::empty(), &overrides).unwrap()))
    }

    fn found_of(wanted: &Wanted) -> Found {
        Found {
            partitions: wanted.partitions.into(),
            replication: wanted.replication.into(),
            has_leaders: true,
            settings: wanted
                .settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        }
    }

    #[test]
    fn replication_goes_with_the_brokers_and_never_beyond_three() {
        for (brokers, expected) in [(1, (1, 1)), (2, (2, 1)), (3, (3, 2)), (7, (3, 2))] {
            let [accepted, state] = Wanted::both(&config(&[]), brokers);
            assert_eq!((accepted.replication, accepted.insync), expected);
            assert_eq!((state.replication, state.insync), expected);
        }
        let [accepted, _] = Wanted::both(&config(&["kafka.replication=5", "kafka.min_insync=2"]), 1);
        assert_eq!((accepted.replication, accepted.insync), (5, 2));
    }

    #[test]
    fn what_was_made_is_found_right_and_more_of_it_too() {
        let config = config(&[]);
        for wanted in Wanted::both(&config, 3) {
            let mut found = found_of(&wanted);
            check(&config, &wanted, &found).unwrap();
            found.replication = 4;
            found.settings.insert(INSYNC.to_owned(), "3".to_owned());
            check(&config, &wanted, &found).unwrap();
        }
    }

    #[test]
    fn each_fault_is_named_with_what_mends_it() {
        let config = config(&["kafka.brokers=b:1"]);
        let [_, wanted] = Wanted::both(&config, 3);
        let refused = |change: &dyn Fn(&mut Found)| {
            let mut found = found_of(&wanted);
            change(&mut found);
            check(&config, &wanted, &found).unwrap_err().to_string()
        };
        let set = |name: &'static str, value: &'static str| {
            refused(&move |found| {
                found.settings.insert(name.to_owned(), value.to_owned());
            })
        };
        let faults = [
            (refused(&|found| found.partitions = 6), "6 partitions", "PUSHGRID_KAFKA__PARTITIONS=6"),
            (refused(&|found| found.replication = 1), "1 brokers", "PUSHGRID_KAFKA__REPLICATION=1"),
            (set(POLICY, "compact,delete"), "cleanup.policy", "--add-config cleanup.policy=compact"),
            (set(INSYNC, "1"), "min.insync.replicas is 1", "--add-config min.insync.replicas=2"),
        ];
        let one = Wanted::broadcasts(&config, 3);
        check(&config, &one, &found_of(&one)).unwrap();
        let fault =
            check(&config, &one, &Found { partitions: 12, ..found_of(&one) }).unwrap_err().to_string();
        assert!(
            fault.contains("topic pushgrid.broadcasts: it has 12 partitions, and must have one"),
            "{fault}"
        );
        for (fault, what, mend) in faults {
            assert!(fault.contains("topic pushgrid.state"), "{fault}");
            assert!(fault.contains(what) && fault.contains(mend), "{fault}");
        }
    }
}
