//! Tested: members with wrong, stepping and stopped clocks judge by one time, and learn that time from each other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use pushgrid_types::{Clock, ManualClock, Timestamp};

use super::super::ManualUptime;
use super::*;
use crate::Readiness;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(30);

/// Error allowed of a right time: of measuring, and of clocks that show milliseconds.
const NEARLY: Duration = Duration::from_millis(60);

/// One process, on a machine of its own.
struct Process {
    time: GridTime,
    wall: Arc<ManualClock>,
    uptime: Arc<ManualUptime>,
    readiness: Readiness,
    meter: Meter,
}

/// Processes that renew their leases every second, and the clock of the keeper.
struct World {
    real: Timestamp,
    keeper: Timestamp,
    processes: Vec<Process>,
    votes: BTreeMap<usize, ClockVote>,
    line: Option<ClockOffset>,
    without_vote: usize,
}

impl World {
    fn new() -> Self {
        let (processes, votes) = (Vec::new(), BTreeMap::new());
        Self { real: NOW, keeper: NOW, processes, votes, line: None, without_vote: 0 }
    }

    /// Adds a process whose wall clock shows `wall`, after as many renewals as it needs to know the time.
    fn join(&mut self, wall: Timestamp) -> usize {
        let (uptime, wall) = (Arc::new(ManualUptime::default()), Arc::new(ManualClock::at(wall)));
        uptime.advance(HOUR * u32::try_from(self.processes.len()).unwrap());
        let (readiness, meter) = (Readiness::new(), Meter::new());
        let time =
            GridTime::on(uptime.clone(), wall.clone(), LIMIT, SECOND, readiness.latch("clock"), &meter);
        self.processes.push(Process { time, wall, uptime, readiness, meter });
        let number = self.processes.len() - 1;
        self.renew(number);
        if !self.knows(number) {
            self.run(u64::from(LOOKED));
        }
        self.renew(number);
        number
    }

    fn knows(&self, number: usize) -> bool {
        self.processes[number].time.vote().is_some()
    }

    fn renew(&mut self, number: usize) {
        let process = &self.processes[number];
        if let Some(vote) = process.time.vote() {
            self.votes.insert(number, vote);
            self.line = Some(vote.judged);
        }
        let sent = process.time.uptime();
        process.time.learn(&Exchange {
            sent,
            received: sent,
            keeper: Duration::from_millis(self.keeper.as_millis()),
            votes: self.votes.values().copied().collect(),
            without_vote: self.without_vote,
            line: self.line,
        });
    }

    fn leave(&mut self, number: usize) {
        self.votes.remove(&number);
    }

    /// Lets real time pass for all.
    fn pass(&mut self, time: Duration) {
        self.real = self.real.plus(time);
        self.keeper = self.keeper.plus(time);
        for process in &self.processes {
            process.wall.advance(time);
            process.uptime.advance(time);
        }
    }

    /// Runs for so many seconds, in each of which every process renews its lease.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.pass(SECOND);
            for number in 0..self.processes.len() {
                self.renew(number);
            }
        }
    }

    fn judged(&self, number: usize) -> Timestamp {
        self.processes[number].time.clock().now()
    }

    fn judges_by(&self, number: usize, due: Timestamp) {
        near(self.judged(number), due, NEARLY, &format!("the time of {number}"));
    }

    fn all_judge_by(&self, due: Timestamp) {
        (0..self.processes.len()).for_each(|number| self.judges_by(number, due));
    }

    fn day(&self, number: usize) -> Timestamp {
        self.processes[number].time.wall().wall()
    }
}

fn near(shown: Timestamp, due: Timestamp, within: Duration, what: &str) {
    let apart = shown.since(due).max(due.since(shown));
    assert!(apart <= within, "{what} is {shown:?} and should be {due:?}, within {within:?}");
}

fn before(instant: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_millis(instant.as_millis() - u64::try_from(by.as_millis()).unwrap())
}

/// A rolling update: members that judge by wall clocks agree with the new ones, whatever Redis' clock shows.
#[test]
fn among_members_without_a_vote_the_wall_clock_goes_on() {
    let mut world = World::new();
    world.keeper = NOW.plus(HOUR);
    world.without_vote = 3;
    let first = world.join(NOW);
    world.judges_by(first, world.real);
    let second = world.join(world.real);
    world.run(100);
    world.without_vote = 0;
    world.run(100);
    world.all_judge_by(world.real);
    near(world.day(second), world.real, NEARLY, "the time of day");

    // And on the way back.
    world.leave(first);
    world.leave(second);
    world.without_vote = 2;
    let third = world.join(world.real);
    world.judges_by(third, world.real);
}

