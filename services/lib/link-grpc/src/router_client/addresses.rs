//! Calls that name one subscription or message: of user agents outside of any session, and of application servers.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pushgrid_proto::stored;
use pushgrid_proto::wire::router::v1 as wire;
use pushgrid_store::{
    Cancelled, IngressLink, LinkError, ReceiptLink, Registered, Resource, ResourceLink, Standing,
};
use pushgrid_types::cast::saturating;
use pushgrid_types::{ChannelId, Message, MessageRef, Restriction, SubscriptionRef, UserAgentId, WebhookUrl};

use super::peer::Peer;
use super::{Routers, readable, registered, to_make};
use crate::form;

#[async_trait]
impl ResourceLink for Routers {
    async fn acknowledge(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        self.end_message(message, true).await
    }

    async fn join(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Option<Registered>, LinkError> {
        let request = wire::RegisterRequest { joins: true, ..to_make(user_agent, channel, restriction) };
        let answer = self.make(user_agent, request).await?;
        if answer.alone { Ok(None) } else { readable(registered(user_agent, channel, answer)).map(Some) }
    }

    async fn end_set(&self, user_agent: UserAgentId) -> Result<Cancelled, LinkError> {
        let request = wire::EndSetRequest { user_agent: form::of_user_agent(user_agent) };
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.end_set(request).await).await }
        };
        let answer = self.ask(user_agent, call).await?;
        Ok(if answer.gone { Cancelled::Gone } else { Cancelled::Ended })
    }

    async fn read(&self, message: MessageRef) -> Result<Option<Arc<Message>>, LinkError> {
        let request = wire::ReadRequest {
            user_agent: form::of_user_agent(message.user_agent),
            channel: form::of_channel(message.channel),
            id: Bytes::copy_from_slice(message.id.as_octets()),
            sequence: message.sequence.0,
        };
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.read(request).await).await }
        };
        let Some(answer) = self.ask(message.user_agent, call).await?.message else { return Ok(None) };
        readable(stored::from_wire(answer).ok().map(Arc::new)).map(Some)
    }

    async fn look_up(&self, resource: Resource) -> Result<Standing, LinkError> {
        let request = form::of_resource(resource);
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.look_up(request).await).await }
        };
        let wire::LookUpResponse { members, endpoint, webhook } =
            self.ask(resource.user_agent(), call).await?;
        Ok(Standing { members: saturating::<usize>(members), endpoint, has_webhook: webhook })
    }

    async fn unsubscribe(&self, id: SubscriptionRef) -> Result<Cancelled, LinkError> {
        let request = wire::UnregisterRequest {
            user_agent: form::of_user_agent(id.user_agent),
            channel: form::of_channel(id.channel),
            incarnation: Some(Bytes::copy_from_slice(id.incarnation.as_octets())),
        };
        self.end_subscription(id.user_agent, request).await
    }
}

#[async_trait]
impl ReceiptLink for Routers {
    async fn open_receipts(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        webhook: Option<WebhookUrl>,
    ) -> Result<SubscriptionRef, LinkError> {
        let request = wire::RegisterRequest {
            webhook: webhook.as_ref().map(|url| url.as_str().to_owned()),
            ..to_make(user_agent, channel, Restriction::Open)
        };
        let answer = self.make(user_agent, request).await?;
        let made = readable(registered(user_agent, channel, answer))?.subscription;
        // A router of an earlier release has made one without.
        if made.webhook == webhook { Ok(made.id) } else { Err(LinkError::Unavailable) }
    }
}

#[async_trait]
impl IngressLink for Routers {
    async fn cancel(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        self.end_message(message, false).await
    }

    async fn alive(&self, id: SubscriptionRef) -> Result<bool, LinkError> {
        let request = form::of_alive(id);
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.alive(request).await).await }
        };
        Ok(self.ask(id.user_agent, call).await?.alive)
    }
}
