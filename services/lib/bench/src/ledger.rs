//! Account of a run: each message's times, and the totals of losses, repeats and latencies.
//!
//! Invariant: only an accepted message counts as lost. A latency counts from the instant at which the message was
//! due, so a slow server cannot hide in a sender that waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use pushgrid_types::cast::fitting;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Longest latency to be recorded; longer ones count as this.
const LATENCY_MAX: Duration = Duration::from_mins(10);

/// Times at which each message was due, accepted and received. Senders and user agents write without locks; the
/// totals are read when all have ended.
///
/// Times are microseconds since the start, plus one: zero is "not yet".
pub(super) struct Ledger {
    started: Instant,
    messages: Box<[Times]>,
    accepted: AtomicU64,
    arrived: AtomicU64,
    repeats: AtomicU64,
    strangers: AtomicU64,
    disordered: AtomicU64,
    changed: Notify,
}

#[derive(Default)]
struct Times {
    due: AtomicU64,
    accepted: AtomicU64,
    arrived: AtomicU64,
}

/// Totals of a run.
pub(super) struct Totals {
    pub(super) accepted: u64,
    pub(super) arrived: u64,
    /// Accepted and not received.
    pub(super) lost: u64,
    /// Received again.
    pub(super) repeats: u64,
    /// Of another run, or changed on the way.
    pub(super) strangers: u64,
    /// Received after a later message of the same sender to the same user agent.
    pub(super) disordered: u64,
    /// Time from the start to the last answer, and to the last arrival.
    pub(super) last_accepted: Duration,
    pub(super) last_arrived: Duration,
    /// Latencies from due to accepted, and from due to received, in microseconds.
    pub(super) to_accepted: Histogram<u64>,
    pub(super) to_arrived: Histogram<u64>,
}

