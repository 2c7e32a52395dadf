//! The answer table of `POST` to a push resource, row by row: status, fields, a body with advice, and no change of
//! state. A refused row has the topic of a stored message, so that a wrong replacement would be seen.

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::Subscription;

use super::raw::Answer;
use super::request::Request;
use super::scene::{Scene, explains};

/// One octet over the default limit of a body.
const TOO_LARGE: usize = 5631;

/// One refusal.
struct Row {
    what: String,
    request: Request,
    status: u16,
    /// Part of the sentence for a person.
    says: &'static str,
    /// Field of the answer, with its value.
    field: Option<(&'static str, &'static str)>,
}

impl Row {
    fn new(what: impl Into<String>, request: Request, status: u16, says: &'static str) -> Self {
        Self { what: what.into(), request, status, says, field: None }
    }

    fn and(mut self, name: &'static str, value: &'static str) -> Self {
        self.field = Some((name, value));
        self
    }
}

/// Valid message that would replace the stored one.
fn base(to: &Subscription) -> Result<Request> {
    Ok(Request::push(to, b"the one that waits")?.with("Topic", "kept"))
}

/// Service, user agent and stored messages at the time of the requests.
struct Table {
    scene: Scene,
    open: Subscription,
    restricted: Subscription,
}

impl Table {
    /// Makes two subscriptions of a user agent that is away, each with a stored message of a topic.
    async fn lay(settings: &[(&str, &str)]) -> Result<Self> {
        let mut scene = Scene::start_with(settings).await?;
        let open = scene.open().await?;
        let key = scene.key.public();
        let restricted = scene.restricted(&key).await?;
        scene.go_offline().await?;
        let table = Self { scene, open, restricted };
        table.scene.send(&base(&table.open)?).await?;
        let signed = table.signed(base(&table.restricted)?)?;
        table.scene.send(&signed).await?;
        table.scene.accepted(2).await?;
        Ok(table)
    }

    fn signed(&self, request: Request) -> Result<Request> {
        Ok(request.with("Authorization", &super::vapid::authorization(&self.scene, &self.scene.key)?))
    }

    async fn holds(&self, rows: Vec<Row>) -> Result<()> {
        ensure!(!rows.is_empty(), "no rows");
        for row in rows {
            self.hold(&row).await.with_context(|| row.what)?;
        }
        Ok(())
    }

    async fn hold(&self, row: &Row) -> Result<()> {
        let answer = self.scene.ask(&row.request).await?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == row.status, "answered {} and not {}: {said}", answer.status, row.status);
        explains(&answer, row.says)?;
        ensure!(answer.field("location").is_none(), "a refusal has no Location");
        if let Some((name, value)) = row.field {
            ensure!(answer.field(name) == Some(value), "{name} is {:?}", answer.field(name));
        }
        let token = row.request.target.rsplit('/').next().unwrap_or_default();
        ensure!(token.len() < 20 || !said.contains(token), "the endpoint is in the answer: {said}");
        self.scene.accepted(2).await
    }

    /// Checks that both messages are stored as sent, and nothing else is.
    async fn unchanged(mut self) -> Result<()> {
        self.scene.come_back().await?;
        let channels = [self.scene.notification().await?, self.scene.notification().await?];
        for subscription in [&self.open, &self.restricted] {
            let came = channels.iter().find(|notification| notification.channel == subscription.channel());
            let payload = subscription.decrypt(came.context("a message that waited is gone")?)?;
            ensure!(payload == b"the one that waits", "another message came");
        }
        let accounts = self.scene.server.settled().await?;
        ensure!(accounts.accepted == 2 && accounts.ended("delivered") == 2, "{accounts:?}");
        self.scene.works().await?;
        self.scene.calm()
    }
}

// Holds: A-32, A-33, A-51, A-52, A-67, A-68, A-77, A-78, A-89, A-132, A-134, A-142, A-150, B-02, B-04.
// Holds: B-05, B-13, B-14, B-15, B-20, C-08, C-32, C-41, C-42, C-46, C-47, I-01, I-02, I-04, I-05, I-07.
// Holds: I-09, I-10, I-11, I-12, I-15.
#[tokio::test]
async fn every_refusal_says_what_to_do_and_changes_nothing() -> Result<()> {
    let table = Table::lay(&[]).await?;
    table.holds(routes(&table)?).await?;
    table.holds(sizes(&table)?).await?;
    table.holds(authentication(&table)?).await?;
    table.holds(fields(&table)?).await?;
    table.holds(content(&table)?).await?;
    table.unchanged().await
}

