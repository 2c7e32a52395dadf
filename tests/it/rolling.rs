//! A rolling update from the earlier release that `PUSHGRID_TEST_EARLIER` is a build of, and back: the processes of a
//! grid are replaced one by one while messages flow. Every accepted message is delivered, whichever release holds it by
//! then.
//!
//! Crowd, history and checks are those of [`crate::grid::faults`]; [`cancelling`] adds an application server that
//! cancels messages.

mod cancelling;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Grid, Process, Role, Shape, earlier_release, eventually, within};

use crate::grid::Own;
use crate::grid::faults::{Crowd, SETTINGS, conclude};
use crate::history::chance::Chance;
use crate::history::{Event, History};
use cancelling::Canceller;

/// Deadline of the whole test.
const LIMIT: Duration = Duration::from_mins(15);

/// Messages posted between two replacements.
const BETWEEN: usize = 450;

/// Deadline of those messages.
const FLOW: Duration = Duration::from_mins(1);

/// Orders in which roles are replaced: none is promised.
const ORDERS: [[Role; 3]; 3] = [
    [Role::Ingress, Role::Router, Role::Connection],
    [Role::Connection, Role::Router, Role::Ingress],
    [Role::Router, Role::Connection, Role::Ingress],
];

/// Way in which replaced processes end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By SIGTERM.
    InOrder,
    /// Every other one by SIGKILL.
    ByForce,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_and_the_way_back_lose_nothing() -> Result<()> {
    Box::pin(roll(End::InOrder, &[true, false])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_they_when_processes_are_killed_on_the_way() -> Result<()> {
    Box::pin(roll(End::ByForce, &[true, false, true])).await
}

/// Starts a grid of the earlier release, and rolls all of it, turn by turn, to the present one (`true`) or the earlier
/// one.
async fn roll(end: End, turns: &[bool]) -> Result<()> {
    let seed = Chance::seed();
    eprintln!("PUSHGRID_TEST_SEED={seed}");
    let earlier = earlier_release()?;
    let shape = Shape { ingress: 2, router: 2, connection: 3 };
    let mut own = Own::start_of(Some(&earlier), 1, shape, SETTINGS).await.context("the earlier release")?;
    let run = Box::pin(run(&mut own, &earlier, end, turns, Chance::new(seed)));
    within(LIMIT, "the whole run", run).await?.with_context(|| format!("seed {seed}"))
}

async fn run(own: &mut Own, earlier: &Path, end: End, turns: &[bool], mut chance: Chance) -> Result<()> {
    let (began, grid) = (Instant::now(), &mut own.grid);
    let crowd = Crowd::gather(grid, &mut chance).await.context("the crowd gathers")?;
    let canceller = Canceller::begin(grid, chance.split()).await.context("the one that cancels")?;
    let all = grid.processes().count() * turns.len();
    let mut done = 0;
    for (turn, to_present) in turns.iter().enumerate() {
        let build = (!to_present).then_some(earlier);
        let name = if *to_present { "the present release" } else { "the earlier release" };
        for role in ORDERS[turn % ORDERS.len()] {
            for number in 0..of(grid, role).len() {
                let is_kill = end == End::ByForce && chance.percent(50);
                let process = &mut of(grid, role)[number];
                replace(process, build, is_kill)
                    .await
                    .with_context(|| format!("{role:?} {number} to {name}"))?;
                done += 1;
                say(
                    &crowd.history,
                    &format!("{role:?} {number} is of {name}{}", if is_kill { ", after a kill" } else { "" }),
                );
                eprintln!(
                    "{done} of {all} after {} s: {role:?} {number} is of {name}",
                    began.elapsed().as_secs()
                );
                grid.is_whole().await?;
                flow(&crowd.history).await?;
            }
        }
    }
    let others = canceller.end(grid).await.context("what was cancelled")?;
    ensure!(others.cancelled > 50, "too little was cancelled: {others:?}");
    conclude(crowd, others, grid, &mut chance).await
}

async fn replace(process: &mut Process, build: Option<&Path>, is_kill: bool) -> Result<()> {
    if is_kill {
        process.kill().await?;
    } else {
        process.stop().await?;
    }
    process.update(build);
    process.start().await
}

/// Waits until the grid, of two releases now, has been given some messages.
async fn flow(history: &History) -> Result<()> {
    let enough = history.posted() + BETWEEN;
    eventually(FLOW, "messages flow", async || Ok((history.posted() >= enough).then_some(()))).await
}

fn say(history: &History, what: &str) {
    history.record(Event::Fault(what.to_owned()));
}

fn of(grid: &mut Grid, role: Role) -> &mut Vec<Process> {
    match role {
        Role::Ingress => &mut grid.ingress,
        Role::Connection => &mut grid.connection,
        Role::Router | Role::Standalone => &mut grid.router,
    }
}
