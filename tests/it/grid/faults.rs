//! Every part of a grid fails, one after the other at random times, while user agents come and go and messages flow:
//! every accepted message that has not expired is delivered, under one id, none after its expiry, of each topic the
//! newest stays, and the account adds up exactly.
//!
//! [`posters`] and [`listener`] are the parties, [`trouble`] makes the faults. Events go into a [`crate::history`] for
//! its checker; and the checker must find a loss put into that very history.

mod crowd;
mod listener;
mod posters;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pushgrid_it::{Accounts, Grid, Shape, within};

use super::Own;
use crate::history::chance::Chance;
use crate::history::checker::{self, Rules, Violation};
use crate::history::{self, Answer, Entry, Event, History, Message, Subscription};
pub(crate) use crowd::Crowd;
use listener::Listener;

/// Deadline of the whole test.
const LIMIT: Duration = Duration::from_mins(8);

/// User agents that drain at the same time.
const AT_ONCE: usize = 40;

pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("PUSHGRID_KAFKA__PARTITIONS", "6"),
    ("PUSHGRID_INGRESS__APPEND_TIMEOUT", "8s"),
    ("PUSHGRID_ROUTER__ACK_TIMEOUT", "5s"),
    ("PUSHGRID_CONNECTION__DRAIN", "2s"),
];

// Holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_outlives_everything_that_can_happen_to_one_part_of_the_grid() -> Result<()> {
    let seed = Chance::seed();
    eprintln!("PUSHGRID_TEST_SEED={seed}");
    let shape = Shape { ingress: 2, router: 2, connection: 3 };
    let mut own = Own::start(3, shape, SETTINGS).await?;
    within(LIMIT, "the whole run", run(&mut own, Chance::new(seed)))
        .await?
        .with_context(|| format!("seed {seed}"))
}

async fn run(own: &mut Own, mut chance: Chance) -> Result<()> {
    let crowd = Crowd::gather(&own.grid, &mut chance).await.context("the crowd gathers")?;
    trouble::make(own, &crowd.history, &mut chance).await.context("the faults")?;
    conclude(crowd, Others::default(), &own.grid, &mut chance).await
}

/// Messages in the account and not in the history. All have ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Others {
    pub(crate) accepted: u64,
    /// Messages of unknown fate.
    pub(crate) unknown: u64,
    pub(crate) cancelled: u64,
}

/// Checks the history of the crowd, once all stored messages are taken.
pub(crate) async fn conclude(
    mut crowd: Crowd,
    mut others: Others,
    grid: &Grid,
    chance: &mut Chance,
) -> Result<()> {
    let mut listeners = crowd.rest().await?;
    crowd.history.record(Event::Fault("none any more".to_owned()));
    let ingresses: Vec<String> = grid.ingress.iter().map(|it| it.url("ingress").to_owned()).collect();
    let entries = drain(&crowd.history, &mut listeners, &ingresses).await.context("all that waits")?;
    judge(&entries)?;
    a_seeded_loss_is_found(&entries, chance)?;
    let asked: usize =
        each(&mut listeners, async |listener| listener.has_all().await).await?.into_iter().sum();
    others.accepted += asked as u64;
    add_up(&grid.settled().await?, &entries, others)?;
    grid.processes().try_for_each(trouble::is_calm)
}

/// Runs an operation for each user agent, several at a time.
async fn each<T>(
    listeners: &mut [Listener],
    what: impl AsyncFn(&mut Listener) -> Result<T>,
) -> Result<Vec<T>> {
    stream::iter(listeners).map(|listener| what(listener)).buffer_unordered(AT_ONCE).try_collect().await
}

/// Takes all stored messages, in two rounds: after the first, the service has looked at every message, so that the
/// second gets exactly the pending ones.
async fn drain(history: &History, listeners: &mut [Listener], ingresses: &[String]) -> Result<Vec<Entry>> {
    let topics: BTreeSet<Message> = history
        .entries()
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Posted { message, topic: Some(_), .. } => Some(message),
            _ => None,
        })
        .collect();
    each(listeners, async |listener| listener.drain(ingresses, |message| topics.contains(&message)).await)
        .await?;
    history.record(Event::Drained);
    each(listeners, async |listener| listener.drain(ingresses, |_| false).await).await?;
    Ok(history.entries())
}

