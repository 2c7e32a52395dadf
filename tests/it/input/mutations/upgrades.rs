use anyhow::{Result, ensure};

use super::damage::Damage;
use super::{LANES, Lane, storm, unharmed};
use crate::input::raw::Wire;
use crate::input::request::Request;
use crate::input::scene::Scene;
use crate::input::websocket::{Socket, UPGRADE};

/// No patience with a head that is cut off.
const SETTINGS: [(&str, &str); 1] = [("PUSHGRID_CONNECTION__HEADER_TIMEOUT", "1s")];

#[derive(Debug)]
struct Upgrade {
    url: String,
}

impl Lane for Upgrade {
    async fn mutation(&mut self, damage: &mut Damage) -> Result<()> {
        let octets = damage.to(UPGRADE, &[]);
        // Ends the connection for HTTP; not a frame for a WebSocket.
        let last = Request::new("GET", "/end").with("Connection", "close").octets();
        let mut wire = Wire::open(&self.url).await?;
        wire.try_send(&[octets, last].concat()).await?;
        while let Some(answer) = wire.answer().await? {
            if answer.status == 101 {
                let close = Socket::upgraded_by(wire).closed().await?;
                return close.map_or(Ok(()), |close| close.is_clear());
            }
            ensure!(answer.status < 500, "answered {}", answer.status);
        }
        Ok(())
    }
}

#[tokio::test]
async fn mutated_upgrades_are_answered() -> Result<()> {
    let mut scene = Scene::start_with(&SETTINGS).await?;
    scene.works().await?;
    let before = scene.resident().await?;
    let lane = |_| Upgrade { url: scene.server.connection().to_owned() };
    let mut lanes: Vec<_> = (0..LANES).map(lane).collect();
    storm("an upgrade", &mut lanes).await?;
    unharmed(&mut scene, before).await
}
