//! Subscription sets of user agents over HTTP (RFC 8030 sections 4.1 and 6.1), and messages read at their addresses.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::SystemRng;
use serde_json::json;

use super::party::{MINUTE, signature};
use super::push::bodies;
use super::push::client::Connection;
use super::scene::Scene;
use super::sse::{self, Subscription, ask, origin};

async fn subscribe(scene: &Scene) -> Result<Subscription> {
    Subscription::new(scene.server().connection()).await
}

async fn connect(scene: &Scene) -> Result<Connection> {
    Connection::new(scene.server().connection()).await
}

fn set(target: &str) -> String {
    format!("<{target}>; rel=\"urn:ietf:params:push:set\"")
}

// Holds.
#[tokio::test]
async fn a_set_grows_by_naming_it_and_without_naming_it_another_begins() -> Result<()> {
    let scene = Scene::shared().await?;
    let url = scene.server().connection();
    let (one, stranger) = (subscribe(&scene).await?, subscribe(&scene).await?);
    ensure!(one.set != stranger.set && one.set.starts_with("/set/"));
    let other = one.another().await?;
    let absolute =
        format!("<{}{}>; rel=\"next urn:ietf:params:push:set\", </x>; rel=\"next\"", origin(url), one.set);
    let third = Subscription::with(url, &[("link", &absolute)], "").await?;
    let key = KeyPair::generate(&SystemRng);
    let options = json!({"vapid": key.public().to_text()}).to_string();
    let fields = [("link", set(&one.set)), ("content-type", "application/webpush-options+json".to_owned())];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let restricted = Subscription::with(url, &fields, options).await?;
    ensure!(third.set == one.set && restricted.set == one.set);
    scene.refused(401, &restricted.endpoint, MINUTE, "unsigned").await?;
    let signed = signature(&key, &restricted.endpoint)?;
    scene.accepted(&restricted.endpoint, &[("ttl", "60"), ("authorization", &signed)], "signed").await?;
    scene.send(&other.endpoint, "other").await?;
    let events = one.all().waiting().await?;
    ensure!(events.iter().map(sse::body).collect::<Result<Vec<_>>>()? == ["signed", "other"]);
    ensure!(events[0].data["subscription"] == restricted.path.as_str());
    ensure!(events[1].data["subscription"] == other.path.as_str());
    ensure!(stranger.all().waiting().await?.is_empty());
    for event in &events {
        ensure!(one.ack(event).await? == 204);
    }
    scene.end().await
}

// Holds.
#[tokio::test]
async fn an_invalid_set_is_answered_400_and_nothing_is_made() -> Result<()> {
    let scene = Scene::alone().await?;
    let (one, ended) = (subscribe(&scene).await?, subscribe(&scene).await?);
    ensure!(ended.all().end().await? == 204);
    let subscriptions = format!("{}/subscribe", origin(scene.server().connection()));
    let foreign = format!("http://other.example{}", one.set);
    for link in [
        set("/set/x"),
        set(&ended.set),
        set(&foreign),
        set(&one.path),
        set(&one.endpoint),
        format!("{}, {}", set(&one.set), set(&ended.set)),
        "urn:ietf:params:push:set".to_owned(),
    ] {
        let answer = ask(Method::POST, &subscriptions, &[("link", &link)], "").await?;
        ensure!(answer.status == 400, "{link} was answered {}", answer.status);
        ensure!(answer.header("location").is_none());
    }
    ensure!(ended.all().end().await? == 404 && ended.end().await? == 404, "it has come to life again");
    scene.send(&one.endpoint, "still alone").await?;
    let event = one.read().await?.next().await?;
    ensure!(one.ack(&event).await? == 204);
    scene.end_with(&[("delivered", 1)]).await
}

