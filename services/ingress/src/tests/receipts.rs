//! Receipts: who gets one, and by which receipt subscription (RFC 8030 section 5.1).

use super::*;

const RELATION: &str = "rel=\"urn:ietf:params:push:receipt\"";
const WISH: (&str, &str) = ("prefer", "respond-async");

impl World {
    fn webpush(settings: &[&str]) -> Self {
        Self::serving(&[webpush::routes], settings)
    }

    /// The receipt subscription that an answer links to, and its URL.
    fn linked(&self, answer: &Answer) -> (SubscriptionRef, String) {
        let link = answer.link.as_deref().expect("there is a link");
        let url = link.strip_prefix('<').unwrap().strip_suffix(&format!(">; {RELATION}")).unwrap();
        let address = url.strip_prefix("https://read.example.com/receipts/").unwrap();
        (self.receipts.open(address).unwrap(), url.to_owned())
    }
}

// Holds, I-17.
#[tokio::test]
async fn a_message_with_a_receipt_is_answered_202_with_its_receipt_subscription() {
    let world = World::webpush(&[]);
    let token = world.subscribe(Restriction::Open).await;
    let plain = world.push(&token, &[("ttl", "60")]).await;
    assert_eq!((plain.status, &plain.link), (StatusCode::CREATED, &None));
    let answer = world.push(&token, &[("ttl", "60"), WISH]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(answer.location.as_deref().unwrap().starts_with("https://push.example.com/m/"));
    let (id, _) = world.linked(&answer);
    assert_eq!(world.memory.subscriptions().alive(&[id]).await.unwrap(), [true], "it was made");
    let accepted = world.accepted().await;
    assert_eq!(accepted[0].receipt, None);
    let asked = accepted[1].receipt.as_deref().unwrap();
    assert_eq!((asked.to, asked.ttl.as_secs()), (id, 24 * 3600));
}

// Holds.
#[tokio::test]
async fn a_receipt_subscription_that_is_named_is_used_again_for_any_endpoint() {
    let world = World::webpush(&[]);
    let (one, other) = (world.subscribe(Restriction::Open).await, world.subscribe(Restriction::Open).await);
    let (id, url) = world.linked(&world.push(&one, &[("ttl", "60"), WISH]).await);
    let path = url.strip_prefix("https://read.example.com").unwrap().to_owned();
    for (token, target) in [(&one, &url), (&other, &url), (&other, &path)] {
        let link = format!("<https://x.example>; rel=next, <{target}>; {RELATION}");
        let answer = world.push(token, &[("ttl", "60"), WISH, ("link", &link)]).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        assert_eq!(world.linked(&answer), (id, url.clone()));
    }
    assert!(world.accepted().await.iter().all(|message| message.receipt.as_deref().unwrap().to == id));
}

// Holds: A-45, I-13.
#[tokio::test]
async fn anything_but_one_living_receipt_subscription_is_refused_and_nothing_is_accepted() {
    let world = World::webpush(&[]);
    let token = world.subscribe(Restriction::Open).await;
    let (id, url) = world.linked(&world.push(&token, &[("ttl", "60"), WISH]).await);
    let (_, second) = world.linked(&world.push(&token, &[("ttl", "60"), WISH]).await);
    let foreign = ReceiptAddresses::new(&EndpointKeys::generate(&SystemRng)).seal(&id);
    for link in [
        format!("<https://read.example.com/receipts/>; {RELATION}"),
        format!("<https://read.example.com/receipts/{foreign}>; {RELATION}"),
        format!("<https://read.example.com/s/{foreign}>; {RELATION}"),
        format!("<https://push.example.com/push/{token}>; {RELATION}"),
        format!("<{url}/>; {RELATION}"),
        format!("<{url}>; {RELATION}, <{second}>; {RELATION}"),
        format!("{url}; {RELATION}"),
    ] {
        for wish in [&[("ttl", "60"), ("link", link.as_str()), WISH][..], &[("ttl", "60"), ("link", &link)]] {
            let answer = world.push(&token, wish).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{link}");
            assert!(answer.text.contains("receipt subscription"), "{}", answer.text);
        }
    }
    assert!(world.memory.subscriptions().remove(id.user_agent, id.channel).await.unwrap());
    let link = format!("<{url}>; {RELATION}");
    for wish in [&[("ttl", "60"), ("link", link.as_str()), WISH][..], &[("ttl", "60"), ("link", &link)]] {
        assert_eq!(world.push(&token, wish).await.status, StatusCode::BAD_REQUEST, "one that has ended");
    }
    assert_eq!(world.accepted().await.len(), 2, "nothing was accepted beside the first two");
}

// Holds: A-48.
#[tokio::test]
async fn a_link_without_the_preference_asks_for_nothing() {
    let world = World::webpush(&[]);
    let token = world.subscribe(Restriction::Open).await;
    let (_, url) = world.linked(&world.push(&token, &[("ttl", "60"), WISH]).await);
    let link = format!("<{url}>; {RELATION}");
    let answer = world.push(&token, &[("ttl", "60"), ("link", &link)]).await;
    assert_eq!((answer.status, answer.link), (StatusCode::CREATED, None));
    let answer = world.push(&token, &[("ttl", "60"), ("prefer", "x=\", respond-async\"")]).await;
    assert_eq!((answer.status, answer.link), (StatusCode::CREATED, None));
    let accepted = world.accepted().await;
    assert!(accepted[1..].iter().all(|message| message.receipt.is_none()));
}

// Holds.
#[tokio::test]
async fn receipt_subscriptions_and_what_waits_in_one_are_bounded() {
    let world = World::webpush(&["require_receipt_link=true", "max_waiting_receipts=1", "receipt_ttl=10s"]);
    let token = world.subscribe(Restriction::Open).await;
    let answer = world.push(&token, &[("ttl", "60"), WISH]).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.text.contains("POST /receipts"), "{}", answer.text);
    let id = world.tokens.open(&world.subscribe(Restriction::Open).await).unwrap().to;
    let link = format!("</receipts/{}>; {RELATION}", world.receipts.seal(&id));
    assert_eq!(
        world.push(&token, &[("ttl", "60"), WISH, ("link", &link)]).await.status,
        StatusCode::ACCEPTED
    );
    // A receipt waits.
    let waiting = world.tokens.seal(&id, Restriction::Open);
    assert_eq!(world.push(&waiting, &[("ttl", "60")]).await.status, StatusCode::CREATED);
    let accepted = world.memory.consumer().next(10).await.unwrap();
    assert_eq!(accepted[0].receipt.as_deref().unwrap().ttl.as_secs(), 10);
    world.memory.mailbox().store(vec![accepted[1].clone()]).await.unwrap();
    let answer = world.push(&token, &[("ttl", "60"), WISH, ("link", &link)]).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.text.contains("too many receipts"), "{}", answer.text);
    assert_eq!(world.push(&token, &[("ttl", "60"), ("link", &link)]).await.status, StatusCode::CREATED);
}
