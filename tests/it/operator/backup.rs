//! Backups and restores of standalone: under load, interrupted, and beside existing data.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use pushgrid_it::eventually;
use tokio::task::JoinSet;

use super::{House, pushgrid, succeeds};
use crate::wire::party::{Agent, Application, Channel, SOON, bodies, body};

const SENDERS: usize = 4;

/// Most messages of a sender: below every limit of the service.
const MOST: usize = 2000;

const LAST: &str = "the last one";

/// Messages answered 201.
type Accepted = Arc<Mutex<BTreeSet<String>>>;

fn so_far(accepted: &Accepted) -> BTreeSet<String> {
    accepted.lock().clone()
}

/// Posts as fast as answered, until stopped.
async fn post(endpoint: String, sender: usize, accepted: Accepted, enough: Arc<AtomicBool>) -> Result<()> {
    let app = Application::with_one_connection();
    for number in 0..MOST {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("{sender}/{number}");
        app.send(&endpoint, &text).await?;
        accepted.lock().insert(text);
    }
    Ok(())
}

/// Takes messages up to the last one.
async fn take_until_last(agent: &mut Agent) -> Result<BTreeSet<String>> {
    let mut taken = BTreeSet::new();
    loop {
        let text = body(&agent.take().await?);
        if text == LAST {
            return Ok(taken);
        }
        taken.insert(text);
    }
}

struct Crowd {
    away: (Agent, Channel, Accepted),
    online: (Agent, Channel, Accepted),
    /// Messages acknowledged by the user agent that is online.
    delivered: BTreeSet<String>,
    enough: Arc<AtomicBool>,
    senders: JoinSet<Result<()>>,
}

impl Crowd {
    async fn gather(house: &House) -> Result<Self> {
        let mut parties = Vec::new();
        let (mut senders, enough) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for _ in 0..2 {
            let mut agent = Agent::new(house.server.connection()).await?;
            let (channel, accepted) = (agent.subscribe().await?, Accepted::default());
            for sender in 0..SENDERS {
                let post = post(channel.endpoint.clone(), sender, accepted.clone(), enough.clone());
                senders.spawn(post);
            }
            parties.push((agent, channel, accepted));
        }
        let mut online = parties.pop().context("two were made")?;
        let mut away = parties.pop().context("two were made")?;
        away.0.vanish();
        let delivered = bodies(&online.0.take_all(50).await?).into_iter().collect();
        Ok(Self { away, online, delivered, enough, senders })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_brings_back_all_that_was_accepted_before_it_began() -> Result<()> {
    let mut house = House::start().await?;
    let mut crowd = Crowd::gather(&house).await?;
    let enough_posted = async || Ok((so_far(&crowd.away.2).len() > 200).then_some(()));
    eventually(SOON, "messages are accepted", enough_posted).await?;

    let before = (so_far(&crowd.away.2), so_far(&crowd.online.2));
    let data = house.data().display().to_string();
    let words = ["backup", "saved", "--data-dir", &data];
    let said = succeeds(house.folder.path(), &words);
    // The service goes on during the backup.
    let (said, delivered) = tokio::join!(said, crowd.online.0.take_all(50));
    let said = said?;
    crowd.delivered.extend(bodies(&delivered?));
    ensure!(said.starts_with("backed up 2 subscriptions of 2 user agents"), "{said}");
    crowd.enough.store(true, Ordering::Relaxed);
    while let Some(sender) = crowd.senders.join_next().await {
        sender??;
    }
    for name in ["endpoint-keys", "pushgrid.sqlite"] {
        let mode = fs::metadata(house.path("saved").join(name))?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "{name} has mode {mode:o}");
    }

    house.server.kill().await?;
    fs::rename(house.data(), house.path("gone"))?;
    let said = succeeds(house.folder.path(), &["restore", "saved", "--data-dir", &data]).await?;
    ensure!(said.starts_with("restored 2 subscriptions of 2 user agents"), "{said}");
    house.server.start_again().await?;

    let app = Application::new();
    // Only the user agent that is online had messages delivered.
    let parties = [(&mut crowd.online, before.1), (&mut crowd.away, before.0)];
    for ((agent, channel, _), before) in parties {
        agent.vanish();
        agent.come_back().await?;
        app.send(&channel.endpoint, LAST).await?;
        let mut had = take_until_last(agent).await?;
        had.extend(crowd.delivered.clone());
        crowd.delivered.clear();
        let missing: Vec<_> = before.difference(&had).collect();
        ensure!(missing.is_empty(), "{missing:?} are neither in the backup nor delivered");
    }
    house.server.settled().await?;
    Ok(())
}

#[tokio::test]
async fn what_is_there_is_never_overwritten_and_a_refusal_leaves_no_trace() -> Result<()> {
    let mut house = House::start().await?;
    Agent::new(house.server.connection()).await?.subscribe().await?;
    let (folder, data) = (house.folder.path(), house.data().display().to_string());
    succeeds(folder, &["backup", "saved", "--data-dir", &data]).await?;
    let refused = |words: &'static [&'static str], why: &'static str| {
        let data = data.clone();
        async move {
            let mut all = words.to_vec();
            all.extend(["--data-dir", &data]);
            let output = pushgrid(folder, &all).await?;
            let text = String::from_utf8(output.stderr)?;
            ensure!(
                output.status.code() == Some(1) && text.contains(why),
                "{words:?}: {}: {text}",
                output.status
            );
            anyhow::Ok(())
        }
    };
    refused(&["backup", "saved"], "name a directory that does not exist yet").await?;
    refused(&["restore", "saved"], "is not empty").await?;
    refused(&["backup", "no/such/folder/saved"], "cannot write").await?;
    house.server.stop().await?;
    refused(&["restore", "saved"], "is not empty").await?;
    refused(&["restore", "nothing"], "no endpoint keys").await?;
    succeeds(folder, &["backup", "stopped", "--data-dir", &data]).await?;
    fs::write(house.data().join("endpoint-keys"), "A".repeat(43))?;
    refused(&["backup", "third"], "are not those").await?;
    let mut left: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    left.sort();
    ensure!(left == ["data", "saved", "stopped"], "{left:?}");
    Ok(())
}

