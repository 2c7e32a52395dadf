//! User agents over HTTP by the thousand: each with one subscription and one open request on a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use pushgrid_client::{HttpAgent, Monitor, Monitored, Transport};
use pushgrid_types::SystemRng;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::site::Site;
use crate::{limits, progress};

/// Open requests, each with a task that reads.
pub(super) struct Monitors {
    agent: Arc<HttpAgent>,
    paths: Vec<String>,
    tasks: Vec<JoinSet<()>>,
    broken: Arc<AtomicU64>,
    keep: bool,
}

impl Monitors {
    /// Subscribes and opens `count` requests, or fails with the first that cannot be.
    pub(super) async fn open(
        site: &Arc<Site>,
        count: usize,
        parallel: usize,
        transport: Transport,
    ) -> Result<Self> {
        super::open_files::check(count as u64)?;
        let agent = Arc::new(HttpAgent::new(&site.connect_options(0).url)?);
        let next = Arc::new(AtomicUsize::new(0));
        let broken = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..parallel.min(count) {
            let (agent, next, broken) = (Arc::clone(&agent), Arc::clone(&next), Arc::clone(&broken));
            workers.spawn(async move {
                let (mut paths, mut tasks) = (Vec::new(), JoinSet::new());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return anyhow::Ok((paths, tasks));
                    }
                    let failed = || format!("user agent {} of {count}", number + 1);
                    let (path, monitor) = open(&agent, transport).await.with_context(failed)?;
                    paths.push(path);
                    // At once: pings of the service are to be answered while others are opened.
                    tasks.spawn(attend(monitor, Arc::clone(&broken)));
                }
            });
        }
        let (mut tasks, mut paths) = (Vec::new(), Vec::with_capacity(count));
        while let Some(opened) = workers.join_next().await {
            let (more, reading) = opened??;
            paths.extend(more);
            tasks.push(reading);
        }
        Ok(Self { agent, paths, tasks, broken, keep: site.keep })
    }

    /// Ends the subscriptions, unless they are to be kept, and the requests. Answers with how many requests had ended
    /// before, unasked.
    pub(super) async fn leave(mut self) -> u64 {
        let broken = self.broken.load(Ordering::Relaxed);
        for tasks in &mut self.tasks {
            tasks.shutdown().await;
        }
        let ending = async {
            for path in self.paths.drain(..).filter(|_| !self.keep) {
                // What fails now is no part of the measurement.
                let _ = self.agent.end(&path).await;
            }
        };
        if timeout(limits::REST, ending).await.is_err() {
            progress("some subscriptions are left");
        }
        broken
    }
}

async fn open(agent: &HttpAgent, transport: Transport) -> Result<(String, Monitor)> {
    let (paths, subscription) = agent.subscribe(&SystemRng, None).await?;
    let monitor = agent.monitor(&paths.subscription, subscription.channel(), transport, None).await?;
    Ok((paths.subscription, monitor))
}

/// Reads until the request ends, which it should not.
async fn attend(mut monitor: Monitor, broken: Arc<AtomicU64>) {
    while let Ok(Monitored::Alive | Monitored::Message(_)) = monitor.next().await {}
    broken.fetch_add(1, Ordering::Relaxed);
}
