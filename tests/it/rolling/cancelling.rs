//! An application server that cancels half of its messages to a user agent that is away.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use pushgrid_it::Grid;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::grid::faults::Others;
use crate::grid::{at, url};
use crate::history::chance::Chance;
use crate::wire::party::{Agent, Application, Channel, body};

const FIELDS: &[(&str, &str)] = &[("ttl", "3600")];

/// Pause between two messages.
const PAUSE: Duration = Duration::from_millis(200);

/// Time for which a delete may be answered 503 while processes are replaced.
const PATIENCE: Duration = Duration::from_mins(1);

/// Application server and user agent.
pub(super) struct Canceller {
    done: watch::Sender<bool>,
    work: JoinHandle<Result<Work>>,
    agent: Agent,
    channel: Channel,
}

/// Fate of the messages.
#[derive(Debug, Default)]
struct Work {
    others: Others,
    /// Accepted and not cancelled: owed to the user agent.
    kept: VecDeque<String>,
    /// Messages of unknown fate.
    unknown: Vec<String>,
}

impl Canceller {
    pub(super) async fn begin(grid: &Grid, chance: Chance) -> Result<Self> {
        let mut agent = Agent::new(url(&grid.connection[0])).await?;
        let channel = agent.subscribe().await?;
        agent.leave().await?;
        let ingresses = grid.ingress.iter().map(|it| at(it.url("ingress"), &channel.endpoint));
        let (done, over) = watch::channel(false);
        let work = tokio::spawn(work(ingresses.collect::<Result<_>>()?, over, chance));
        Ok(Self { done, work, agent, channel })
    }

    /// Ends, and has the user agent take the messages owed.
    pub(super) async fn end(mut self, grid: &Grid) -> Result<Others> {
        self.done.send_replace(true);
        let mut work = self.work.await??;
        self.agent.come_back_to(url(&grid.connection[0])).await?;
        while !work.kept.is_empty() {
            let came =
                body(&self.agent.take().await.with_context(|| format!("{} are owed", work.kept.len()))?);
            if work.kept.front() == Some(&came) {
                work.kept.pop_front();
            } else {
                ensure!(work.unknown.contains(&came), "{came} came, and {:?} is owed", work.kept.front());
            }
        }
        // Messages of unknown fate may follow the last one owed.
        let last = "the last";
        Application::new().accepted(&self.channel.endpoint, FIELDS, last).await?;
        work.others.accepted += 1;
        loop {
            let came = body(&self.agent.take().await?);
            if came == last {
                break;
            }
            ensure!(work.unknown.contains(&came), "{came} came, and was taken back");
        }
        self.agent.leave().await?;
        Ok(work.others)
    }
}

async fn work(ingresses: Vec<String>, over: watch::Receiver<bool>, mut chance: Chance) -> Result<Work> {
    let app = Application::new();
    let mut work = Work::default();
    for number in 0_u64.. {
        if *over.borrow() {
            break;
        }
        let endpoint = &ingresses[usize::try_from(chance.below(ingresses.len() as u64))?];
        let text = format!("message {number}");
        match app.post(endpoint, FIELDS, text.clone()).await {
            Ok(answer) if answer.status == 201 => {
                work.others.accepted += 1;
                let location = answer.header("location").context("a 201 has a location")?;
                if chance.percent(50) {
                    cancel(&app, location).await.with_context(|| text.clone())?;
                    work.others.cancelled += 1;
                } else {
                    work.kept.push_back(text);
                }
            }
            Ok(answer) => {
                ensure!(answer.status >= 500, "{text} was answered {}", answer.status);
                work.others.unknown += 1;
                work.unknown.push(text);
            }
            Err(_) => {
                work.others.unknown += 1;
                work.unknown.push(text);
            }
        }
        sleep(PAUSE).await;
    }
    Ok(work)
}

/// Cancels a message, with retries. "Gone" is accepted only when an earlier attempt may have ended the message.
async fn cancel(app: &Application, location: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut may_be_done = false;
    loop {
        match app.cancel(location).await {
            Ok(204) => return Ok(()),
            Ok(404) if may_be_done => return Ok(()),
            Ok(status @ ..500) => bail!("a delete was answered {status}"),
            Ok(_) | Err(_) if Instant::now() < until => may_be_done = true,
            last => bail!("a delete was answered {last:?} for a minute"),
        }
        sleep(PAUSE).await;
    }
}
