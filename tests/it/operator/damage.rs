//! Damage to the database of standalone: refused or named, and its loss booked.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::eventually;

use super::{House, loss};
use crate::wire::party::{Agent, Application, SOON};

const COUNT: usize = 60;

/// Octets of a frame of the write-ahead log, and of the header before the first.
const FRAME: usize = 24 + 4096;
const HEADER: usize = 32;

/// Frames after which the log is moved into the file, and may begin anew: the first frames only are the log then.
const STEP: usize = 1024;

#[tokio::test]
async fn a_log_that_is_damaged_after_a_kill_is_refused_and_its_loss_booked_when_it_is_accepted() -> Result<()>
{
    let mut house = House::start().await?;
    let mut agent = Agent::new(house.server.connection()).await?;
    let channel = agent.subscribe().await?;
    agent.vanish();
    let app = Application::new();
    for number in 0..COUNT {
        app.send(&channel.endpoint, &number.to_string()).await?;
    }
    house.server.kill().await?;
    let log = house.data().join("pushgrid.sqlite-wal");
    let mut octets = fs::read(&log)?;
    let frames = (octets.len() - HEADER) / FRAME;
    ensure!(frames > COUNT && frames < STEP, "{frames} frames: none is damaged that holds something");
    octets[HEADER + frames / 2 * FRAME + 1000] ^= 1;
    fs::write(&log, &octets)?;

    let text = house.refuses_to_start(1, &[]).await?;
    ensure!(text.contains("is damaged at frame") && text.contains("pushgrid restore"), "{text}");
    ensure!(fs::read(&log)? == octets, "nothing was changed");
    house.refuses_to_start(1, &["standalone.accept_loss=log-0"]).await?;
    house.server.set("PUSHGRID_STANDALONE__ACCEPT_LOSS", &loss(&text)?)?;
    house.server.start_again().await?;
    let accounts = house.server.accounts("all are on the books", |it| it.accepted == COUNT as u64).await?;
    let lost = house.server.metrics().await?.sum("pushgrid_store_lost_messages_total", &[]);
    ensure!(accounts.add_up() && accounts.ended("dropped_damaged") > 0, "{accounts:?}");
    #[expect(clippy::cast_precision_loss, reason = "fewer than a thousand")]
    let dropped = accounts.ended("dropped_damaged") as f64;
    ensure!(lost == Some(dropped), "{lost:?} are lost, and the books say {accounts:?}");
    agent.come_back().await?;
    agent.take_all(usize::try_from(accounts.pending)?).await?;
    house.server.settled().await?;
    // A loss that was accepted once is not named again.
    house.server.restart().await
}

#[tokio::test]
async fn a_damaged_page_is_named_while_the_service_runs() -> Result<()> {
    let mut house = House::start().await?;
    let mut agent = Agent::new(house.server.connection()).await?;
    agent.subscribe().await?;
    house.server.restart().await?;
    let database = house.data().join("pushgrid.sqlite");
    let octets = fs::read(&database)?;
    let id = agent.id();
    // The page of subscriptions is the leaf of an index (type 10) with the id of the user agent in it.
    let page = octets.chunks(4096).position(|page| page[0] == 10 && holds(page, id.as_octets()));
    let page = page.context("the subscription is in the file")?;
    OpenOptions::new().write(true).open(&database)?.write_all_at(&[0xff; 8], page as u64 * 4096)?;
    agent.vanish();
    ensure!(agent.come_back().await.is_err(), "its subscription cannot be read");
    let told = async || {
        let (status, ready) = house.server.admin_get("/readyz").await?;
        ensure!(status == 200, "others are served: {ready}");
        Ok(ready.contains("store: the database is damaged").then_some(()))
    };
    eventually(SOON, "the operator is told", told).await?;
    let met = house.server.metrics().await?.sum("pushgrid_store_damage_met_total", &[]);
    ensure!(met.is_some_and(|met| met > 0.0), "{met:?}");
    let log = house.server.log()?;
    ensure!(log.contains("the database is damaged") && log.contains("pushgrid restore"), "{log}");
    Ok(())
}

fn holds(page: &[u8], octets: &[u8]) -> bool {
    page.windows(octets.len()).any(|window| window == octets)
}