#[test]
fn wrong_clocks_of_members_and_of_an_ingress_change_nothing() {
    let mut world = World::new();
    let node = world.join(NOW.plus(Duration::from_secs(90)));
    let router = world.join(world.real);
    let ingress = world.join(before(world.real, 2 * HOUR));
    world.votes.remove(&ingress);
    let other = world.join(world.real.plus(2 * HOUR));
    world.all_judge_by(world.real);
    world.run(100);
    world.all_judge_by(world.real);
    for number in [node, router, ingress, other] {
        near(world.day(number), world.real, NEARLY, "the time of day");
        let ready = world.processes[number].readiness.is_ready();
        assert_eq!(ready, number == router, "{number}: {:?}", world.processes[number].readiness);
    }
    let why = &world.processes[node].readiness.waiting_for()[0].1;
    assert!(why.contains("+90.0") && why.contains("grid.max_clock_skew"), "{why}");
    let text = world.processes[router].meter.render();
    assert!(text.contains("pushgrid_clock_skew_seconds 0"), "{text}");
    assert!(text.contains("pushgrid_clock_skew_largest_seconds 7200"), "{text}");
}

#[test]
fn readiness_comes_and_goes_with_the_wall_clock() {
    let mut world = World::new();
    world.join(NOW);
    world.join(NOW);
    let process = &world.processes[1];
    assert!(process.readiness.is_ready());
    process.wall.advance(LIMIT + SECOND);
    process.time.look();
    assert!(!process.readiness.is_ready());
    process.wall.set(world.real);
    process.time.look();
    assert!(process.readiness.is_ready());
    assert!(process.meter.render().contains("pushgrid_clock_steps_total 2"));
}

#[test]
fn a_wall_clock_that_steps_in_a_running_process_moves_nothing() {
    let mut world = World::new();
    for _ in 0..2 {
        world.join(NOW);
    }
    for to in [NOW.plus(100_000 * HOUR), Timestamp::from_secs(0)] {
        world.processes[0].wall.set(to);
        world.run(60);
        world.all_judge_by(world.real);
    }
}

#[test]
fn a_keeper_whose_clock_is_wrong_is_outvoted_and_all_judge_by_one_time() {
    let mut world = World::new();
    world.keeper = NOW.plus(2 * HOUR);
    for _ in 0..3 {
        world.join(NOW);
    }
    // The first was alone with the keeper, and its time is kept.
    world.all_judge_by(world.keeper);
    world.run(10);
    for number in 0..3 {
        near(world.day(number), world.real, NEARLY, "the time of day");
        near(world.judged(number), world.judged(0), NEARLY, "the time of each");
    }
}

#[test]
fn a_keeper_with_another_clock_moves_nothing_not_even_for_a_moment() {
    let mut world = World::new();
    for _ in 0..3 {
        world.join(NOW);
    }
    world.run(20);
    for other in [world.real.plus(2 * HOUR), before(world.real, 2 * HOUR)] {
        world.keeper = other;
        for _ in 0..30 {
            world.run(1);
            world.all_judge_by(world.real);
            for number in 0..3 {
                near(world.day(number), world.real, NEARLY, "the time of day");
                assert!(world.processes[number].readiness.is_ready());
            }
        }
    }
}

#[test]
fn who_renews_more_often_than_the_others_does_not_take_old_votes_for_the_truth() {
    let mut world = World::new();
    for _ in 0..3 {
        world.join(NOW);
    }
    world.run(20);
    for other in [world.real.plus(2 * HOUR), before(world.real, 2 * HOUR)] {
        world.keeper = other;
        // The others are late: they renew after two seconds for the first time.
        for round in 0..200 {
            world.pass(SECOND / 10);
            world.renew(0);
            if round >= 20 && round % 10 == 0 {
                world.renew(1);
                world.renew(2);
            }
            world.all_judge_by(world.real);
            near(world.day(0), world.real, NEARLY, "the time of day");
        }
    }
}

#[test]
fn who_joins_beside_old_votes_waits_for_new_ones() {
    for hours in [2, -2] {
        let mut world = World::new();
        for _ in 0..3 {
            world.join(NOW);
        }
        world.run(20);
        world.keeper = if hours > 0 { world.real.plus(2 * HOUR) } else { before(world.real, 2 * HOUR) };
        let (uptime, wall) = (Arc::new(ManualUptime::default()), Arc::new(ManualClock::at(world.real)));
        let (readiness, meter) = (Readiness::new(), Meter::new());
        let time =
            GridTime::on(uptime.clone(), wall.clone(), LIMIT, SECOND, readiness.latch("clock"), &meter);
        world.processes.push(Process { time, wall, uptime, readiness, meter });
        for round in 0..100 {
            world.renew(3);
            assert!(round >= 20 || !world.knows(3), "the others have not renewed");
            world.pass(SECOND / 10);
            if round % 10 == 9 {
                (0..3).for_each(|number| world.renew(number));
            }
            world.all_judge_by(world.real);
        }
        assert!(world.knows(3));
    }
}

