//! Faults of a grid: each part is stopped, killed, suspended, or loses its data; and the partitions move all the time.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Grid, Process, Role, Servers};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use crate::grid::Own;
use crate::history::chance::Chance;
use crate::history::{Event, History};

/// Time for which a node is suspended: longer than its lease.
const PAUSE: Duration = Duration::from_secs(30);

/// One fault.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// SIGKILL, and a new start.
    Kill(Role),
    /// SIGTERM, and a new start.
    Stop(Role),
    /// Redis loses all keys.
    Flush,
    /// Redis is killed, and starts empty.
    KillRedis,
    /// One broker is killed, and starts again.
    KillBroker,
    /// A node is suspended, and resumed.
    Pause,
}

const ALL: [Fault; 10] = [
    Fault::Kill(Role::Ingress),
    Fault::Kill(Role::Router),
    Fault::Kill(Role::Connection),
    Fault::Stop(Role::Ingress),
    Fault::Stop(Role::Router),
    Fault::Stop(Role::Connection),
    Fault::Flush,
    Fault::KillRedis,
    Fault::KillBroker,
    Fault::Pause,
];

/// Parts of the grid that the faults act on.
struct Stage<'a> {
    grid: &'a mut Grid,
    servers: &'a Servers,
    history: &'a History,
    /// Held while Redis is down: no process can start then.
    redis: &'a Mutex<()>,
}

/// Makes all faults, in random order, and FLUSHALL once more. Afterwards every process runs.
pub(super) async fn make(own: &mut Own, history: &History, chance: &mut Chance) -> Result<()> {
    let mut faults: Vec<Fault> = ALL.into_iter().chain([Fault::Flush]).collect();
    for position in (1..faults.len()).rev() {
        faults.swap(position, usize::try_from(chance.below(position as u64 + 1))?);
    }
    let (over, mut until) = watch::channel(false);
    let redis = Mutex::new(());
    let restless = own.grid.another(Role::Router, own.grid.router.len())?;
    let moving = rebalance(restless, history, &redis, &mut until, chance.split());
    let mut stage = Stage { grid: &mut own.grid, servers: &own.servers, history, redis: &redis };
    let breaking = async {
        for fault in faults {
            sleep(chance.millis(1500, 5000)).await;
            stage.commit(fault, chance).await.with_context(|| format!("{fault:?}"))?;
        }
        over.send_replace(true);
        anyhow::Ok(())
    };
    tokio::try_join!(breaking, moving)?;
    own.grid.is_whole().await
}

/// Starts and stops a router again and again: each time, partitions move to it and away.
async fn rebalance(
    mut router: Process,
    history: &History,
    redis: &Mutex<()>,
    over: &mut watch::Receiver<bool>,
    mut chance: Chance,
) -> Result<()> {
    let say = |what: &str| history.record(Event::Fault(format!("the third router {what}")));
    while !*over.borrow() {
        {
            let _there = redis.lock().await;
            router.start().await.context("the third router")?;
        }
        say("is there");
        let _ = timeout(chance.millis(1500, 4000), over.wait_for(|over| *over)).await;
        if chance.percent(25) {
            router.kill().await?;
            say("was killed");
        } else {
            say("is asked to end");
            router.stop().await.context("the third router")?;
            say("has ended");
        }
        let _ = timeout(chance.millis(500, 2500), over.wait_for(|over| *over)).await;
    }
    is_calm(&router)
}

/// Checks that no log line of a process tells of a panic.
pub(super) fn is_calm(process: &Process) -> Result<()> {
    let log = process.log()?;
    let panic = log.lines().find(|line| line.contains("panicked"));
    ensure!(panic.is_none(), "a process has panicked: {panic:?}");
    Ok(())
}

impl Stage<'_> {
    fn say(&self, what: impl Into<String>) {
        self.history.record(Event::Fault(what.into()));
    }

    async fn commit(&mut self, fault: Fault, chance: &mut Chance) -> Result<()> {
        match fault {
            Fault::Kill(role) => {
                let (number, down) = (self.choose(role, chance)?, chance.millis(0, 2500));
                self.say(format!("{role:?} {number} is killed"));
                self.of(role)[number].kill().await?;
                sleep(down).await;
                self.of(role)[number].start().await?;
                self.say(format!("{role:?} {number} is back"));
            }
            Fault::Stop(role) => {
                let number = self.choose(role, chance)?;
                self.say(format!("{role:?} {number} is asked to end"));
                self.of(role)[number].stop().await?;
                self.say(format!("{role:?} {number} has ended"));
                sleep(chance.millis(0, 2500)).await;
                self.of(role)[number].start().await?;
                self.say(format!("{role:?} {number} is back"));
            }
            Fault::Flush => {
                self.say("FLUSHALL");
                self.servers.redis().await?.flush_all().await?;
            }
            Fault::KillRedis => {
                let _gone = self.redis.lock().await;
                self.say("Redis is killed");
                self.servers.kill_redis().await?;
                sleep(chance.millis(0, 2500)).await;
                self.servers.start_again().await?;
                self.say("Redis is back, and empty");
            }
            Fault::KillBroker => {
                let number = 1 + usize::try_from(chance.below(3))?;
                self.say(format!("broker {number} is killed"));
                self.servers.kill_broker(number).await?;
                sleep(chance.millis(3000, 8000)).await;
                self.servers.start_again().await?;
                self.say(format!("broker {number} is back"));
            }
            Fault::Pause => {
                let number = self.choose(Role::Connection, chance)?;
                self.say(format!("node {number} stands still"));
                self.grid.connection[number].pause()?;
                sleep(PAUSE).await;
                self.grid.connection[number].resume()?;
                self.say(format!("node {number} goes on"));
            }
        }
        Ok(())
    }

    fn of(&mut self, role: Role) -> &mut Vec<Process> {
        match role {
            Role::Ingress => &mut self.grid.ingress,
            Role::Connection => &mut self.grid.connection,
            Role::Router | Role::Standalone => &mut self.grid.router,
        }
    }

    fn choose(&mut self, role: Role, chance: &mut Chance) -> Result<usize> {
        Ok(usize::try_from(chance.below(self.of(role).len() as u64))?)
    }
}
