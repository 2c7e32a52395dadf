//! Parties of the test of faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pushgrid_it::Grid;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::AT_ONCE;
use super::listener::{Habit, Listener};
use super::posters::{Endpoints, Poster};
use crate::grid::url;
use crate::history::History;
use crate::history::chance::Chance;
use crate::wire::party::Agent;

const HABITS: [(Habit, usize); 3] = [(Habit::Online, 200), (Habit::Restless, 250), (Habit::Away, 50)];

/// Subscriptions of each user agent at the start.
const CHANNELS: usize = 2;

const POSTERS: usize = 16;

/// Pause between two messages of a poster: about a hundred messages a second in all.
const PAUSE: Duration = Duration::from_millis(140);

/// The parties, and the history that they record.
pub(crate) struct Crowd {
    pub(crate) history: Arc<History>,
    done: watch::Sender<bool>,
    posters: Vec<JoinHandle<Result<()>>>,
    listeners: Vec<JoinHandle<Result<Listener>>>,
}

impl Crowd {
    pub(crate) async fn gather(grid: &Grid, chance: &mut Chance) -> Result<Self> {
        let (done, receiver) = watch::channel(false);
        let (history, endpoints) = (Arc::new(History::new()), Arc::new(Endpoints::default()));
        let nodes: Vec<String> = grid.connection.iter().map(|node| url(node).to_owned()).collect();
        let habits = HABITS.iter().flat_map(|(habit, count)| std::iter::repeat_n(*habit, *count));
        let chances: Vec<_> = habits.map(|habit| (habit, chance.split())).collect();
        let listeners = stream::iter(chances.into_iter().enumerate()).map(|(number, (habit, chance))| {
            let (history, endpoints, done, nodes) =
                (history.clone(), endpoints.clone(), receiver.clone(), nodes.clone());
            async move {
                let mut agent = Agent::new(&nodes[number % nodes.len()]).await?;
                let mut live = BTreeMap::new();
                for _ in 0..CHANNELS {
                    let channel = agent.subscribe().await?;
                    live.insert(endpoints.tell(channel.endpoint.clone()), channel);
                }
                let owed = Vec::new();
                let all = live.clone();
                anyhow::Ok(Listener {
                    history,
                    endpoints,
                    nodes,
                    done,
                    habit,
                    chance,
                    agent,
                    live,
                    all,
                    owed,
                    ending: None,
                })
            }
        });
        let listeners: Vec<Listener> = listeners.buffer_unordered(AT_ONCE).try_collect().await?;
        let ingresses: Vec<String> = grid.ingress.iter().map(|it| it.url("ingress").to_owned()).collect();
        let posters = (0..POSTERS).map(|number| {
            let poster = Poster {
                history: history.clone(),
                endpoints: endpoints.clone(),
                ingresses: ingresses.clone(),
                done: receiver.clone(),
                number,
                of: POSTERS,
                pause: PAUSE,
                chance: chance.split(),
            };
            tokio::spawn(poster.run())
        });
        let posters = posters.collect();
        let listeners = listeners.into_iter().map(|listener| tokio::spawn(listener.run())).collect();
        Ok(Self { history, done, posters, listeners })
    }

    /// Ends posting, and returns the user agents.
    pub(super) async fn rest(&mut self) -> Result<Vec<Listener>> {
        self.done.send_replace(true);
        for poster in self.posters.drain(..) {
            poster.await??;
        }
        let mut listeners = Vec::new();
        for listener in self.listeners.drain(..) {
            listeners.push(listener.await?.context("a user agent")?);
        }
        Ok(listeners)
    }
}
