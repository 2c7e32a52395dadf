//! The time of a member of a grid: measured with each renewal of the lease, agreed on with all members.
//!
//! Invariant: nothing is judged before the time of the grid is known, and a single exchange never makes that time
//! step. The agreement itself is a pure function, in `reference`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::Gauge;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_types::{ClockOffset, ClockVote, SystemClock, WallClock};
use tokio::sync::watch;
use tokio::time::interval;

use super::reference::Reference;
use super::samples::{Sample, Samples};
use super::steady::of_wall;
use super::steps::Steps;
use super::{BootTime, LOOK, NOTEWORTHY, SteadyClock, Uptime, offset, seconds, slew};
use crate::metrics::{self, Meter};
use crate::{Latch, Shutdown};

/// Largest difference between this process's time and the grid's, beside the error of measuring.
const TOLERANCE: Duration = Duration::from_millis(50);

/// Number of rounds in a row with a larger difference before the difference is believed: more than the two in which
/// members still vote against a replaced lease keeper.
const BELIEVED: u32 = 5;

/// Number of rounds for which a joining process looks on before taking its own wall clock for wrong: as many.
const LOOKED: u32 = BELIEVED - 1;

/// One exchange with the lease keeper.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Uptime at the question, by [`GridTime::uptime`].
    pub sent: Duration,
    /// Uptime at the answer.
    pub received: Duration,
    /// The keeper's own time in between, since 1970.
    pub keeper: Duration,
    /// Votes of the members, this process's included when it is one.
    pub votes: Vec<ClockVote>,
    /// Number of members of a release that judges by wall clocks, without votes.
    pub without_vote: usize,
    /// The last judging clock reported by any member, also when no member is left.
    pub line: Option<ClockOffset>,
}

/// The time of a member of a grid: messages are judged by one time everywhere, whatever the clocks of the machines
/// show.
///
/// With each renewal of its lease a process measures its uptime against the clock of the lease keeper, votes with its
/// clocks, and gets the votes of all members. `Reference` computes the agreed time. A process begins with the time of
/// the others, and then moves as they do: slowly, towards the time of day.
///
/// Guarantee: while the keeper does not answer, the time goes on as before. Guarantee: two processes that renew their
/// leases differ by more than `TOLERANCE` and the two errors of measuring for a few rounds at most. A round is the
/// time in which each member renews its lease at least once; more frequent renewals learn no more of the others.
#[derive(Clone)]
pub struct GridTime(Arc<Inner>);

struct Inner {
    uptime: Arc<dyn Uptime>,
    machine: Arc<dyn WallClock>,
    clock: SteadyClock,
    reference: SteadyClock,
    known: watch::Sender<bool>,
    within: watch::Sender<bool>,
    limit: Duration,
    round: Duration,
    latch: Latch,
    state: Mutex<State>,
    ahead: Gauge,
    skew: Gauge,
    largest: Gauge,
}

struct State {
    samples: Samples,
    steps: Steps,
    /// Own clocks, to be reported with the next renewal.
    vote: Option<ClockVote>,
    learned: Duration,
    /// Time of the last exchange counted as a round.
    counted: Duration,
    /// While the time of the grid is unknown: its shift against the uptime, the begin of the look, and the error of
    /// that measurement.
    looked: Option<(ClockOffset, Duration, Duration)>,
    /// Rounds in a row in which the own time was too far from the grid's, and the time of day from its earlier value.
    apart: u32,
    moved: u32,
    /// True while a large skew is logged already: the own, and another member's.
    said: [bool; 2],
}

impl GridTime {
    /// The time of this process on this machine. `latch` is ready while the wall clock is known to be within `limit`
    /// of the grid's. In a `round` each member renews its lease at least once.
    pub fn new(limit: Duration, round: Duration, latch: Latch, meter: &Meter) -> Self {
        Self::on(Arc::new(BootTime), Arc::new(SystemClock), limit, round, latch, meter)
    }

