//! Load on a grid during a test, and user agents that must get all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use pushgrid_it::{Accounts, Grid, Process, eventually};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{at, url};
use crate::wire::party::{Agent, Application, Channel, MINUTE, SOON, body};

/// Makes user agents with a subscription each, connected to a node.
pub(super) async fn agents(count: usize, node: &Process) -> Result<(Vec<Agent>, Vec<Channel>)> {
    let new = (0..count).map(|_| async {
        let mut agent = Agent::new(url(node)).await?;
        let channel = agent.subscribe().await?;
        anyhow::Ok((agent, channel))
    });
    Ok(try_join_all(new).await?.into_iter().unzip())
}

/// Messages after which a load may end.
const ENOUGH: usize = 100;

/// Application servers that post to channels in turn until stopped. Each message has its number within the channel.
pub(super) struct Load {
    done: watch::Sender<bool>,
    accepted: Arc<AtomicUsize>,
    posters: Vec<JoinHandle<Result<Vec<usize>>>>,
}

impl Load {
    /// Starts `posters` application servers, each with its own part of the channels and a pause between messages. Any
    /// answer but 201 is an error.
    pub(super) fn start(
        ingress: &Process,
        channels: &[Channel],
        posters: usize,
        pause: Duration,
    ) -> Result<Self> {
        let (done, receiver) = watch::channel(false);
        let endpoints = channels.iter().map(|channel| at(ingress.url("ingress"), &channel.endpoint));
        let endpoints: Arc<Vec<String>> = Arc::new(endpoints.collect::<Result<_>>()?);
        let accepted = Arc::new(AtomicUsize::new(0));
        let posters = (0..posters).map(|poster| {
            let (endpoints, accepted, mut done) = (endpoints.clone(), accepted.clone(), receiver.clone());
            let mine: Vec<usize> = (poster..endpoints.len()).step_by(posters).collect();
            tokio::spawn(async move {
                let app = Application::with_one_connection();
                let mut sent = vec![0; endpoints.len()];
                for channel in mine.iter().copied().cycle() {
                    let body = sent[channel].to_string();
                    let status = app.post(&endpoints[channel], MINUTE, body).await?.status;
                    ensure!(status == 201, "the ingress answered {status}");
                    sent[channel] += 1;
                    accepted.fetch_add(1, Ordering::Relaxed);
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = done.wait_for(|done| *done) => break,
                    }
                }
                Ok(sent)
            })
        });
        let posters = posters.collect();
        Ok(Self { done, accepted, posters })
    }

    /// Stops, once there were enough messages for a fault to show; returns the number sent to each channel, in their
    /// order.
    pub(super) async fn stop(self) -> Result<Vec<usize>> {
        eventually(SOON, "a load to speak of", async || {
            let is_over = self.posters.iter().any(JoinHandle::is_finished);
            Ok((is_over || self.accepted.load(Ordering::Relaxed) > ENOUGH).then_some(()))
        })
        .await?;
        self.done.send_replace(true);
        let mut all: Vec<usize> = Vec::new();
        for poster in self.posters {
            let sent = poster.await??;
            all.resize(sent.len(), 0);
            all.iter_mut().zip(sent).for_each(|(all, sent)| *all += sent);
        }
        Ok(all)
    }
}

/// User agents that take messages, each checking their order, until finished.
pub(super) struct Listeners {
    done: watch::Sender<bool>,
    got: Arc<Vec<AtomicUsize>>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Listeners {
    pub(super) fn start(agents: Vec<Agent>) -> Self {
        let (done, receiver) = watch::channel(false);
        let got: Arc<Vec<AtomicUsize>> = Arc::new(agents.iter().map(|_| AtomicUsize::new(0)).collect());
        let listen = agents
            .into_iter()
            .enumerate()
            .map(|(number, agent)| tokio::spawn(listen(agent, got.clone(), number, receiver.clone())));
        let tasks = listen.collect();
        Self { done, got, tasks }
    }

    fn got(&self) -> Vec<usize> {
        self.got.iter().map(|got| got.load(Ordering::Relaxed)).collect()
    }

    /// Waits until each user agent has got `count` more.
    pub(super) async fn get_more(&self, count: usize) -> Result<()> {
        let before = self.got();
        eventually(SOON, "messages for each user agent", async || {
            Ok(self.got().iter().zip(&before).all(|(now, before)| *now >= before + count).then_some(()))
        })
        .await
    }

    /// Checks, after the load, that every message of each channel was delivered and is in the account. The user agents
    /// listen until the account is closed, for messages not settled when a partition moves are redelivered.
    pub(super) async fn finish(self, grid: &Grid, sent: &[usize]) -> Result<()> {
        let all = sent.iter().sum::<usize>() as u64;
        // A router that has just taken a partition over has not read all of its log yet, so "nothing pending" is not
        // enough.
        let hope = |accounts: &Accounts| accounts.accepted == all && accounts.pending == 0;
        let accounts = grid.accounts("all that was sent has ended", hope).await?;
        self.done.send_replace(true);
        let got = self.got();
        for task in self.tasks {
            task.await??;
        }
        ensure!(got == sent, "{sent:?} were sent, and {got:?} came");
        ensure!(accounts.accepted == all && accounts.ended("delivered") == all, "{all}: {accounts:?}");
        Ok(())
    }
}

/// Counts messages delivered for the first time, by their numbers.
async fn listen(
    mut agent: Agent,
    got: Arc<Vec<AtomicUsize>>,
    number: usize,
    mut done: watch::Receiver<bool>,
) -> Result<()> {
    loop {
        let came = tokio::select! {
            came = agent.next() => came?,
            _ = done.wait_for(|done| *done) => return Ok(()),
        };
        agent.ack(&came).await?;
        let (came, next): (usize, _) = (body(&came).parse()?, got[number].load(Ordering::Relaxed));
        ensure!(came <= next, "message {came} came, and not {next}");
        got[number].store(next.max(came + 1), Ordering::Relaxed);
    }
}
