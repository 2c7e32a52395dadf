//! Owners of the first release, whose scripts are in the folder of this name, and owners of this release on one view.

use std::time::Duration;

use pushgrid_store::{Change, View, ViewError};
use pushgrid_store_redis::RedisView;
use pushgrid_types::{LeaderEpoch, Message, Outcome, Partition, Position, SubscriptionRef};

use crate::servers::Server;
use crate::support::{barrier, connect, message, subscribed, subscription, tell};

const META: &str = "pushgrid:{0}:meta";

const BEGIN: &str =
    concat!(include_str!("first_release/common.lua"), include_str!("first_release/begin.lua"));
const APPLY: &str =
    concat!(include_str!("first_release/common.lua"), include_str!("first_release/apply.lua"));

/// Owner of the first release.
struct First<'a> {
    server: &'a Server,
    leader_epoch: u64,
    position: u64,
}

impl<'a> First<'a> {
    /// Begins a leader epoch at the view's position.
    fn begin(server: &'a Server, leader_epoch: u64) -> Self {
        let mut begin = redis::cmd("EVAL");
        begin.arg(BEGIN).arg(1).arg(META).arg(leader_epoch);
        let (done, position): (u64, String) = begin.query(&mut server.direct()).expect("it answers");
        assert_eq!(done, 0);
        Self { server, leader_epoch, position: position.parse().expect("it is a number") }
    }

    /// Applies changes to the view, one position for each.
    fn tell(&mut self, changes: &[Change]) {
        let mut apply = redis::cmd("EVAL");
        let to = self.position + changes.len() as u64;
        apply.arg(APPLY).arg(1).arg(META).arg(self.leader_epoch).arg(self.position).arg(to).arg(1);
        for change in changes {
            match change {
                Change::Subscribed(made) => {
                    let (id, seen_at) = (made.id, made.seen_at.as_millis().to_be_bytes());
                    let value = [id.incarnation.as_octets(), &seen_at[..]].concat();
                    apply
                        .arg([b"S", &id.user_agent.as_octets()[..], id.channel.as_octets(), &value].concat());
                }
                Change::Stored { message, since } => {
                    apply
                        .arg([b"M", &message.to.user_agent.as_octets()[..], message.id.as_octets()].concat());
                    apply.arg(value(message, *since));
                }
                Change::Ended { user_agent, id, since, .. } => {
                    let by = since.0.to_be_bytes();
                    apply.arg([b"E", &user_agent.as_octets()[..], id.as_octets(), &by].concat());
                }
                Change::Claimed | Change::Unsubscribed(_) => panic!("no test needs it"),
            }
        }
        let answer: Vec<u64> = apply.query(&mut self.server.direct()).expect("it answers");
        assert_eq!(answer, [0]);
        self.position = to;
    }
}

fn value(message: &Message, since: LeaderEpoch) -> Vec<u8> {
    let octets = u32::try_from(message.content.body.len()).expect("it is short");
    [
        &since.0.to_be_bytes()[..],
        &message.sequence.0.to_be_bytes(),
        &message.expires_at.as_millis().to_be_bytes(),
        &octets.to_be_bytes(),
        &[16],
        message.to.channel.as_octets(),
        &pushgrid_proto::stored::encode_message(message),
    ]
    .concat()
}

fn stored(to: SubscriptionRef, sequence: u64) -> Change {
    Change::Stored { message: message(to, sequence, 5), since: LeaderEpoch(1) }
}

fn ended(to: SubscriptionRef, sequence: u64) -> Change {
    let message = message(to, sequence, 5);
    pushgrid_store::StoredMessage::of(&message, LeaderEpoch(9)).ended(Outcome::Delivered)
}

