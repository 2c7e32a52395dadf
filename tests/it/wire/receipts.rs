//! Receipts: an application server learns how each of its messages has ended (RFC 8030 sections 5.1 and 6.3).

use anyhow::{Context as _, Result, ensure};
use http::Method;
use pushgrid_client::codes;
use pushgrid_it::{PushAgent, Webhook, eventually};
use serde_json::{Value, json};

use super::party::{Application, SOON, body};
use super::push::client::Connection;
use super::scene::Scene;
use super::sse::{Subscription, ask, origin};

/// The wish for a receipt.
const WISH: (&str, &str) = ("prefer", "respond-async");

/// Relation of a link to a receipt subscription.
const RELATION: &str = "urn:ietf:params:push:receipt";

/// A message with a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) location: String,
    /// URL of the receipt subscription.
    pub(crate) receipts: String,
}

impl Asked {
    /// Path of the message.
    pub(crate) fn path(&self) -> &str {
        &self.location[self.location.find("/m/").unwrap_or(0)..]
    }
}

/// Field that names a receipt subscription.
pub(crate) fn link(receipts: &str) -> String {
    format!("<{receipts}>; rel=\"{RELATION}\"")
}

/// Posts a message that the service must accept with a receipt, for `receipts` if there are any.
pub(crate) async fn send_asking(
    app: &Application,
    endpoint: &str,
    receipts: Option<&str>,
    fields: &[(&str, &str)],
) -> Result<Asked> {
    let named = receipts.map(link);
    let mut all = vec![WISH];
    all.extend(named.as_deref().map(|link| ("link", link)));
    all.extend(fields);
    let answer = app.post(endpoint, &all, "receipted").await?;
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status == 202 && text.is_empty(), "answered {}: {text}", answer.status);
    let location = answer.header("location").context("no Location")?.to_owned();
    ensure!(answer.header("ttl").is_some(), "a 202 says the granted TTL");
    ensure!(answer.headers.get_all("link").iter().count() == 1, "exactly one link");
    let link = answer.header("link").context("no Link")?;
    let target = link.strip_prefix('<').and_then(|it| it.strip_suffix(&format!(">; rel=\"{RELATION}\"")));
    Ok(Asked { location, receipts: target.context("not the one form that every client reads")?.to_owned() })
}

const MINUTE: &[(&str, &str)] = &[("ttl", "60")];

/// Path of a URL.
fn path(url: &str) -> Result<&str> {
    Ok(&url[url.find("/receipts/").context("not a receipt subscription")?..])
}

/// A receipt subscription without a webhook, made by hand.
async fn made(scene: &Scene) -> Result<String> {
    let service = origin(scene.server().connection());
    let answer = ask(Method::POST, &format!("{service}/receipts"), &[], "").await?;
    ensure!(answer.status == 201 && answer.body.is_empty(), "answered {}", answer.status);
    Ok(format!("{service}{}", answer.header("location").context("no Location")?))
}

