//! The core with a protocol that is none of the service's.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_runtime::Shutdown;
use pushgrid_store::{Eviction, NodeLink, RouterLink};
use pushgrid_types::{ChannelId, Message, MessageId, Restriction, SystemRng};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

use self::line::Line;
use super::*;
use crate::drain;
use crate::testing::{Call, Core, Mood, Op, message, within};

mod line;
mod lines;

/// Octets that the stream between both sides holds.
const PIPE: usize = 1 << 10;

/// Longer than any time-out of a connection.
const HOUR: Duration = Duration::from_hours(1);

/// A user agent that speaks lines.
struct UserAgent(BufReader<DuplexStream>);

impl UserAgent {
    fn connect(core: &Core) -> Self {
        let (here, there) = tokio::io::duplex(PIPE);
        let slot = core.shared.node.enter().expect("the node is open");
        drop(core.shared.connections.spawn(serve(Arc::clone(&core.shared), slot, Line::new(there))));
        Self(BufReader::new(here))
    }

    /// One that has said who it is.
    async fn identified(core: &Core, id: UserAgentId) -> Self {
        let mut user_agent = Self::connect(core);
        user_agent.say(&format!("iam {}", id.to_hex())).await;
        assert_eq!(user_agent.hear().await, format!("youare {}", id.to_hex()));
        user_agent
    }

    async fn say(&mut self, line: &str) {
        within(self.0.write_all(format!("{line}\n").as_bytes())).await.unwrap();
    }

