//! Random histories with random faults: whatever happens, nothing that was accepted is lost, nothing that has ended
//! comes back, topics have their newest, and the account adds up.

use std::time::Duration;

use pushgrid_store::{
    Change, Changelog, ReadBarrier, RecordKey, StoredMessage, UnreadableCause, View, ViewError,
};
use pushgrid_store_model::memory::AppendFault;
use pushgrid_types::{LeaderEpoch, Outcome};
use tokio::time::sleep;

use super::truth::Truth;
use super::world::{PARTITION, World};

/// Histories of each run, always the same. A long run sets another first seed and another number.
const HISTORIES: u64 = 400;
const STEPS: usize = 150;

impl World {
    async fn step(&mut self) {
        match self.parts.chance.below(33) {
            0..=8 => self.accept().await,
            9..=12 => _ = self.consume(1 + self.parts.chance.index(4)).await,
            13..=14 => self.settle_logged(),
            15..=17 => self.store_some(),
            18..=20 => self.settle(),
            21..=22 => self.expire(),
            23..=24 => self.subscribe().await,
            25 => self.subscribe_late(),
            26..=27 => self.page(),
            28 => self.flush(),
            29 => self.compact(),
            30 => self.flush_ends(),
            _ => self.fault().await,
        }
        self.parts.chance.wait().await;
        if self.parts.chance.one_in(4) {
            sleep(Duration::from_millis(self.parts.chance.below(200))).await;
        }
    }

    async fn fault(&mut self) {
        match self.parts.chance.below(14) {
            0 => self.parts.view.lose_everything(),
            1 | 2 => self.parts.view.lose_last(PARTITION, 1 + self.parts.chance.index(20)),
            3 => self.parts.view.lose_answers(1 + self.parts.chance.index(2)),
            4 => self.parts.changelog.fail_next(AppendFault::Unavailable),
            5 | 6 => {
                let written = self.parts.chance.index(4);
                self.parts.changelog.fail_next(AppendFault::Unknown { written });
            }
            7 => self.down(),
            8 => self.take_over(true).await,
            9 => self.restart().await,
            10 => self.close().await,
            11 => self.write_late().await,
            12 => self.write_unreadable(),
            _ => self.fence_late().await,
        }
    }

    /// Makes something fail for a while.
    fn down(&mut self) {
        let for_a_while = Duration::from_millis(self.parts.chance.below(3000));
        let (view, changelog, log) =
            (self.parts.view.clone(), self.parts.changelog.clone(), self.parts.log.clone());
        let what = self.parts.chance.below(3);
        let set = move |down| match what {
            0 => view.set_down(down),
            1 => changelog.set_down(down),
            _ => log.set_down(down),
        };
        set(true);
        self.calls.spawn(async move {
            sleep(for_a_while).await;
            set(false);
        });
    }

    /// Writes a late record of an earlier leader epoch, which must not count, whatever it says.
    async fn write_late(&mut self) {
        let truth = Truth::of(&self.parts.changelog.history(PARTITION));
        let earlier = LeaderEpoch(self.owner.owned.leader_epoch.0 - 1);
        let waiting: Vec<_> = truth.waiting.values().collect();
        let change = match self.parts.chance.below(3) {
            0 if !waiting.is_empty() => {
                let message = waiting[self.parts.chance.index(waiting.len())];
                let since = self.since(message.sequence);
                StoredMessage::of(message, since).ended(Outcome::Cancelled)
            }
            1 if !waiting.is_empty() => {
                let message = waiting[self.parts.chance.index(waiting.len())].clone();
                let since = self.since(message.sequence);
                Change::Stored { message, since }
            }
            _ => match truth.subscriptions.values().next() {
                Some(there) => Change::Unsubscribed(there.id),
                None => return,
            },
        };
        let _ = self.parts.changelog.append(PARTITION, earlier, vec![change]).await;
    }

    /// Writes a stranger's record: under its own key, or one of ours.
    fn write_unreadable(&mut self) {
        let truth = Truth::of(&self.parts.changelog.history(PARTITION));
        let waiting: Vec<_> = truth.waiting.values().collect();
        let (key, cause) = match self.parts.chance.below(4) {
            0 => (None, UnreadableCause::Newer),
            1 => (None, UnreadableCause::Damaged),
            2 if !waiting.is_empty() => {
                let message = waiting[self.parts.chance.index(waiting.len())];
                let (user_agent, since) = (message.to.user_agent, self.since(message.sequence));
                (Some(RecordKey::Message { user_agent, id: message.id, since }), UnreadableCause::Damaged)
            }
            _ => match truth.subscriptions.values().next() {
                Some(there) => (Some(RecordKey::Subscription(there.id)), UnreadableCause::Damaged),
                None => return,
            },
        };
        self.parts.changelog.write_unreadable(PARTITION, key, cause);
    }

    /// Leader epoch under which a waiting message was stored last.
    fn since(&self, sequence: pushgrid_types::Sequence) -> LeaderEpoch {
        let history = self.parts.changelog.history(PARTITION);
        let stores = history.iter().rev().filter_map(|entry| match &entry.change {
            Change::Stored { message, since } if message.sequence == sequence => Some(*since),
            _ => None,
        });
        stores.take(1).next().expect("it waits")
    }

    /// Applies a change to the view under an earlier leader epoch, which is refused.
    async fn fence_late(&mut self) {
        let leader_epoch = self.owner.owned.leader_epoch;
        let Ok(position) = self.parts.view.begin(PARTITION, leader_epoch).await else { return };
        let barrier =
            ReadBarrier { partition: PARTITION, leader_epoch: LeaderEpoch(leader_epoch.0 - 1), position };
        let to = pushgrid_types::Position(position.0 + 1);
        match self.parts.view.apply(barrier, &[], to).await {
            Err(ViewError::Fenced | ViewError::Store(_)) => {}
            answer => panic!("a fenced owner got {answer:?}"),
        }
    }
}

async fn history(seed: u64) {
    let mut world = World::new(seed).await;
    for _ in 0..STEPS {
        world.step().await;
    }
    world.check().await;
}

/// Names the history in a panic.
struct Says(u64);

impl Drop for Says {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was the history of seed {}", self.0);
        }
    }
}

fn play(seed: u64) {
    let _says = Says(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(history(seed));
}

#[test]
fn whatever_happens_the_promises_are_kept() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first: u64 = number("PUSHGRID_TEST_SEED").unwrap_or(1);
    let histories = number("PUSHGRID_TEST_HISTORIES").unwrap_or(HISTORIES);
    (0..histories).map(|at| first.wrapping_add(at)).for_each(play);
}
