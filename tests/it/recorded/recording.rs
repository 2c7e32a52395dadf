//! The life of a service of the earlier release, up to a kill.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Accounts, FakeClock, Server, Target, earlier_release};
use tempfile::TempDir;

use super::{Left, LeftAgent, reading};
use crate::wire::party::{Agent, Application, Channel, body};

/// Lead of its clock in seconds: no stored message expires before.
const AHEAD: i64 = 60 * 365 * 86_400;

/// Longest TTL of a message, in seconds.
const YEAR: &str = "31536000";

#[tokio::test]
async fn what_the_earlier_release_leaves_now_is_served() -> Result<()> {
    let temporary = TempDir::with_prefix("pushgrid-it-record-")?;
    let folder =
        std::env::var_os("PUSHGRID_TEST_RECORD").map_or_else(|| temporary.path().into(), PathBuf::from);
    for (form, target) in [("standalone", Target::Standalone), ("grid", Target::Grid)] {
        let folder = folder.join(form);
        std::fs::create_dir_all(&folder)?;
        record(&folder, target).await.with_context(|| format!("recording of {form}"))?;
        reading::check(&folder, target).await.with_context(|| format!("reading of {form}"))?;
        eprintln!("{} is written and can be read", folder.display());
    }
    Ok(())
}

async fn record(folder: &Path, target: Target) -> Result<()> {
    let clock = FakeClock::new(AHEAD).await?;
    let clock = clock.settings();
    let mut settings: Vec<_> = clock.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.push(("PUSHGRID_INGRESS__MAX_TTL", "365d"));
    let mut server = Server::start_of(&earlier_release()?, target, &settings).await?;
    let left = live(&mut server).await?;
    server.save(folder).await?;
    left.write(folder)
}

/// Lives through all outcomes of messages; then the service is killed.
async fn live(server: &mut Server) -> Result<Left> {
    let app = Application::new();
    let mut away = Agent::new(server.connection()).await?;
    let [plain, topical, ended] = [away.subscribe().await?, away.subscribe().await?, away.subscribe().await?];
    let mut online = Agent::new(server.connection()).await?;
    let channel = online.subscribe().await?;
    let post = async |to: &Channel, ttl: &str, topic: Option<&str>, text: &str| {
        let mut fields = vec![("ttl", ttl)];
        fields.extend(topic.map(|topic| ("topic", topic)));
        app.accepted(&to.endpoint, &fields, text.to_owned()).await
    };

    // Delivered to a connected user agent.
    post(&plain, YEAR, None, "at once").await?;
    ensure!(body(&away.take().await?) == "at once");
    away.leave().await?;
    // Stored: one is replaced, one expires, one is cancelled, and one ends with its subscription.
    post(&plain, YEAR, None, "stored").await?;
    post(&topical, YEAR, Some("news"), "old news").await?;
    post(&topical, YEAR, Some("news"), "news").await?;
    post(&plain, "1", None, "short-lived").await?;
    let location = post(&plain, YEAR, None, "taken back").await?.location;
    let to_ended = post(&ended, YEAR, None, "to the end of its subscription").await;
    to_ended.context("it is alive")?;
    let stored = |accounts: &Accounts| accounts.ended("expired") == 1;
    server.accounts("a message of a second expired", stored).await?;
    ensure!(app.cancel(&location).await? == 204);
    away.come_back().await?;
    let waiting = [body(&away.next().await?), body(&away.next().await?), body(&away.next().await?)];
    ensure!(waiting == ["stored", "news", "to the end of its subscription"], "{waiting:?}");
    away.unsubscribe(&ended).await?;
    away.leave().await?;

    // In flight, with an ended one behind: both are above the committed offset.
    post(&channel, YEAR, None, "not acknowledged").await?;
    ensure!(body(&online.next().await?) == "not acknowledged");
    post(&channel, YEAR, None, "acknowledged").await?;
    online.take().await?;
    let ended_now =
        |accounts: &Accounts| accounts.ended("unsubscribed") == 1 && accounts.ended("delivered") == 2;
    let accounts = server.accounts("all has ended that was to", ended_now).await?;
    server.committed().await?;
    let unrouted = server.kill_before_it_routes().await?;
    let mut owed = vec!["not acknowledged".to_owned()];
    if unrouted {
        post(&channel, YEAR, None, "never routed").await?;
        owed.push("never routed".to_owned());
    }
    server.kill().await?;
    let agent = |agent: &Agent, channels: &[&Channel], owed: Vec<String>| LeftAgent {
        id: agent.id().to_hex(),
        channels: channels.iter().map(|it| (it.id.to_string(), it.endpoint.clone())).collect(),
        owed,
    };
    let waits = vec!["stored".to_owned(), "news".to_owned()];
    Ok(Left {
        agents: vec![agent(&away, &[&plain, &topical], waits), agent(&online, &[&channel], owed)],
        gone: vec![ended.endpoint],
        accepted: accounts.accepted + u64::from(unrouted),
        ended: accounts.ended,
    })
}
