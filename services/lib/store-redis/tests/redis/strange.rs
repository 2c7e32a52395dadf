//! Foreign values under our keys: they concern one user agent, or cost a rebuild of the view.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_store::{
    Change, Directory, ErrorKind, PageLimit, PageStart, Presence, StoredMessage, View, ViewError,
};
use pushgrid_store_redis::{Redis, RedisDirectory, RedisPresence, RedisView};
use pushgrid_types::{
    LeaderEpoch, Message, NodeId, Outcome, Partition, Position, ReplaceKey, SessionId, SessionRef,
    UserAgentId,
};

use crate::servers::Server;
use crate::support::{Fresh, NOW, barrier, behind, message, subscribed, subscription, tell};

const ALL: PageLimit = PageLimit { messages: 100, octets: 1 << 20 };

/// View with two user agents, each with a subscription and two messages, and a direct connection beside the view.
struct Scene {
    redis: Redis,
    view: RedisView,
    direct: redis::Connection,
    prefix: String,
    position: u64,
    changes: Vec<Change>,
}

fn topic() -> ReplaceKey {
    "t".parse().expect("it answers")
}

fn changes_of(of: u8) -> Vec<Change> {
    let id = subscription(of, 1);
    let topical = Message { topic: Some(topic()), ..Message::clone(&message(id, u64::from(of) * 10, 5)) };
    let plain = message(id, u64::from(of) * 10 + 1, 0);
    let stored = |message: Arc<Message>| Change::Stored { message, since: LeaderEpoch(1) };
    vec![subscribed(id), stored(Arc::new(topical)), stored(plain)]
}

impl Scene {
    async fn new(server: &Server, fresh: &Fresh, number: usize) -> Self {
        let redis = fresh.make().await;
        let view = RedisView::new(redis.clone());
        let changes = [changes_of(1), changes_of(2)].concat();
        let position = tell(&view, 1, 0, &changes).await;
        view.complete(barrier(1, position)).await.expect("it answers");
        let prefix = format!("test-{number}:{{0}}:");
        Self { redis, view, direct: server.direct(), prefix, position, changes }
    }

    fn key(&self, kind: &str, of: u8) -> Vec<u8> {
        let mut key = format!("{}{kind}", self.prefix).into_bytes();
        key.extend_from_slice(subscription(of, 1).user_agent.as_octets());
        key
    }

    /// Asks one of the questions about the first user agent; any of them may be the one that meets the damage.
    async fn ask(&self, question: usize) -> Result<(), ViewError> {
        let (view, at, id) = (&self.view, barrier(1, self.position), subscription(1, 1));
        let (of, on) = (id.user_agent, id.channel);
        match question {
            0 => view.find(at, &[(of, on)]).await.map(drop),
            1 => view.alive(at, &[id]).await.map(drop),
            2 => view.count(at, of).await.map(drop),
            3 => view.stored(at, &[(of, message(id, 10, 0).id)]).await.map(drop),
            4 => view.in_topic(at, &[(of, on, topic())]).await.map(drop),
            5 => view.in_channel(at, of, on).await.map(drop),
            6 => view.page(at, of, PageStart::FIRST, NOW, ALL).await.map(drop),
            7 => view.usage(at, of).await.map(drop),
            8 => view.due(at, NOW.plus(Duration::from_hours(9)), 10).await.map(drop),
            _ => view.waiting(at).await.map(drop),
        }
    }

    /// Checks that the second user agent is untouched.
    async fn assert_bystander(&self, why: &str) {
        let (view, at, id) = (&self.view, barrier(1, self.position), subscription(2, 1));
        assert_eq!(view.alive(at, &[id]).await.expect("it answers"), [true], "{why}");
        let page =
            view.page(at, id.user_agent, PageStart::FIRST, NOW, ALL).await.expect("it answers").messages;
        assert_eq!(page.len(), 2, "{why}");
        let due = view.due(at, NOW.plus(Duration::from_hours(9)), 10).await.expect("it answers");
        assert_eq!(due.iter().filter(|it| it.to.user_agent == id.user_agent).count(), 2, "{why}");
    }

