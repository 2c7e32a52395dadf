//! Properties of standalone alone: a file of a bounded size.

use anyhow::{Result, ensure};
use pushgrid_it::{Port, Server};

use super::limits::asks_to_wait;
use super::request::Request;
use super::scene::{Scene, explains};

// Holds.
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

#[tokio::test]
async fn endpoints_that_only_this_machine_reaches_are_said_at_the_start() -> Result<()> {
    const WARNING: &str = "set ingress.public_url (PUSHGRID_INGRESS__PUBLIC_URL)";
    let port = Port::reserve()?;
    let everywhere = port.address().replace("127.0.0.1", "0.0.0.0");
    let listen = ("PUSHGRID_INGRESS__LISTEN", everywhere.as_str());
    let server = Server::standalone_with(&[listen]).await?;
    let log = server.log()?;
    ensure!(log.matches(WARNING).count() == 1, "it is not said once: {log}");
    drop(server);
    let public = ("PUSHGRID_INGRESS__PUBLIC_URL", "https://push.example.com");
    for settings in [&[][..], &[listen, public]] {
        let server = Server::standalone_with(settings).await?;
        ensure!(!server.log()?.contains(WARNING), "there is nothing to say: {}", server.log()?);
    }
    Ok(())
}