    /// As [`Self::new`], on a machine with other clocks.
    pub fn on(
        uptime: Arc<dyn Uptime>,
        machine: Arc<dyn WallClock>,
        limit: Duration,
        round: Duration,
        latch: Latch,
        meter: &Meter,
    ) -> Self {
        latch.not_ready("comparing its clock with those of the grid");
        let (now, wall) = (uptime.uptime(), of_wall(&*machine));
        let shift = wall.minus(offset(now));
        let state = State {
            samples: Samples::default(),
            steps: Steps::new(wall, now, meter.counter(&metrics::CLOCK_STEPS, &[])),
            vote: None,
            learned: now,
            counted: now,
            looked: None,
            apart: 0,
            moved: 0,
            said: [false; 2],
        };
        Self(Arc::new(Inner {
            clock: SteadyClock::new(uptime.clone(), shift),
            reference: SteadyClock::new(uptime.clone(), shift),
            uptime,
            machine,
            known: watch::Sender::new(false),
            within: watch::Sender::new(false),
            limit,
            round,
            latch,
            state: Mutex::new(state),
            ahead: meter.gauge(&metrics::CLOCK_AHEAD, &[]),
            skew: meter.gauge(&metrics::CLOCK_SKEW, &[]),
            largest: meter.gauge(&metrics::CLOCK_SKEW_LARGEST, &[]),
        }))
    }

    /// The clock by which messages are stamped and judged. Nothing may be judged before [`Self::known`] returns.
    pub fn clock(&self) -> SteadyClock {
        self.0.clock.clone()
    }

    /// The time of day by most of the grid's clocks, for comparison with the clocks of application servers: right
    /// also on a machine whose own clock is wrong.
    pub fn wall(&self) -> SteadyClock {
        self.0.reference.clone()
    }

    /// Time base of exchanges: the uptime of the machine.
    pub fn uptime(&self) -> Duration {
        self.0.uptime.uptime()
    }

    /// Returns once this process has the time of the grid.
    pub async fn known(&self) {
        Self::until(&self.0.known).await;
    }

    /// Returns once the wall clock of this machine is within the limit.
    pub async fn is_within_limit(&self) {
        Self::until(&self.0.within).await;
    }

    async fn until(what: &watch::Sender<bool>) {
        // The sender lives in this value.
        let _ = what.subscribe().wait_for(|is_so| *is_so).await;
    }

    /// Own clocks, to be reported with the next renewal; `None` before the first believed exchange.
    pub fn vote(&self) -> Option<ClockVote> {
        self.state().vote
    }

    /// Takes in a renewal: measures, computes the agreed time, and moves this process's clocks towards it.
    pub fn learn(&self, exchange: &Exchange) {
        let inner = &*self.0;
        let mut state = self.state();
        let sample = state.samples.add(Sample::of(exchange.sent, exchange.received, exchange.keeper));
        let now = inner.uptime.uptime();
        let own = of_wall(&*inner.machine).minus(offset(now)).plus(sample.base);
        // Among members of a release without votes: they judge by wall clocks, so this process does as well.
        let reference = if exchange.votes.is_empty() && exchange.without_vote > 0 {
            Reference::of_walls(own)
        } else {
            Reference::of(&exchange.votes, own, exchange.line)
        };
        if *inner.known.borrow() {
            let counts = self.are_apart(state.counted, exchange.sent, 1);
            if counts {
                state.counted = exchange.sent;
            }
            self.follow(&mut state, sample, reference, now, counts);
        } else if self.is_credible(&mut state, sample, reference, own, exchange.sent) {
            state.counted = exchange.sent;
            inner.clock.set_shift(reference.judged.minus(sample.base));
            inner.reference.set_shift(reference.wall.minus(sample.base));
            inner.known.send_replace(true);
        }
        state.learned = now;
        if *inner.known.borrow() {
            state.vote = Some(ClockVote { judged: sample.base.plus(inner.clock.shift()), wall: own });
        }
        let walls = exchange.votes.iter().map(|vote| vote.wall).chain([ClockOffset::ZERO]);
        let largest = walls.map(|wall| wall.minus(reference.wall)).max_by_key(|skew| skew.abs());
        self.show_largest(&mut state, largest.unwrap_or_default());
        drop(state);
        self.look();
    }

    /// True when so many rounds lie between two exchanges, less the lateness of timers.
    fn are_apart(&self, earlier: Duration, later: Duration, rounds: u32) -> bool {
        later.saturating_sub(earlier) >= self.0.round * rounds * 9 / 10
    }

