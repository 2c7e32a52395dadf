//! Senders with pooled connections: a refusal does not break the connection, and the next message goes through.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use pushgrid_client::UserAgent;
use pushgrid_it::{Pooled, Server, pooled, within};
use pushgrid_types::SystemRng;
use serde::Deserialize;

/// Refused messages, and as many accepted ones.
const COUNT: u32 = 300;

/// Deadline of all, on a busy machine.
const END: Duration = Duration::from_mins(3);

/// Report of a sender.
#[derive(Debug, Deserialize)]
struct Report {
    statuses: BTreeMap<u16, u32>,
    connections: u32,
    faults: Vec<String>,
}

#[tokio::test]
async fn a_refusal_does_not_cost_a_pooled_sender_its_next_message() -> Result<()> {
    let server = Server::start().await?;
    let mut user_agent = UserAgent::connect(server.connection()).await?;
    user_agent.hello(None).await?;
    let subscription = user_agent.subscribe(&SystemRng, None).await?;
    let valid = subscription.endpoint();
    let (origin, _) = valid.split_once("/push/").context("an endpoint")?;
    let refused = format!("{origin}/push/none");
    // Accepted messages are stored: no user agent is connected.
    user_agent.close().await?;
    let all = Pooled::ALL.map(async |library| {
        let mut command = pooled(library)?;
        command.args([valid, &refused, &COUNT.to_string()]);
        let ended = within(END, "the sender's end", command.output()).await??;
        anyhow::Ok((library, ended))
    });
    for (library, ended) in try_join_all(all).await? {
        let said = String::from_utf8_lossy(&ended.stdout);
        ensure!(ended.status.success(), "{library:?}: {}", String::from_utf8_lossy(&ended.stderr));
        let report: Report = serde_json::from_str(&said).with_context(|| format!("{library:?}: {said}"))?;
        ensure!(report.faults.is_empty(), "{library:?}: {report:?}");
        let expected = BTreeMap::from([(201, COUNT), (400, COUNT / 2), (404, COUNT / 2)]);
        ensure!(report.statuses == expected, "{library:?}: {report:?}");
        ensure!(report.connections == 1, "{library:?}: {report:?}");
    }
    Ok(())
}
