//! Restarts of the service and of Firefox: no message and no subscription is lost.

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::PushSubscription;
use pushgrid_it::Library;
use serde_json::json;

use super::Scene;

const SCOPE: &str = "/restarts/";

// Holds.
#[tokio::test]
async fn no_message_and_no_subscription_is_lost_when_the_service_or_firefox_restarts() -> Result<()> {
    let mut scene = Scene::start(Library::NpmWebPush, &[]).await?;
    let to = scene.subscribe(SCOPE).await?;
    scene.deliver(&to, "before").await?;
    scene.page.push(SCOPE, b"before").await?;

    service_stopped(&mut scene, &to).await.context("the service was stopped and started")?;
    service_killed(&mut scene, &to).await.context("the service was killed and started")?;
    firefox_away(&mut scene, &to).await.context("Firefox was away while the service was killed")?;

    ensure!(scene.page.subscription_changes() == 0, "Firefox has lost a subscription");
    Ok(())
}

async fn service_stopped(scene: &mut Scene, to: &PushSubscription) -> Result<()> {
    scene.server.restart().await?;
    // Firefox is most likely not back yet: stored or live, the message must be delivered.
    scene.deliver(to, "after a stop").await?;
    scene.page.push(SCOPE, b"after a stop").await?;
    still_subscribed(scene, to).await
}

async fn service_killed(scene: &mut Scene, to: &PushSubscription) -> Result<()> {
    let burst: Vec<String> = (0..10).map(|number| format!("before the kill, {number}")).collect();
    for payload in &burst {
        scene.deliver(to, payload).await?;
    }
    scene.server.kill().await?;
    scene.server.start_again().await?;
    scene.deliver(to, "after a kill").await?;
    for payload in burst.iter().map(String::as_str).chain(["after a kill"]) {
        scene.page.push(SCOPE, payload.as_bytes()).await?;
    }
    still_subscribed(scene, to).await
}

async fn firefox_away(scene: &mut Scene, to: &PushSubscription) -> Result<()> {
    let before = scene.server.settled().await?;
    scene.firefox.quit().await?;
    let waiting: Vec<String> = (0..5).map(|number| format!("while Firefox was away, {number}")).collect();
    for payload in &waiting {
        scene.deliver(to, payload).await?;
    }
    scene.server.kill().await?;
    scene.server.start_again().await?;
    scene.server.accounts("all wait", |accounts| accounts.pending == waiting.len() as u64).await?;
    scene.firefox.start_again().await?;
    for payload in &waiting {
        let (_, pages) = scene.page.push(SCOPE, payload.as_bytes()).await?;
        ensure!(pages == 0, "{pages} pages were open");
    }
    let after = scene.server.settled().await?;
    let delivered = after.ended("delivered") - before.ended("delivered");
    ensure!(delivered == waiting.len() as u64, "{delivered} were delivered: {after:?}");
    let origin = scene.page.origin();
    scene.firefox.open(&origin).await?;
    still_subscribed(scene, to).await
}

/// Checks that the page has its subscription, and that Firefox has not taken it away.
async fn still_subscribed(scene: &mut Scene, to: &PushSubscription) -> Result<()> {
    let found = scene.subscription(SCOPE).await?;
    ensure!(found["endpoint"] == json!(to.endpoint), "the page has another subscription, or none");
    Ok(())
}
