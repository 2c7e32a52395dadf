//! Thousands of damaged copies of every valid input. Each gets an answer or a clean close in time; the service does not
//! panic, loses nothing, keeps its account, and needs no more memory.
//!
//! A fault names the seed and the number of the mutation: the same seed makes the same mutations again.

mod damage;
mod deletes;
mod frames;
mod pushes;
mod shape;
mod upgrades;

use std::env;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;

use super::scene::Scene;
use damage::Damage;

/// Mutations of each valid thing.
const COUNT: u64 = 10_000;

/// Connections at once.
const LANES: u64 = 48;

/// Most growth of the process, in octets.
const GROWTH: f64 = 64.0 * 1024.0 * 1024.0;

const SEED: &str = "PUSHGRID_TEST_SEED";

/// Source of damaged copies.
trait Lane {
    /// Sends one damaged copy, and checks that the answer is clear.
    async fn mutation(&mut self, damage: &mut Damage) -> Result<()>;
}

/// Sends all mutations of `what`, each lane one after the other.
async fn storm<L: Lane>(what: &str, lanes: &mut [L]) -> Result<()> {
    let seed = match env::var(SEED) {
        Ok(seed) => seed.parse().with_context(|| format!("{SEED} is not a number"))?,
        Err(_) => 8030,
    };
    let step = lanes.len();
    try_join_all(lanes.iter_mut().enumerate().map(async |(first, lane)| {
        for number in (u64::try_from(first)?..COUNT).step_by(step) {
            let mut damage = Damage::new(seed, what, number);
            let outcome = lane.mutation(&mut damage).await;
            outcome.with_context(|| {
                format!("{what}, mutation {number} with {SEED}={seed}: {}", damage.shown())
            })?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(())
}

/// Checks after all input: no panic, bounded memory, an account that adds up, and a working service.
async fn unharmed(scene: &mut Scene, before: f64) -> Result<()> {
    scene.calm()?;
    scene.works().await?;
    let accounts = scene.server.settled().await?;
    ensure!(accounts.add_up(), "{accounts:?}");
    let growth = scene.resident().await? - before;
    ensure!(growth < GROWTH, "the process has grown by {growth} octets");
    Ok(())
}
