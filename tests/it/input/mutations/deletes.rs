//! Damaged copies of `DELETE` requests: each is answered, and cancels nothing else.

use anyhow::{Context as _, Result, ensure};

use super::damage::Damage;
use super::pushes::{Line, SETTINGS, clear};
use super::{LANES, Lane, storm, unharmed};
use crate::input::request::{Request, path};
use crate::input::scene::Scene;

#[derive(Debug)]
struct Delete {
    line: Line,
    /// Message to be cancelled next.
    push: Request,
    valid: Request,
    cancelled: u64,
}

impl Delete {
    /// Posts a message to cancel.
    async fn renew(&mut self) -> Result<()> {
        let answers = self.line.exchange(&self.push.octets()).await?;
        let [answer] = answers.as_slice() else { anyhow::bail!("{} answers", answers.len()) };
        ensure!(answer.status == 201, "answered {}", answer.status);
        let location = answer.field("location").context("no Location")?;
        self.valid = Request::new("DELETE", path(location)?);
        Ok(())
    }
}

impl Lane for Delete {
    async fn mutation(&mut self, damage: &mut Damage) -> Result<()> {
        let octets = damage.to(&self.valid.octets(), &[&self.push.head()]);
        let answers = self.line.exchange(&octets).await?;
        let cancelled = clear(&answers, 204)?;
        ensure!(cancelled <= 1, "a message was cancelled {cancelled} times");
        if cancelled == 1 {
            self.cancelled += 1;
            self.renew().await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn mutated_cancels_are_answered_and_cancel_nothing_else() -> Result<()> {
    let mut scene = Scene::start_with(&SETTINGS).await?;
    scene.works().await?;
    let before = scene.resident().await?;
    let subscription = scene.open().await?;
    scene.go_offline().await?;
    let push = Request::push(&subscription, b"to be cancelled")?.instead("TTL", "86400");
    scene.send(&Request::push(&subscription, b"not to be cancelled")?.instead("TTL", "86400")).await?;
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        let mut lane = Delete {
            line: Line::new(scene.server.ingress()),
            push: push.clone(),
            valid: push.clone(),
            cancelled: 0,
        };
        lane.renew().await?;
        lanes.push(lane);
    }
    storm("a cancel", &mut lanes).await?;
    let cancelled = lanes.iter().map(|lane| lane.cancelled).sum::<u64>();
    ensure!(cancelled > 0, "no mutation was harmless: they are too coarse");
    // Each lane has one stored message, beside the one whose address was never used.
    let accounts =
        scene.server.accounts("all but these ended", |accounts| accounts.pending == LANES + 1).await?;
    ensure!(accounts.ended("cancelled") == cancelled, "{cancelled} were cancelled: {accounts:?}");
    for lane in &lanes {
        let answer = scene.ask(&lane.valid).await?;
        ensure!(answer.status == 204, "the message of a lane is gone: answered {}", answer.status);
    }
    scene.come_back().await?;
    scene.receives(&subscription, b"not to be cancelled").await?;
    unharmed(&mut scene, before).await
}
