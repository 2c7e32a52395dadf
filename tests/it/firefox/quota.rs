use std::time::Duration;

use anyhow::{Result, ensure};
use pushgrid_it::{Library, eventually};
use serde_json::Value;

use super::Scene;

/// Time for Firefox to enter a visit in its history.
const VISIT: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_worker_that_shows_nothing_uses_up_its_quota_and_its_subscription_ends() -> Result<()> {
    let mut scene = Scene::start(Library::RustWebPush, &[("dom.push.maxQuotaPerSubscription", "2")]).await?;
    let to = scene.subscribe("/silent/").await?;
    scene.firefox.close_page().await?;
    scene.deliver(&to, "the first").await?;
    let (shown, _) = scene.page.push("/silent/", b"the first").await?;
    ensure!(shown.is_empty(), "a silent worker has shown {shown:?}");
    scene.refused_in_the_end(&to).await?;
    // Messages that Firefox no longer wanted have their outcome too.
    let accounts = scene.server.settled().await?;
    ensure!(accounts.ended("delivered") >= 2, "{accounts:?}");

    // A visit gives the quota back. Firefox looks for one when the page asks for its subscription.
    let origin = scene.page.origin();
    scene.firefox.open(&origin).await?;
    eventually(VISIT, "the end of the subscription, told to the worker", async || {
        let found = scene.subscription("/silent/").await?;
        ensure!(found == Value::Null, "a subscription is left");
        Ok((scene.page.subscription_changes() > 0).then_some(()))
    })
    .await?;
    let next = scene.subscribe("/silent/").await?;
    scene.deliver(&next, "after a visit").await?;
    scene.page.push("/silent/", b"after a visit").await?;
    scene.refused(&to).await
}
