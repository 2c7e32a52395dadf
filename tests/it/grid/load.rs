//! Messages that flow while something is done to a grid, and user agents that all of them must reach.

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

/// User agents with a subscription each, connected to a node.
pub(super) async fn agents(count: usize, node: &Process) -> Result<(Vec<Agent>, Vec<Channel>)> {
    let new = (0..count).map(|_| async {
        let mut agent = Agent::new(url(node)).await?;
        let channel = agent.subscribe().await?;
        anyhow::Ok((agent, channel))
    });
    Ok(try_join_all(new).await?.into_iter().unzip())
}

/// Application servers that post to channels, one after the other and without end, until they are told to stop. Each
/// message says which it is of its channel's.
pub(super) struct Load {
    done: watch::Sender<bool>,
    posters: Vec<JoinHandle<Result<Vec<usize>>>>,
}

impl Load {
    /// `posters` application servers at once, each with its own part of the channels and a pause between its messages.
    /// Anything but a 201 is a fault.
    pub(super) fn start(
        ingress: &Process,
        channels: &[Channel],
        posters: usize,
        pause: Duration,
    ) -> Result<Self> {
        let (done, receiver) = watch::channel(false);
        let endpoints = channels.iter().map(|channel| at(ingress.url("ingress"), &channel.endpoint));
        let endpoints: Arc<Vec<String>> = Arc::new(endpoints.collect::<Result<_>>()?);
        let posters = (0..posters).map(|poster| {
            let (endpoints, mut done) = (endpoints.clone(), receiver.clone());
            let mine: Vec<usize> = (poster..endpoints.len()).step_by(posters).collect();
            tokio::spawn(async move {
                let app = Application::with_one_connection();
                let mut sent = vec![0; endpoints.len()];
                for channel in mine.iter().copied().cycle() {
                    let body = sent[channel].to_string();
                    let status = app.post(&endpoints[channel], MINUTE, body).await?.status;
                    ensure!(status == 201, "the ingress answered {status}");
                    sent[channel] += 1;
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = done.wait_for(|done| *done) => break,
                    }
                }
                Ok(sent)
            })
        });
        Ok(Self { done, posters: posters.collect() })
    }

    /// How many were sent to each channel, in the order of the channels.
    pub(super) async fn stop(self) -> Result<Vec<usize>> {
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

/// User agents that take what comes, each in its order, for as long as anything may come.
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

    /// Waits until each has got some more.
    pub(super) async fn get_more(&self, count: usize) -> Result<()> {
        let before = self.got();
        eventually(SOON, "messages for each user agent", async || {
            Ok(self.got().iter().zip(&before).all(|(now, before)| *now >= before + count).then_some(()))
        })
        .await
    }

    /// Nothing is sent any more: of each channel all that was sent must have come, and be on the books. The user agents
    /// listen until the books are closed, for what is not settled when a partition moves comes again.
    pub(super) async fn finish(self, grid: &Grid, sent: &[usize]) -> Result<()> {
        let all = sent.iter().sum::<usize>() as u64;
        ensure!(all > 100, "only {all} messages were sent");
        // A router that has just taken a partition over has not read all of its log yet, so nothing pending is not enough.
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

/// Counts the messages that come for the first time. Each says which it is.
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