// Holds.
#[tokio::test]
async fn receipts_of_every_end_are_pushed_on_one_stream() -> Result<()> {
    let scene = Scene::alone().await?;
    let (mut agent, mut other, mut away) = (scene.agent().await?, scene.agent().await?, scene.agent().await?);
    let (to, ending, waiting) = (agent.subscribe().await?, other.subscribe().await?, away.subscribe().await?);
    away.leave().await?;
    let first = send_asking(&scene, &to.endpoint, None, MINUTE).await?;
    let receipts = first.receipts.clone();
    let mut connection = Connection::new(scene.server().connection()).await?;
    let mut monitoring = connection.monitor(path(&receipts)?, &[])?;
    ensure!(body(&agent.take().await?) == "receipted");
    let push = monitoring.next().await?;
    ensure!((push.path.as_str(), push.status, push.body.len()) == (first.path(), 204, 0), "{push:?}");
    ensure!(push.promise.is_empty(), "{:?}", push.promise);

    let mut expected = Vec::new();
    for (code, status) in [(codes::DELIVERED, 204), (codes::UNDECRYPTABLE, 204), (codes::NOT_DELIVERED, 410)]
    {
        let asked = send_asking(&scene, &to.endpoint, Some(&receipts), MINUTE).await?;
        ensure!(asked.receipts == receipts, "another receipt subscription");
        let message = agent.next().await?;
        agent.socket()?.ack(&[message.ack(code)]).await?;
        expected.push((asked, status));
    }
    let expiring = send_asking(&scene, &waiting.endpoint, Some(&receipts), &[("ttl", "1")]).await?;
    expected.push((expiring, 410));
    for (asked, status) in &expected {
        let push = monitoring.next().await?;
        ensure!((push.path.as_str(), push.status) == (asked.path(), *status), "{push:?}");
    }
    let unsubscribed = send_asking(&scene, &ending.endpoint, Some(&receipts), MINUTE).await?;
    other.unsubscribe(&ending).await?;
    let push = monitoring.next().await?;
    ensure!((push.path.as_str(), push.status) == (unsubscribed.path(), 410), "{push:?}");
    ensure!(monitoring.is_open().await);
    // Each receipt is a message on the books, and was taken.
    let outcomes = [
        ("delivered", 2 + 6),
        ("undecryptable", 1),
        ("dropped_not_delivered", 1),
        ("expired", 1),
        ("unsubscribed", 1),
    ];
    scene.end_with(&outcomes).await
}

// Holds.
#[tokio::test]
async fn receipts_wait_as_events_until_they_are_acknowledged() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let to = agent.subscribe().await?;
    let receipts = made(&scene).await?;
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(send_asking(&scene, &to.endpoint, Some(&receipts), MINUTE).await?);
        agent.take().await?;
    }
    scene.until("delivered", 3).await?;
    let here = Subscription::at_url(&receipts)?;
    let mut reader = here.read().await?;
    let mut events = Vec::new();
    for asked in &asked {
        let event = reader.receipt().await?;
        ensure!(event.data["message"] == asked.location.as_str(), "{event:?}");
        ensure!(event.data["status"] == 204 && event.data["outcome"] == "delivered", "{event:?}");
        ensure!(event.data["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{event:?}");
        events.push(event);
    }
    drop(reader);
    // What was not acknowledged comes again as it was; what was, does not.
    ensure!(here.take(&events[0]).await? == 204);
    let mut reader = here.read().await?;
    ensure!([reader.receipt().await?, reader.receipt().await?] == events[1..]);
    let both = format!("{}/{},{}", here.path, events[1].id, events[2].id);
    let both =
        ask(Method::DELETE, &format!("{}{both}", origin(scene.server().connection())), &[], "").await?;
    ensure!(both.status == 204);
    scene.until("delivered", 6).await?;
    drop(reader);
    ensure!(here.waiting().await?.is_empty());
    ensure!(here.take(&events[0]).await? == 204, "one that has ended is passed over");
    scene.end_with(&[("delivered", 6)]).await
}

// Holds.
#[tokio::test]
async fn what_its_sender_replaces_or_takes_back_gives_no_receipt() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let to = agent.subscribe().await?;
    let receipts = made(&scene).await?;
    let of_topic = |topic| [("ttl", "60"), ("topic", topic)];
    send_asking(&scene, &to.endpoint, Some(&receipts), &of_topic("t")).await?;
    let replaced = agent.next().await?;
    scene.accepted(&to.endpoint, &of_topic("t"), "without").await?;
    let newer = agent.next().await?;
    agent.ack_all(&[replaced, newer]).await?;
    let cancelled = send_asking(&scene, &to.endpoint, Some(&receipts), MINUTE).await?;
    agent.next().await?;
    ensure!(scene.cancel(&cancelled.location).await? == 204);
    scene.accepted(&to.endpoint, &of_topic("u"), "without").await?;
    agent.next().await?;
    let asked = send_asking(&scene, &to.endpoint, Some(&receipts), &of_topic("u")).await?;
    agent.take().await?;
    let here = Subscription::at_url(&receipts)?;
    let event = here.read().await?.receipt().await?;
    ensure!(event.data["message"] == asked.location.as_str(), "a receipt of another message: {event:?}");
    ensure!(here.take(&event).await? == 204);
    scene.end_with(&[("delivered", 3), ("replaced", 2), ("cancelled", 1)]).await
}

