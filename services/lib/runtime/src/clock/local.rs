//! The time of a standalone process, continued over restarts from kept state.
//!
//! Invariant: the time never goes back behind the last kept instant, and within one run of the machine it is exact.
//! Keeping the state on disk is the store's work.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::Gauge;
use pushgrid_types::{Clock, ClockOffset, KeptTime, SystemClock, WallClock};

use super::steady::of_wall;
use super::steps::Steps;
use super::{BootTime, NOTEWORTHY, SteadyClock, Uptime, offset, seconds, slew};
use crate::metrics::{self, Meter};

/// Largest age of the last kept instant.
const SEEN: Duration = Duration::from_mins(1);

/// File with the name of the present run of the kernel.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The time of a standalone process. Goes on over restarts, whatever happens to the wall clock meanwhile.
///
/// Exact within one run of the machine. After a start of the machine the time goes on from the wall clock and the
/// kept difference, but never from before the last kept instant: a machine without a clock of its own begins in 1970.
/// The time that such a machine was off does not count then.
#[derive(Debug)]
pub struct LocalTime {
    clock: SteadyClock,
    machine: Machine,
    steps: Steps,
    kept: KeptTime,
    looked: Duration,
    ahead: Gauge,
}

/// Clocks and identity of the machine.
#[derive(Debug)]
struct Machine {
    uptime: Arc<dyn Uptime>,
    wall: Arc<dyn WallClock>,
    boot: String,
}

impl Machine {
    fn this() -> Self {
        let boot = std::fs::read_to_string(BOOT).unwrap_or_default().trim().to_owned();
        Self { uptime: Arc::new(BootTime), wall: Arc::new(SystemClock), boot }
    }

    /// Difference to the uptime with which a steady clock goes on with the kept time.
    fn resumed(&self, kept: &KeptTime) -> ClockOffset {
        let (uptime, seen) =
            (offset(self.uptime.uptime()), offset(Duration::from_millis(kept.seen.as_millis())));
        let same_run = !self.boot.is_empty() && kept.boot == self.boot;
        if same_run && uptime.plus(kept.shift) >= seen {
            return kept.shift;
        }
        of_wall(&*self.wall).plus(kept.ahead).max(seen).minus(uptime)
    }
}

impl LocalTime {
    /// Goes on with the kept time, or begins with that of the wall clock. [`Self::kept`] must be stored before
    /// anything is judged.
    pub fn resume(kept: Option<&KeptTime>, meter: &Meter) -> Self {
        Self::on(Machine::this(), kept, meter)
    }

    fn on(machine: Machine, kept: Option<&KeptTime>, meter: &Meter) -> Self {
        let (uptime, wall) = (machine.uptime.uptime(), of_wall(&*machine.wall));
        let shift = kept.map_or_else(|| wall.minus(offset(uptime)), |kept| machine.resumed(kept));
        let clock = SteadyClock::new(machine.uptime.clone(), shift);
        let ahead = clock.shown().minus(wall);
        if ahead.abs() >= NOTEWORTHY {
            let ahead = seconds(ahead);
            tracing::warn!(
                ahead,
                "the wall clock of this machine is not that of the last run; messages live as long as they were to"
            );
        }
        let kept = KeptTime { boot: machine.boot.clone(), shift, ahead, seen: clock.now() };
        let steps = Steps::new(wall, uptime, meter.counter(&metrics::CLOCK_STEPS, &[]));
        let gauge = meter.gauge(&metrics::CLOCK_AHEAD, &[]);
        gauge.set(ahead.as_secs_f64());
        Self { clock, machine, steps, kept, looked: uptime, ahead: gauge }
    }

    /// The clock by which messages are stamped and judged.
    pub fn clock(&self) -> SteadyClock {
        self.clock.clone()
    }

    /// State for the next life, to be stored.
    pub fn kept(&self) -> KeptTime {
        let ahead = self.clock.shown().minus(of_wall(&*self.machine.wall));
        KeptTime { boot: self.machine.boot.clone(), shift: self.clock.shift(), ahead, seen: self.clock.now() }
    }