#[tokio::test]
async fn a_restore_that_was_interrupted_is_not_started_with_and_can_be_repeated() -> Result<()> {
    let mut house = House::start().await?;
    let mut agent = Agent::new(house.server.connection()).await?;
    let channel = agent.subscribe().await?;
    agent.vanish();
    Application::new().send(&channel.endpoint, "waits").await?;
    let (folder, data) = (house.folder.path().to_owned(), house.data().display().to_string());
    succeeds(&folder, &["backup", "saved", "--data-dir", &data]).await?;
    house.server.stop().await?;
    fs::rename(house.data(), house.path("gone"))?;
    succeeds(&folder, &["restore", "saved", "--data-dir", &data]).await?;
    // As left by a kill right before the end.
    fs::rename(house.data().join("pushgrid.sqlite"), house.data().join("pushgrid.sqlite.new"))?;

    let text = house.refuses_to_start(1, &[]).await?;
    ensure!(text.contains("interrupted") && text.contains("pushgrid restore"), "{text}");
    let keys = fs::read_to_string(house.data().join("endpoint-keys"))?;
    fs::write(house.data().join("endpoint-keys"), "A".repeat(43))?;
    let refused = pushgrid(&folder, &["restore", "saved", "--data-dir", &data]).await?;
    let text = String::from_utf8(refused.stderr)?;
    ensure!(refused.status.code() == Some(1) && text.contains("is not from this backup"), "{text}");
    fs::write(house.data().join("endpoint-keys"), keys)?;
    succeeds(&folder, &["restore", "saved", "--data-dir", &data]).await?;
    house.server.start_again().await?;
    agent.come_back().await?;
    ensure!(body(&agent.take().await?) == "waits");
    house.server.settled().await?;
    Ok(())
}

#[tokio::test]
async fn keys_from_the_settings_are_in_the_backup() -> Result<()> {
    let house = House::start().await?;
    let folder = house.folder.path();
    let kept = fs::read_to_string(house.data().join("endpoint-keys"))?;
    fs::rename(house.data().join("endpoint-keys"), house.path("elsewhere"))?;
    let setting = format!("endpoint.keys_file={}", house.path("elsewhere").display());
    let data = house.data().display().to_string();
    succeeds(folder, &["backup", "saved", "--data-dir", &data, "--set", &setting]).await?;
    ensure!(fs::read_to_string(house.path("saved/endpoint-keys"))? == kept);
    let wrong =
        pushgrid(folder, &["backup", "other", "--data-dir", &data, "--set", "endpoint.keys=x"]).await?;
    ensure!(wrong.status.code() == Some(64), "wrong keys in the settings: {}", wrong.status);
    Ok(())
}