#[test]
fn the_keeper_s_wrong_clock_gains_nothing_when_members_leave_or_all_start_anew() {
    let mut world = World::new();
    world.join(NOW);
    world.join(NOW);
    world.run(5);
    world.keeper = NOW.plus(2 * HOUR);
    world.run(20);
    world.leave(1);
    world.processes.truncate(1);
    world.run(60);
    world.all_judge_by(world.real);
    world.leave(0);
    world.processes.clear();
    world.pass(SECOND);
    let first = world.join(world.real);
    world.judges_by(first, world.real);
}

#[test]
fn a_machine_that_stood_still_catches_up_within_a_few_renewals() {
    let mut world = World::new();
    for _ in 0..2 {
        world.join(NOW);
    }
    world.run(10);
    world.pass(SECOND);
    // The others go on for ten minutes.
    let (stood, pause) = (1, Duration::from_mins(10));
    let before = world.processes[stood].time.uptime();
    world.real = world.real.plus(pause);
    world.keeper = world.keeper.plus(pause);
    world.processes[0].wall.advance(pause);
    world.processes[0].uptime.advance(pause);
    assert_eq!(world.processes[stood].time.uptime(), before);
    world.run(u64::from(BELIEVED) + 1);
    world.all_judge_by(world.real);
}

#[test]
fn when_all_clocks_are_set_the_time_goes_there_slowly_and_together() {
    let mut world = World::new();
    for _ in 0..3 {
        world.join(NOW);
    }
    world.run(10);
    let step = Duration::from_secs(5);
    world.keeper = world.keeper.plus(step);
    for process in &world.processes {
        process.wall.advance(step);
    }
    world.run(1000);
    for number in 0..3 {
        near(world.judged(number), world.real.plus(SECOND), NEARLY * 2, "after a fifth of the way");
        near(world.day(number), world.real.plus(step), NEARLY, "the time of day");
    }
    let late = world.join(world.real.plus(step));
    near(world.judged(late), world.judged(0), NEARLY, "who joins is where the others are");
    world.run(5000);
    world.all_judge_by(world.real.plus(step));
}

#[test]
fn without_the_keeper_the_time_goes_on_as_it_was() {
    let mut world = World::new();
    world.join(NOW.plus(HOUR));
    world.join(NOW);
    world.run(5);
    world.pass(24 * HOUR);
    world.all_judge_by(world.real);
    world.run(5);
    world.all_judge_by(world.real);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_judged_before_the_first_exchange() {
    let mut world = World::new();
    let (readiness, meter) = (Readiness::new(), Meter::new());
    let time = GridTime::new(LIMIT, SECOND, readiness.latch("clock"), &meter);
    assert!(tokio::time::timeout(HOUR, time.known()).await.is_err());
    assert!(!readiness.is_ready() && time.vote().is_none());
    world.join(NOW);
    world.processes[0].time.known().await;
    world.processes[0].time.is_within_limit().await;
}

/// A fault of clocks.
#[derive(Debug, Clone)]
enum Event {
    /// The wall clock of a process is set.
    Set {
        process: usize,
        seconds: i32,
    },
    /// The keeper is another, with this clock.
    Keeper {
        seconds: i32,
    },
    Run {
        seconds: u64,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let seconds = prop_oneof![any::<i32>(), -100..100];
    proptest::collection::vec(
        prop_oneof![
            (0..2_usize, seconds).prop_map(|(process, seconds)| Event::Set { process, seconds }),
            (-10_000..10_000).prop_map(|seconds| Event::Keeper { seconds }),
            (6..20_u64).prop_map(|seconds| Event::Run { seconds }),
        ],
        1..10,
    )
}

fn moved(by: i32) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis().saturating_add_signed(i64::from(by) * 1000))
}

proptest! {
    // Holds: A-58.
    #[test]
    fn whatever_is_done_to_fewer_than_half_of_the_clocks_nobody_judges_wrongly(events in events()) {
        let mut world = World::new();
        // Of six clocks, two members' and the keeper's are touched, the latter only after the two were set right.
        for _ in 0..5 {
            world.join(NOW);
        }
        for event in events {
            match event {
                Event::Set { process, seconds } => world.processes[process].wall.set(moved(seconds)),
                Event::Keeper { seconds } => {
                    for process in &world.processes[..2] {
                        process.wall.set(world.real);
                    }
                    world.run(2);
                    let by = moved(seconds).as_millis().wrapping_sub(NOW.as_millis()).cast_signed();
                    world.keeper = Timestamp::from_millis(world.real.as_millis().saturating_add_signed(by));
                    world.run(10);
                    world.all_judge_by(world.real);
                    world.keeper = world.real;
                    world.run(10);
                }
                Event::Run { seconds } => world.run(seconds),
            }
            world.all_judge_by(world.real);
        }
    }
}
