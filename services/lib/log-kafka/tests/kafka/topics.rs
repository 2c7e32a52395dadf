//! Topics of a real Kafka: created once, and existing ones with wrong settings refused with the advice.

use pushgrid_log_kafka::{Config, Failure, topics};
use pushgrid_runtime::metrics::Meter;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};

use crate::support::{Place, admin, config};

/// Creates a topic with these settings under a name of `config`, and returns the failure of `ensure`.
async fn made(config: &Config, partitions: i32, settings: &[(&str, &str)]) -> Failure {
    let name = format!("{}.accepted", config.topic_prefix);
    let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    topic.config = settings.to_vec();
    let options = AdminOptions::new();
    let made = admin(config).create_topics([&topic], &options).await.unwrap();
    made[0].as_ref().unwrap();
    let failure = topics::ensure(config).await.unwrap_err();
    admin(config).delete_topics(&[&name], &options).await.unwrap();
    failure
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_once_by_however_many_and_then_found_right() {
    let config = config(3);
    let (one, other, third) =
        tokio::join!(topics::ensure(&config), topics::ensure(&config), topics::ensure(&config));
    let _place = Place { config: config.clone(), topics: one.unwrap(), meter: Meter::new() };
    assert_eq!((other.unwrap().partitions, third.unwrap().partitions), (3, 3));
    assert_eq!(topics::ensure(&config).await.unwrap().partitions, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_other_partitions_is_refused_with_the_setting_that_fits_it() {
    let config = config(3);
    let failure = made(&config, 2, &[]).await.to_string();
    assert!(
        failure.contains(&format!("topic {}.accepted: it has 2 partitions", config.topic_prefix)),
        "{failure}"
    );
    assert!(failure.contains("PUSHGRID_KAFKA__PARTITIONS=2"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_forgets_too_much_is_refused_with_the_command_that_mends_it() {
    let config = config(1);
    let failure = made(&config, 1, &[("cleanup.policy", "compact")]).await.to_string();
    assert!(failure.contains(r#"cleanup.policy is "compact""#), "{failure}");
    let command =
        format!("--entity-name {}.accepted --add-config cleanup.policy=delete", config.topic_prefix);
    assert!(failure.contains(&command), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_replicas_than_brokers_is_an_error_that_says_so() {
    let config = Config { replication: 15, ..config(1) };
    let failure = topics::ensure(&config).await.unwrap_err();
    assert!(matches!(failure, Failure::NotMade { .. }), "{failure}");
    assert!(failure.to_string().contains("PUSHGRID_KAFKA__REPLICATION"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_do_not_answer_are_named() {
    let config = Config { brokers: "127.0.0.1:1".to_owned(), ..config(1) };
    let failure = topics::ensure(&config).await.unwrap_err();
    assert!(failure.to_string().contains("127.0.0.1:1"), "{failure}");
}
