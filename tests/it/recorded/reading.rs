//! This release on the data of an earlier one.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Server, Target, target};

use super::{Left, kept};
use crate::grid::at;
use crate::wire::party::{Agent, Application, Channel, body};

#[tokio::test]
async fn what_an_earlier_release_has_left_is_served() -> Result<()> {
    let form = match target()? {
        Target::Standalone => "standalone",
        Target::Grid => "grid",
    };
    check(&kept(form), target()?).await
}

/// Starts the service on a copy of `folder`, and takes all messages owed.
pub(super) async fn check(folder: &Path, target: Target) -> Result<()> {
    let left = Left::read(folder)?;
    let server = match target {
        Target::Standalone => Server::standalone_on(&folder.join("data")).await?,
        Target::Grid => Server::grid_on(&folder.join("records"), &folder.join("endpoint-keys")).await?,
    };
    let owed: u64 = left.agents.iter().map(|agent| agent.owed.len() as u64).sum();
    let as_left = server.accounts("all is on the books", |accounts| accounts.pending == owed).await?;
    ensure!(as_left.accepted == left.accepted && as_left.ended == left.ended, "{as_left:?} after {left:?}");
    let app = Application::new();
    let mut more = 0;
    for (number, known) in left.agents.iter().enumerate() {
        let mut agent = Agent::known(server.connection(), known.id.parse()?);
        agent.come_back().await.with_context(|| format!("user agent {number}"))?;
        for owed in &known.owed {
            let came = body(&agent.take().await.with_context(|| format!("{owed:?} did not come"))?);
            ensure!(came == *owed, "{came:?} came, and {owed:?} was the next");
        }
        for (id, endpoint) in &known.channels {
            let channel = Channel { id: id.parse()?, endpoint: at(server.ingress(), endpoint)? };
            agent.nothing_waits(&channel).await?;
            more += 1;
        }
        agent.leave().await?;
    }
    for endpoint in &left.gone {
        app.refused(404, &at(server.ingress(), endpoint)?, &[("ttl", "60")], "to nobody").await?;
    }
    let accounts = server.settled().await?;
    ensure!(accounts.accepted == left.accepted + more, "{accounts:?} after {left:?}");
    let delivered = left.ended.get("delivered").copied().unwrap_or_default() + owed + more;
    ensure!(accounts.ended("delivered") == delivered, "{accounts:?} after {left:?}");
    Ok(())
}
