//! Log lines of a partition and of a message with a trace context: which one they are about.

use pushgrid_runtime::logs::Format;
use pushgrid_runtime::logs::testing::Kept;

use pushgrid_types::Content;

use super::*;

const TRACED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[tokio::test]
async fn a_line_of_a_partitions_worker_names_the_partition_and_its_leader_epoch() {
    let kept = Kept::begin(Format::Json, "info").unwrap();
    let mut world = World::new();
    for (count, partition) in [(1, 1_u16), (2, 3)] {
        world.loader.faults.reads.store(1, Ordering::Relaxed);
        world.gain(Partition(partition)).await;
        let lines = async {
            while kept.with("could not read the log; trying again").len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(lines).await;
        world.lose(Partition(partition)).await;
        for line in ["could not read the log; trying again", "the partition is given up"] {
            let span = &kept.with(line)[count - 1]["span"];
            assert_eq!(span["partition"], partition, "{span}");
            assert_eq!(span["leader_epoch"], partition + 1, "{span}");
        }
    }
}

#[tokio::test]
async fn a_line_of_a_call_names_the_partition_that_it_came_to() {
    let kept = Kept::begin(Format::Json, "debug").unwrap();
    let mut world = World::new();
    let to = world.subscribed(Partition(2)).await;
    world.loader.memory.close();
    let refused = world.registry.unregister(to.user_agent, to.channel).await;
    assert!(matches!(refused, Err(LinkError::Unavailable)), "{refused:?}");
    let line = &kept.with("a call has to be repeated")[0];
    assert_eq!((&line["span"]["name"], &line["span"]["partition"]), (&"partition".into(), &2.into()));
}

/// The steps of a message at the router, as `span: what was logged`.
async fn steps(trace_parent: Option<&str>) -> Vec<(String, String)> {
    let kept = Kept::begin(Format::Json, "info,pushgrid::message=debug").unwrap();
    let mut world = World::new();
    let to = world.subscribed(Partition(2)).await;
    world.registry.open(to.user_agent, session(5, 1), Urgency::LEAST).await.unwrap();
    let trace_parent = trace_parent.map(|text| text.parse().unwrap());
    let id = world.post_with(to, Content { trace_parent, ..Content::default() }).await;
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|all| all.len() == 1)).await.unwrap();
    let settled = Settlement { id, outcome: Outcome::Delivered };
    world.registry.settle(to.user_agent, vec![settled]).await.unwrap();
    within(async {
        while world.loader.memory.ledger().snapshot().pending > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let lines = [kept.with("routed"), kept.with("settled")].concat();
    for line in &lines {
        assert_eq!(line["span"]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736", "{line}");
        assert_eq!(line["span"]["parent_id"], "00f067aa0ba902b7");
        assert_eq!(line["spans"][0]["partition"], 2, "{line}");
        assert_eq!(line["span"]["message_id"], format!("{id:?}"));
    }
    let text = |value: &pushgrid_runtime::logs::testing::Line| value.as_str().unwrap_or_default().to_owned();
    let step = |line: &pushgrid_runtime::logs::testing::Line| {
        let said = if line["way"].is_string() { &line["way"] } else { &line["outcome"] };
        (text(&line["span"]["name"]), text(said))
    };
    lines.iter().map(step).collect()
}

#[tokio::test]
async fn a_message_with_a_trace_context_has_its_trace_in_every_step_and_another_has_no_span() {
    let steps_of_traced = steps(Some(TRACED)).await;
    let (settled, routed) = steps_of_traced.split_last().unwrap();
    assert_eq!((&*settled.0, &*settled.1), ("settle", "delivered"));
    // By the mailbox, if it comes before the session has read that there is nothing in it.
    let ways: Vec<_> = routed.iter().map(|(span, way)| (&**span, &**way)).collect();
    let (direct, read) = (vec![("route", "direct")], vec![("route", "stored"), ("route", "mailbox")]);
    assert!(ways == direct || ways == read, "{ways:?}");
    assert_eq!(steps(None).await, []);
}