// Holds.
#[tokio::test]
async fn a_set_is_monitored_with_all_its_members_and_those_that_come_later() -> Result<()> {
    let scene = Scene::alone().await?;
    let one = subscribe(&scene).await?;
    let mut members = vec![one.clone(), one.another().await?];
    scene.send(&members[1].endpoint, "waits").await?;
    let mut connection = connect(&scene).await?;
    ensure!(bodies(&connection.waiting(&one.set).await?.0) == ["waits"]);
    let mut monitoring = connection.monitor(&one.set, &[])?;
    let waited = monitoring.next().await?;
    ensure!(waited.body == "waits" && connection.ack(&waited).await? == 204);
    for number in 0..5 {
        members.push(one.another().await?);
        for (index, member) in members.iter().enumerate() {
            let text = format!("{number} {index}");
            scene.send(&member.endpoint, &text).await?;
            let push = monitoring.next().await?;
            ensure!(push.body == text, "{push:?}");
            let link = format!("<{}>; rel=\"urn:ietf:params:push\"", member.endpoint);
            ensure!(
                push.promise["link"] == link.as_str() && push.fields["link"] == link.as_str(),
                "{push:?}"
            );
            ensure!(connection.ack(&push).await? == 204);
        }
    }
    // A member that ends takes nothing with it.
    ensure!(members.remove(1).end().await? == 204);
    scene.send(&members[2].endpoint, "still here").await?;
    let push = monitoring.next().await?;
    ensure!(connection.ack(&push).await? == 204);
    let mut events = one.all().read().await?;
    ensure!(monitoring.end().await? == 200);
    members.push(one.another().await?);
    let last = members.last().context("there are some")?;
    scene.send(&last.endpoint, "later").await?;
    let event = events.next().await?;
    ensure!(event.data["subscription"] == last.path.as_str() && one.ack(&event).await? == 204);
    ensure!(connection.waiting(&one.set).await? == (vec![], 204));
    scene.end_with(&[("delivered", 28)]).await
}

// Holds.
#[tokio::test]
async fn a_subscription_and_its_set_never_get_a_message_twice_at_a_time() -> Result<()> {
    let scene = Scene::alone().await?;
    let one = subscribe(&scene).await?;
    let mut connection = connect(&scene).await?;
    let mut of_one = connection.monitor(&one.path, &[])?;
    scene.send(&one.endpoint, "first").await?;
    let push = of_one.next().await?;
    ensure!(connection.ack(&push).await? == 204);
    let mut of_set = connection.monitor(&one.set, &[])?;
    ensure!(of_one.end().await? == 200);
    scene.send(&one.endpoint, "once").await?;
    let push = of_set.next().await?;
    ensure!(connection.ack(&push).await? == 204);
    let mut of_one = connection.monitor(&one.path, &[])?;
    ensure!(of_set.end().await? == 200);
    scene.send(&one.endpoint, "once more").await?;
    let push = of_one.next().await?;
    ensure!(connection.ack(&push).await? == 204);

    // With another member the address of one tells nothing of the other: an open request ends, and a new one is
    // refused.
    let other = one.another().await?;
    scene.send(&other.endpoint, "of the other").await?;
    ensure!(of_one.end().await? == 200);
    for path in [&one.path, &other.path] {
        let (status, _, body) = connection.ask(Method::GET, path, &[]).await?;
        let text = String::from_utf8_lossy(&body);
        ensure!(status == 409 && text.contains("set") && !text.contains("/set/"), "{status}: {text}");
    }
    let (pushes, _) = connection.waiting(&one.set).await?;
    ensure!(bodies(&pushes) == ["of the other"] && connection.ack(&pushes[0]).await? == 204);
    let mut events = one.all().read().await?;
    ensure!(other.end().await? == 204);
    let alone = one.read().await?;
    ensure!(events.ending().await? == "superseded", "alone again it is read by its own address");
    let another = one.another().await?;
    scene.send(&another.endpoint, "of another").await?;
    let mut alone = alone;
    ensure!(alone.ending().await? == "superseded");
    let events = one.all().waiting().await?;
    ensure!(events.len() == 1 && one.ack(&events[0]).await? == 204);
    scene.end_with(&[("delivered", 5)]).await
}