    /// Sets the first user agent aside, if need be, and restores it.
    async fn restore(&self, why: &str) {
        let (at, of) = (barrier(1, self.position), subscription(1, 1).user_agent);
        self.view.set_aside(at, &[of]).await.expect("it answers");
        self.view.restore(at, of, &self.changes[..3], true).await.expect("it answers");
        for question in 0..10 {
            self.ask(question).await.expect("it answers");
        }
        assert_eq!(self.view.usage(at, of).await.expect("it answers").messages, 2, "{why}");
        assert_eq!(self.view.waiting(at).await.expect("it answers"), 4, "{why}");
        assert_eq!(self.view.complete(at).await.expect("it answers"), [], "{why}");
        assert!(!self.redis.breaker_open());
        assert_eq!(self.redis.figures().corrupt, 0, "{why}");
    }
}

/// Damage to a key of the first user agent: kind of key, command, and arguments after the key.
const DAMAGE: [(&str, &str, &[&[u8]]); 11] = [
    ("s", "SET", &[b"x"]),
    ("q", "SET", &[b"x"]),
    ("m", "SET", &[b"x"]),
    ("s", "HSET", &[&[1; 16], b"short"]),
    ("q", "ZADD", &[b"5", b"not-a-message-of-anybody"]),
    ("q", "DEL", &[]),
    ("m", "HSET", &[b"o", b"none"]),
    ("m", "HSET", &[b"o", b"-7"]),
    ("m", "DEL", &[]),
    // The first message: too short for a head, and a head with nothing behind it.
    ("m", "HSET", &[&[0, 0, 0, 0, 0, 0, 0, 10, 7, 7, 7, 7, 7, 7, 7, 7], b"short"]),
    ("m", "HSET", &[&[0, 0, 0, 0, 0, 0, 0, 10, 7, 7, 7, 7, 7, 7, 7, 7], &[0; 60]]),
];

