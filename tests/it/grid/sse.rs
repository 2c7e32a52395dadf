//! A user agent without a WebSocket whose requests reach any node, as behind a balancer.

use anyhow::{Result, ensure};
use pushgrid_it::Shape;

use super::{shared, url};
use crate::wire::party::Application;
use crate::wire::sse::{Subscription, body};

#[tokio::test]
async fn a_stream_at_one_node_is_acknowledged_superseded_and_ended_at_another() -> Result<()> {
    let shape = Shape { ingress: 1, router: 1, connection: 2 };
    let (grid, _turn) = shared(shape, &[("PUSHGRID_ROUTER__WINDOW", "2")]).await?;
    let app = Application::new();
    let here = Subscription::new(url(&grid.connection[0])).await?;
    let there = here.at(url(&grid.connection[1]));
    let mut first = there.read().await?;
    for number in 0..6 {
        app.send(&here.endpoint, &number.to_string()).await?;
        let event = first.next().await?;
        ensure!(body(&event)? == number.to_string(), "{event:?}");
        ensure!([here.ack(&event).await?, there.ack(&event).await?] == [204, 404]);
    }
    app.send(&here.endpoint, "again").await?;
    let event = first.next().await?;
    let mut second = here.read().await?;
    ensure!(first.ending().await? == "superseded");
    ensure!(second.next().await? == event, "another message came");
    ensure!(there.end().await? == 204);
    ensure!(second.ending().await? == "superseded");
    ensure!([here.end().await?, here.ack(&event).await?] == [404; 2]);
    grid.accounts("all have ended", |it| it.ended("delivered") == 6 && it.ended("unsubscribed") == 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_stream_outlives_its_router_and_is_sent_nothing_twice() -> Result<()> {
    let shape = Shape { ingress: 1, router: 2, connection: 1 };
    let (mut grid, _turn) = shared(shape, &[]).await?;
    let app = Application::new();
    // Of several, some are with each router.
    let mut streams = Vec::new();
    for _ in 0..8 {
        let to = Subscription::new(url(&grid.connection[0])).await?;
        let mut reader = to.read().await?;
        app.send(&to.endpoint, "before").await?;
        let before = reader.next().await?;
        streams.push((to, reader, before));
    }
    grid.router[0].kill().await?;
    for (to, reader, before) in &mut streams {
        app.send(&to.endpoint, "after").await?;
        let after = reader.next().await?;
        ensure!(body(&after)? == "after", "{after:?}");
        ensure!([to.ack(before).await?, to.ack(&after).await?] == [204; 2]);
    }
    grid.router[0].start().await?;
    grid.accounts("all are delivered", |it| it.ended("delivered") == 16).await?;
    Ok(())
}
