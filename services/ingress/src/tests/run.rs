use std::time::Duration;

use pushgrid_runtime::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn it_is_ready_from_its_start_to_the_drain_and_ends_when_its_connections_have_ended() {
    let World { ingress, readiness, address, .. } = World::both();
    assert!(!readiness.is_ready());
    let shutdown = Shutdown::new();
    let serving = tokio::spawn({
        let running = ingress.run(shutdown.clone());
        assert!(readiness.is_ready(), "{:?}", readiness.waiting_for());
        running
    });

    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"POST /line HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n").await.unwrap();
    shutdown.drain();
    timeout(PATIENCE, async {
        while readiness.is_ready() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(readiness.waiting_for(), [("ingress", "stopping".to_owned())]);
    drop(client);
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn it_serves_the_routes_of_every_dialect() {
    let World { ingress, address, .. } = World::both();
    let shutdown = Shutdown::new();
    let serving = tokio::spawn(ingress.run(shutdown.clone()));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /push/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    shutdown.drain();
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}
