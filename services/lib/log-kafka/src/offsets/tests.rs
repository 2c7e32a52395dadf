//! Every answer of brokers to a commit, given by librdkafka's mock cluster.

use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{Assignment, Assignments, Share};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::{Config, KafkaAssignments, Topics};

type Brokers = MockCluster<'static, DefaultProducerContext>;

/// Deadline beyond any expected duration.
const LONG: Duration = Duration::from_secs(30);

async fn next(member: &mut KafkaAssignments) -> Assignment {
    tokio::time::timeout(LONG, member.next()).await.expect("in time").unwrap().expect("a member")
}

async fn share(member: &mut KafkaAssignments) -> Share {
    match next(member).await {
        Assignment::Gained(share) => share,
        other @ Assignment::Lost { .. } => panic!("a gain was expected, not {other:?}"),
    }
}

fn join() -> (Brokers, KafkaAssignments) {
    let brokers = Brokers::new(1).unwrap();
    brokers.create_topic("pushgrid.accepted", 1, 1).unwrap();
    let overrides = [format!("kafka.brokers={}", brokers.bootstrap_servers())];
    let config = Config::read(&mut Reader::new(Layers::load(None, std::iter::empty(), &overrides).unwrap()));
    let topics = Topics { partitions: 1, accepted: config.accepted(), state: config.state() };
    let member = KafkaAssignments::join(&config, &topics, &Meter::new()).unwrap();
    (brokers, member)
}

/// Commits once while the brokers give this answer once.
async fn answered(answer: RDKafkaRespErr) -> (Result<(), ErrorKind>, KafkaAssignments, (Share, Brokers)) {
    let (brokers, mut member) = join();
    let share = share(&mut member).await;
    brokers.request_errors(RDKafkaApiKey::OffsetCommit, &[answer]);
    let commit = Commit { next: Sequence(1), note: "note".to_owned() };
    let result = tokio::time::timeout(LONG, share.offsets.commit(commit)).await.expect("in time");
    // A reader that is dropped would give the partition up by itself.
    (result.map_err(|error| error.kind), member, (share, brokers))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_is_no_member_any_more_is_told_and_gets_its_partition_anew() {
    let (result, mut member, _alive) = answered(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID).await;
    assert_eq!(result, Err(ErrorKind::Closed));
    match next(&mut member).await {
        Assignment::Lost { done, .. } => drop(done),
        other @ Assignment::Gained(_) => panic!("a loss was expected, not {other:?}"),
    }
    share(&mut member).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_waits_while_the_group_is_shared_out_anew() {
    let (result, _member, _alive) = answered(RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS).await;
    assert_eq!(result, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_is_too_long_for_the_brokers_is_said_to_be() {
    let (result, _member, _alive) =
        answered(RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE).await;
    assert_eq!(result, Err(ErrorKind::Corrupt));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_refusal_leaves_open_whether_it_was_kept() {
    let (result, _member, _alive) =
        answered(RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED).await;
    assert_eq!(result, Err(ErrorKind::Unknown));
}
