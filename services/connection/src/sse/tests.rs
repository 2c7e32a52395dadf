//! A user agent that reads events, over the core with a model of the router.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
use pushgrid_runtime::Shutdown;
use pushgrid_store::{Eviction, NodeLink, Resource, RouterLink, Settlement};
use pushgrid_types::{ChannelId, Outcome, Restriction, SubscriptionRef, SystemRng, Urgency, UserAgentId};
use tokio::time::timeout;

use super::*;
use crate::testing::{Call, Core, Mood, Op, addresses, message, receipt, receipt_form, subscription, within};
use crate::{connection, drain};

/// Longer than any time-out of a connection.
const HOUR: Duration = Duration::from_hours(1);

/// A client that reads.
struct Client {
    reader: Reader,
    head: oneshot::Receiver<Head>,
    text: String,
}

impl Client {
    fn connect(core: &Core, id: SubscriptionRef, is_brief: bool) -> Self {
        Self::connect_for(core, id, Form::Messages, is_brief)
    }

    fn connect_for(core: &Core, id: SubscriptionRef, form: Form, is_brief: bool) -> Self {
        let path = "/s/as-it-came".to_owned();
        let target = Target {
            resource: Resource::Subscription(id),
            form,
            path,
            is_brief,
            min_urgency: Urgency::LEAST,
        };
        let (sse, reader, head) = Sse::new(target, addresses(), receipt_form());
        let slot = core.shared.node.enter().expect("the node is open");
        drop(core.shared.connections.spawn(connection::serve(Arc::clone(&core.shared), slot, sse)));
        Self { reader, head, text: String::new() }
    }

    async fn reading(core: &Core, id: SubscriptionRef) -> Self {
        let mut client = Self::connect(core, id, false);
        assert_eq!(client.head().await, Head::Events);
        client
    }

    async fn head(&mut self) -> Head {
        within(&mut self.head).await.unwrap()
    }

    /// The next event or comment; empty at the end.
    async fn next(&mut self) -> String {
        timeout(HOUR, self.read()).await.expect("it does not take so long")
    }

    async fn read(&mut self) -> String {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let rest = self.text.split_off(end + 2);
                return std::mem::replace(&mut self.text, rest);
            }
            match poll_fn(|cx| Pin::new(&mut self.reader).poll_frame(cx)).await {
                Some(Ok(part)) => self.text += std::str::from_utf8(&part.into_data().unwrap()).unwrap(),
                None => return std::mem::take(&mut self.text),
            }
        }
    }

    /// The last event, and then the end.
    async fn farewell(&mut self) -> String {
        let last = self.next().await;
        assert_eq!(self.next().await, "", "nothing comes after {last}");
        last
    }
}

/// A subscription made by another way.
async fn subscribed(core: &Core) -> SubscriptionRef {
    let (id, channel) = (UserAgentId::random(&SystemRng), ChannelId::random(&SystemRng));
    core.router.register(id, channel, Restriction::Open).await.unwrap();
    subscription(id, channel)
}

fn letter(to: SubscriptionRef, body: &[u8]) -> Message {
    message(to.user_agent, to.channel, body)
}

fn is_of(event: &str, message: &Message) -> bool {
    event.starts_with(&format!(
        "id: {}\nevent: message\ndata: {{\"subscription\":\"/s/as-it-came\"",
        message.id.to_text()
    ))
}

fn closed(core: &Core, reason: CloseReason) {
    let (shown, reason) = (core.meter.render(), reason.as_str());
    assert!(shown.contains(&format!("closed_total{{reason=\"{reason}\"}} 1")), "{reason} {shown}");
}

#[tokio::test]
async fn messages_without_end_come_in_order_though_none_is_acknowledged_here() {
    let core = Core::new(&["queue_messages=2"]);
    let to = subscribed(&core).await;
    let waiting = letter(to, b"waits");
    core.router.push(waiting.clone());
    let mut client = Client::reading(&core, to).await;
    assert!(is_of(&client.next().await, &waiting));
    for number in 0..10u8 {
        let message = letter(to, &[number]);
        assert_eq!(core.router.push(message.clone()), Some(Ok(())), "{number}");
        assert!(is_of(&client.next().await, &message));
        // A new owner of the partition sends it once more.
        assert_eq!(core.router.push(message), Some(Ok(())));
    }
    drop(client);
    core.router.called(|calls| calls.contains(&Call::Close(to.user_agent))).await;
    assert_eq!(core.router.settled(), [], "the router is told by others");
    closed(&core, CloseReason::Client);
}

