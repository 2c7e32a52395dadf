//! Damaged copies of a user agent's frames: each is answered, or the connection is closed with a reason.

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::{Event, Subscription, UserAgent, codes};
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::{ChannelId, SystemRng, UserAgentId};
use serde_json::Value;

use super::damage::Damage;
use super::shape::bent;
use super::{LANES, Lane, storm, unharmed};
use crate::input::raw::PATIENCE;
use crate::input::request::Request;
use crate::input::scene::Scene;
use crate::input::websocket::{Close, Frame, Socket, hello, ping, text};

/// Settings without a limit of pings, and with a short time-out for an incomplete hello.
const SETTINGS: [(&str, &str); 2] =
    [("PUSHGRID_CONNECTION__PING_EVERY", "0s"), ("PUSHGRID_CONNECTION__HELLO_TIMEOUT", "1s")];

/// Body of the message that is not acknowledged until the end.
const KEPT: &[u8] = b"kept";

/// User agent that sends damaged frames while a message is stored for it.
#[derive(Debug)]
struct Sender {
    url: String,
    id: UserAgentId,
    subscription: Subscription,
    socket: Option<Socket>,
    sent: u64,
    kind: Kind,
    valid: Vec<u8>,
}

/// Kind of frame to damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hello,
    Register,
    Unregister,
    Ack,
    Nack,
    Ping,
    BroadcastSubscribe,
    /// Any kind, damaged as a frame instead of a text.
    Raw,
}

