//! What a router that has lost its partition can still do.

use pushgrid_store::{Claim, ErrorKind, Presence, StoreError, View};
use pushgrid_store_redis::{RedisPresence, RedisView};
use pushgrid_types::{LeaderEpoch, NodeId, Partition, SessionId, SessionRef};

use crate::servers::Server;
use crate::support::{connect, subscribed, subscription, tell, user_agent};

const SESSION: SessionRef = SessionRef { node: NodeId(u64::MAX), session: SessionId(1 << 63) };

fn assert_closed<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert_eq!(answer.expect_err("the caller is fenced").kind, ErrorKind::Closed);
}

#[tokio::test]
async fn a_fenced_router_makes_nobody_present() {
    let server = Server::start(&[]);
    let redis = connect(&server).await;
    let view = RedisView::new(redis.clone());
    let [old, new] =
        [1, 5].map(|leader_epoch| RedisPresence::new(redis.clone(), Partition(0), LeaderEpoch(leader_epoch)));
    view.begin(Partition(0), LeaderEpoch(1)).await.unwrap();
    let (held, _) = old.claim(user_agent(1), SESSION).await.unwrap();
    view.begin(Partition(0), LeaderEpoch(5)).await.unwrap();
    assert_closed(old.claim(user_agent(1), SESSION).await);
    assert_closed(old.claim(user_agent(2), SESSION).await);
    assert_closed(old.resume(&[(user_agent(1), held)]).await);
    let found = new.locate(&[user_agent(1), user_agent(2)]).await.unwrap();
    assert_eq!(found, [Some(held), None]);
    let another = SessionRef { session: SessionId(2), ..SESSION };
    let (next, earlier) = new.claim(user_agent(1), another).await.unwrap();
    assert_eq!(earlier, Some(held));
    assert_eq!(new.resume(&[(user_agent(1), held)]).await.unwrap(), [next]);
}

#[tokio::test]
async fn epochs_go_on_rising_when_everything_is_lost() {
    let server = Server::start(&[]);
    let presence = RedisPresence::new(connect(&server).await, Partition(0), LeaderEpoch(1));
    let mut last: Option<Claim> = None;
    for _ in 0..20 {
        let (claim, _) = presence.claim(user_agent(1), SESSION).await.unwrap();
        assert!(last.is_none_or(|last| last.epoch < claim.epoch), "{claim:?} after {last:?}");
        last = Some(claim);
        server.say::<()>(&["FLUSHALL"]);
    }
}

#[tokio::test]
async fn a_claim_that_is_repeated_puts_nobody_out() {
    let server = Server::start(&[]);
    let presence = RedisPresence::new(connect(&server).await, Partition(0), LeaderEpoch(1));
    let (first, _) = presence.claim(user_agent(1), SESSION).await.unwrap();
    let (again, earlier) = presence.claim(user_agent(1), SESSION).await.unwrap();
    assert_eq!(earlier, None, "it was the same session");
    assert!(again.epoch > first.epoch);
}

#[tokio::test]
async fn a_leader_epoch_whose_beginning_was_lost_fences_the_earlier_with_its_first_call() {
    let server = Server::start(&[]);
    let view = RedisView::new(connect(&server).await);
    view.begin(Partition(0), LeaderEpoch(1)).await.unwrap();
    let position = tell(&view, 1, 0, &[subscribed(subscription(1, 1))]).await;
    // A fail-over has lost that leader epoch 2 has begun.
    let (old, new) = (crate::support::barrier(1, position), crate::support::barrier(2, position));
    assert_eq!(view.alive(new, &[subscription(1, 1)]).await.unwrap(), [true]);
    assert!(matches!(view.alive(old, &[]).await, Err(pushgrid_store::ViewError::Fenced)));
}
