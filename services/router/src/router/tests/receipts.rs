//! Receipts for webhooks, posted to a server of the test.

use pushgrid_runtime::clock::SteadyClock;
use pushgrid_store::{EventLog, Mailbox, ReceiptLink, Subscriptions};
use pushgrid_types::{
    ChannelId, Clock, Message, MessageId, MessageRef, Outcome, Partition, Receipt, ReceiptRequest, Sequence,
    SubscriptionRef, WebhookUrl,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// A post as it came.
#[derive(Debug)]
struct Post {
    id: String,
    body: String,
}

impl Post {
    fn messages(&self) -> usize {
        self.body.matches("\"message\":").count()
    }
}

/// A webhook that answers with these statuses, one after the other, then 200.
async fn webhook(statuses: Vec<u16>) -> (WebhookUrl, mpsc::Receiver<Post>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/receipts", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel(1000);
    tokio::spawn(async move {
        let mut statuses = statuses.into_iter();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut octets = Vec::new();
            let post = loop {
                assert!(socket.read_buf(&mut octets).await.unwrap() > 0);
                let text = String::from_utf8_lossy(&octets);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let field = |name: &str| {
                    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
                    line.unwrap().split_once(": ").unwrap().1.to_owned()
                };
                if body.len() == field("content-length").parse::<usize>().unwrap() {
                    break Post { id: field("webhook-id"), body: body.to_owned() };
                }
            };
            let status = statuses.next().unwrap_or(200);
            tell.send(post).await.unwrap();
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (WebhookUrl::new(&url).unwrap(), told)
}

async fn opened(world: &mut World, partition: Partition, webhook: WebhookUrl) -> SubscriptionRef {
    world.gain(partition).await;
    let (of, on) = (user_agent_of(partition), ChannelId::random(&SystemRng));
    world.registry.open_receipts(of, on, Some(webhook)).await.unwrap()
}

/// Appends the receipt of some message.
async fn append(world: &World, to: SubscriptionRef) {
    let message = MessageRef {
        user_agent: user_agent_of(Partition(3)),
        channel: ChannelId::random(&SystemRng),
        id: MessageId::random(&SystemRng),
        sequence: Sequence(1),
    };
    let ended_at = SteadyClock::of_machine().now();
    let receipt = Receipt { message, outcome: Outcome::Delivered, ended_at };
    let asked = ReceiptRequest { to, ttl: Ttl::from_secs(3600) };
    let message: Message = receipt.to_message(&asked);
    world.loader.memory.log().append(message).await.unwrap();
}

async fn next(posts: &mut mpsc::Receiver<Post>) -> Post {
    within(posts.recv()).await.unwrap()
}

#[tokio::test]
async fn a_receipt_is_posted_until_the_webhook_has_it_and_then_no_more() {
    let mut world = World::new();
    let (url, mut posts) = webhook(vec![500, 302, 200]).await;
    let to = opened(&mut world, Partition(1), url).await;
    append(&world, to).await;
    let first = next(&mut posts).await;
    assert!(first.body.contains("\"status\":204,\"outcome\":\"delivered\""), "{}", first.body);
    assert!(first.body.contains("\"message\":\"http://push.example/m/"), "{}", first.body);
    for _ in 0..2 {
        let again = next(&mut posts).await;
        assert_eq!((&again.id, again.messages()), (&first.id, 1), "the same one under the same id");
    }
    holding(&world.loader.memory.mailbox(), to.user_agent, 0).await;
    append(&world, to).await;
    assert_ne!(next(&mut posts).await.id, first.id);
    holding(&world.loader.memory.mailbox(), to.user_agent, 0).await;
    assert!(posts.try_recv().is_err(), "nothing is posted once more");
}

#[tokio::test]
async fn what_an_owner_has_left_is_posted_by_the_next_and_much_goes_in_few_posts() {
    let mut world = World::new();
    let (url, mut posts) = webhook(Vec::new()).await;
    let to = opened(&mut world, Partition(1), url).await;
    world.lose(Partition(1)).await;
    for _ in 0..250 {
        append(&world, to).await;
    }
    let mut consumer = world.loader.memory.consumer();
    let mut stored = 0;
    while stored < 250 {
        let batch = pushgrid_store::LogConsumer::next(&mut consumer, 100).await.unwrap();
        stored += batch.len();
        world.loader.memory.mailbox().store(batch).await.unwrap();
    }
    world.gain(Partition(1)).await;
    let counts = [next(&mut posts).await.messages(), next(&mut posts).await.messages()];
    assert_eq!((counts, next(&mut posts).await.messages()), ([100, 100], 50));
    holding(&world.loader.memory.mailbox(), to.user_agent, 0).await;
}

#[tokio::test]
async fn a_webhook_that_wants_no_more_ends_its_receipt_subscription() {
    let mut world = World::new();
    let (url, mut posts) = webhook(vec![410]).await;
    let to = opened(&mut world, Partition(1), url).await;
    append(&world, to).await;
    next(&mut posts).await;
    let subscriptions = world.loader.memory.subscriptions();
    within(async {
        while subscriptions.alive(&[to]).await.unwrap() == [true] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    holding(&world.loader.memory.mailbox(), to.user_agent, 0).await;
    append(&world, to).await;
    holding(&world.loader.memory.mailbox(), to.user_agent, 0).await;
    assert!(posts.try_recv().is_err());
}

#[tokio::test]
async fn a_webhook_that_fails_holds_up_no_other() {
    let mut world = World::new();
    let (failing, mut refused) = webhook(vec![500; 1000]).await;
    let (working, mut posts) = webhook(Vec::new()).await;
    let broken = opened(&mut world, Partition(1), failing).await;
    append(&world, broken).await;
    next(&mut refused).await;
    let works = opened(&mut world, Partition(2), working).await;
    append(&world, works).await;
    assert_eq!(next(&mut posts).await.messages(), 1);
    holding(&world.loader.memory.mailbox(), works.user_agent, 0).await;
    assert_eq!(world.loader.memory.mailbox().usage(broken.user_agent).await.unwrap().messages, 1, "it waits");
}