#[tokio::test]
async fn the_end_of_a_channel_finds_what_an_owner_has_stored_that_does_not_count() {
    let server = Server::start(&[]);
    let view = RedisView::new(connect(&server).await);
    let (one, other) = (subscription(1, 1), subscription(1, 2));
    let begun = view.begin(Partition(0), LeaderEpoch(1)).await.expect("it answers");
    let changes = [subscribed(one), subscribed(other), stored(one, 1), stored(one, 2)];
    let position = tell(&view, 1, begun.0, &changes).await;

    // As many wait as were counted, and others.
    let mut first = First::begin(&server, 10);
    assert_eq!(first.position, position);
    first.tell(&[stored(other, 3), ended(one, 1)]);

    view.begin(Partition(0), LeaderEpoch(20)).await.expect("it answers");
    let found = async |leader_epoch, at, of: SubscriptionRef| {
        let found =
            view.in_channel(barrier(leader_epoch, at), of.user_agent, of.channel).await.expect("it answers");
        found.iter().map(|it| it.sequence.0).collect::<Vec<_>>()
    };
    assert_eq!(found(20, first.position, other).await, [3]);
    assert_eq!(found(20, first.position, one).await, [2]);

    // The same while the owner counts that was there before, and when another of its release follows.
    let position = tell(&view, 20, first.position, &[ended(one, 2), stored(other, 4)]).await;
    assert_eq!(found(20, position, other).await, [4, 3]);
    view.begin(Partition(0), LeaderEpoch(21)).await.expect("it answers");
    let position = tell(&view, 21, position, &[stored(one, 5), ended(other, 3), ended(other, 4)]).await;
    assert_eq!((found(21, position, one).await, found(21, position, other).await), (vec![5], vec![]));
}

#[tokio::test]
async fn an_owner_that_knows_of_nobody_aside_tells_the_view_all() {
    let server = Server::start(&[]);
    let view = RedisView::new(connect(&server).await);
    let (one, other) = (subscription(1, 1), subscription(2, 1));
    let changes = [subscribed(one), stored(one, 1), subscribed(other), stored(other, 2)];
    let begun = view.begin(Partition(0), LeaderEpoch(1)).await.expect("it answers");
    let position = tell(&view, 1, begun.0, &changes).await;
    view.complete(barrier(1, position)).await.expect("it answers");
    view.set_aside(barrier(1, position), &[one.user_agent]).await.expect("it answers");

    // To an owner of this release the view is where it was, also after more changes and when it takes over.
    let position = tell(&view, 1, position, &[stored(other, 3)]).await;
    assert_eq!(view.begin(Partition(0), LeaderEpoch(2)).await.expect("it answers"), Position(position));
    assert_eq!(view.waiting(barrier(2, position)).await.expect("it answers"), 2);

    // The first release begins anew, whether this one has ended in order or not, and misses nothing.
    let mut first = First::begin(&server, 10);
    assert_eq!(first.position, 0);
    first.tell(&changes);
    first.tell(&[stored(other, 3)]);
    assert_eq!(first.position, position);
    first.tell(&[stored(one, 4)]);

    // What comes after it restores whoever is still on the list.
    let at = view.begin(Partition(0), LeaderEpoch(20)).await.expect("it answers");
    assert_eq!(at.0, first.position);
    let at = barrier(20, at.0);
    let usage = view.usage(at, one.user_agent).await;
    assert!(matches!(usage, Err(ViewError::Unreadable(_))), "{usage:?}");
    view.set_aside(at, &[one.user_agent]).await.expect("it answers");
    let all = [subscribed(one), stored(one, 1), stored(one, 4)];
    view.restore(at, one.user_agent, &all, true).await.expect("it answers");
    assert_eq!(view.waiting(at).await.expect("it answers"), 4);
    assert_eq!(view.complete(at).await.expect("it answers"), []);
    assert_eq!(server.say::<String>(&["HGET", META, "p"]), at.position.0.to_string());
    assert_eq!(First::begin(&server, 30).position, at.position.0, "nobody is aside");
    let late = view.due(at, message(one, 1, 1).expires_at.plus(Duration::from_secs(1)), 9).await;
    assert!(matches!(late, Err(ViewError::Fenced)), "{late:?}");
}

#[tokio::test]
async fn nothing_is_left_by_half_of_a_restore_that_was_broken_off() {
    let server = Server::start(&[]);
    let view = RedisView::new(connect(&server).await);
    let id = subscription(1, 1);
    let changes = [subscribed(id), stored(id, 1), stored(id, 2)];
    let begun = view.begin(Partition(0), LeaderEpoch(1)).await.expect("it answers");
    let at = barrier(1, tell(&view, 1, begun.0, &changes).await);
    view.set_aside(at, &[id.user_agent]).await.expect("it answers");
    view.restore(at, id.user_agent, &changes[..2], false).await.expect("it answers");
    let late = message(id, 1, 5).expires_at.plus(Duration::from_secs(1));
    assert_eq!(view.due(at, late, 9).await.expect("it answers"), []);

    First::begin(&server, 10).tell(&changes);
    assert_eq!(server.say::<u64>(&["ZCARD", "pushgrid:{0}:due"]), 2, "both will end");
}