#[tokio::test]
async fn a_subscription_that_is_not_there_is_told_by_the_head() {
    let core = Core::new(&[]);
    let (id, channel) = (UserAgentId::random(&SystemRng), ChannelId::random(&SystemRng));
    let mut client = Client::connect(&core, subscription(id, channel), false);
    assert_eq!(client.head().await, Head::Gone);
    assert_eq!(client.next().await, "");
    core.router.set_mood(Some((Op::Open, Mood::Unavailable)));
    let mut client = Client::connect(&core, subscription(id, channel), false);
    assert_eq!(client.head().await, Head::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_wait_has_what_waits_and_no_more() {
    let core = Core::new(&[]);
    let to = subscribed(&core).await;
    let mut client = Client::connect(&core, to, true);
    assert_eq!(client.head().await, Head::Empty);
    core.router.called(|calls| calls.contains(&Call::Close(to.user_agent))).await;

    let messages = [letter(to, b"one"), letter(to, b"two")];
    for message in &messages {
        assert_eq!(core.router.push(message.clone()), None, "nobody is there");
    }
    let mut client = Client::connect(&core, to, true);
    assert_eq!(client.head().await, Head::Events);
    for message in &messages {
        assert!(is_of(&client.next().await, message));
    }
    assert_eq!(client.next().await, "");
}

#[tokio::test]
async fn an_expired_message_is_accounted_and_not_sent() {
    let core = Core::new(&[]);
    let to = subscribed(&core).await;
    let mut client = Client::reading(&core, to).await;
    let (late, fresh) = (letter(to, b"late"), letter(to, b"fresh"));
    core.clock.advance(Duration::from_mins(1));
    let fresh = Message { expires_at: fresh.expires_at.plus(Duration::from_mins(1)), ..fresh };
    core.router.push(late.clone());
    core.router.push(fresh.clone());
    assert!(is_of(&client.next().await, &fresh));
    let expired = Settlement { id: late.id, outcome: Outcome::Expired };
    core.router.called(|calls| calls.contains(&Call::Settle(vec![expired]))).await;
}

#[tokio::test]
async fn every_end_by_the_service_is_told() {
    let core = Core::new(&[]);
    let to = subscribed(&core).await;
    let mut earlier = Client::reading(&core, to).await;
    let mut later = Client::reading(&core, to).await;
    assert_eq!(earlier.farewell().await, Close::Superseded.event());
    core.shared.node.evict(core.router.session(to.user_agent), Eviction::Resync);
    assert_eq!(later.farewell().await, Close::Restart.event());
    let mut last = Client::reading(&core, to).await;
    let shutdown = Shutdown::new();
    let ((), told) = tokio::join!(within(drain::all(&core.shared, &shutdown)), last.farewell());
    assert_eq!(told, Close::Restart.event());
    assert_eq!(core.router.closes(), 3);
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_is_kept_by_comments_and_whoever_does_not_is_cut_off() {
    let core = Core::new(&[]);
    let to = subscribed(&core).await;
    let mut client = Client::reading(&core, to).await;
    for _ in 0..3 {
        assert_eq!(client.next().await, sse::KEEP_ALIVE);
    }
    core.shared.connections.close();
    timeout(HOUR, core.shared.connections.wait()).await.expect("it is not waited for");
    assert_eq!(core.router.closes(), 1);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_is_an_event_with_the_location_of_its_message() {
    let core = Core::new(&[]);
    let to = subscribed(&core).await;
    let mut client = Client::connect_for(&core, to, Form::Receipts, false);
    assert_eq!(client.head().await, Head::Events);
    let (of, message) = receipt(to, Outcome::Expired);
    core.router.push(message.clone()).unwrap().unwrap();
    let event = client.next().await;
    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let id = message.id.to_text();
    assert!(event.starts_with(&format!("id: {id}\nevent: receipt\n")), "{event}");
    assert_eq!((&data["status"], &data["outcome"]), (&410.into(), &"expired".into()));
    assert_eq!(data["time"], "2023-11-14T22:13:20.000Z");
    assert_eq!(data["receipt"], format!("/s/as-it-came/{id}"));
    let location = data["message"].as_str().unwrap();
    assert!(location.starts_with("https://push.example.net/m/"), "{location}");
    assert_eq!(of.status().code(), 410);
    assert!(core.router.settled().is_empty(), "the client acknowledges it");
}