    /// Looks at the wall clock; to be called every [`super::LOOK`]. Returns the state to be stored when it differs by
    /// a second from the state returned last, or when that is a minute old.
    pub fn look(&mut self) -> Option<KeptTime> {
        let (uptime, wall) = (self.machine.uptime.uptime(), of_wall(&*self.machine.wall));
        self.steps.look(wall, uptime);
        let elapsed = uptime.saturating_sub(self.looked);
        self.looked = uptime;
        self.clock.shift_by(slew(wall.minus(self.clock.shown()), elapsed));
        let now = self.kept();
        self.ahead.set(now.ahead.as_secs_f64());
        let is_other = now.ahead.minus(self.kept.ahead).abs() >= NOTEWORTHY
            || now.shift.minus(self.kept.shift).abs() >= NOTEWORTHY
            || now.seen.since(self.kept.seen) >= SEEN;
        is_other.then(|| {
            self.kept = now;
            self.kept.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use pushgrid_types::{ManualClock, Timestamp};

    use super::super::ManualUptime;
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const YEARS: Duration = Duration::from_hours(10 * 365 * 24);
    const SECOND: Duration = Duration::from_secs(1);

    /// A machine, and a process on it that looks at the clock.
    struct Pc {
        uptime: Arc<ManualUptime>,
        wall: Arc<ManualClock>,
        boot: &'static str,
        kept: Option<KeptTime>,
        meter: Meter,
    }

    impl Pc {
        fn new() -> Self {
            let uptime = Arc::new(ManualUptime::default());
            uptime.advance(YEARS);
            let wall = Arc::new(ManualClock::at(NOW));
            Self { uptime, wall, boot: "first", kept: None, meter: Meter::new() }
        }

        fn start(&mut self) -> LocalTime {
            let machine =
                Machine { uptime: self.uptime.clone(), wall: self.wall.clone(), boot: self.boot.to_owned() };
            let time = LocalTime::on(machine, self.kept.as_ref(), &self.meter);
            self.kept = Some(time.kept());
            time
        }

        fn reboot(&mut self, boot: &'static str, off: Duration) {
            self.uptime = Arc::new(ManualUptime::default());
            self.wall.advance(off);
            self.boot = boot;
        }

        /// Lets real time pass.
        fn pass(&mut self, time: &mut LocalTime, seconds: u64) {
            for _ in 0..seconds {
                self.uptime.advance(SECOND);
                self.wall.advance(SECOND);
                self.look(time);
            }
        }

        fn look(&mut self, time: &mut LocalTime) {
            if let Some(kept) = time.look() {
                self.kept = Some(kept);
            }
        }
    }

    fn shows(time: &LocalTime, seconds: u64) {
        let (now, due) = (time.clock().now(), NOW.plus(Duration::from_secs(seconds)));
        let apart = now.since(due).max(due.since(now));
        assert!(apart < Duration::from_millis(100), "it shows {now:?} and should show {due:?}");
    }

    #[test]
    fn a_wall_clock_that_steps_and_comes_back_moves_nothing() {
        let mut pc = Pc::new();
        let mut time = pc.start();
        pc.wall.advance(YEARS);
        pc.pass(&mut time, 3);
        shows(&time, 3);
        let text = pc.meter.render();
        assert!(text.contains("pushgrid_clock_steps_total 1"), "{text}");
        assert!(text.contains("pushgrid_clock_ahead_seconds -3153599"), "{text}");
        pc.wall.set(NOW);
        pc.pass(&mut time, 3);
        shows(&time, 6);
        assert!(pc.meter.render().contains("pushgrid_clock_steps_total 2"));
    }

    #[test]
    fn it_goes_on_over_a_restart_while_the_clock_is_wrong_and_after() {
        let mut pc = Pc::new();
        let mut time = pc.start();
        pc.wall.advance(YEARS);
        // Killed before the next look, and down for a while.
        pc.uptime.advance(5 * SECOND);
        let again = pc.start();
        shows(&again, 5);
        pc.wall.set(NOW.plus(5 * SECOND));
        shows(&pc.start(), 5);
        drop(time);
        time = pc.start();
        pc.wall.advance(YEARS);
        pc.look(&mut time);
        pc.reboot("second", 10 * SECOND);
        shows(&pc.start(), 15);
    }

    #[test]
    fn a_machine_that_begins_in_1970_goes_on_from_where_it_was() {
        let mut pc = Pc::new();
        let mut time = pc.start();
        pc.pass(&mut time, 200);
        pc.wall.set(Timestamp::from_secs(0));
        pc.reboot("second", Duration::ZERO);
        let mut time = pc.start();
        shows(&time, 180);
        // The network tells it the time: it was off for an hour.
        pc.wall.set(NOW.plus(Duration::from_hours(1)));
        pc.look(&mut time);
        shows(&time, 180);
        // Which it makes up for slowly.
        pc.pass(&mut time, 10_000);
        shows(&time, 10_190);
    }

    #[test]
    fn a_wall_clock_that_was_set_back_while_the_machine_was_off_keeps_nothing_longer() {
        let mut pc = Pc::new();
        let mut time = pc.start();
        pc.pass(&mut time, 120);
        pc.reboot("second", Duration::ZERO);
        pc.wall.set(Timestamp::from_secs(1_600_000_000));
        shows(&pc.start(), 120);
    }

    #[test]
    fn time_that_a_machine_was_off_or_asleep_counts() {
        let mut pc = Pc::new();
        let mut time = pc.start();
        pc.reboot("second", Duration::from_hours(8));
        shows(&pc.start(), 8 * 3600);
        pc.uptime.advance(Duration::from_hours(1));
        shows(&pc.start(), 9 * 3600);
        drop(time.look());
    }

    #[test]
    fn nothing_is_kept_anew_while_nothing_happens() {
        let mut pc = Pc::new();
        let mut time = pc.start();
        for _ in 0..59 {
            pc.uptime.advance(SECOND);
            pc.wall.advance(SECOND);
            assert_eq!(time.look(), None);
        }
    }
}
