//! Conditions under which a directory may deny a subscription.

use pushgrid_store::{Change, Directory, ErrorKind, Usage, View};
use pushgrid_store_redis::{Redis, RedisDirectory, RedisView};
use pushgrid_types::Position;

use crate::servers::Server;
use crate::support::{NOW, barrier, behind, connect, message, subscribed, subscription, tell};

/// View and directory of a grid with one partition.
fn both(redis: &Redis) -> (RedisView, RedisDirectory) {
    (RedisView::new(redis.clone()), RedisDirectory::new(redis.clone(), 1))
}

async fn nobody_knows(directory: &RedisDirectory) {
    let answer = directory.look_up(&subscription(9, 9)).await;
    assert_eq!(answer.expect_err("it must not be certain").kind, ErrorKind::Unavailable);
}

async fn says_no(directory: &RedisDirectory) {
    let answer = directory.look_up(&subscription(9, 9)).await;
    assert_eq!(answer.expect("it is certain"), None);
}

#[tokio::test]
async fn a_no_counts_only_when_the_view_is_complete_and_a_yes_always() {
    let server = Server::start(&[]);
    let (view, directory) = both(&connect(&server).await);
    nobody_knows(&directory).await;
    view.begin(barrier(1, 0).partition, barrier(1, 0).leader_epoch).await.unwrap();
    nobody_knows(&directory).await;
    let (id, kept) = (subscription(1, 1), message(subscription(1, 1), 4, 700));
    let stored = Change::Stored { message: kept, since: barrier(1, 0).leader_epoch };
    let position = tell(&view, 1, 0, &[subscribed(id), subscribed(subscription(2, 1)), stored]).await;
    nobody_knows(&directory).await;
    assert_eq!(directory.look_up(&id).await.unwrap(), Some(Usage { messages: 1, octets: 700 }));
    assert_eq!(directory.look_up(&subscription(2, 1)).await.unwrap(), Some(Usage::default()));
    view.complete(barrier(1, position)).await.unwrap();
    says_no(&directory).await;
    let position = tell(&view, 1, position, &[Change::Unsubscribed(id)]).await;
    assert_eq!(directory.look_up(&id).await.unwrap(), None, "it has ended");
    view.begin(barrier(2, 0).partition, barrier(2, 0).leader_epoch).await.unwrap();
    says_no(&directory).await;
    tell(&view, 2, position, &[Change::Claimed]).await;
    says_no(&directory).await;
}

#[tokio::test]
async fn a_view_that_was_lost_is_not_complete_until_it_is_said_again() {
    let server = Server::start(&[]);
    let (view, directory) = both(&connect(&server).await);
    let changes = [Change::Claimed, subscribed(subscription(1, 1))];
    let position = tell(&view, 1, 0, &changes).await;
    view.complete(barrier(1, position)).await.unwrap();
    says_no(&directory).await;
    server.say::<()>(&["FLUSHALL"]);
    nobody_knows(&directory).await;
    assert_eq!(behind(view.alive(barrier(1, 2), &[subscription(1, 1)]).await), Position(0));
    assert_eq!(behind(view.apply(barrier(1, 2), &[Change::Claimed], Position(3)).await), Position(0));
    tell(&view, 1, 0, &changes).await;
    nobody_knows(&directory).await;
    assert_eq!(view.alive(barrier(1, 2), &[subscription(1, 1)]).await.unwrap(), [true]);
    view.complete(barrier(1, position)).await.unwrap();
    says_no(&directory).await;
}

#[tokio::test]
async fn a_view_that_lost_its_last_writes_is_not_complete_once_anybody_has_noticed() {
    let server = Server::start(&[]);
    let (view, directory) = both(&connect(&server).await);
    let position = tell(&view, 1, 0, &[Change::Claimed, Change::Claimed]).await;
    view.complete(barrier(1, position)).await.unwrap();
    // What a fail-over does to it.
    server.say::<()>(&["HSET", "pushgrid:{0}:meta", "p", "1"]);
    says_no(&directory).await;
    assert_eq!(behind(view.waiting(barrier(1, 2)).await), Position(1));
    nobody_knows(&directory).await;
    view.complete(barrier(1, 1)).await.unwrap();
    assert_eq!(behind(view.apply(barrier(1, 2), &[Change::Claimed], Position(3)).await), Position(1));
    nobody_knows(&directory).await;
}

#[tokio::test]
async fn in_another_life_of_the_server_a_no_counts_when_the_owner_has_looked() {
    let server = Server::start(&[]);
    let (view, directory) = both(&connect(&server).await);
    let position = tell(&view, 1, 0, &[Change::Claimed]).await;
    view.complete(barrier(1, position)).await.unwrap();
    let another_life = || {
        server.say::<()>(&["HSET", "pushgrid:{0}:meta", "c", "0123456789012345678901234567890123456789"]);
    };
    another_life();
    nobody_knows(&directory).await;
    view.due(barrier(1, position), NOW, 1).await.unwrap();
    says_no(&directory).await;
    another_life();
    view.begin(barrier(2, 0).partition, barrier(2, 0).leader_epoch).await.unwrap();
    view.due(barrier(2, position), NOW, 1).await.unwrap();
    nobody_knows(&directory).await;
    view.complete(barrier(2, position)).await.unwrap();
    says_no(&directory).await;
}

#[tokio::test]
async fn what_is_told_later_does_not_make_the_view_older_than_its_keys() {
    let server = Server::start(&[]);
    let (view, _) = both(&connect(&server).await);
    let position = tell(&view, 1, 0, &[Change::Claimed]).await;
    server.say::<()>(&["EXPIRE", "pushgrid:{0}:meta", "1000"]);
    view.complete(barrier(1, position)).await.unwrap();
    view.begin(barrier(2, 0).partition, barrier(2, 0).leader_epoch).await.unwrap();
    let position = tell(&view, 2, position, &[subscribed(subscription(1, 1))]).await;
    view.complete(barrier(2, position)).await.unwrap();
    let left: i64 = server.say(&["TTL", "pushgrid:{0}:meta"]);
    assert!((990..=1000).contains(&left), "{left} s are left");
}
