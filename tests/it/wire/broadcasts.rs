//! Broadcasts: versions that an operator sets, or that the bridge takes from another push service, sent to user agents
//! that ask for them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use pushgrid_client::{Event, UserAgent};
use pushgrid_it::{Server, eventually, pushgrid, within};
use serde_json::{Value, json};

use super::party::{SOON, frame};

const ID: &str = "remote-settings/monitor_changes";

/// User agent that asks for broadcasts.
pub(crate) struct Listener(UserAgent);

impl Listener {
    /// Connects with these versions known, and returns those in the answer.
    pub(crate) async fn connect(url: &str, known: &[(&str, &str)]) -> Result<(Self, Value)> {
        let mut socket = UserAgent::connect(url).await?;
        let hello = socket.hello_asking(None, &versions(known)).await?;
        Ok((Self(socket), json!(hello.broadcasts)))
    }

    /// The next broadcast.
    pub(crate) async fn next(&mut self) -> Result<Value> {
        match self.0.next_within(SOON).await?.context("nothing came")? {
            Event::Broadcast(broadcasts) => Ok(json!(broadcasts)),
            other => bail!("not a broadcast: {other:?}"),
        }
    }

    /// Asks for more broadcasts.
    async fn ask(&mut self, known: &[(&str, &str)]) -> Result<()> {
        Ok(self.0.ask_broadcasts(&versions(known)).await?)
    }

    /// Checks that nothing has come: the answer to a ping is the next frame.
    async fn has_nothing(&mut self) -> Result<()> {
        self.0.ping().await?;
        let (answer, raw) = frame(&mut self.0).await?;
        ensure!(answer == json!({}), "{raw} came");
        Ok(())
    }
}

fn versions(known: &[(&str, &str)]) -> BTreeMap<String, String> {
    known.iter().map(|(id, version)| ((*id).to_owned(), (*version).to_owned())).collect()
}

/// Runs `pushgrid broadcast`, which must succeed, and returns its output.
pub(crate) async fn broadcast(admin: &str, words: &[&str]) -> Result<String> {
    let (success, said) = tried(admin, words).await?;
    ensure!(success, "pushgrid broadcast {words:?}: {said}");
    Ok(said)
}

/// Runs `pushgrid broadcast`: true when it has succeeded, and its output or error.
async fn tried(admin: &str, words: &[&str]) -> Result<(bool, String)> {
    let mut command = pushgrid()?;
    let output = command.args(["broadcast", "--admin", admin]).args(words).output();
    let output = within(SOON, "pushgrid broadcast", output).await??;
    let said = if output.status.success() { output.stdout } else { output.stderr };
    Ok((output.status.success(), String::from_utf8(said)?))
}

// Holds: H-03, H-04, H-23.
#[tokio::test]
async fn a_version_reaches_those_who_ask_and_outlives_a_restart() -> Result<()> {
    let mut server = Server::start().await?;
    let url = server.connection().to_owned();
    let (mut early, answer) = Listener::connect(&url, &[(ID, "\"0\"")]).await?;
    ensure!(answer == json!({}), "there is no version yet: {answer}");
    let (mut other, _) = Listener::connect(&url, &[("a/b", "1")]).await?;
    broadcast(server.operator(), &["set", ID, "\"1\""]).await?;
    ensure!(early.next().await? == json!({ID: "\"1\""}));
    other.has_nothing().await?;
    other.ask(&[(ID, "\"0\""), ("no/such", "")]).await?;
    let errors = json!({"no/such": "Broadcast not found"});
    ensure!(other.next().await? == json!({ID: "\"1\"", "errors": errors}));
    other.ask(&[(ID, "\"1\"")]).await?;
    other.has_nothing().await?;

    broadcast(server.operator(), &["set", ID, "\"2\""]).await?;
    for listener in [&mut early, &mut other] {
        ensure!(listener.next().await? == json!({ID: "\"2\""}));
    }
    server.kill().await?;
    server.start_again().await?;
    let (mut back, answer) = Listener::connect(&url, &[(ID, "\"1\"")]).await?;
    ensure!(answer == json!({ID: "\"2\""}), "{answer}");
    let (_, answer) = Listener::connect(&url, &[(ID, "\"2\"")]).await?;
    ensure!(answer == json!({}), "nothing differs: {answer}");
    let all = broadcast(server.operator(), &["list"]).await?;
    ensure!(all == format!("{ID}  \"2\"\n"), "{all:?}");

    broadcast(server.operator(), &["remove", ID]).await?;
    back.has_nothing().await?;
    back.ask(&[(ID, "\"2\"")]).await?;
    ensure!(back.next().await? == json!({"errors": {ID: "Broadcast not found"}}));
    ensure!(broadcast(server.operator(), &["list"]).await?.is_empty());
    server.restart().await?;
    let (_, answer) = Listener::connect(&url, &[(ID, "\"1\"")]).await?;
    ensure!(answer == json!({}), "it was removed: {answer}");
    Ok(())
}