/// Rows I-01 and I-02: paths and methods.
fn routes(table: &Table) -> Result<Vec<Row>> {
    let base = base(&table.open)?;
    let endpoint = base.target.clone();
    let token = endpoint.rsplit('/').next().context("a token")?;
    let flipped: String = token.chars().rev().collect();
    let unknown = "endpoints look like /push/";
    let foreign = "stop sending to it";
    let mut rows = vec![
        Row::new("no route", base.clone().target("/nothing"), 404, unknown),
        Row::new("the root", base.clone().target("/"), 404, unknown),
        Row::new("no token", base.clone().target("/push/"), 404, unknown),
        Row::new("a longer path", base.clone().target(&format!("{endpoint}/more")), 404, unknown),
        Row::new("an unknown version", base.clone().target(&format!("/wpush/v3/{token}")), 404, unknown),
        Row::new("garbage", base.clone().target("/push/garbage"), 404, foreign),
        Row::new("percent signs", base.clone().target("/push/%00%ff%2e%2e%2f"), 404, ""),
        Row::new("a foreign token", base.clone().target(&format!("/push/{flipped}")), 404, foreign),
        Row::new("a cut token", base.clone().target(&endpoint[..endpoint.len() - 1]), 404, foreign),
        Row::new("a longer token", base.clone().target(&format!("{endpoint}A")), 404, foreign),
    ];
    for method in ["GET", "PUT", "DELETE", "PATCH", "BREW"] {
        let row = Row::new(method, base.clone().method(method), 405, "use POST");
        rows.push(row.and("allow", "POST, OPTIONS"));
    }
    let message = base.method("POST").target("/m/garbage");
    rows.push(
        Row::new("POST to a message", message.clone(), 405, "use DELETE").and("allow", "DELETE, OPTIONS"),
    );
    rows.push(Row::new("an unknown message", message.method("DELETE"), 404, "no such message"));
    Ok(rows)
}

/// Rows I-04 and I-15: sizes.
fn sizes(table: &Table) -> Result<Vec<Row>> {
    let base = base(&table.open)?;
    let says = "send less";
    let large = base.clone().with_body(vec![7; TOO_LARGE]);
    // Only the length is sent: an answer that needs the body would never come.
    let announced = |length: &str| base.clone().with_body(Vec::new()).instead("Content-Length", length);
    Ok(vec![
        Row::new("one octet too many", large.clone(), 413, says),
        Row::new("a gigabyte is announced", announced("1000000000"), 413, says),
        Row::new("the largest length there is", announced("9223372036854775807"), 413, says),
        Row::new("one chunk too large", large.clone().chunked(TOO_LARGE), 413, says),
        Row::new("chunks that add up to too much", large.chunked(100), 413, says),
    ])
}

/// Rows I-05, I-07 and I-08: authentication. The table of bad tokens, I-06, has a module of its own.
fn authentication(table: &Table) -> Result<Vec<Row>> {
    let open = base(&table.open)?;
    let restricted = base(&table.restricted)?;
    let valid = super::vapid::authorization(&table.scene, &table.scene.key)?;
    let says = "sign the request with its VAPID key";
    let no_ttl = restricted.clone().without("TTL");
    let large = restricted.clone().with_body(vec![7; TOO_LARGE]);
    let elsewhere = restricted.clone().with("Proxy-Authorization", &valid);
    let challenge = |row: Row| row.and("www-authenticate", "vapid");
    let key = table.scene.key.public();
    let same_key = [&[7; 16][..], &[0, 0, 16, 0, 65], key.as_octets(), &[7; 32]].concat();
    let dh = format!("dh={}", key.to_text());
    let aesgcm =
        open.clone().instead("Content-Encoding", "aesgcm").with("Encryption", "salt=c2FsdHNhbHRzYWx0c2FsdA");
    Ok(vec![
        challenge(Row::new("restricted, and nobody signed", restricted.clone(), 401, says)),
        challenge(Row::new("restricted, not signed, and no TTL", no_ttl, 401, says)),
        challenge(Row::new("a token for proxies only", elsewhere, 401, says)),
        challenge(Row::new(
            "another scheme",
            restricted.with("Authorization", "Basic dXNlcjpwYXNz"),
            401,
            "send `Authorization: vapid",
        )),
        Row::new("too large before all else", large, 413, "send less"),
        Row::new(
            "the key of the message signs",
            table.signed(open.with_body(same_key))?,
            400,
            "use separate keys",
        ),
        Row::new(
            "the same in the older encoding",
            table.signed(aesgcm.with("Crypto-Key", &dh))?,
            400,
            "use separate keys",
        ),
    ])
}

