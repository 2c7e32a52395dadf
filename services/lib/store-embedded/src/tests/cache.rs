//! Subscriptions are answered from memory, and never wrongly.

use pushgrid_store::{ErrorKind, Subscription, Subscriptions};
use pushgrid_types::Restriction;

use super::{Home, NOW, subscription};
use crate::EmbeddedConfig;

#[tokio::test]
async fn a_known_subscription_is_answered_without_waiting() {
    let home = Home::new();
    let id = subscription(1);
    home.subscribe(id).await;
    let ids = [id, subscription(2)];
    assert_eq!(home.store.alive(&ids).await.unwrap(), [true, false]);
    // Both are known now, the second as one that is not there: no read is left that could be waited for.
    let mut alive = home.store.alive(&ids);
    let answer = alive.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    let std::task::Poll::Ready(answer) = answer else { panic!("a known subscription is not waited for") };
    assert_eq!(answer.unwrap(), [true, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_at_the_same_time_never_see_what_was_removed() {
    // A cache for nobody, so that every read is a race between the file and the change.
    let home = Home::with(|config| EmbeddedConfig { cached_subscriptions: 1, ..config });
    let id = subscription(1);
    let mut expected = None;
    for _ in 0..50 {
        let new =
            Subscription { id, restriction: Restriction::Open, seen_at: NOW, is_noted: true, webhook: None };
        let reader = home.store.clone();
        let reads = tokio::spawn(async move {
            for _ in 0..20 {
                reader.find(id.user_agent, id.channel).await.unwrap();
            }
        });
        home.store.put(expected, new.clone()).await.unwrap();
        assert_eq!(home.store.find(id.user_agent, id.channel).await.unwrap(), Some(new));
        assert!(home.store.remove(id.user_agent, id.channel).await.unwrap());
        assert_eq!(home.store.alive(&[id]).await.unwrap(), [false]);
        reads.await.unwrap();
        assert_eq!(home.store.find(id.user_agent, id.channel).await.unwrap(), None);
        expected = None;
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let home = Home::new();
    let id = subscription(1);
    home.subscribe(id).await;
    home.store.close().await;
    home.store.close().await;
    let found = home.store.find(id.user_agent, id.channel).await;
    assert_eq!(found.unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(home.store.flush().await.unwrap_err().kind, ErrorKind::Closed);
}
