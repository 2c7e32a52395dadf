//! Redis Cluster: three servers that share the slots.

use std::process::Command;

use pushgrid_store::{Directory, Membership, Presence, View};
use pushgrid_store_model::conformance;
use pushgrid_store_redis::{RedisDirectory, RedisMembership, RedisPresence, RedisView};
use pushgrid_types::{LeaderEpoch, NodeId, Partition, Position, SessionId, SessionRef};

use crate::servers::{Server, free_port};
use crate::support::{Fresh, NOW, eventually, subscription, user_agent};

fn cluster() -> Vec<Server> {
    let servers: Vec<_> = (0..3)
        .map(|_| {
            let bus = free_port().to_string();
            Server::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                "2000",
            ])
        })
        .collect();
    let addresses = servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(addresses)
        .arg("--cluster-yes")
        .output()
        .expect("redis-cli is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    servers
}

fn url(servers: &[Server]) -> String {
    let addresses: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    format!("redis+cluster://{}", addresses.join(","))
}

#[tokio::test]
async fn the_contracts_are_kept_over_a_cluster() {
    let servers = cluster();
    let ready = async || {
        let ok = |server: &Server| server.say::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        servers.iter().all(ok).then_some(())
    };
    eventually(ready).await;
    // One server leads to all.
    let fresh = Fresh::at(&url(&servers[..1]));
    conformance::view::run(async || fresh.view().await).await;
    conformance::presence::run(async || RedisPresence::new(fresh.make().await, Partition(7), LeaderEpoch(3)))
        .await;

    let redis = fresh.make().await;
    let view = RedisView::new(redis.clone());
    let directory = RedisDirectory::new(redis.clone(), 64);
    let membership = RedisMembership::new(redis.clone());
    let session = SessionRef { node: NodeId(1), session: SessionId(2) };
    for partition in (0..64).map(Partition) {
        assert_eq!(view.begin(partition, LeaderEpoch(1)).await.unwrap(), Position(0));
        let barrier =
            pushgrid_store::ReadBarrier { partition, leader_epoch: LeaderEpoch(1), position: Position(0) };
        view.complete(barrier).await.unwrap();
        assert_eq!(view.due(barrier, NOW, 10).await.unwrap(), []);
        let presence = RedisPresence::new(redis.clone(), partition, LeaderEpoch(1));
        let (claim, _) = presence.claim(user_agent(1), session).await.unwrap();
        let found = presence.locate(&[user_agent(1), user_agent(2)]).await.unwrap();
        assert_eq!(found, [Some(claim), None]);
    }
    for of in 0..100 {
        assert_eq!(directory.look_up(&subscription(of, 1)).await.unwrap(), None);
    }
    assert_eq!(membership.renew(None, None, NOW.since(NOW)).await.unwrap().members, []);
    let sizes: Vec<u64> = servers.iter().map(|server| server.say(&["DBSIZE"])).collect();
    assert!(sizes.iter().all(|keys| *keys > 20), "partitions are spread over the servers: {sizes:?}");
}

#[tokio::test]
async fn a_server_of_a_cluster_that_drops_keys_is_refused() {
    let servers = cluster();
    servers[1].say::<()>(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    let ready = async || {
        let ok = |server: &Server| server.say::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        servers.iter().all(ok).then_some(())
    };
    eventually(ready).await;
    let refused = crate::support::try_connect(&url(&servers)).await.unwrap_err();
    assert!(matches!(refused, pushgrid_store_redis::ConnectError::Evicts { .. }), "{refused:?}");
}
