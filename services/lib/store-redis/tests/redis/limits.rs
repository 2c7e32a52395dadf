//! Memory that is full, batches that are too large, numbers that are too large, values that are not ours.

use std::sync::Arc;

use std::time::Duration;

use pushgrid_store::{Change, ErrorKind, Member, Membership, Presence, Role, StoreError, View, ViewError};
use pushgrid_store_redis::{ConnectError, MAX_CHANGES, RedisMembership, RedisPresence, RedisView};
use pushgrid_types::{
    ClockOffset, ClockVote, LeaderEpoch, NodeId, Outcome, Partition, Position, Sequence, SessionId,
    SessionRef,
};

use crate::servers::Server;
use crate::support::{Fresh, barrier, connect, message, subscribed, subscription, tell, try_connect};

fn store_error<T: std::fmt::Debug>(answer: Result<T, ViewError>) -> StoreError {
    match answer {
        Err(ViewError::Store(error)) => error,
        other => panic!("a failure of the store was to be answered: {other:?}"),
    }
}

fn assert_unreadable<T: std::fmt::Debug>(answer: Result<T, ViewError>) {
    match answer {
        Err(ViewError::Unreadable(of)) => assert_eq!(of, [subscription(1, 1).user_agent]),
        other => panic!("nothing was to be answered: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_drops_keys_is_refused_with_the_cure() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let url = format!("redis://127.0.0.1:{}", server.port);
    let refused = try_connect(&url).await.unwrap_err();
    assert!(matches!(&refused, ConnectError::Evicts { policy } if policy == "allkeys-lru"), "{refused:?}");
    assert!(refused.to_string().contains("maxmemory-policy noeviction"), "{refused}");
}

#[tokio::test]
async fn without_memory_nothing_is_stored_and_everything_can_end() {
    let server = Server::start(&[]);
    let redis = connect(&server).await;
    let view = RedisView::new(redis.clone());
    let id = subscription(1, 1);
    let kept = message(id, 1, 1000);
    let since = LeaderEpoch(1);
    let stored = Change::Stored { message: Arc::clone(&kept), since };
    let position = tell(&view, 1, 0, &[subscribed(id), stored.clone()]).await;
    server.say::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    for change in [stored, subscribed(subscription(2, 2))].iter().cycle().take(20).cloned() {
        let refused = view.apply(barrier(1, position), &[change], Position(position + 1)).await;
        let error = store_error(refused);
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    }
    assert!(!redis.breaker_open(), "it does other things");
    let session = SessionRef { node: NodeId(1), session: SessionId(1) };
    let presence = RedisPresence::new(redis.clone(), Partition(0), LeaderEpoch(2));
    let (claim, _) = presence.claim(id.user_agent, session).await.unwrap();
    assert_eq!(presence.resume(&[(id.user_agent, claim)]).await.unwrap(), [claim]);
    let member = Member { id: NodeId(1), role: Role::Connection, address: "a:1".to_owned(), draining: false };
    let vote = ClockVote { judged: ClockOffset::ZERO, wall: ClockOffset::ZERO };
    let membership = RedisMembership::new(redis);
    let seen = membership.renew(Some(&member), Some(vote), Duration::from_secs(9)).await.unwrap();
    assert_eq!((seen.members, seen.votes), (vec![member], vec![vote]));
    assert_eq!(view.begin(barrier(2, 0).partition, LeaderEpoch(2)).await.unwrap(), Position(position));
    view.complete(barrier(2, position)).await.unwrap();
    let ended = pushgrid_store::StoredMessage::of(&kept, since).ended(Outcome::Delivered);
    let position = tell(&view, 2, position, &[ended, Change::Unsubscribed(id), Change::Claimed]).await;
    assert_eq!(view.waiting(barrier(2, position)).await.unwrap(), 0);
    assert_eq!(view.alive(barrier(2, position), &[id]).await.unwrap(), [false]);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_refused_before_it_is_sent() {
    let server = Server::start(&[]);
    // The largest that is taken may take long on a busy machine.
    let fresh = Fresh::at(&format!("redis://127.0.0.1:{}", server.port)).with("redis.timeout=60s".to_owned());
    let redis = fresh.make().await;
    let view = RedisView::new(redis.clone());
    let calls = redis.figures().calls;
    let many = vec![Change::Claimed; MAX_CHANGES + 1];
    let refused = view.apply(barrier(1, 0), &many, Position(9)).await;
    assert_eq!(store_error(refused).kind, ErrorKind::Corrupt);
    let heavy: Vec<_> = (1..=9)
        .map(|label| Change::Stored {
            message: message(subscription(1, 1), label, 4 << 20),
            since: LeaderEpoch(1),
        })
        .collect();
    let refused = view.apply(barrier(1, 0), &heavy, Position(9)).await;
    assert_eq!(store_error(refused).kind, ErrorKind::Corrupt);
    assert_eq!(redis.figures().calls, calls, "redis was not asked");
    tell(&view, 1, 0, &many[1..]).await;
    tell(&view, 1, MAX_CHANGES as u64, &heavy[2..]).await;
}

#[tokio::test]
async fn numbers_that_scripts_cannot_compare_are_refused() {
    let server = Server::start(&[]);
    let view = RedisView::new(connect(&server).await);
    let large = 1 << 53;
    assert_eq!(store_error(view.waiting(barrier(large, 0)).await).kind, ErrorKind::Corrupt);
    assert_eq!(store_error(view.waiting(barrier(1, large)).await).kind, ErrorKind::Corrupt);
    let far = pushgrid_types::Message {
        sequence: Sequence(large),
        ..pushgrid_types::Message::clone(&message(subscription(1, 1), 1, 1))
    };
    let stored = Change::Stored { message: Arc::new(far), since: LeaderEpoch(1) };
    let (id, other) = (subscription(1, 1), subscription(2, 1));
    let position = tell(&view, 1, 0, &[subscribed(id), stored, subscribed(other)]).await;
    assert_unreadable(view.usage(barrier(1, position), id.user_agent).await);
    assert_eq!(view.alive(barrier(1, position), &[other]).await.unwrap(), [true]);
}