// Holds: A-62.
#[tokio::test]
async fn a_message_that_is_now_or_never_has_its_receipt_all_the_same() -> Result<()> {
    let scene = Scene::alone().await?;
    let (mut agent, mut away) = (scene.agent().await?, scene.agent().await?);
    let (to, gone) = (agent.subscribe().await?, away.subscribe().await?);
    away.leave().await?;
    let receipts = made(&scene).await?;
    let now = send_asking(&scene, &to.endpoint, Some(&receipts), &[("ttl", "0")]).await?;
    agent.take().await?;
    let mut reader = Subscription::at_url(&receipts)?.read().await?;
    let event = reader.receipt().await?;
    ensure!(event.data["message"] == now.location.as_str() && event.data["status"] == 204, "{event:?}");
    let never = send_asking(&scene, &gone.endpoint, Some(&receipts), &[("ttl", "0")]).await?;
    let event = reader.receipt().await?;
    ensure!(event.data["message"] == never.location.as_str() && event.data["status"] == 410, "{event:?}");
    scene.end().await
}

// Holds, I-13.
#[tokio::test]
async fn a_receipt_subscription_that_has_ended_is_none_any_more() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let to = agent.subscribe().await?;
    let asked = send_asking(&scene, &to.endpoint, None, MINUTE).await?;
    let here = Subscription::at_url(&asked.receipts)?;
    let link = link(&asked.receipts);
    ensure!(scene.accepted(&to.endpoint, &[("ttl", "60"), ("link", &link)], "plain").await.is_ok());
    ensure!([here.end().await?, here.end().await?] == [204, 404]);
    ensure!(here.get(super::sse::NO_WAIT).await?.status == 404);
    for fields in [&[("ttl", "60"), ("link", link.as_str()), WISH][..], &[("ttl", "60"), ("link", &link)]] {
        scene.refused(400, &to.endpoint, fields, "not accepted").await?;
    }
    // Nor is a subscription of a user agent one, or the other way round.
    let (mine, address) =
        (Subscription::new(scene.server().connection()).await?, &here.path["/receipts/".len()..]);
    let service = origin(scene.server().connection());
    for url in [format!("{service}/receipts/{}", &mine.path[3..]), format!("{service}/s/{address}")] {
        ensure!(ask(Method::DELETE, &url, &[], "").await?.status == 404);
    }
    let link = self::link(&mine.url());
    scene.refused(400, &to.endpoint, &[("ttl", "60"), ("link", &link), WISH], "not accepted").await?;
    for method in [Method::POST, Method::PUT] {
        ensure!(ask(method, &asked.receipts.replace("localhost", "127.0.0.1"), &[], "").await?.status == 405);
    }
    ensure!(ask(Method::GET, &format!("{service}/receipts"), &[], "").await?.status == 405);
    ensure!(body(&agent.take().await?) == "receipted" && body(&agent.take().await?) == "plain");
    scene.end().await
}

// Holds.
#[tokio::test]
async fn an_application_server_by_others_is_pushed_its_receipt() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let to = agent.subscribe().await?;
    let asked = send_asking(&scene, &to.endpoint, None, MINUTE).await?;
    let address = origin(scene.server().connection()).replace("http://", "");
    let mut receiver = PushAgent::start(&address)?;
    receiver.act(&json!({"do": "connect"})).await?;
    receiver.act(&json!({"do": "monitor", "path": path(&asked.receipts)?})).await?;
    agent.take().await?;
    let push = receiver.act(&json!({"do": "next"})).await?;
    ensure!(push["status"] == 204 && push["body"] == "" && push["path"] == asked.path(), "{push}");
    // It answers for what it was sent whenever it reads.
    eventually(SOON, "the end of the receipt", async || {
        receiver.act(&json!({"do": "ask", "method": "GET", "path": "/s/nothing"})).await?;
        let accounts = scene.server().accounts("the accounts add up", |_| true).await?;
        Ok((accounts.ended("delivered") == 2).then_some(()))
    })
    .await?;
    scene.end().await
}