#[tokio::test]
async fn an_operator_is_told_what_is_wrong() -> Result<()> {
    let token = ("PUSHGRID_ADMIN__TOKEN", "correct-horse");
    let server = Server::start_with(&[token]).await?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).map(|()| path.display().to_string())
    };
    let (right, wrong) = (file("right", "correct-horse\n")?, file("wrong", "battery-staple\n")?);
    for (words, says) in [
        (&["set", ID, "1"][..], "admin.token"),
        (&["set", ID, "1", "--token", &wrong], "admin.token"),
        (&["set", ID, "1", "--token", "no-such-file"], "cannot read the file"),
        (&["set", "a b", "1"], "the id of a broadcast"),
        (&["set", ID, ""], "the version of a broadcast"),
        (&["remove", ID, "--token", &right], "no such broadcast"),
    ] {
        let (success, said) = tried(server.operator(), words).await?;
        ensure!(!success && said.contains(says), "{words:?}: {said}");
        ensure!(!said.contains("correct-horse") && !said.contains("battery"), "{said}");
    }
    broadcast(server.operator(), &["set", ID, "1", "--token", &right]).await?;
    ensure!(broadcast(server.operator(), &["list"]).await? == format!("{ID}  1\n"));
    Ok(())
}

/// The service has the versions of an upstream, another service of this kind, over the upstream's end and its return.
#[tokio::test]
async fn the_bridge_mirrors_an_upstream_also_after_its_return() -> Result<()> {
    let mut upstream = Server::standalone_with(&[]).await?;
    broadcast(upstream.operator(), &["set", ID, "\"1\""]).await?;
    broadcast(upstream.operator(), &["set", "not/mirrored", "7"]).await?;
    let settings = [
        ("PUSHGRID_BRIDGE__UPSTREAM", upstream.connection()),
        ("PUSHGRID_BRIDGE__BROADCASTS", "second, remote-settings/monitor_changes"),
    ];
    let server = Server::start_with(&settings).await?;
    let (mut listener, answer) = Listener::connect(server.connection(), &[(ID, ""), ("second", "")]).await?;
    if answer == json!({}) {
        ensure!(listener.next().await? == json!({ID: "\"1\""}));
    } else {
        ensure!(answer == json!({ID: "\"1\""}), "{answer}");
    }
    broadcast(upstream.operator(), &["set", "second", "1"]).await?;
    ensure!(listener.next().await? == json!({"second": "1"}));
    let all = broadcast(server.operator(), &["list"]).await?;
    ensure!(all == format!("{ID}  \"1\"\nsecond  1\n"), "{all:?}");
    let up = async |expected: f64| {
        eventually(SOON, "the metric of the bridge", async || {
            let metrics = server.metrics().await?;
            let (up, age) =
                (metrics.sum("pushgrid_bridge_up", &[]), metrics.sum("pushgrid_bridge_age_seconds", &[]));
            ensure!(up == Some(expected) && age.is_some_and(|age| age < 60.0), "{up:?} {age:?}");
            Ok(Some(()))
        })
        .await
    };
    up(1.0).await?;
    let sockets = upstream.metrics().await?.sum("pushgrid_connection_sockets", &[]);
    ensure!(sockets == Some(1.0), "{sockets:?} at the upstream");

    upstream.kill().await?;
    up(0.0).await?;
    listener.has_nothing().await?;
    upstream.start_again().await?;
    broadcast(upstream.operator(), &["set", ID, "\"2\""]).await?;
    ensure!(listener.next().await? == json!({ID: "\"2\""}));
    up(1.0).await?;
    ensure!(server.metrics().await?.sum("pushgrid_broadcasts", &[]) == Some(2.0));
    Ok(())
}

/// A hundred a second get a change at least, so that a few hundred have it long before the whole time.
#[tokio::test]
async fn a_change_is_paced_by_the_number_of_those_who_ask() -> Result<()> {
    const LISTENERS: usize = 150;
    let server = Server::start_with(&[("PUSHGRID_CONNECTION__BROADCAST_SPREAD", "1h")]).await?;
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS {
        listeners.push(Listener::connect(server.connection(), &[(ID, "")]).await?.0);
    }
    let begun = tokio::time::Instant::now();
    broadcast(server.operator(), &["set", ID, "1"]).await?;
    for listener in &mut listeners {
        ensure!(listener.next().await? == json!({ID: "1"}));
    }
    let took = begun.elapsed();
    ensure!(took >= Duration::from_secs(1), "{LISTENERS} had it after {took:?}");
    Ok(())
}