impl Kind {
    /// Valid text, without the channel of the kept message.
    fn valid(self, id: UserAgentId, version: &str) -> String {
        let channel = ChannelId::random(&SystemRng);
        match self {
            Self::Hello => {
                let start = hello(Some(id));
                start.replace('}', &format!(r#","channelIDs":["{channel}"],"broadcasts":{{"a/b":"v1"}}}}"#))
            }
            Self::Register => {
                let key = KeyPair::generate(&SystemRng).public().to_text();
                format!(r#"{{"messageType":"register","channelID":"{channel}","key":"{key}"}}"#)
            }
            Self::Unregister => {
                format!(r#"{{"messageType":"unregister","channelID":"{channel}","code":200}}"#)
            }
            Self::Ack => format!(
                r#"{{"messageType":"ack","updates":[{{"channelID":"{channel}","version":"{version}","code":100}}]}}"#
            ),
            Self::Nack => format!(r#"{{"messageType":"nack","version":"{version}","code":301}}"#),
            Self::Ping => r#"{"messageType":"ping"}"#.to_owned(),
            Self::BroadcastSubscribe => {
                r#"{"messageType":"broadcast_subscribe","broadcasts":{"a/b":"v1","c/d":"v2"}}"#.to_owned()
            }
            Self::Raw => [Self::Register, Self::Unregister, Self::Ack, Self::Ping]
                .map(|kind| kind.valid(id, version))
                .join(" "),
        }
    }
}

impl Sender {
    /// Makes a user agent with two stored messages: one to keep, and one named by valid frames.
    async fn new(scene: &Scene, kind: Kind) -> Result<Self> {
        let url = scene.server.connection().to_owned();
        let mut user_agent = UserAgent::connect(&url).await?;
        let id = user_agent.hello(None).await?.user_agent;
        let subscription = user_agent.subscribe(&SystemRng, None).await?;
        user_agent.close().await?;
        let push = |payload| anyhow::Ok(Request::push(&subscription, payload)?.instead("TTL", "86400"));
        scene.send(&push(KEPT)?).await?;
        scene.send(&push(b"named")?).await?;
        let mut socket = Socket::open(&url, Some(id)).await?;
        ensure!(socket.reply().await?["messageType"] == "notification", "nothing came");
        let named = socket.reply().await?;
        let version = named["version"].as_str().context("a version")?;
        let valid = match kind {
            Kind::Raw => [Kind::Register, Kind::Ack, Kind::Ping]
                .map(|kind| text(kind.valid(id, version).as_bytes()))
                .concat(),
            _ => kind.valid(id, version).into_bytes(),
        };
        Ok(Self { url, id, subscription, socket: None, sent: 0, kind, valid })
    }

    async fn socket(&mut self) -> Result<Socket> {
        match self.socket.take() {
            Some(socket) => Ok(socket),
            None => Socket::open(&self.url, Some(self.id)).await,
        }
    }

    /// Sends a text after the hello: the connection goes on, or is closed with a reason.
    async fn later(&mut self, mutated: &[u8]) -> Result<()> {
        self.sent += 1;
        let mark = self.sent.to_be_bytes();
        let mut socket = self.socket().await?;
        socket.send(&[text(mutated), ping(&mark)].concat()).await?;
        loop {
            match socket.next().await?.context("closed without a close frame")? {
                Frame::Pong(payload) if payload == mark => break,
                Frame::Text(reply) => drop(serde_json::from_str::<Value>(&reply)?),
                Frame::Close(close) => return refused(&close),
                Frame::Ping | Frame::Pong(_) => {}
            }
        }
        self.socket = Some(socket);
        Ok(())
    }

    /// Sends a text as the first of a connection: a hello is answered, all else is closed with a reason.
    async fn first(&self, mutated: &[u8]) -> Result<()> {
        let mut socket = Socket::connect(&self.url).await?;
        socket.send(&text(mutated)).await?;
        loop {
            match socket.next().await?.context("closed without a close frame")? {
                Frame::Text(reply) => {
                    let reply: Value = serde_json::from_str(&reply)?;
                    ensure!(reply["messageType"] == "hello" && reply["status"] == 200, "no hello: {reply}");
                    return Ok(());
                }
                Frame::Close(close) => return refused(&close),
                Frame::Ping | Frame::Pong(_) => {}
            }
        }
    }

    /// Sends octets after the hello, then ends the stream: the service closes as well.
    async fn raw(&self, mutated: &[u8]) -> Result<()> {
        let mut socket = Socket::open(&self.url, None).await?;
        socket.send(mutated).await?;
        socket.finish().await?;
        match socket.closed().await? {
            // The answer to a close frame, if the mutation made one, repeats code and reason.
            Some(close) if !mutated.contains(&0x88) => refused(&close),
            Some(_) | None => Ok(()),
        }
    }

    /// Checks that the kept message is still delivered.
    async fn receives_what_was_kept(&self) -> Result<()> {
        let mut user_agent = UserAgent::connect(&self.url).await?;
        ensure!(user_agent.hello(Some(self.id)).await?.user_agent == self.id, "the user agent was forgotten");
        loop {
            let event =
                user_agent.next_within(PATIENCE).await?.context("the message that waited did not come")?;
            let Event::Notification(notification) = event else { anyhow::bail!("not a message: {event:?}") };
            user_agent.ack(&[notification.ack(codes::DELIVERED)]).await?;
            if self.subscription.decrypt(&notification)? == b"named" {
                continue;
            }
            ensure!(self.subscription.decrypt(&notification)? == KEPT, "another message came");
            // The other message may precede it, unless ended by a mutation.
            while let Some(Event::Notification(named)) =
                user_agent.next_within(std::time::Duration::from_millis(50)).await?
            {
                user_agent.ack(&[named.ack(codes::DELIVERED)]).await?;
            }
            return Ok(user_agent.close().await?);
        }
    }
}

/// Checks for a close for a fault of the user agent, with a reason.
fn refused(close: &Close) -> Result<()> {
    close.is_clear()?;
    ensure!(!(1011..=1013).contains(&close.code), "a fault of the service: {close:?}");
    Ok(())
}

impl Lane for Sender {
    async fn mutation(&mut self, damage: &mut Damage) -> Result<()> {
        let foreign = ChannelId::random(&SystemRng);
        let others = [
            format!(r#"{{"messageType":"register","channelID":"{foreign}"}}"#),
            format!(
                r#"{{"messageType":"ack","updates":[{{"channelID":"{foreign}","version":"","code":102}}]}}"#
            ),
            r#"{"messageType":"broadcast_subscribe","broadcasts":{"":null}}"#.to_owned(),
        ];
        let mutated = if self.kind != Kind::Raw && damage.below(2) == 0 {
            let bent = serde_json::to_vec(&bent(damage, &serde_json::from_slice(&self.valid)?))?;
            damage.sent(&bent);
            bent
        } else {
            damage.to(&self.valid, &others.each_ref().map(String::as_bytes))
        };
        match self.kind {
            Kind::Hello => self.first(&mutated).await,
            Kind::Raw => self.raw(&mutated).await,
            _ => self.later(&mutated).await,
        }
    }
}

async fn survives(kind: Kind) -> Result<()> {
    let mut scene = Scene::start_with(&SETTINGS).await?;
    scene.works().await?;
    let before = scene.resident().await?;
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        lanes.push(Sender::new(&scene, kind).await?);
    }
    storm(&format!("{kind:?}"), &mut lanes).await?;
    for lane in &lanes {
        lane.receives_what_was_kept().await?;
    }
    let accounts = scene.server.settled().await?;
    ensure!(accounts.accepted == 2 * LANES + 1, "{accounts:?}");
    ensure!(accounts.ended("delivered") > LANES, "{accounts:?}");
    unharmed(&mut scene, before).await
}

#[tokio::test]
async fn mutated_hellos_are_answered_or_closed_with_a_reason() -> Result<()> {
    survives(Kind::Hello).await
}

#[tokio::test]
async fn mutated_registers_are_answered_or_closed_with_a_reason() -> Result<()> {
    survives(Kind::Register).await
}

#[tokio::test]
async fn mutated_unregisters_are_answered_or_closed_with_a_reason() -> Result<()> {
    survives(Kind::Unregister).await
}

#[tokio::test]
async fn mutated_acks_end_no_other_message() -> Result<()> {
    survives(Kind::Ack).await
}

#[tokio::test]
async fn mutated_nacks_end_no_message() -> Result<()> {
    survives(Kind::Nack).await
}

#[tokio::test]
async fn mutated_pings_are_answered_or_closed_with_a_reason() -> Result<()> {
    survives(Kind::Ping).await
}

#[tokio::test]
async fn mutated_broadcast_subscribes_are_answered_or_closed_with_a_reason() -> Result<()> {
    survives(Kind::BroadcastSubscribe).await
}

// Holds: H-22.
#[tokio::test]
async fn frames_that_are_mutated_as_octets_end_their_own_connection_alone() -> Result<()> {
    survives(Kind::Raw).await
}
