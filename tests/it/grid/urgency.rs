//! The least urgency of a user agent, in a grid whose routers come and go.

use anyhow::{Result, ensure};
use pushgrid_it::Shape;
use pushgrid_types::Urgency;

use super::{shared, url};
use crate::wire::party::{Agent, Application, body};

#[tokio::test]
async fn the_least_urgency_of_a_session_outlives_its_router() -> Result<()> {
    let shape = Shape { ingress: 1, router: 2, connection: 1 };
    let (mut grid, _turn) = shared(shape, &[]).await?;
    let app = Application::new();
    let post = async |endpoint: &str, urgency: &'static str| {
        app.accepted(endpoint, &[("ttl", "60"), ("urgency", urgency)], urgency).await
    };
    // Of several, some are with each router.
    let mut agents = Vec::new();
    for _ in 0..8 {
        let mut agent = Agent::new(url(&grid.connection[0])).await?;
        let channel = agent.subscribe().await?;
        agent.socket()?.set_urgency(Urgency::Normal).await?;
        post(&channel.endpoint, "low").await?;
        agents.push((agent, channel));
    }
    grid.router[0].kill().await?;
    for (agent, channel) in &mut agents {
        for urgency in ["very-low", "normal", "low", "high"] {
            post(&channel.endpoint, urgency).await?;
        }
        let came = [body(&agent.take().await?), body(&agent.take().await?)];
        ensure!(came == ["normal", "high"], "{came:?}");
    }
    grid.accounts("what is below waits", |it| it.pending == 24 && it.ended("delivered") == 16).await?;
    for (agent, _) in &mut agents {
        agent.socket()?.set_urgency(Urgency::LEAST).await?;
        let mut came = Vec::new();
        for _ in 0..3 {
            came.push(body(&agent.take().await?));
        }
        came.sort();
        ensure!(came == ["low", "low", "very-low"], "{came:?}");
    }
    grid.router[0].start().await?;
    grid.accounts("all are delivered", |it| it.ended("delivered") == 40).await?;
    Ok(())
}