fn judge(entries: &[Entry]) -> Result<()> {
    let count = |is: &dyn Fn(&Event) -> bool| entries.iter().filter(|entry| is(&entry.event)).count();
    let answers =
        |wanted| count(&|event| matches!(event, Event::Answered { answer, .. } if *answer == wanted));
    let (accepted, unknown) = (answers(Answer::Accepted), answers(Answer::Unknown));
    let delivered = count(&|event| matches!(event, Event::Delivered { .. }));
    let ended = count(&|event| matches!(event, Event::Ended { .. }));
    eprintln!(
        "{accepted} accepted, {unknown} unknown, {} refused, {} gone, {delivered} deliveries, {ended} subscriptions ended",
        answers(Answer::Refused),
        answers(Answer::Gone)
    );
    // Too few events would prove nothing.
    ensure!(accepted > 5000 && delivered > 5000 && ended > 50, "too little happened");
    let violations = checker::check(entries, Rules::GRID);
    let Some(first) = violations.first() else { return Ok(()) };
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for violation in &violations {
        let name = format!("{violation:?}");
        *kinds.entry(name.split('(').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let shown =
        violations.iter().take(4).map(|it| format!("{it:?}:\n{}", history::about(entries, &it.messages())));
    let shown = shown.collect::<Vec<_>>().join("\n\n");
    bail!("{} promises were broken, {kinds:?}; the first is {first:?}:\n{shown}", violations.len())
}

/// Checks the checker: one delivered message of this history is removed, and the loss must be found.
fn a_seeded_loss_is_found(entries: &[Entry], chance: &mut Chance) -> Result<()> {
    let ending: BTreeSet<Subscription> = entries
        .iter()
        .filter_map(|entry| match entry.event {
            Event::Ending { to } => Some(to),
            _ => None,
        })
        .collect();
    let accepted: BTreeSet<Message> = entries
        .iter()
        .filter_map(|entry| match entry.event {
            Event::Answered { message, answer: Answer::Accepted } => Some(message),
            _ => None,
        })
        .collect();
    let owed: Vec<Message> = entries
        .iter()
        .filter_map(|entry| match entry.event {
            Event::Posted { message, to, ttl, topic: None } => {
                let owed = ttl > LIMIT && !ending.contains(&to) && accepted.contains(&message);
                owed.then_some(message)
            }
            _ => None,
        })
        .collect();
    let lost = owed[usize::try_from(chance.below(owed.len() as u64))?];
    let mut without = entries.to_vec();
    without.retain(|entry| !matches!(entry.event, Event::Delivered { message, .. } if message == lost));
    let found = checker::check(&without, Rules::GRID);
    ensure!(found == [Violation::Lost(lost)], "the loss of {lost} was not found, but {found:?}");
    Ok(())
}

/// Checks that the account has each accepted message once, each unknown one at most once, and no other.
fn add_up(accounts: &Accounts, entries: &[Entry], others: Others) -> Result<()> {
    eprintln!("{accounts:?}");
    let answers = |wanted| {
        let is = |entry: &&Entry| matches!(entry.event, Event::Answered { answer, .. } if answer == wanted);
        entries.iter().filter(is).count() as u64
    };
    let (accepted, unknown) =
        (answers(Answer::Accepted) + others.accepted, answers(Answer::Unknown) + others.unknown);
    ensure!(
        (accepted..=accepted + unknown).contains(&accounts.accepted),
        "{accepted} were accepted, of {unknown} nobody knows, and the books say {accounts:?}"
    );
    ensure!(accounts.pending == 0 && accounts.accepted == accounts.ended_in_all(), "{accounts:?}");
    ensure!(accounts.ended("undecryptable") == 0, "{accounts:?}");
    ensure!(accounts.ended("cancelled") == others.cancelled, "{others:?}, and the books say {accounts:?}");
    Ok(())
}