/// Settings under which a test may have a webhook of its own.
pub(crate) const HOOKED: &[(&str, &str)] = &[
    ("PUSHGRID_WEBHOOK__ALLOW_PRIVATE", "true"),
    ("PUSHGRID_WEBHOOK__ALLOW_HTTP", "true"),
    ("PUSHGRID_WEBHOOK__FIRST_PAUSE", "50ms"),
];

/// A receipt subscription whose receipts are posted to `url`, and the secret by which they are signed.
pub(crate) async fn hooked(connection: &str, url: &str) -> Result<(String, String)> {
    let (service, body) = (origin(connection), json!({ "webhook": url }).to_string());
    let answer = ask(Method::POST, &format!("{service}/receipts"), &[], body).await?;
    ensure!(answer.status == 201, "answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    let said: Value = serde_json::from_slice(&answer.body)?;
    let secret = said["secret"].as_str().context("no secret")?.to_owned();
    Ok((format!("{service}{}", answer.header("location").context("no Location")?), secret))
}

// Holds.
#[tokio::test]
async fn receipts_are_posted_to_the_webhook_that_the_application_server_names() -> Result<()> {
    let scene = Scene::alone_with(HOOKED).await?;
    let mut webhook = Webhook::start().await?;
    let (receipts, secret) = hooked(scene.server().connection(), &webhook.url()).await?;
    // A redirect is none that is followed: it is answered to again.
    webhook.expect(&secret, &[500, 307, 204]).await?;
    let mut agent = scene.agent().await?;
    let to = agent.subscribe().await?;
    let asked = send_asking(&scene, &to.endpoint, Some(&receipts), MINUTE).await?;
    agent.take().await?;
    let posts = [webhook.next().await?, webhook.next().await?, webhook.next().await?];
    for (post, status) in posts.iter().zip([500, 307, 204]) {
        ensure!(post["status"] == status && post["id"] == posts[0]["id"], "{post}");
        let receipt = &post["body"]["data"]["receipts"][0];
        ensure!(
            post["body"]["type"] == "receipts" && receipt["message"] == asked.location.as_str(),
            "{post}"
        );
        ensure!(receipt["status"] == 204 && receipt["outcome"] == "delivered", "{post}");
    }
    scene.until("delivered", 2).await?;
    let here = Subscription::at_url(&receipts)?;
    ensure!(here.get(super::sse::NO_WAIT).await?.status == 409, "it is not read as well");
    // 410 ends it.
    webhook.expect(&secret, &[410]).await?;
    send_asking(&scene, &to.endpoint, Some(&receipts), MINUTE).await?;
    agent.take().await?;
    ensure!(webhook.next().await?["status"] == 410);
    scene.until("unsubscribed", 1).await?;
    let link = link(&receipts);
    scene.refused(400, &to.endpoint, &[("ttl", "60"), ("link", &link), WISH], "not accepted").await?;
    scene.end().await
}

#[tokio::test]
async fn a_webhook_where_an_application_server_has_no_business_is_refused() -> Result<()> {
    let scene = Scene::shared().await?;
    let url = format!("{}/receipts", origin(scene.server().connection()));
    for webhook in [
        "http://app.example/receipts",
        "https://127.0.0.1/receipts",
        "https://[::1]/receipts",
        "https://10.1.2.3/receipts",
        "https://169.254.169.254/latest",
        "https://0x7f.1/",
        "https://user:password@app.example/",
        "ftp://app.example/",
        "/receipts",
        "",
    ] {
        let answer = ask(Method::POST, &url, &[], json!({ "webhook": webhook }).to_string()).await?;
        ensure!(answer.status == 400, "{webhook:?} was answered {}", answer.status);
        let said: Value = serde_json::from_slice(&answer.body)?;
        ensure!(said["message"].as_str().is_some_and(|text| text.len() > 10), "{said}");
    }
    for body in ["x", "[]", "{\"webhook\":7}"] {
        ensure!(ask(Method::POST, &url, &[], body).await?.status == 400, "{body}");
    }
    let long = format!("{{\"webhook\":\"https://app.example/{}\"}}", "x".repeat(8000));
    ensure!(ask(Method::POST, &url, &[], long).await?.status == 413);
    scene.end().await
}
