//! A view of another changelog that is discarded: nothing of it is left, and nothing else is gone.

use pushgrid_store::{Change, History, Presence, View};
use pushgrid_store_redis::{RedisPresence, RedisView};
use pushgrid_types::{LeaderEpoch, NodeId, Partition, Position, SessionId, SessionRef};

use crate::servers::Server;
use crate::support::{connect, message, subscribed, subscription, tell, user_agent};

const SESSION: SessionRef = SessionRef { node: NodeId(1), session: SessionId(1) };
const OURS: History = History([7; History::SIZE]);

#[tokio::test]
async fn a_large_view_is_discarded_in_steps_and_sessions_stay() {
    let server = Server::start(&[]);
    let redis = connect(&server).await;
    let view = RedisView::new(redis.clone());
    // Far more keys than one step goes through, most of them of somebody else.
    let mut direct = server.direct();
    let mut others = redis::pipe();
    for number in 0..5000 {
        others.cmd("SET").arg(format!("of-somebody-else-{number}")).arg(1).ignore();
    }
    others.query::<()>(&mut direct).unwrap();
    let mut changes = vec![Change::Claimed];
    for label in 1..=200 {
        let id = subscription(label, 1);
        changes.push(subscribed(id));
        changes.push(Change::Stored { message: message(id, 1, 100), since: LeaderEpoch(1) });
    }
    tell(&view, 1, 0, &changes).await;
    let presence = RedisPresence::new(redis.clone(), Partition(0), LeaderEpoch(1));
    let (held, _) = presence.claim(user_agent(1), SESSION).await.unwrap();

    view.discard(Partition(0), LeaderEpoch(1), OURS).await.unwrap();
    let left: u64 = redis::cmd("DBSIZE").query(&mut direct).unwrap();
    assert_eq!(left, 5002, "those of somebody else, the session, and what says whose the view is");
    assert_eq!(presence.locate(&[user_agent(1)]).await.unwrap(), [Some(held)]);
    let stamp = view.stamp(Partition(0)).await.unwrap().unwrap();
    assert_eq!((stamp.history, stamp.position), (Some(OURS), Position(0)));
    assert_eq!(redis.figures().discarded, 1);
}