/// Rows I-09 to I-11: fields.
fn fields(table: &Table) -> Result<Vec<Row>> {
    let base = base(&table.open)?;
    let mut rows = vec![Row::new("no TTL", base.clone().without("TTL"), 400, "TTL: 60")];
    for ttl in ["-1", "+5", "5.0", "1e3", "abc", "", "0x10", "5, 6", "5 6", "\u{660}", "five"] {
        let request = base.clone().instead("TTL", ttl);
        rows.push(Row::new(format!("TTL: {ttl}"), request, 400, "whole number of seconds"));
    }
    rows.push(Row::new("two TTL", base.clone().with("TTL", "60"), 400, "one whole number"));
    let long = "a".repeat(33);
    for topic in [&long, "a.b", "a+b", "a/b", "a=", "a b", "a,b", "", "caf\u{e9}", "\"kept\""] {
        rows.push(Row::new(
            format!("Topic: {topic}"),
            base.clone().instead("Topic", topic),
            400,
            "1 to 32 characters",
        ));
    }
    rows.push(Row::new("two Topic", base.clone().with("Topic", "kept"), 400, "one value"));
    for urgency in ["urgent", "high, low", "", "5", "very low", "h\u{ef}gh"] {
        let request = base.clone().with("Urgency", urgency);
        rows.push(Row::new(format!("Urgency: {urgency}"), request, 400, "very-low, low, normal and high"));
    }
    let twice = base.with("Urgency", "low").with("Urgency", "low");
    rows.push(Row::new("two Urgency", twice, 400, "once"));
    Ok(rows)
}

/// Row I-12: content.
fn content(table: &Table) -> Result<Vec<Row>> {
    let base = base(&table.open)?;
    let unnamed = base.clone().without("Content-Encoding");
    let aesgcm = unnamed.clone().with("Content-Encoding", "aesgcm");
    let salt = "salt=c2FsdHNhbHRzYWx0c2FsdA";
    let dh = "dh=BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU";
    let mut rows = vec![
        Row::new("no encoding", unnamed.clone(), 400, "encrypt the message"),
        Row::new("two encodings", base.clone().with("Content-Encoding", "aes128gcm"), 400, "come once"),
        Row::new(
            "the salt belongs in the body",
            base.clone().with("Encryption", salt),
            400,
            "leave out Encryption",
        ),
        Row::new("the key belongs in the body", base.with("Crypto-Key", dh), 400, "dh in Crypto-Key"),
        Row::new("aesgcm without its fields", aesgcm.clone(), 400, "needs a salt"),
        Row::new("aesgcm without its key", aesgcm.clone().with("Encryption", salt), 400, "needs the key"),
        Row::new("aesgcm without its salt", aesgcm.clone().with("Crypto-Key", dh), 400, "needs a salt"),
    ];
    for bad in ["salt=", "salt=AAAA", "salt=c2FsdHNhbHRzYWx0c2FsdAAA"] {
        let request = aesgcm.clone().with("Encryption", bad).with("Crypto-Key", dh);
        rows.push(Row::new(bad, request, 400, "16 octets"));
    }
    for bad in ["dh=", "dh=AAAA", &dh[..dh.len() - 4], &format!("{}A", &dh[..dh.len() - 1])] {
        let request = aesgcm.clone().with("Encryption", salt).with("Crypto-Key", bad);
        rows.push(Row::new(bad, request, 400, "65 octets"));
    }
    for encoding in ["br", "gzip", "aesgcm128", "aes128gcm, gzip", "aes128gcm;q=1", "identity"] {
        let request = unnamed.clone().with("Content-Encoding", encoding);
        rows.push(Row::new(encoding, request, 400, "must be aes128gcm"));
    }
    Ok(rows)
}