// Holds.
#[tokio::test]
async fn the_end_of_a_set_is_the_end_of_all_its_members() -> Result<()> {
    let scene = Scene::alone().await?;
    let (one, stranger) = (subscribe(&scene).await?, subscribe(&scene).await?);
    let mut members = vec![one.clone()];
    for _ in 0..20 {
        members.push(one.another().await?);
    }
    let mut connection = connect(&scene).await?;
    let mut monitoring = connection.monitor(&one.set, &[])?;
    scene.send(&members[7].endpoint, "sent").await?;
    let push = monitoring.next().await?;
    ensure!(connection.ask(Method::DELETE, &one.set, &[]).await?.0 == 204);
    ensure!(monitoring.end().await? == 404);
    ensure!(connection.ask(Method::DELETE, &one.set, &[]).await?.0 == 404);
    ensure!(connection.waiting(&one.set).await? == (vec![], 404));
    for member in &members {
        scene.refused(404, &member.endpoint, MINUTE, "x").await?;
        ensure!(member.end().await? == 404);
    }
    ensure!(connection.ack(&push).await? == 404);
    scene.send(&stranger.endpoint, "still here").await?;
    let (pushes, _) = connection.waiting(&stranger.set).await?;
    ensure!(pushes.len() == 1 && connection.ack(&pushes[0]).await? == 204);
    scene.end_with(&[("unsubscribed", 1), ("delivered", 1)]).await
}

#[tokio::test]
async fn a_set_has_as_many_members_as_a_user_agent_may_have_subscriptions() -> Result<()> {
    let scene = Scene::alone_with(&[("PUSHGRID_ROUTER__MAX_SUBSCRIPTIONS", "3")]).await?;
    let one = subscribe(&scene).await?;
    let other = one.another().await?;
    one.another().await?;
    let url = format!("{}/subscribe", origin(scene.server().connection()));
    let link = set(&one.set);
    let answer = ask(Method::POST, &url, &[("link", &link)], "").await?;
    ensure!(answer.status == 429, "answered {}", answer.status);
    ensure!(other.end().await? == 204);
    one.another().await?;
    subscribe(&scene).await?;
    scene.end().await
}

// Holds.
#[tokio::test]
async fn a_message_is_read_at_its_address_for_as_long_as_it_is_pending() -> Result<()> {
    let scene = Scene::alone().await?;
    let to = subscribe(&scene).await?;
    let mut connection = connect(&scene).await?;
    let mut monitoring = connection.monitor(&to.path, &[])?;
    let fields = [("ttl", "60"), ("content-type", "text/plain"), ("topic", "t")];
    scene.accepted(&to.endpoint, &fields, "live").await?;
    let live = monitoring.next().await?;
    let read = async |connection: &mut Connection| connection.ask(Method::GET, &live.path, &[]).await;
    let mut same = read(&mut connection).await?;
    same.1.remove("date");
    let mut fields_pushed = live.fields.clone();
    fields_pushed.remove("date");
    ensure!((same.0, &same.1, &same.2) == (200, &fields_pushed, &live.body), "{same:?} {live:?}");
    // The session ends, so the message is stored; it is still the same, and pending.
    drop((monitoring, connection));
    let mut connection = connect(&scene).await?;
    ensure!(connection.waiting(&to.path).await?.0.len() == 1);
    for _ in 0..2 {
        let stored = read(&mut connection).await?;
        ensure!((stored.0, &stored.2) == (200, &live.body) && stored.1["link"] == live.fields["link"]);
    }
    ensure!(connection.waiting(&to.path).await?.0.len() == 1, "reading is no acknowledgement");
    // Replaced, expired or acknowledged, it is gone.
    scene.accepted(&to.endpoint, &[("ttl", "1"), ("topic", "t")], "brief").await?;
    scene.until("replaced", 1).await?;
    ensure!(read(&mut connection).await?.0 == 404);
    scene.until("expired", 1).await?;
    scene.send(&to.endpoint, "last").await?;
    let (pushes, _) = connection.waiting(&to.path).await?;
    let last = pushes.last().context("nothing came")?;
    ensure!(connection.ask(Method::GET, &last.path, &[]).await?.0 == 200);
    ensure!(connection.ack(last).await? == 204);
    ensure!(connection.ask(Method::GET, &last.path, &[]).await?.0 == 404);
    ensure!(connection.ack(last).await? == 404);
    scene.end_with(&[("delivered", 1), ("expired", 1), ("replaced", 1)]).await
}
