use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::{Event, Notification, Subscription, UserAgent, codes};
use pushgrid_crypto::vapid::{KeyPair, PublicKey};
use pushgrid_it::Server;
use pushgrid_types::{SystemRng, UserAgentId};
use serde_json::Value;

use super::raw::{Answer, Wire};
use super::request::Request;

/// How long a message may take from its 201 to the user agent, on a busy machine.
const ARRIVAL: Duration = Duration::from_secs(20);

/// The service, and one user agent of it.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) server: Server,
    pub(super) key: KeyPair,
    id: UserAgentId,
    user_agent: Option<UserAgent>,
}

impl Scene {
    /// Starts both, with these settings of the service.
    pub(super) async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        Self::over(Server::start_with(settings).await?).await
    }

    /// A user agent of a service that runs.
    pub(super) async fn over(server: Server) -> Result<Self> {
        let mut user_agent = UserAgent::connect(server.connection()).await?;
        let id = user_agent.hello(None).await?.user_agent;
        Ok(Self { server, key: KeyPair::generate(&SystemRng), id, user_agent: Some(user_agent) })
    }

    /// Who the user agent is.
    pub(super) fn id(&self) -> UserAgentId {
        self.id
    }

    /// The connection of the user agent.
    pub(super) fn user_agent(&mut self) -> Result<&mut UserAgent> {
        self.user_agent.as_mut().context("the user agent is offline")
    }

    /// A subscription that anybody may send to.
    pub(super) async fn open(&mut self) -> Result<Subscription> {
        Ok(self.user_agent()?.subscribe(&SystemRng, None).await?)
    }

    /// A subscription for `key` alone.
    pub(super) async fn restricted(&mut self, key: &PublicKey) -> Result<Subscription> {
        Ok(self.user_agent()?.subscribe(&SystemRng, Some(key)).await?)
    }

    /// A subscription that has ended.
    pub(super) async fn ended(&mut self, key: Option<&PublicKey>) -> Result<Subscription> {
        let user_agent = self.user_agent()?;
        let ended = user_agent.subscribe(&SystemRng, key).await?;
        user_agent.unregister(ended.channel(), codes::UNREGISTERED_BY_HAND).await?;
        Ok(ended)
    }

    /// The user agent goes away.
    pub(super) async fn go_offline(&mut self) -> Result<()> {
        if let Some(user_agent) = self.user_agent.take() {
            user_agent.close().await?;
        }
        Ok(())
    }

    /// The user agent comes back, as a new connection.
    pub(super) async fn come_back(&mut self) -> Result<()> {
        let mut user_agent = UserAgent::connect(self.server.connection()).await?;
        let hello = user_agent.hello(Some(self.id)).await?;
        ensure!(hello.user_agent == self.id, "the user agent was forgotten");
        self.user_agent = Some(user_agent);
        Ok(())
    }

    /// The next message, acknowledged.
    pub(super) async fn notification(&mut self) -> Result<Notification> {
        let user_agent = self.user_agent()?;
        let event = user_agent.next_within(ARRIVAL).await?.context("no message came")?;
        let Event::Notification(notification) = event else { anyhow::bail!("not a message: {event:?}") };
        user_agent.ack(&[notification.ack(codes::DELIVERED)]).await?;
        Ok(notification)
    }

    /// The next message is this one.
    pub(super) async fn receives(&mut self, subscription: &Subscription, payload: &[u8]) -> Result<()> {
        let notification = self.notification().await?;
        ensure!(notification.channel == subscription.channel(), "a message of another subscription came");
        ensure!(subscription.decrypt(&notification)? == payload, "another message came");
        Ok(())
    }

    /// Sends one request over a connection of its own.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answer> {
        let mut wire = Wire::open(self.server.ingress()).await?;
        // A refusal may come, and the connection close, before all is written.
        wire.try_send(&request.octets()).await?;
        wire.expect_answer().await
    }

    /// Sends one request, which must be accepted.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer> {
        let answer = self.ask(request).await?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 201, "answered {}: {said}", answer.status);
        Ok(answer)
    }

    /// A message still goes through, from end to end.
    pub(super) async fn works(&mut self) -> Result<()> {
        let subscription = self.open().await?;
        self.send(&Request::push(&subscription, b"still there")?).await?;
        self.receives(&subscription, b"still there").await
    }

    /// This many messages were accepted, and no more.
    pub(super) async fn accepted(&self, count: u64) -> Result<()> {
        let what = format!("{count} messages are accepted");
        self.server.accounts(&what, |accounts| accounts.accepted == count).await?;
        Ok(())
    }

    /// How much memory the service takes, in octets.
    pub(super) async fn resident(&self) -> Result<f64> {
        let metrics = self.server.metrics().await?;
        metrics.sum("process_resident_memory_bytes", &[]).context("the metric is missing")
    }

    /// Nothing in the log of the service tells of a panic.
    pub(super) fn calm(&self) -> Result<()> {
        calm(&self.server)
    }
}

/// Nothing in the whole log of the service tells of a panic.
pub(super) fn calm(server: &Server) -> Result<()> {
    let log = server.log()?;
    let panic = log.lines().find(|line| line.contains("panicked"));
    ensure!(panic.is_none(), "the service has panicked: {panic:?}");
    Ok(())
}

/// What the service says in a refusal: JSON of the deployed form, and a sentence for a person that has `says` in it.
pub(super) fn explains(answer: &Answer, says: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&answer.body);
    ensure!(answer.field("content-type") == Some("application/json"), "not JSON: {:?}", answer.fields);
    let body: Value = serde_json::from_slice(&answer.body).with_context(|| format!("not JSON: {said}"))?;
    let members: Vec<_> = body.as_object().context("an object")?.keys().map(String::as_str).collect();
    ensure!(members == ["code", "errno", "error", "message", "more_info"], "the members are {members:?}");
    ensure!(body["code"] == answer.status, "the code is not the status: {said}");
    ensure!(body["errno"].as_u64().is_some_and(|errno| errno >= 100), "no errno: {said}");
    let reason = http::StatusCode::from_u16(answer.status)?.canonical_reason();
    ensure!(body["error"].as_str() == reason, "not the words of the status: {said}");
    let message = body["message"].as_str().unwrap_or_default();
    ensure!(message.split_whitespace().count() >= 4, "not a sentence: {said}");
    ensure!(message.contains(says), "{says:?} is not in it: {said}");
    ensure!(
        body["more_info"].as_str().is_some_and(|url| url.starts_with("https://")),
        "no more_info: {said}"
    );
    Ok(())
}