// Holds: A-31, A-32, A-126, A-148, C-47, G-10, I-08.
#[tokio::test]
async fn a_subscription_that_has_ended_answers_404_and_may_answer_410() -> Result<()> {
    for (settings, status) in [(&[][..], 404), (&[("PUSHGRID_INGRESS__GONE_STATUS", "410")][..], 410)] {
        let mut scene = Scene::start_with(settings).await?;
        let key = scene.key.public();
        let (open, restricted) = (scene.ended(None).await?, scene.ended(Some(&key)).await?);
        let authorization = super::vapid::authorization(&scene, &scene.key)?;
        let unsigned = Request::push(&restricted, b"too late")?;
        let ended = Request::push(&open, b"too late")?;
        for request in [ended.clone(), unsigned.clone().with("Authorization", &authorization)] {
            let answer = scene.ask(&request).await?;
            ensure!(answer.status == status, "answered {}", answer.status);
            ensure!(answer.field("cache-control") == Some("max-age=86400"), "{:?}", answer.fields);
            explains(&answer, "stop sending to it")?;
        }
        // No answer tells whether an endpoint ever existed.
        for bend in [
            |request: Request| request,
            |request: Request| request.with("Authorization", "vapid t=a.b.c, k=d"),
            |request: Request| request.with_body(vec![7; 5631]),
            |request: Request| request.without("TTL"),
            |request: Request| request.with_body(""),
        ] {
            let of_ended = scene.ask(&bend(ended.clone())).await?;
            for path in ["/push/A", "/wpush/v2/%00", &format!("/push/{}", "A".repeat(118))] {
                let of_none = scene.ask(&bend(ended.clone()).target(path)).await?;
                ensure!(of_none.status == of_ended.status, "{} and {}", of_none.status, of_ended.status);
                ensure!(of_none.body == of_ended.body, "{path}: the texts differ");
                let fields = |answer: &Answer| {
                    let mut fields = answer.fields.clone();
                    fields.remove("date");
                    fields
                };
                ensure!(fields(&of_none) == fields(&of_ended), "{:?} {:?}", of_none.fields, of_ended.fields);
            }
        }
        // Without the key, the answer does not tell that the subscription has ended.
        let answer = scene.ask(&unsigned).await?;
        ensure!(answer.status == 401, "answered {}", answer.status);
        scene.accepted(0).await.context("a message for nobody was accepted")?;
        scene.works().await?;
    }
    Ok(())
}

// Holds: A-34, A-52, A-54, A-65, A-76, B-03, B-14, D-24, H-29.
#[tokio::test]
async fn what_is_unusual_but_allowed_is_accepted() -> Result<()> {
    let mut scene = Scene::start_with(&[]).await?;
    let subscription = scene.open().await?;
    let base = || Request::push(&subscription, b"allowed");
    let nines = "9".repeat(100);
    let tokens = base()?.target;
    let token = tokens.rsplit('/').next().context("a token")?;
    let allowed = [
        base()?.instead("TTL", "007"),
        base()?.instead("TTL", &nines),
        base()?.instead("TTL", "18446744073709551616"),
        base()?.instead("TTL", " \t 60 \t "),
        base()?.with("Urgency", "HIGH"),
        base()?.with("Topic", &"-_".repeat(16)),
        base()?.with("Accept", "image/png").with("Content-Type", "x/y"),
        base()?.with("Crypto-Key", "p256ecdsa=AAAA"),
        base()?.instead("Content-Encoding", "AES128GCM"),
        base()?.target(&format!("/wpush/v1/{token}")),
        base()?.target(&format!("/wpush/v2/{token}?query=ignored")),
        base()?.chunked(1),
        base()?.with("X-Unknown", &"x".repeat(4000)),
    ];
    for (index, request) in allowed.iter().enumerate() {
        let answer = scene.send(request).await.with_context(|| format!("number {index}"))?;
        ensure!(answer.field("location").is_some() && answer.field("ttl").is_some(), "{:?}", answer.fields);
        scene.receives(&subscription, b"allowed").await.with_context(|| format!("number {index}"))?;
    }
    scene.calm()
}
