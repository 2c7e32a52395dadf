//! Cost of finding the messages of one channel among those of its user agent.

use pushgrid_store::{Change, View};
use pushgrid_store_redis::RedisView;
use pushgrid_types::{LeaderEpoch, Outcome};

use crate::servers::Server;
use crate::support::{barrier, connect, message, subscribed, subscription, tell};

/// Stored messages of another channel.
const OTHERS: u64 = 1000;

/// Steps through the queue made by the server since the last call.
fn steps(server: &Server) -> u64 {
    let said: String = server.say(&["INFO", "commandstats"]);
    server.say::<()>(&["CONFIG", "RESETSTAT"]);
    let calls = |line: &str| line.strip_prefix("cmdstat_zrevrange:calls=")?.split(',').next()?.parse().ok();
    said.lines().find_map(calls).unwrap_or(0)
}

#[tokio::test]
async fn a_channel_is_not_looked_for_among_all_that_others_have_waiting() {
    let server = Server::start(&[]);
    let view = RedisView::new(connect(&server).await);
    let (busy, newest, unknown) = (subscription(1, 1), subscription(1, 2), subscription(1, 3));
    let since = LeaderEpoch(1);
    let stored = |to, sequence| Change::Stored { message: message(to, sequence, 10), since };
    let mut changes = vec![subscribed(busy), subscribed(newest)];
    changes.extend((1..=OTHERS).map(|sequence| stored(busy, sequence)));
    changes.push(stored(newest, OTHERS + 1));
    let mut position = view.begin(barrier(1, 0).partition, since).await.unwrap().0;
    for part in changes.chunks(200) {
        position = tell(&view, 1, position, part).await;
    }
    let found = async |position, of| {
        let to: pushgrid_types::SubscriptionRef = of;
        view.in_channel(barrier(1, position), to.user_agent, to.channel).await.unwrap()
    };
    steps(&server);
    assert!(found(position, unknown).await.is_empty());
    assert_eq!(steps(&server), 0, "that nothing is there is known");
    let waiting = found(position, newest).await;
    assert_eq!((waiting.len(), steps(&server)), (1, 1), "what came last is found first");
    assert_eq!(found(position, busy).await.len() as u64, OTHERS);

    let ended = waiting[0].ended(Outcome::Unsubscribed);
    let position = tell(&view, 1, position, &[ended.clone(), ended]).await;
    steps(&server);
    assert!(found(position, newest).await.is_empty());
    assert_eq!(steps(&server), 0, "it is counted once, however often it is told");

    // An owner that does not count has nothing of the sort.
    let mut keys: Vec<String> = server.say(&["KEYS", "*}:m*"]);
    keys.retain(|key| !key.ends_with("meta"));
    assert_eq!(keys.len(), 1, "the messages of one user agent");
    let of_busy = format!("n{}", "\u{1}".repeat(16));
    assert_eq!(server.say::<u64>(&["HDEL", &keys[0], "n1", &of_busy]), 2, "the sum and that of one channel");
    let position = tell(&view, 1, position, &[stored(newest, OTHERS + 2)]).await;
    assert_eq!(found(position, busy).await.len() as u64, OTHERS, "it is looked for then");
    assert_eq!(found(position, newest).await.len(), 1);
}
