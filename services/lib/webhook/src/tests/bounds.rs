//! Bounds of time and number.

use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use super::*;
use crate::address::judge;
use crate::connector::{connector, roots};
use crate::resolver::Resolver;

#[tokio::test]
async fn a_silent_server_ends_an_attempt_within_the_limit() {
    let webhooks = webhooks(&Config { timeout: Duration::from_millis(300), ..lenient() });
    let server = Server::start(None).await;
    // The second is silent already in the handshake of TLS.
    for url in [server.url(), server.url().replace("http:", "https:")] {
        let begun = Instant::now();
        assert_eq!(post(&webhooks, &url).await, Err(PostError::TimedOut));
        let took = begun.elapsed();
        assert!((Duration::from_millis(250)..Duration::from_secs(3)).contains(&took), "{took:?}");
    }
}

/// The pool may go on connecting when the attempt is over.
#[tokio::test]
async fn connecting_has_a_limit_of_its_own() {
    let server = Server::start(None).await;
    let limit = Duration::from_millis(200);
    let connector = connector(Resolver::system(judge(true)), roots(None).unwrap(), limit);
    let connecting = connector.oneshot(format!("https://{}/", server.address).parse().unwrap());
    assert!(tokio::time::timeout(Duration::from_secs(3), connecting).await.unwrap().is_err());
}

#[tokio::test]
async fn at_most_64_attempts_are_under_way_and_the_rest_wait() {
    let server = Server::start(None).await;
    let webhooks = webhooks(&Config { timeout: Duration::from_secs(2), ..lenient() });
    let posts: Vec<_> = (0..70)
        .map(|_| {
            let (webhooks, url) = (webhooks.clone(), server.url());
            tokio::spawn(async move { post(&webhooks, &url).await })
        })
        .collect();
    let begun = Instant::now();
    while server.connections() < 64 && begun.elapsed() < Duration::from_secs(1) {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_millis(300)).await;
    assert_eq!(server.connections(), 64);
    for post in posts {
        assert_eq!(post.await.unwrap(), Err(PostError::TimedOut));
    }
    assert_eq!(server.connections(), 70);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (webhooks, server) = (webhooks(&lenient()), Server::start(Some(OK)).await);
    for _ in 0..3 {
        post(&webhooks, &server.url()).await.unwrap();
        // The connection comes back to the pool when its task has seen the end of the answer.
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.connections(), 1);
}