fn of_unreadable(answer: Result<(), ViewError>) -> Vec<UserAgentId> {
    match answer {
        Ok(()) => Vec::new(),
        Err(ViewError::Unreadable(of)) => of,
        Err(other) => panic!("it is nobody else's trouble: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_wrong_in_the_keys_of_a_user_agent_concerns_nobody_else() {
    let server = Server::start(&[]);
    let fresh = Fresh::at(&format!("redis://127.0.0.1:{}", server.port));
    let mut number = 0;
    let mut found = 0;
    for (kind, command, arguments) in DAMAGE {
        let mut first = true;
        for question in 0..10 {
            let mut scene = Scene::new(&server, &fresh, number).await;
            number += 1;
            let why = format!("{command} of {kind}, question {question}");
            let key = scene.key(kind, 1);
            if command == "SET" {
                redis::cmd("DEL").arg(&key).exec(&mut scene.direct).expect("it answers");
            }
            redis::cmd(command).arg(&key).arg(arguments).exec(&mut scene.direct).expect("it answers");
            let of = of_unreadable(scene.ask(question).await);
            if !of.is_empty() {
                assert_eq!(of, [subscription(1, 1).user_agent], "{why}");
                let mut again = of_unreadable(scene.ask(0).await);
                if again.is_empty() {
                    // Only this side could not read it, and the owner says so.
                    scene.view.set_aside(barrier(1, scene.position), &of).await.expect("it answers");
                    again = of_unreadable(scene.ask(0).await);
                }
                assert_eq!(again, of, "it is aside from then on: {why}");
                found += usize::from(first);
                first = false;
            }
            scene.assert_bystander(&why).await;
            scene.restore(&why).await;
        }
    }
    // That all messages are gone in one key or the other is found out by what is left.
    assert_eq!(found, DAMAGE.len(), "each is found out by some question");
}

#[tokio::test]
async fn a_batch_with_a_change_that_cannot_be_taken_in_is_taken_in_but_for_its_user_agent() {
    let server = Server::start(&[]);
    let fresh = Fresh::at(&format!("redis://127.0.0.1:{}", server.port));
    for (number, (kind, command, arguments)) in DAMAGE.into_iter().enumerate() {
        let mut scene = Scene::new(&server, &fresh, number).await;
        let key = scene.key(kind, 1);
        if command == "SET" {
            redis::cmd("DEL").arg(&key).exec(&mut scene.direct).expect("it answers");
        }
        redis::cmd(command).arg(&key).arg(arguments).exec(&mut scene.direct).expect("it answers");
        let end = |of: u8| {
            let id = subscription(of, 1);
            let stored = StoredMessage::of(&message(id, u64::from(of) * 10, 0), LeaderEpoch(1));
            stored.ended(Outcome::Delivered)
        };
        let [(later, mine), (theirs, _)] = [1, 2].map(|of| {
            let stored = |sequence| Change::Stored {
                message: message(subscription(of, 1), sequence, 0),
                since: LeaderEpoch(1),
            };
            (stored(u64::from(of) * 10 + 2), subscribed(subscription(of, 2)))
        });
        let batch = [end(1), later, mine, end(2), theirs];
        scene.position = tell(&scene.view, 1, scene.position, &batch).await;
        let usage = scene
            .view
            .usage(barrier(1, scene.position), subscription(2, 1).user_agent)
            .await
            .expect("it answers");
        assert_eq!((usage.messages, usage.octets), (2, 0), "{command} of {kind}");
        scene.assert_bystander(&format!("{command} of {kind}")).await;
        scene.restore(&format!("{command} of {kind}")).await;
    }
}

#[tokio::test]
async fn a_key_of_the_partition_that_is_not_ours_has_the_view_told_again() {
    let server = Server::start(&[]);
    let fresh = Fresh::at(&format!("redis://127.0.0.1:{}", server.port));
    let mut number = 0;
    for damage in [
        &["SET", "due", "x"][..],
        &["SET", "meta", "x"],
        &["HSET", "meta", "t", "many"],
        &["HSET", "meta", "p", "-1"],
        &["HSET", "meta", "p", "99999999999999999999"],
        &["HDEL", "meta", "p"],
    ] {
        // Found out by a question, by a change, and by the next leader epoch.
        for way in 0..3 {
            let mut scene = Scene::new(&server, &fresh, number).await;
            number += 1;
            let key = format!("{}{}", scene.prefix, damage[1]);
            if damage[0] == "SET" {
                redis::cmd("DEL").arg(&key).exec(&mut scene.direct).expect("it answers");
            }
            redis::cmd(damage[0]).arg(&key).arg(&damage[2..]).exec(&mut scene.direct).expect("it answers");
            let at = barrier(1, scene.position);
            match (way, damage[1]) {
                (0, _) => assert_eq!(behind(scene.view.waiting(at).await), Position(0), "{damage:?}"),
                (1, _) => {
                    let told = scene.view.apply(at, &[Change::Claimed], Position(at.position.0 + 1)).await;
                    assert_eq!(behind(told), Position(0), "{damage:?}");
                }
                (_, "meta") => {
                    assert_eq!(
                        scene.view.begin(Partition(0), LeaderEpoch(2)).await.expect("it answers"),
                        Position(0)
                    );
                    scene.view.begin(Partition(0), LeaderEpoch(2)).await.expect("it answers");
                }
                _ => {}
            }
            let leader_epoch = 2;
            let at = scene.view.begin(Partition(0), LeaderEpoch(leader_epoch)).await.expect("it answers");
            if at == Position(0) {
                tell(&scene.view, leader_epoch, 0, &scene.changes.clone()).await;
            }
            if let Err(ViewError::Behind(at)) =
                scene.view.waiting(barrier(leader_epoch, scene.position)).await
            {
                tell(&scene.view, leader_epoch, at.0, &scene.changes.clone()).await;
            }
            let at = barrier(leader_epoch, scene.position);
            assert_eq!(scene.view.waiting(at).await.expect("it answers"), 4, "{damage:?}, {way}");
            let usage = scene.view.usage(at, subscription(1, 1).user_agent).await.expect("it answers");
            assert_eq!((usage.messages, usage.octets), (2, 5), "{damage:?}, {way}");
            assert_eq!(scene.redis.figures().corrupt, 0);
        }
    }
}

#[tokio::test]
async fn an_ending_that_an_earlier_release_has_broken_off_leaves_no_topic_behind() {
    let server = Server::start(&[]);
    let fresh = Fresh::at(&format!("redis://127.0.0.1:{}", server.port));
    let mut scene = Scene::new(&server, &fresh, 0).await;
    let id = message(subscription(1, 1), 10, 0).id;
    let box_key = scene.key("m", 1);
    redis::cmd("HDEL").arg(&box_key).arg(id.as_octets()).exec(&mut scene.direct).expect("it answers");
    let member = [&id.as_octets()[..], subscription(1, 1).channel.as_octets()].concat();
    redis::cmd("ZREM").arg(scene.key("q", 1)).arg(member).exec(&mut scene.direct).expect("it answers");
    let member = [&subscription(1, 1).user_agent.as_octets()[..], id.as_octets()].concat();
    redis::cmd("ZREM")
        .arg(format!("{}due", scene.prefix))
        .arg(member)
        .exec(&mut scene.direct)
        .expect("it answers");
    let asked = [(subscription(1, 1).user_agent, subscription(1, 1).channel, topic())];
    let found = scene.view.in_topic(barrier(1, scene.position), &asked).await.expect("it answers");
    assert_eq!(found, [None]);
}

#[tokio::test]
async fn no_directory_says_no_of_a_user_agent_that_is_set_aside() {
    let server = Server::start(&[]);
    let fresh = Fresh::at(&format!("redis://127.0.0.1:{}", server.port));
    let scene = Scene::new(&server, &fresh, 0).await;
    let directory = RedisDirectory::new(scene.redis.clone(), 1);
    let (at, unknown) = (barrier(1, scene.position), subscription(3, 1));
    assert!(directory.look_up(&subscription(1, 1)).await.expect("it answers").is_some());
    assert_eq!(directory.look_up(&unknown).await.expect("it answers"), None);
    scene.view.set_aside(at, &[subscription(1, 1).user_agent]).await.expect("it answers");
    scene.view.complete(at).await.expect("it answers");
    for id in [subscription(1, 1), subscription(1, 2)] {
        assert_eq!(directory.look_up(&id).await.unwrap_err().kind, ErrorKind::Corrupt);
    }
    assert_eq!(directory.look_up(&unknown).await.expect("it answers"), None, "of others it does");
    scene.restore("a look-up").await;
    assert!(directory.look_up(&subscription(1, 1)).await.expect("it answers").is_some());
}

#[tokio::test]
async fn a_look_up_that_meets_a_strange_value_is_for_the_owner() {
    let server = Server::start(&[]);
    let fresh = Fresh::at(&format!("redis://127.0.0.1:{}", server.port));
    for (number, (kind, command, arguments)) in DAMAGE.into_iter().enumerate() {
        let mut scene = Scene::new(&server, &fresh, number).await;
        let key = scene.key(kind, 1);
        if command == "SET" {
            redis::cmd("DEL").arg(&key).exec(&mut scene.direct).expect("it answers");
        }
        redis::cmd(command).arg(&key).arg(arguments).exec(&mut scene.direct).expect("it answers");
        let directory = RedisDirectory::new(scene.redis.clone(), 1);
        match directory.look_up(&subscription(1, 1)).await {
            Ok(found) => assert!(found.is_some(), "{command} of {kind}"),
            Err(error) => assert_eq!(error.kind, ErrorKind::Corrupt, "{command} of {kind}: {error:?}"),
        }
        assert!(directory.look_up(&subscription(2, 1)).await.expect("it answers").is_some());
    }
}

#[tokio::test]
async fn what_is_no_claim_holds_nothing() {
    let server = Server::start(&[]);
    let fresh = Fresh::at(&format!("redis://127.0.0.1:{}", server.port));
    let of = subscription(1, 1).user_agent;
    let session = SessionRef { node: NodeId(1), session: SessionId(1) };
    for (number, (command, arguments)) in
        [("SET", &[&b"short"[..]][..]), ("SET", &[&[255; 24][..]]), ("HSET", &[b"a", b"b"])]
            .into_iter()
            .enumerate()
    {
        let mut scene = Scene::new(&server, &fresh, number).await;
        let presence = RedisPresence::new(scene.redis.clone(), Partition(0), LeaderEpoch(1));
        let key = scene.key("at", 1);
        let damage = |direct: &mut redis::Connection| {
            redis::cmd("DEL").arg(&key).exec(direct).expect("it answers");
            redis::cmd(command).arg(&key).arg(arguments).exec(direct).expect("it answers");
        };
        damage(&mut scene.direct);
        let located = presence.locate(&[of, subscription(2, 1).user_agent]).await.expect("it answers");
        assert_eq!(located[1], None, "{command}");
        presence.release(of, pushgrid_types::Epoch(1)).await.expect("it answers");
        let (claim, earlier) = presence.claim(of, session).await.expect("it answers");
        assert_eq!(earlier, None, "{command}");
        damage(&mut scene.direct);
        assert_eq!(presence.resume(&[(of, claim)]).await.expect("it answers"), [claim], "{command}");
        assert_eq!(presence.locate(&[of]).await.expect("it answers"), [Some(claim)], "{command}");
    }
}