    /// True when a joining process may take this time: at once when its own wall clock shows the same. Otherwise
    /// either that clock is wrong, or members still vote against another keeper, and only a later look decides.
    fn is_credible(
        &self,
        state: &mut State,
        sample: Sample,
        reference: Reference,
        own: ClockOffset,
        sent: Duration,
    ) -> bool {
        if own.minus(reference.judged).abs() < NOTEWORTHY + sample.error {
            return true;
        }
        let shift = reference.judged.minus(sample.base);
        if let Some((looked, since, error)) = state.looked
            && shift.minus(looked).abs() <= TOLERANCE + error + sample.error
        {
            return self.are_apart(since, sent, LOOKED);
        }
        state.looked = Some((shift, sent, sample.error));
        false
    }

    /// Moves towards the time of the grid: at once when the difference is believed, by slewing otherwise. An exchange
    /// that does not count as a round can only clear a doubt.
    fn follow(&self, state: &mut State, sample: Sample, reference: Reference, now: Duration, counts: bool) {
        let inner = &*self.0;
        let apart = reference.judged.minus(sample.base.plus(inner.clock.shift()));
        let is_apart = apart.abs() > TOLERANCE + sample.error;
        state.apart = if is_apart { state.apart + u32::from(counts) } else { 0 };
        // Fewer rounds may be errors of measuring, or votes against a keeper that was just replaced.
        if state.apart >= BELIEVED {
            inner.clock.shift_by(apart);
            state.apart = 0;
            let by = seconds(apart);
            tracing::warn!(by, "the time of this process was not that of the grid; it is now");
        } else if !is_apart {
            let distance = reference.wall.minus(sample.base.plus(inner.clock.shift()));
            inner.clock.shift_by(slew(distance, now.saturating_sub(state.learned)));
        }
        let wall = reference.wall.minus(sample.base);
        let is_far = wall.minus(inner.reference.shift()).abs() >= NOTEWORTHY;
        state.moved = if is_far { state.moved + u32::from(counts) } else { 0 };
        if !is_far || state.moved >= BELIEVED {
            inner.reference.set_shift(wall);
            state.moved = 0;
        }
    }

    /// Looks at the machine's clock until the process drains.
    pub async fn watch(self, shutdown: Shutdown) {
        let mut looks = interval(LOOK);
        let looking = async {
            loop {
                looks.tick().await;
                self.look();
            }
        };
        tokio::select! {
            () = looking => {}
            () = shutdown.draining() => {}
        }
    }

    fn look(&self) {
        let inner = &*self.0;
        let mut state = self.state();
        let wall = of_wall(&*inner.machine);
        state.steps.look(wall, inner.uptime.uptime());
        if !*inner.known.borrow() {
            return;
        }
        inner.ahead.set(inner.clock.shown().minus(wall).as_secs_f64());
        let skew = wall.minus(inner.reference.shown());
        inner.skew.set(skew.as_secs_f64());
        let by = seconds(skew);
        match (std::mem::replace(&mut state.said[0], skew.abs() >= NOTEWORTHY), skew.abs() >= NOTEWORTHY) {
            (false, true) => {
                tracing::warn!(by, "the wall clock of this machine is not that of the grid: let NTP set it");
            }
            (true, false) => tracing::info!("the wall clock of this machine is that of the grid again"),
            _ => {}
        }
        let is_within = skew.abs() <= inner.limit;
        if is_within {
            inner.latch.ready();
        } else {
            inner.latch.not_ready(format!(
                "its wall clock is {by} from the grid's, more than grid.max_clock_skew; no message suffers from it"
            ));
        }
        inner.within.send_replace(is_within);
    }

    fn show_largest(&self, state: &mut State, largest: ClockOffset) {
        self.0.largest.set(largest.as_secs_f64());
        let is_large = largest.abs() >= NOTEWORTHY;
        if is_large && !state.said[1] {
            let by = seconds(largest);
            tracing::warn!(by, "the clock of a member of the grid, or of Redis, is not that of the others");
        }
        state.said[1] = is_large;
    }

    /// No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

impl fmt::Debug for GridTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GridTime").field("clock", &self.0.clock).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
