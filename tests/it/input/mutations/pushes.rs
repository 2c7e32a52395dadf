use std::collections::HashSet;

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::{Event, UserAgent, codes};
use pushgrid_types::SystemRng;

use super::damage::Damage;
use super::{LANES, Lane, storm, unharmed};
use crate::input::raw::{Answer, Wire};
use crate::input::request::Request;
use crate::input::scene::{Scene, explains};

/// A body that is cut off does not take long, and no limit on the number of messages gets in the way.
pub(super) const SETTINGS: [(&str, &str); 4] = [
    ("PUSHGRID_INGRESS__RATE", "0"),
    ("PUSHGRID_INGRESS__HEADER_TIMEOUT", "5s"),
    ("PUSHGRID_INGRESS__BODY_TIMEOUT", "300ms"),
    ("PUSHGRID_INGRESS__MAX_WAITING_MESSAGES", "1000000"),
];

/// Empty lines before a request mean nothing (RFC 9112 section 2.2). They are there to be taken for the rest of a body
/// whose length is wrong, so that the request after them stays whole.
const PADDING: &[u8] = &[b'\n'; 1000];

/// A connection to the ingress that is kept for as long as it lasts.
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

    /// Sends anything, and gives all the answers to it. A request whose answer is like no other comes after it: once
    /// that is answered, there is no more to come. Whatever prevents that ends the connection.
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

/// How many answers have `status`, when each is one that a person understands.
pub(super) fn clear(answers: &[Answer], status: u16) -> Result<u64> {
    for answer in answers {
        ensure!(
            answer.status < 500,
            "answered {}: {:?}",
            answer.status,
            answer.body.escape_ascii().to_string()
        );
        // What is no HTTP is answered before any route sees it, by the status alone.
        if answer.status >= 400 && !answer.body.is_empty() {
            explains(answer, "")?;
        }
    }
    Ok(u64::try_from(answers.iter().filter(|answer| answer.status == status).count())?)
}

/// What of a valid request is damaged.
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

/// Acknowledges whatever comes. Answers with the versions once nothing has come and `ended` says so.
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

/// Damages the part in every way, while the user agent takes whatever is accepted.
async fn survives(part: Part) -> Result<()> {
    let mut scene = Scene::start_with(&SETTINGS).await?;
    scene.works().await?;
    let before = scene.resident().await?;
    let mut user_agent = UserAgent::connect(scene.server.connection()).await?;
    user_agent.hello(None).await?;
    let subscription = user_agent.subscribe(&SystemRng, None).await?;
    let valid = Request::push(&subscription, b"valid")?.with("Topic", "a-topic").with("Urgency", "high");
    let valid = valid.with("Content-Type", "application/octet-stream");
    // A topic would let one replace the other on its way.
    let valid = if matches!(part, Part::Body | Part::Target) { valid.without("Topic") } else { valid };
    let (end, ended) = tokio::sync::oneshot::channel();
    let reader = tokio::spawn(acknowledge(user_agent, ended));
    let lane = |_| Push { line: Line::new(scene.server.ingress()), valid: valid.clone(), part, accepted: 0 };
    let mut lanes: Vec<_> = (0..LANES).map(lane).collect();
    storm(&format!("{part:?} of a push"), &mut lanes).await?;
    let accepted = lanes.iter().map(|lane| lane.accepted).sum::<u64>();
    // Every mutation that was accepted has got its 201, and ends like any other message.
    let accounts = scene.server.settled().await?;
    ensure!(accounts.accepted == accepted + 1, "{accepted} and one were accepted: {accounts:?}");
    let ended =
        ["delivered", "expired", "replaced"].map(|outcome| accounts.ended(outcome)).iter().sum::<u64>();
    ensure!(ended == accounts.accepted, "some ended in another way: {accounts:?}");
    end.send(()).ok().context("the user agent has ended")?;
    let versions = u64::try_from(reader.await??.len())?;
    ensure!(versions + 1 >= accounts.ended("delivered"), "only {versions} came: {accounts:?}");
    // No token is valid but the one that was made.
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
