//! The contracts, on one server.

use std::sync::Arc;

use pushgrid_store::{Change, View};
use pushgrid_store_model::conformance;
use pushgrid_store_redis::{RedisMembership, RedisPresence, RedisView};
use pushgrid_types::{LeaderEpoch, Partition};

use crate::servers::Server;
use crate::support::{Fresh, message, subscribed, subscription, tell};

fn fresh(server: &Server) -> Fresh {
    Fresh::at(&format!("redis://127.0.0.1:{}", server.port))
}

#[tokio::test]
async fn the_view_keeps_its_contract() {
    let server = Server::start(&[]);
    let fresh = fresh(&server);
    conformance::view::run(async || fresh.view().await).await;
}

#[tokio::test]
async fn the_view_keeps_its_contract_when_scripts_are_forgotten_between_calls() {
    let server = Server::start(&[]);
    let fresh = fresh(&server);
    let redis = fresh.make().await;
    let view = RedisView::new(redis.clone());
    for _ in 0..3 {
        server.say::<()>(&["SCRIPT", "FLUSH"]);
        view.begin(Partition(1), LeaderEpoch(1)).await.unwrap();
    }
    assert_eq!(redis.figures().unavailable, 0);
}

#[tokio::test]
async fn presence_keeps_its_contract() {
    let server = Server::start(&[]);
    let fresh = fresh(&server);
    conformance::presence::run(async || RedisPresence::new(fresh.make().await, Partition(7), LeaderEpoch(3)))
        .await;
}

#[tokio::test]
async fn membership_keeps_its_contract() {
    let server = Server::start(&[]);
    let fresh = fresh(&server);
    conformance::membership::run(async || Arc::new(RedisMembership::new(fresh.make().await)) as _).await;
}

#[tokio::test]
async fn everything_that_is_told_again_lives_on_as_if_it_were_new() {
    let server = Server::start(&[]);
    let view = RedisView::new(fresh(&server).make().await);
    let id = subscription(1, 1);
    let stored = Change::Stored { message: message(id, 1, 100), since: LeaderEpoch(1) };
    let changes = [Change::Claimed, subscribed(id), stored];
    tell(&view, 1, 0, &changes).await;
    let mut direct = server.direct();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut direct).unwrap();
    assert_eq!(keys.len(), 5, "meta, subscriptions, messages, their order, their ends");
    for key in &keys {
        redis::cmd("EXPIRE").arg(key).arg(1000).exec(&mut direct).unwrap();
    }
    server.say::<()>(&["DEL", "test-0:{0}:meta"]);
    tell(&view, 1, 0, &changes).await;
    for key in &keys {
        let left: i64 = redis::cmd("TTL").arg(key).query(&mut direct).unwrap();
        assert!(left > 29 * 86_400, "{:?} has {left} s left", String::from_utf8_lossy(key));
    }
}

#[tokio::test]
async fn every_key_runs_out_some_day() {
    let server = Server::start(&[]);
    let fresh = fresh(&server);
    conformance::view::run(async || fresh.view().await).await;
    conformance::presence::run(async || RedisPresence::new(fresh.make().await, Partition(7), LeaderEpoch(3)))
        .await;
    conformance::membership::run(async || Arc::new(RedisMembership::new(fresh.make().await)) as _).await;
    let mut direct = server.direct();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut direct).unwrap();
    assert!(keys.len() > 100, "{} keys", keys.len());
    for key in keys {
        let left: i64 = redis::cmd("TTL").arg(&key).query(&mut direct).unwrap();
        let shown = String::from_utf8_lossy(&key).into_owned();
        let life = match shown.rsplit_once(':') {
            Some((_, "meta")) => 30,
            Some((_, name)) if name.starts_with("at") => 7,
            _ => 60,
        };
        let days = f64::from(i32::try_from(left).expect("small")) / 86_400.0;
        assert!((f64::from(life) - 0.1..=f64::from(life)).contains(&days), "{shown:?} has {days} days left");
    }
}