impl Ledger {
    /// A ledger with room for `messages`; time begins now.
    pub(super) fn new(messages: usize) -> Self {
        Self {
            started: Instant::now(),
            messages: (0..messages).map(|_| Times::default()).collect(),
            accepted: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
            disordered: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn capacity(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Notes that message `number` should be posted at `due`: the latency counts from here, also when the sender is
    /// busy.
    pub(super) fn due(&self, number: u64, due: Instant) {
        self.times(number).due.store(self.stamp(due), Ordering::Relaxed);
    }

    /// Notes that the message was answered with 2xx, now.
    pub(super) fn accepted(&self, number: u64) {
        self.times(number).accepted.store(self.stamp(Instant::now()), Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the message was received, now. True for the first time, false for a repeat or an unknown number.
    pub(super) fn arrived(&self, number: u64) -> bool {
        let Some(times) = usize::try_from(number).ok().and_then(|at| self.messages.get(at)) else {
            self.stranger();
            return false;
        };
        let now = self.stamp(Instant::now());
        let first = times.arrived.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if first {
            self.arrived.fetch_add(1, Ordering::Relaxed);
            self.changed.notify_one();
        } else {
            self.repeats.fetch_add(1, Ordering::Relaxed);
        }
        first
    }

    pub(super) fn stranger(&self) {
        self.strangers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn disordered(&self) {
        self.disordered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn accepted_count(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn arrived_count(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Waits until every accepted message has arrived, or until none has for `patience`. Called after the last post.
    pub(super) async fn all_arrived(&self, patience: Duration) {
        while !self.complete() {
            if tokio::time::timeout(patience, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }

    /// True once every accepted message has arrived. The counts alone do not tell: a message whose answer was lost may
    /// arrive without counting as accepted.
    fn complete(&self) -> bool {
        let arrived = |times: &Times| times.arrived.load(Ordering::Relaxed) > 0;
        let accepted = |times: &Times| times.accepted.load(Ordering::Relaxed) > 0;
        self.arrived_count() >= self.accepted_count()
            && self.messages.iter().all(|times| arrived(times) || !accepted(times))
    }

    /// The totals, once nobody writes any more.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals {
            accepted: self.accepted_count(),
            arrived: self.arrived_count(),
            lost: 0,
            repeats: self.repeats.load(Ordering::Relaxed),
            strangers: self.strangers.load(Ordering::Relaxed),
            disordered: self.disordered.load(Ordering::Relaxed),
            last_accepted: Duration::ZERO,
            last_arrived: Duration::ZERO,
            to_accepted: histogram(),
            to_arrived: histogram(),
        };
        let (mut last_accepted, mut last_arrived) = (1, 1);
        for times in &self.messages {
            let [due, accepted, arrived] =
                [&times.due, &times.accepted, &times.arrived].map(|it| it.load(Ordering::Relaxed));
            // A message without an answer may have arrived all the same: the answer was lost.
            if accepted > 0 {
                totals.to_accepted.saturating_record(accepted.saturating_sub(due));
                totals.lost += u64::from(arrived == 0);
            }
            if arrived > 0 {
                totals.to_arrived.saturating_record(arrived.saturating_sub(due));
            }
            (last_accepted, last_arrived) = (last_accepted.max(accepted), last_arrived.max(arrived));
        }
        totals.last_accepted = Duration::from_micros(last_accepted - 1);
        totals.last_arrived = Duration::from_micros(last_arrived - 1);
        totals
    }

    fn times(&self, number: u64) -> &Times {
        &self.messages[fitting::<usize>(number)]
    }

    fn stamp(&self, at: Instant) -> u64 {
        1 + fitting::<u64>(at.duration_since(self.started).as_micros())
    }
}

fn histogram() -> Histogram<u64> {
    let max = fitting::<u64>(LATENCY_MAX.as_micros());
    Histogram::new_with_bounds(1, max, 3).expect("these bounds are allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn latency_counts_from_when_a_message_was_due() {
        let ledger = Ledger::new(100);
        for number in 0..100 {
            ledger.due(number, ledger.started() + Duration::from_millis(number));
        }
        // The sender was busy: all are posted at once, 100 ms after the start.
        tokio::time::advance(Duration::from_millis(100)).await;
        for number in 0..100 {
            ledger.accepted(number);
        }
        tokio::time::advance(Duration::from_millis(50)).await;
        for number in 0..100 {
            assert!(ledger.arrived(number));
        }
        let totals = ledger.totals();
        assert_eq!((totals.accepted, totals.arrived, totals.lost), (100, 100, 0));
        assert_eq!(totals.last_accepted, Duration::from_millis(100));
        assert_eq!(totals.last_arrived, Duration::from_millis(150));
        // Latencies of 1 to 100 ms, and 50 ms more. Three digits are kept.
        let near = |value: u64, expected: u64| value.abs_diff(expected) <= expected / 1000;
        assert!(near(totals.to_accepted.value_at_quantile(0.5), 50_000));
        assert!(near(totals.to_accepted.max(), 100_000));
        assert!(near(totals.to_arrived.value_at_quantile(0.99), 149_000));
    }

    #[tokio::test(start_paused = true)]
    async fn losses_repeats_and_strangers_are_told_apart() {
        let ledger = Ledger::new(3);
        for number in 0..2 {
            ledger.due(number, ledger.started());
            ledger.accepted(number);
        }
        // The third was posted and never answered, and arrived all the same.
        ledger.due(2, ledger.started());
        for number in [1, 2, 1, 3] {
            ledger.arrived(number);
        }
        let totals = ledger.totals();
        assert_eq!((totals.lost, totals.repeats, totals.strangers), (1, 1, 1));
        assert_eq!((totals.accepted, totals.arrived), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_the_last_one_ends_when_it_comes_and_when_none_comes() {
        let ledger = std::sync::Arc::new(Ledger::new(2));
        ledger.accepted(0);
        ledger.accepted(1);
        ledger.arrived(0);
        let patience = Duration::from_secs(5);
        let before = Instant::now();
        ledger.all_arrived(patience).await;
        assert!(before.elapsed() >= patience);
        let waiting = tokio::spawn({
            let ledger = std::sync::Arc::clone(&ledger);
            async move { ledger.all_arrived(patience).await }
        });
        ledger.arrived(1);
        let before = Instant::now();
        waiting.await.unwrap();
        assert!(before.elapsed() < patience);
    }
}
