//! The service with one user agent, for tests of bad input, and checks that it is unharmed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::{Event, Notification, Subscription, UserAgent, codes};
use pushgrid_crypto::vapid::{KeyPair, PublicKey};
use pushgrid_it::Server;
use pushgrid_types::{SystemRng, UserAgentId};
use serde_json::Value;

use super::raw::{Answer, Wire};
use super::request::Request;

/// Deadline for a message from its 201 to the user agent, on a busy machine.
const ARRIVAL: Duration = Duration::from_secs(20);

/// The service, and one of its user agents.
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

    /// Connects a user agent to a running service.
    pub(super) async fn over(server: Server) -> Result<Self> {
        let mut user_agent = UserAgent::connect(server.connection()).await?;
        let id = user_agent.hello(None).await?.user_agent;
        Ok(Self { server, key: KeyPair::generate(&SystemRng), id, user_agent: Some(user_agent) })
    }

    /// Id of the user agent.
    pub(super) fn id(&self) -> UserAgentId {
        self.id
    }

    /// Connection of the user agent.
    pub(super) fn user_agent(&mut self) -> Result<&mut UserAgent> {
        self.user_agent.as_mut().context("the user agent is offline")
    }

    /// Makes an unrestricted subscription.
    pub(super) async fn open(&mut self) -> Result<Subscription> {
        Ok(self.user_agent()?.subscribe(&SystemRng, None).await?)
    }

    /// Makes a subscription restricted to `key`.
    pub(super) async fn restricted(&mut self, key: &PublicKey) -> Result<Subscription> {
        Ok(self.user_agent()?.subscribe(&SystemRng, Some(key)).await?)
    }

    /// Makes a subscription, and ends it.
    pub(super) async fn ended(&mut self, key: Option<&PublicKey>) -> Result<Subscription> {
        let user_agent = self.user_agent()?;
        let ended = user_agent.subscribe(&SystemRng, key).await?;
        user_agent.unregister(ended.channel(), codes::UNREGISTERED_BY_HAND).await?;
        Ok(ended)
    }

    /// Disconnects the user agent.
    pub(super) async fn go_offline(&mut self) -> Result<()> {
        if let Some(user_agent) = self.user_agent.take() {
            user_agent.close().await?;
        }
        Ok(())
    }

    /// Reconnects the user agent.
    pub(super) async fn come_back(&mut self) -> Result<()> {
        let mut user_agent = UserAgent::connect(self.server.connection()).await?;
        let hello = user_agent.hello(Some(self.id)).await?;
        ensure!(hello.user_agent == self.id, "the user agent was forgotten");
        self.user_agent = Some(user_agent);
        Ok(())
    }

    /// Receives and acknowledges the next message.
    pub(super) async fn notification(&mut self) -> Result<Notification> {
        let user_agent = self.user_agent()?;
        let event = user_agent.next_within(ARRIVAL).await?.context("no message came")?;
        let Event::Notification(notification) = event else { anyhow::bail!("not a message: {event:?}") };
        user_agent.ack(&[notification.ack(codes::DELIVERED)]).await?;
        Ok(notification)
    }

    /// Checks that the next message is this one.
    pub(super) async fn receives(&mut self, subscription: &Subscription, payload: &[u8]) -> Result<()> {
        let notification = self.notification().await?;
        ensure!(notification.channel == subscription.channel(), "a message of another subscription came");
        ensure!(subscription.decrypt(&notification)? == payload, "another message came");
        Ok(())
    }

    /// Sends one request over a connection of its own.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answer> {
        let mut wire = Wire::open(self.server.ingress()).await?;
        // A refusal and the close may come before all is written.
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

    /// Checks that a message goes through from end to end.
    pub(super) async fn works(&mut self) -> Result<()> {
        let subscription = self.open().await?;
        self.send(&Request::push(&subscription, b"still there")?).await?;
        self.receives(&subscription, b"still there").await
    }

    /// Checks that exactly this many messages were accepted.
    pub(super) async fn accepted(&self, count: u64) -> Result<()> {
        let what = format!("{count} messages are accepted");
        self.server.accounts(&what, |accounts| accounts.accepted == count).await?;
        Ok(())
    }

    /// Resident memory of the service, in octets.
    pub(super) async fn resident(&self) -> Result<f64> {
        let metrics = self.server.metrics().await?;
        metrics.sum("process_resident_memory_bytes", &[]).context("the metric is missing")
    }

    /// Checks that no log line tells of a panic.
    pub(super) fn calm(&self) -> Result<()> {
        calm(&self.server)
    }
}

/// Checks that no log line of the service tells of a panic.
pub(super) fn calm(server: &Server) -> Result<()> {
    let log = server.log()?;
    let panic = log.lines().find(|line| line.contains("panicked"));
    ensure!(panic.is_none(), "the service has panicked: {panic:?}");
    Ok(())
}

/// Checks a refusal: JSON in the documented form, and a sentence for a person with `says` in it.
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
