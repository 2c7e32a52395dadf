//! `pushgrid listen` as a process: a message that was printed once is not printed again.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Server, eventually, pushgrid, within};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::wire::party::{Agent, SOON};

/// Runs the command in `folder` until `count` messages were printed, and returns the bodies.
async fn listen(folder: &Path, server: &Server, count: usize) -> Result<Vec<String>> {
    listen_with(folder, server, count, &[]).await
}

/// The same with more options.
async fn listen_with(folder: &Path, server: &Server, count: usize, more: &[&str]) -> Result<Vec<String>> {
    let mut listen: Command = pushgrid()?;
    listen.current_dir(folder).args(["listen", "--json", "--url", server.connection()]);
    listen.args(["--subscription", "subscription.json", "--count", &count.to_string()]).args(more);
    let output = within(SOON, "the messages", listen.stderr(Stdio::inherit()).output()).await??;
    ensure!(output.status.success(), "listen ended with {}", output.status);
    let lines = String::from_utf8(output.stdout)?;
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines.filter_map(|line| Some(line.get("text")?.as_str()?.to_owned())).collect())
}

/// Sends a message to the subscription of the folder.
async fn send(folder: &Path, text: &str, more: &[&str]) -> Result<()> {
    let mut send = pushgrid()?;
    send.current_dir(folder)
        .args(["send", "--subscription", "subscription.json", "--message", text])
        .args(more);
    ensure!(within(SOON, "the answer", send.status()).await??.success(), "{text} was not sent");
    Ok(())
}

async fn subscribed(folder: &Path) -> Result<()> {
    let file = folder.join("subscription.json");
    eventually(SOON, "a subscription", async || Ok(file.exists().then_some(()))).await
}

// Holds: G-07.
#[tokio::test]
async fn what_is_below_the_urgency_waits_for_the_next_process() -> Result<()> {
    let server = Server::start().await?;
    for transport in ["ws", "h2", "sse"] {
        let folder = TempDir::with_prefix("pushgrid-it-")?;
        let sent = async {
            subscribed(folder.path()).await?;
            send(folder.path(), "low", &["--urgency", "low"]).await?;
            send(folder.path(), "high", &["--urgency", "high"]).await
        };
        let options = ["--transport", transport, "--urgency", "normal"];
        let (printed, sent) = tokio::join!(listen_with(folder.path(), &server, 1, &options), sent);
        sent?;
        ensure!(printed? == ["high"], "by {transport}");
        ensure!(listen_with(folder.path(), &server, 1, &options[..2]).await? == ["low"], "by {transport}");
    }
    Ok(())
}

#[tokio::test]
async fn a_message_that_comes_again_to_the_next_process_is_acknowledged_and_not_printed_again() -> Result<()>
{
    let server = Server::start().await?;
    let folder = TempDir::with_prefix("pushgrid-it-")?;
    let send = async |text: &str| send(folder.path(), text, &[]).await;
    let written = async {
        subscribed(folder.path()).await?;
        send("first").await
    };
    let (printed, written) = tokio::join!(listen(folder.path(), &server, 1), written);
    written?;
    ensure!(printed? == ["first"]);

    // The second one is printed by a process that is killed before its acknowledgement: all that stays of it is the line
    // in its file.
    send("second").await?;
    let state: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("pushgrid-listen.json"))?)?;
    let id = state["user_agent"].as_str().context("the state has the user agent")?.parse()?;
    let mut killed = Agent::known(server.connection(), id);
    killed.come_back().await?;
    let version = killed.next().await?.version;
    killed.vanish();
    let file = folder.path().join("pushgrid-listen.json.recent");
    let before = std::fs::read_to_string(&file)?;
    ensure!(before.lines().count() == 1 && !before.contains(&version), "the first one alone: {before}");
    std::fs::write(&file, format!("{before}{version}\n"))?;

    send("third").await?;
    ensure!(listen(folder.path(), &server, 1).await? == ["third"]);
    let all_delivered = |it: &pushgrid_it::Accounts| it.ended("delivered") == 3 && it.pending == 0;
    server.accounts("all three are acknowledged", all_delivered).await?;
    Ok(())
}

/// Waits for the subscription, and sends messages to it.
async fn send_all(folder: &Path, texts: &[&str]) -> Result<()> {
    subscribed(folder).await?;
    for text in texts {
        send(folder, text, &[]).await?;
    }
    Ok(())
}

/// Every way of the messages: what was sent before, meanwhile, and while nobody listens comes once and in order, and
/// what the killed process has printed does not come again.
async fn listens(transport: &str) -> Result<()> {
    let server = Server::start().await?;
    let folder = TempDir::with_prefix("pushgrid-it-")?;
    let by = ["--transport", transport];
    let (printed, sent) =
        tokio::join!(listen_with(folder.path(), &server, 2, &by), send_all(folder.path(), &["one", "two"]));
    sent?;
    ensure!(printed? == ["one", "two"]);
    send_all(folder.path(), &["three", "four"]).await?;
    ensure!(listen_with(folder.path(), &server, 2, &by).await? == ["three", "four"]);
    // Printed by a process that was killed before the acknowledgement: all that is left of it is the last line.
    send_all(folder.path(), &["five", "six"]).await?;
    let state: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("pushgrid-listen.json"))?)?;
    let path = state["path"].as_str().context("the state has the path")?;
    let event = crate::wire::sse::waiting_at(server.connection(), path).await?;
    let file = folder.path().join("pushgrid-listen.json.recent");
    let before = std::fs::read_to_string(&file)?;
    ensure!(before.lines().count() == 4, "four were printed: {before}");
    std::fs::write(&file, format!("{before}{}\n", event[0]))?;
    ensure!(listen_with(folder.path(), &server, 1, &by).await? == ["six"]);
    let all_delivered = |it: &pushgrid_it::Accounts| it.ended("delivered") == 6 && it.pending == 0;
    server.accounts("all are acknowledged", all_delivered).await?;
    Ok(())
}

#[tokio::test]
async fn a_listener_by_server_push_prints_each_message_once() -> Result<()> {
    listens("h2").await
}

#[tokio::test]
async fn a_listener_by_events_prints_each_message_once() -> Result<()> {
    listens("sse").await
}
