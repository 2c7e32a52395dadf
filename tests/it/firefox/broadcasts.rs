//! Broadcasts in Firefox, which asks by itself for the one of its remote settings.

use std::time::Duration;

use anyhow::{Result, ensure};
use pushgrid_it::{Library, eventually};

use super::Scene;
use crate::wire::broadcasts::broadcast;

const ID: &str = "remote-settings/monitor_changes";

/// Firefox asks 16 to 20 seconds after its start on an idle machine.
const ASKED: Duration = Duration::from_mins(2);

/// Waits until so many frames of this kind have been counted.
async fn frames(scene: &Scene, direction: &str, kind: &str, count: f64) -> Result<()> {
    eventually(ASKED, &format!("{count} {kind} {direction}"), async || {
        let labels = [("direction", direction), ("kind", kind)];
        let seen = scene.server.metrics().await?.sum("pushgrid_connection_frames_total", &labels);
        ensure!(seen == Some(count), "{seen:?} were counted");
        Ok(Some(()))
    })
    .await
}

// Holds: H-23.
#[tokio::test]
async fn firefox_asks_for_the_broadcast_of_its_settings_and_is_sent_each_change() -> Result<()> {
    let mut scene = Scene::start(Library::PyWebPush, &[]).await?;
    broadcast(scene.server.operator(), &["set", ID, "\"1700000000000\""]).await?;
    let to = scene.subscribe("/broadcasts/").await?;
    frames(&scene, "in", "broadcast_subscribe", 1.0).await?;
    frames(&scene, "out", "broadcast", 1.0).await?;
    broadcast(scene.server.operator(), &["set", ID, "\"1700000000001\""]).await?;
    frames(&scene, "out", "broadcast", 2.0).await?;
    // It stays connected, and goes on as before.
    scene.deliver(&to, "after the broadcasts").await?;
    scene.page.push("/broadcasts/", b"after the broadcasts").await?;
    frames(&scene, "in", "hello", 1.0).await
}
