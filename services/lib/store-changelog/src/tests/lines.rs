//! Log lines of a partition's tasks: which partition they are about.

use std::time::Duration;

use pushgrid_runtime::logs::Format;
use pushgrid_runtime::logs::testing::Kept;
use pushgrid_runtime::spans;
use pushgrid_store::Subscriptions;
use tokio::time::sleep;
use tracing::Instrument;

use super::bench::{Bench, PARTITION, TO};

#[tokio::test(start_paused = true)]
async fn a_line_of_a_task_names_the_partition_and_its_leader_epoch() {
    let kept = Kept::begin(Format::Json, "info").unwrap();
    let bench = Bench::new();
    let owned = bench.subscribed().instrument(spans::partition(PARTITION)).await;
    bench.view.set_down(true);
    let store = owned.store.clone();
    let removed = tokio::spawn(async move { store.remove(TO.user_agent, TO.channel).await });
    sleep(Duration::from_secs(20)).await;
    removed.abort();
    owned.store.abandon().await;
    let text = kept.text();
    let tried = text.lines().filter(|line| line.contains("\"message\":\"could not ")).count();
    assert!(tried > 1, "the writer tells of its tries:\n{text}");
    assert_eq!(kept.with("the partition has stopped here").len(), 1, "{text}");
    let named = format!("\"partition\":1,\"leader_epoch\":{}", owned.leader_epoch.0);
    for line in text.lines() {
        let (about, _) = line.split_once("\"spans\"").unwrap_or_else(|| panic!("of which? {line}"));
        let has = |field: &str| about.contains(field);
        assert!(named.split(',').all(has) && has("\"name\":\"partition\""), "{line}");
    }
}
