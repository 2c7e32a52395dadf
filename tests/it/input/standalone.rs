//! What only the one process has: a file of a bounded size.

use anyhow::{Result, ensure};
use pushgrid_it::Server;

use super::limits::asks_to_wait;
use super::request::Request;
use super::scene::{Scene, explains};

#[tokio::test]
async fn a_full_disk_is_said_to_the_sender_and_nothing_accepted_is_lost() -> Result<()> {
    let mut scene =
        Scene::over(Server::standalone_with(&[("PUSHGRID_STANDALONE__MAX_SIZE", "1MiB")]).await?).await?;
    let subscription = scene.open().await?;
    scene.go_offline().await?;
    let payload = |number: u16| [number.to_be_bytes().to_vec(), vec![0; 3000]].concat();
    let mut accepted = 0;
    let refused = loop {
        let answer = scene.ask(&Request::push(&subscription, &payload(accepted))?).await?;
        if answer.status != 201 {
            break answer;
        }
        accepted += 1;
        ensure!(accepted < 1000, "three megabytes went into a file of one");
    };
    ensure!(refused.status == 503, "answered {}", refused.status);
    explains(&refused, "try again")?;
    asks_to_wait(&refused)?;
    scene.come_back().await?;
    for number in 0..accepted {
        scene.receives(&subscription, &payload(number)).await?;
    }
    let accounts = scene.server.settled().await?;
    ensure!(accounts.accepted == u64::from(accepted), "{accepted} were accepted: {accounts:?}");
    ensure!(accounts.ended("delivered") == u64::from(accepted), "{accounts:?}");
    // There is room again.
    scene.works().await
}
