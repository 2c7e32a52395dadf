//! A user agent that takes server push, and whose requests reach any node, as behind a balancer.

use anyhow::{Result, ensure};
use http::Method;
use pushgrid_it::Shape;

use super::{shared, url};
use crate::wire::party::Application;
use crate::wire::push::bodies;
use crate::wire::push::client::Connection;
use crate::wire::sse::Subscription;

// Holds.
#[tokio::test]
async fn a_set_monitored_at_one_node_grows_is_read_acknowledged_and_ended_at_another() -> Result<()> {
    let shape = Shape { ingress: 1, router: 1, connection: 2 };
    let (mut grid, _turn) = shared(shape, &[]).await?;
    let app = Application::new();
    let one = Subscription::new(url(&grid.connection[0])).await?;
    let mut here = Connection::new(url(&grid.connection[0])).await?;
    let mut there = Connection::new(url(&grid.connection[1])).await?;
    let mut monitoring = there.monitor(&one.set, &[])?;
    app.send(&one.endpoint, "first").await?;
    let first = monitoring.next().await?;
    let other = one.another().await?;
    app.send(&other.endpoint, "of another").await?;
    let push = monitoring.next().await?;
    ensure!(push.body == "of another" && push.fields["link"].to_str()?.contains(&other.endpoint));
    for connection in [&mut here, &mut there] {
        let (status, _, body) = connection.ask(Method::GET, &push.path, &[]).await?;
        ensure!(status == 200 && body == push.body);
    }
    ensure!([here.ack(&push).await?, there.ack(&push).await?] == [204, 404]);
    ensure!(there.ask(Method::GET, &push.path, &[]).await?.0 == 404);
    // The node is lost between the push and the acknowledgement.
    grid.connection[1].kill().await?;
    let (pushes, status) = here.waiting(&one.set).await?;
    ensure!(bodies(&pushes) == ["first"] && pushes[0].path == first.path && status == 200, "{pushes:?}");
    ensure!(here.ack(&first).await? == 204);
    grid.connection[1].start().await?;
    let mut there = Connection::new(url(&grid.connection[1])).await?;
    let mut monitoring = there.monitor(&one.set, &[])?;
    app.send(&one.endpoint, "last").await?;
    let last = monitoring.next().await?;
    ensure!(here.ask(Method::DELETE, &one.set, &[]).await?.0 == 204);
    ensure!(monitoring.end().await? == 404);
    ensure!(there.ack(&last).await? == 404 && other.end().await? == 404);
    grid.accounts("all have ended", |it| it.ended("delivered") == 2 && it.ended("unsubscribed") == 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_request_outlives_its_router_and_is_pushed_nothing_twice() -> Result<()> {
    let shape = Shape { ingress: 1, router: 2, connection: 1 };
    let (mut grid, _turn) = shared(shape, &[]).await?;
    let app = Application::new();
    // Of several, some are with each router.
    let mut streams = Vec::new();
    for _ in 0..8 {
        let to = Subscription::new(url(&grid.connection[0])).await?;
        let mut connection = Connection::new(url(&grid.connection[0])).await?;
        let mut monitoring = connection.monitor(&to.path, &[])?;
        app.send(&to.endpoint, "before").await?;
        let before = monitoring.next().await?;
        streams.push((to, connection, monitoring, before));
    }
    grid.router[0].kill().await?;
    for (to, connection, monitoring, before) in &mut streams {
        app.send(&to.endpoint, "after").await?;
        let after = monitoring.next().await?;
        ensure!(after.body == "after", "{after:?}");
        ensure!(connection.ask(Method::GET, &before.path, &[]).await?.0 == 200);
        ensure!([connection.ack(before).await?, connection.ack(&after).await?] == [204; 2]);
    }
    grid.router[0].start().await?;
    grid.accounts("all are delivered", |it| it.ended("delivered") == 16).await?;
    Ok(())
}
