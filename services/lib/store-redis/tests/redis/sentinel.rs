//! A master, its replica, and a sentinel that makes the one take the other's place.

use pushgrid_store::{Change, Directory, ErrorKind, View, ViewError};
use pushgrid_store_redis::{RedisDirectory, RedisView};

use crate::servers::{Server, free_port};
use crate::support::{NOW, barrier, eventually, subscribed, subscription, tell, try_connect};

#[tokio::test]
async fn the_client_follows_when_the_master_is_killed() {
    let mut master = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    eventually(async || {
        replica.say::<String>(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    })
    .await;
    let port = free_port();
    let sentinel = Server::sentinel(
        port,
        &format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor the-master 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds the-master 300\nsentinel failover-timeout the-master 3000\n",
            master.port
        ),
    );
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{port}/the-master", free_port());
    let redis = try_connect(&url).await.unwrap();
    let view = RedisView::new(redis.clone());
    let directory = RedisDirectory::new(redis.clone(), 1);
    let id = subscription(1, 1);
    let position = tell(&view, 1, 0, &[subscribed(id), Change::Claimed]).await;
    view.complete(barrier(1, position)).await.unwrap();
    assert_eq!(directory.look_up(&subscription(2, 2)).await.unwrap(), None);
    // A connection waits for its own writes, and all that came before them.
    let mut direct = master.direct();
    redis::cmd("SET").arg("last").arg("write").exec(&mut direct).unwrap();
    let replicas: u64 = redis::cmd("WAIT").arg(1).arg(10_000).query(&mut direct).unwrap();
    assert_eq!(replicas, 1, "the replica has it all");

    master.kill();
    let alive = eventually(async || match view.alive(barrier(1, position), &[id]).await {
        Err(ViewError::Store(error)) => {
            assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
            None
        }
        answer => Some(answer),
    })
    .await;
    assert_eq!(alive.unwrap(), [true], "nothing was lost");
    assert!(replica.say::<String>(&["INFO", "replication"]).contains("role:master"));
    let refused = directory.look_up(&subscription(2, 2)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unavailable, "a no does not count until the owner has looked");
    view.due(barrier(1, position), NOW, 10).await.unwrap();
    assert_eq!(directory.look_up(&subscription(2, 2)).await.unwrap(), None);
    tell(&view, 1, position, &[subscribed(subscription(2, 2))]).await;
    drop(sentinel);
}
