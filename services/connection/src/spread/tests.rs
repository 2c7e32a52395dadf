//! Tests of the spread of a change over the connections of a node.

use pushgrid_store::Broadcasts;
use pushgrid_store_model::memory::MemoryBroadcasts;
use pushgrid_types::AskedBroadcast;
use tokio::time::advance;

use super::*;
use crate::node::Slot;
use crate::testing::Core;

async fn set(broadcasts: &MemoryBroadcasts, id: &str, version: &str) {
    broadcasts.set(id.parse().unwrap(), version.parse().unwrap()).await.unwrap();
}

fn due(core: &Core, slot: &Slot) -> Vec<(String, String)> {
    let due = core.shared.broadcasts.take_due(&slot.queue);
    due.into_iter().map(|(id, version)| (id.to_string(), version.to_string())).collect()
}

fn pair(id: &str, version: &str) -> (String, String) {
    (id.to_owned(), version.to_owned())
}

/// Enters, and asks for `id` with no version.
fn enter(core: &Core, id: &str) -> Slot {
    let slot = core.shared.node.enter().unwrap();
    core.shared.broadcasts.ask(&slot.queue, vec![AskedBroadcast { id: id.to_owned(), known: None }]);
    core.shared.broadcasts.take_due(&slot.queue);
    slot
}

#[tokio::test(start_paused = true)]
async fn a_change_reaches_all_who_ask_over_the_time_and_nobody_twice() {
    let core = Core::new(&["broadcast_spread=60s"]);
    let slots: Vec<_> = (0..6000).map(|_| enter(&core, "a/b")).collect();
    let other = enter(&core, "c");
    set(&core.broadcasts, "c", "0").await;
    let shutdown = Shutdown::new();
    let spreading = changes(&core.shared, &shutdown);
    let looking = async {
        tokio::task::yield_now().await;
        set(&core.broadcasts, "a/b", "1").await;
        let begun = Instant::now();
        let (mut counts, mut told) = (Vec::new(), vec![0; slots.len()]);
        while begun.elapsed() < Duration::from_secs(62) {
            tokio::time::sleep(Duration::from_secs(10)).await;
            for (slot, told) in slots.iter().zip(&mut told) {
                let due = due(&core, slot);
                assert!(due.is_empty() || due == [pair("a/b", "1")]);
                *told += due.len();
            }
            counts.push(told.iter().sum::<usize>());
        }
        assert!(told.iter().all(|told| *told == 1), "each once");
        for (at, count) in counts.iter().take(6).enumerate() {
            let expected = 1000 * (at + 1);
            assert!(count.abs_diff(expected) <= 20, "{count} after {} s", 10 * (at + 1));
        }
        assert_eq!(due(&core, &other), [], "it does not ask for that");
        shutdown.drain();
    };
    tokio::join!(spreading, looking);
}

#[tokio::test(start_paused = true)]
async fn of_two_changes_in_the_time_the_newest_is_sent_and_those_who_wait_come_first() {
    let core = Core::new(&["broadcast_spread=60s"]);
    let slots: Vec<_> = (0..6000).map(|_| enter(&core, "a/b")).collect();
    let shutdown = Shutdown::new();
    let spreading = changes(&core.shared, &shutdown);
    let looking = async {
        tokio::task::yield_now().await;
        set(&core.broadcasts, "a/b", "1").await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let early: Vec<bool> = slots.iter().map(|slot| !due(&core, slot).is_empty()).collect();
        set(&core.broadcasts, "a/b", "2").await;
        tokio::time::sleep(Duration::from_secs(31)).await;
        let mut early_again = 0;
        for (slot, early) in slots.iter().zip(&early) {
            let due = due(&core, slot);
            assert!(
                *early || due == [pair("a/b", "2")],
                "those who waited have the newest, and only it: {due:?}"
            );
            early_again += usize::from(*early && !due.is_empty());
        }
        assert!(early_again < 200, "{early_again} had a second turn before its time");
        tokio::time::sleep(Duration::from_secs(31)).await;
        let late = slots.iter().filter(|slot| due(&core, slot) == [pair("a/b", "2")]).count();
        assert_eq!(late + early_again, early.iter().filter(|early| **early).count());
        shutdown.drain();
    };
    tokio::join!(spreading, looking);
}

#[tokio::test(start_paused = true)]
async fn few_connections_need_not_wait_and_a_removal_is_not_told() {
    let core = Core::new(&["broadcast_spread=1h"]);
    let slots: Vec<_> = (0..10).map(|_| enter(&core, "a")).collect();
    let shutdown = Shutdown::new();
    let spreading = changes(&core.shared, &shutdown);
    let looking = async {
        tokio::task::yield_now().await;
        set(&core.broadcasts, "a", "1").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(slots.iter().all(|slot| due(&core, slot) == [pair("a", "1")]));
        core.broadcasts.remove(&"a".parse().unwrap()).await.unwrap();
        advance(Duration::from_secs(1)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(slots.iter().all(|slot| due(&core, slot).is_empty()));
        shutdown.drain();
    };
    tokio::join!(spreading, looking);
}
