//! Damaged copies of push messages: each is answered, and each accepted one is accounted for.

use std::collections::HashSet;

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::{Event, UserAgent, codes};
use pushgrid_types::SystemRng;

use super::damage::Damage;
use super::{LANES, Lane, storm, unharmed};
use crate::input::raw::{Answer, Wire};
use crate::input::request::Request;
use crate::input::scene::{Scene, explains};

/// Settings with short time-outs for incomplete bodies, and without limits on the number of messages.
pub(super) const SETTINGS: [(&str, &str); 4] = [
    ("PUSHGRID_INGRESS__RATE", "0"),
    ("PUSHGRID_INGRESS__HEADER_TIMEOUT", "5s"),
    ("PUSHGRID_INGRESS__BODY_TIMEOUT", "300ms"),
    ("PUSHGRID_INGRESS__MAX_WAITING_MESSAGES", "1000000"),
];

/// Empty lines before a request are ignored (RFC 9112 section 2.2). They fill a body whose length is wrong, so that the
/// request behind them stays whole.
const PADDING: &[u8] = &[b'\n'; 1000];

/// Connection to the ingress, replaced once closed.
#[derive(Debug)]
pub(super) struct Line {
    url: String,
    wire: Option<Wire>,
    count: u64,
}

impl Line {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), wire: None, count: 0 }
    }

    /// Sends any octets, and returns all answers. A request with a unique answer follows: once that is answered, no
    /// other answer is to come. Any other end closes the connection.
    pub(super) async fn exchange(&mut self, octets: &[u8]) -> Result<Vec<Answer>> {
        self.count += 1;
        let mark = format!("x-end-{}", self.count);
        let last = Request::new("OPTIONS", "/push/end").with("Origin", "http://localhost");
        let last =
            last.with("Access-Control-Request-Method", "POST").with("Access-Control-Request-Headers", &mark);
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::open(&self.url).await?,
        };
        wire.try_send(&[octets, PADDING, &last.octets()].concat()).await?;
        let mut answers = Vec::new();
        while let Some(answer) = wire.answer().await? {
            if answer.field("access-control-allow-headers") == Some(&mark) {
                self.wire = Some(wire);
                break;
            }
            answers.push(answer);
        }
        Ok(answers)
    }
}

/// Number of answers with `status`; every answer must be readable by a person.
pub(super) fn clear(answers: &[Answer], status: u16) -> Result<u64> {
    for answer in answers {
        ensure!(
            answer.status < 500,
            "answered {}: {:?}",
            answer.status,
            answer.body.escape_ascii().to_string()
        );
        // Input that is not HTTP is answered before any route, by a status without a body.
        if answer.status >= 400 && !answer.body.is_empty() {
            explains(answer, "")?;
        }
    }
    Ok(u64::try_from(answers.iter().filter(|answer| answer.status == status).count())?)
}

/// Part of a valid request to damage.
#[derive(Debug, Clone, Copy)]
enum Part {
    All,
    Head,
    Target,
    Body,
}

#[derive(Debug)]
struct Push {
    line: Line,
    valid: Request,
    part: Part,
    accepted: u64,
}

impl Push {
    fn damaged(&self, damage: &mut Damage) -> Vec<u8> {
        let head = self.valid.head();
        match self.part {
            Part::All => damage.to(&self.valid.octets(), &[&head]),
            Part::Head => [damage.to(&head, &[&self.valid.body]), self.valid.body.clone()].concat(),
            Part::Target => {
                let target = damage.to(self.valid.target.as_bytes(), &[&head]);
                let rest = &head[self.valid.method.len() + 1 + self.valid.target.len()..];
                [b"POST ", target.as_slice(), rest, &self.valid.body].concat()
            }
            Part::Body => {
                let body = damage.to(&self.valid.body, &[&head]);
                self.valid.clone().with_body(body).octets()
            }
        }
    }
}

impl Lane for Push {
    async fn mutation(&mut self, damage: &mut Damage) -> Result<()> {
        let octets = self.damaged(damage);
        let answers = self.line.exchange(&octets).await?;
        self.accepted += clear(&answers, 201)?;
        Ok(())
    }
}

/// Acknowledges all messages. Returns their versions once `ended` fires.
async fn acknowledge(
    mut user_agent: UserAgent,
    ended: tokio::sync::oneshot::Receiver<()>,
) -> Result<HashSet<String>> {
    let mut versions = HashSet::new();
    tokio::pin!(ended);
    loop {
        let event = tokio::select! {
            event = user_agent.next() => event?,
            _ = &mut ended => return Ok(versions),
        };
        let Event::Notification(notification) = event else { anyhow::bail!("not a message: {event:?}") };
        user_agent.ack(&[notification.ack(codes::DELIVERED)]).await?;
        versions.insert(notification.version);
    }
}

/// Damages the part in every way, while the user agent takes all accepted messages.
async fn survives(part: Part) -> Result<()> {
    let mut scene = Scene::start_with(&SETTINGS).await?;
    scene.works().await?;
    let before = scene.resident().await?;
    let mut user_agent = UserAgent::connect(scene.server.connection()).await?;
    user_agent.hello(None).await?;
    let subscription = user_agent.subscribe(&SystemRng, None).await?;
    let valid = Request::push(&subscription, b"valid")?.with("Topic", "a-topic").with("Urgency", "high");
    let valid = valid.with("Content-Type", "application/octet-stream");
    // With a topic, one message could replace another in flight.
    let valid = if matches!(part, Part::Body | Part::Target) { valid.without("Topic") } else { valid };
    let (end, ended) = tokio::sync::oneshot::channel();
    let reader = tokio::spawn(acknowledge(user_agent, ended));
    let lane = |_| Push { line: Line::new(scene.server.ingress()), valid: valid.clone(), part, accepted: 0 };
    let mut lanes: Vec<_> = (0..LANES).map(lane).collect();
    storm(&format!("{part:?} of a push"), &mut lanes).await?;
    let accepted = lanes.iter().map(|lane| lane.accepted).sum::<u64>();
    // Every accepted mutation got its 201, and ends like any other message.
    let accounts = scene.server.settled().await?;
    ensure!(accounts.accepted == accepted + 1, "{accepted} and one were accepted: {accounts:?}");
    let ended =
        ["delivered", "expired", "replaced"].map(|outcome| accounts.ended(outcome)).iter().sum::<u64>();
    ensure!(ended == accounts.accepted, "some ended in another way: {accounts:?}");
    end.send(()).ok().context("the user agent has ended")?;
    let versions = u64::try_from(reader.await??.len())?;
    ensure!(versions + 1 >= accounts.ended("delivered"), "only {versions} came: {accounts:?}");
    // No other token is valid.
    ensure!(accepted > 0 || matches!(part, Part::Target), "no mutation was harmless: they are too coarse");
    unharmed(&mut scene, before).await
}

#[tokio::test]
async fn mutated_push_messages_are_answered_and_accounted_for() -> Result<()> {
    survives(Part::All).await
}

#[tokio::test]
async fn push_messages_with_a_mutated_head_are_answered_and_accounted_for() -> Result<()> {
    survives(Part::Head).await
}

#[tokio::test]
async fn push_messages_to_a_mutated_target_are_answered_and_accounted_for() -> Result<()> {
    survives(Part::Target).await
}

#[tokio::test]
async fn push_messages_with_a_mutated_body_are_answered_and_accounted_for() -> Result<()> {
    survives(Part::Body).await
}