    /// The next line; empty when the connection is closed.
    async fn hear(&mut self) -> String {
        let mut line = String::new();
        within(self.0.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    /// The next line, with time that passes at once.
    async fn hear_in_an_hour(&mut self) -> String {
        let mut line = String::new();
        timeout(HOUR, self.0.read_line(&mut line)).await.expect("it does not take so long").unwrap();
        line.trim_end().to_owned()
    }

    /// The last line, after which the connection is closed.
    async fn farewell(&mut self) -> String {
        let line = self.hear().await;
        assert_eq!(self.hear().await, "", "nothing comes after {line}");
        line
    }
}

/// A user agent that has subscribed by another way.
async fn subscribed(core: &Core) -> (UserAgentId, ChannelId) {
    let (id, channel) = (UserAgentId::random(&SystemRng), ChannelId::random(&SystemRng));
    core.router.register(id, channel, Restriction::Open).await.unwrap();
    (id, channel)
}

fn line(message: &Message, body: &str) -> String {
    format!("message {} {body}", message.id.to_text())
}

fn ack(id: MessageId) -> String {
    format!("ack {}", id.to_text())
}

fn closed(core: &Core, reason: CloseReason) {
    let (shown, reason) = (core.meter.render(), reason.as_str());
    assert!(shown.contains(&format!("closed_total{{reason=\"{reason}\"}} 1")), "{reason} {shown}");
}

#[tokio::test]
async fn what_waited_and_what_comes_is_delivered_and_acknowledged() {
    let core = Core::new(&[]);
    let (id, channel) = subscribed(&core).await;
    let (first, second) = (message(id, channel, b"one"), message(id, channel, b"two"));
    assert_eq!(core.router.push(first.clone()), None, "nobody is there");
    let mut user_agent = UserAgent::identified(&core, id).await;
    assert_eq!(user_agent.hear().await, line(&first, "one"));
    user_agent.say(&ack(first.id)).await;
    assert_eq!(core.router.push(second.clone()), Some(Ok(())));
    assert_eq!(user_agent.hear().await, line(&second, "two"));
    // The goodbye does not overtake it.
    user_agent.say(&ack(second.id)).await;
    user_agent.say("bye").await;
    assert_eq!(user_agent.hear().await, "", "whoever goes is told nothing");
    core.router.called(|calls| calls.contains(&Call::Close(id))).await;
    let delivered = |message: &Message| Settlement { id: message.id, outcome: Outcome::Delivered };
    assert_eq!(core.router.settled(), [delivered(&first), delivered(&second)]);
    closed(&core, CloseReason::Client);
}

// Holds: A-57.
#[tokio::test]
async fn an_expired_message_is_accounted_and_not_sent() {
    let core = Core::new(&[]);
    let (id, channel) = subscribed(&core).await;
    let mut user_agent = UserAgent::identified(&core, id).await;
    let (late, fresh) = (message(id, channel, b"late"), message(id, channel, b"fresh"));
    core.clock.advance(Duration::from_mins(1));
    let fresh = Message { expires_at: fresh.expires_at.plus(Duration::from_mins(1)), ..fresh };
    core.router.push(late.clone());
    core.router.push(fresh.clone());
    assert_eq!(user_agent.hear().await, line(&fresh, "fresh"));
    let expired = Settlement { id: late.id, outcome: Outcome::Expired };
    core.router.called(|calls| calls.contains(&Call::Settle(vec![expired]))).await;
}

#[tokio::test]
async fn a_request_before_the_answer_to_who_it_is_waits_for_it() {
    let core = Core::new(&[]);
    let (id, channel) = subscribed(&core).await;
    core.router.set_mood(Some((Op::Open, Mood::Silent)));
    let mut user_agent = UserAgent::connect(&core);
    let earlier = message(id, channel, b"of an earlier connection").id;
    user_agent.say(&format!("iam {}\n{}", id.to_hex(), ack(earlier))).await;
    core.router.called(|calls| calls.contains(&Call::Failed(Op::Open))).await;
    core.router.set_mood(None);
    assert_eq!(user_agent.hear().await, format!("youare {}", id.to_hex()));
    let settled = Call::Settle(vec![Settlement { id: earlier, outcome: Outcome::Delivered }]);
    core.router.called(|calls| calls.contains(&settled)).await;
}

#[tokio::test]
async fn the_router_ends_a_connection_and_its_user_agent_is_told_why() {
    let core = Core::new(&[]);
    let (id, _) = subscribed(&core).await;
    let mut earlier = UserAgent::identified(&core, id).await;
    let mut later = UserAgent::identified(&core, id).await;
    assert_eq!(earlier.farewell().await, "bye superseded");
    core.shared.node.evict(core.router.session(id), Eviction::Resync);
    assert_eq!(later.farewell().await, "bye resync");
    assert_eq!(core.router.closes(), 2);
}

#[tokio::test]
async fn a_drain_tells_everybody_and_hands_what_is_unacknowledged_to_the_router() {
    let core = Core::new(&[]);
    let (id, channel) = subscribed(&core).await;
    let mut user_agent = UserAgent::identified(&core, id).await;
    let mut stranger = UserAgent::connect(&core);
    core.router.push(message(id, channel, b"unacknowledged"));
    user_agent.hear().await;
    let shutdown = Shutdown::new();
    let drained = drain::all(&core.shared, &shutdown);
    let ((), told, other) = tokio::join!(within(drained), user_agent.farewell(), stranger.farewell());
    assert_eq!([told, other], ["bye draining"; 2]);
    assert_eq!(core.router.calls().last(), Some(&Call::Close(id)), "nothing was settled");
    assert!(core.shared.node.enter().is_none());
}

#[tokio::test]
async fn a_node_that_stops_at_once_tells_nobody() {
    let core = Core::new(&["drain=1h"]);
    let (id, _) = subscribed(&core).await;
    let mut user_agent = UserAgent::identified(&core, id).await;
    let shutdown = Shutdown::new();
    shutdown.stop();
    let ((), told) = tokio::join!(within(drain::all(&core.shared, &shutdown)), user_agent.hear());
    assert_eq!((told.as_str(), core.router.closes()), ("", 0));
}

#[tokio::test]
async fn a_fault_is_the_protocols_and_its_reason_is_counted() {
    let core = Core::new(&[]);
    let (id, _) = subscribed(&core).await;
    let mut user_agent = UserAgent::identified(&core, id).await;
    user_agent.say("what?").await;
    assert_eq!(user_agent.farewell().await, "bye protocol");
    closed(&core, CloseReason::Protocol);
    assert_eq!(core.router.calls().last(), Some(&Call::Close(id)));
}

#[tokio::test]
async fn whoever_does_not_say_who_it_is_is_given_nothing() {
    let core = Core::new(&["hello_timeout=1h"]);
    let mut user_agent = UserAgent::connect(&core);
    user_agent.say(&ack(MessageId::random(&SystemRng))).await;
    assert_eq!(user_agent.farewell().await, "bye no_hello");
    assert_eq!(core.router.calls(), []);
}

#[tokio::test]
async fn the_router_is_unavailable_for_too_long() {
    let core = Core::new(&["router_patience=0s"]);
    let (id, channel) = subscribed(&core).await;
    let mut user_agent = UserAgent::identified(&core, id).await;
    core.router.set_mood(Some((Op::Settle, Mood::Unavailable)));
    user_agent.say(&ack(message(id, channel, b"").id)).await;
    assert_eq!(user_agent.farewell().await, "bye unavailable");

    core.router.set_mood(Some((Op::Open, Mood::Unavailable)));
    let mut user_agent = UserAgent::connect(&core);
    user_agent.say(&format!("iam {}", id.to_hex())).await;
    assert_eq!(user_agent.farewell().await, "bye unavailable");
}

#[tokio::test(start_paused = true)]
async fn silence_is_closed_and_a_sign_of_life_keeps_the_connection() {
    let core = Core::new(&[]);
    let mut silent = UserAgent::connect(&core);
    assert_eq!(silent.hear_in_an_hour().await, "bye no_hello");

    let (id, _) = subscribed(&core).await;
    let mut user_agent = UserAgent::identified(&core, id).await;
    for answered in [true, true, false] {
        assert_eq!(user_agent.hear_in_an_hour().await, "there?");
        if answered {
            user_agent.say("").await;
        }
    }
    assert_eq!(user_agent.farewell().await, "bye idle");
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_is_cut_off_without_a_word() {
    let core = Core::new(&[]);
    let (id, channel) = subscribed(&core).await;
    let user_agent = UserAgent::identified(&core, id).await;
    for _ in 0..3 {
        core.router.push(message(id, channel, &[b'x'; PIPE]));
    }
    core.shared.connections.close();
    let over = timeout(HOUR, core.shared.connections.wait());
    over.await.expect("it is not waited for");
    closed(&core, CloseReason::Slow);
    assert_eq!(core.router.closes(), 1);
    drop(user_agent);
}
