//! A server that is gone, comes back, or says nothing.

use std::time::Duration;

use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{Change, ErrorKind, View, ViewError};
use pushgrid_store_redis::{ConnectError, Redis, RedisView};
use pushgrid_types::{LeaderEpoch, Partition, Position};
use tokio::time::Instant;

use crate::servers::{Server, free_port};
use crate::support::{
    TIMEOUT, barrier, behind, connect, eventually, subscribed, subscription, tell, try_connect,
};

/// Answer and duration of a call.
async fn timed(view: &RedisView) -> (Result<Vec<bool>, ViewError>, Duration) {
    let begun = Instant::now();
    let answer = view.alive(barrier(1, 1), &[subscription(1, 1)]).await;
    (answer, begun.elapsed())
}

#[tokio::test]
async fn after_kill_and_restart_it_answers_again_and_calls_in_between_fail_fast() {
    let mut server = Server::start(&[]);
    let redis = connect(&server).await;
    let view = RedisView::new(redis.clone());
    let changes = [subscribed(subscription(1, 1))];
    tell(&view, 1, 0, &changes).await;
    server.kill();
    for _ in 0..50 {
        let (answer, took) = timed(&view).await;
        let Err(ViewError::Store(error)) = answer else { panic!("nobody can answer: {answer:?}") };
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
        assert!(took < TIMEOUT / 2, "it took {took:?}");
    }
    assert!(redis.breaker_open());
    server.restart();
    let begun = Instant::now();
    let at = eventually(async || match timed(&view).await.0 {
        Err(ViewError::Store(_)) => None,
        answer => Some(behind(answer)),
    })
    .await;
    assert_eq!(at, Position(0), "it came back empty");
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    assert!(!redis.breaker_open());
    tell(&view, 1, 0, &changes).await;
    assert_eq!(timed(&view).await.0.unwrap(), [true]);
    assert_eq!(redis.figures().connections, 2);
}

#[tokio::test]
async fn a_lost_connection_costs_one_call() {
    let server = Server::start(&[]);
    let redis = connect(&server).await;
    let view = RedisView::new(redis.clone());
    tell(&view, 1, 0, &[subscribed(subscription(1, 1))]).await;
    server.say::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    let answers = [timed(&view).await.0, timed(&view).await.0];
    assert!(answers[1].is_ok(), "{answers:?}");
    assert_eq!(redis.figures().connections, 2);
}

#[tokio::test]
async fn a_server_that_has_become_a_replica_is_not_held_on_to() {
    let server = Server::start(&[]);
    let redis = connect(&server).await;
    let view = RedisView::new(redis.clone());
    server.say::<()>(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    let error = match view.begin(Partition(0), LeaderEpoch(1)).await {
        Err(ViewError::Store(error)) => error,
        other => panic!("a replica takes no writes: {other:?}"),
    };
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    server.say::<()>(&["REPLICAOF", "NO", "ONE"]);
    view.begin(Partition(0), LeaderEpoch(1)).await.unwrap();
    assert_eq!(redis.figures().connections, 2, "another was made, which may lead to another server");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let server = Server::start(&[]);
    let redis = connect(&server).await;
    let view = RedisView::new(redis.clone());
    tell(&view, 1, 0, &[subscribed(subscription(1, 1))]).await;
    server.freeze(true);
    let begun = Instant::now();
    let told = view.apply(barrier(1, 1), &[Change::Claimed], Position(2));
    let (told, (read, _), ..) =
        tokio::join!(told, timed(&view), timed(&view), timed(&view), timed(&view), timed(&view));
    assert!((TIMEOUT..TIMEOUT * 2).contains(&begun.elapsed()), "they took {:?}", begun.elapsed());
    let kind = |error| match error {
        ViewError::Store(error) => error.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(told.unwrap_err()), ErrorKind::Unknown, "it may happen yet");
    assert_eq!(kind(read.unwrap_err()), ErrorKind::Unavailable, "it changes nothing");
    let (next, took) = timed(&view).await;
    assert_eq!(kind(next.unwrap_err()), ErrorKind::Unavailable);
    assert!(took < TIMEOUT / 4, "it is left alone, but that took {took:?}");
    server.freeze(false);
    eventually(async || timed(&view).await.0.ok()).await;
    let told = view.apply(barrier(1, 1), &[Change::Claimed], Position(2)).await;
    assert!(told.is_ok(), "whether or not it happened, it can be told again: {told:?}");
    assert_eq!(view.begin(Partition(0), LeaderEpoch(1)).await.unwrap(), Position(2));
}

#[tokio::test]
async fn more_calls_than_there_is_room_for_wait_within_their_time() {
    let server = Server::start(&[]);
    let redis = connect(&server).await;
    let view = RedisView::new(redis.clone());
    tell(&view, 1, 0, &[subscribed(subscription(1, 1))]).await;
    server.freeze(true);
    let calls: Vec<_> = (0..1500)
        .map(|_| {
            let view = view.clone();
            tokio::spawn(async move { timed(&view).await })
        })
        .collect();
    eventually(async || (redis.in_flight() == 1024).then_some(())).await;
    server.freeze(false);
    for call in calls {
        assert_eq!(call.await.unwrap().0.unwrap(), [true]);
    }
    assert_eq!(redis.in_flight(), 0);
}

#[tokio::test]
async fn a_start_waits_for_a_server_and_not_for_ever() {
    let mut server = Server::start(&[]);
    server.kill();
    let url = format!("redis://127.0.0.1:{}", server.port);
    let start = tokio::spawn(async move { try_connect(&url).await });
    server.restart();
    start.await.unwrap().unwrap();

    let url = format!("redis.url=redis://127.0.0.1:{}", free_port());
    let config = crate::support::config(&[url, "redis.start_timeout=300ms".to_owned()]);
    let refused = Redis::connect(&config, &Meter::new()).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Unreachable { .. }), "{refused:?}");
}

#[tokio::test]
async fn calls_and_the_breaker_are_shown_in_the_meter() {
    let mut server = Server::start(&[]);
    let url = format!("redis.url=redis://127.0.0.1:{}", server.port);
    let meter = Meter::new();
    let redis = Redis::connect(&crate::support::config(&[url]), &meter).await.unwrap();
    let view = RedisView::new(redis.clone());
    let shown = |series: &str| {
        let text = meter.render();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse::<u64>().unwrap()
    };
    let open = "pushgrid_breaker_open{dependency=\"redis\"}";
    assert_eq!((shown("pushgrid_redis_calls_total"), shown(open)), (0, 0), "a start is no call");
    behind(timed(&view).await.0);
    assert_eq!(shown("pushgrid_redis_calls_total"), 1);
    assert!(shown("pushgrid_redis_microseconds_total") > 0);

    server.kill();
    while !redis.breaker_open() {
        assert!(timed(&view).await.0.is_err());
    }
    assert_eq!(shown(open), 1);
    let figures = redis.figures();
    let failed = shown("pushgrid_redis_failures_total{kind=\"unavailable\"}");
    assert_eq!((shown("pushgrid_redis_calls_total"), failed), (figures.calls, figures.unavailable));
    assert!(failed >= 5);
}
