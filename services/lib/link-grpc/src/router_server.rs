//! The router's side of the calls of nodes and ingresses: decodes requests and hands them to the links of a router.
//! Invariant: calls under way and entries of a batch are bounded; more is answered "unavailable" or refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pushgrid_proto::stored;
use pushgrid_proto::wire::router::v1 as wire;
use pushgrid_proto::wire::router::v1::router_server::{Router, RouterServer};
use pushgrid_proto::wire::stored::v1 as wire_stored;
use pushgrid_runtime::Shutdown;
use pushgrid_store::{
    Cancelled, IngressLink, LinkError, Opened, ReceiptLink, ResourceLink, RouterLink, Settlement,
};
use pushgrid_types::cast::fitting;
use pushgrid_types::{
    ChannelId, DropReason, MessageId, MessageRef, Outcome, Sequence, SubscriptionRef, UserAgentId, WebhookUrl,
};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use crate::transport::{self, MESSAGE, ServeError};
use crate::{fault, form};

/// Most calls under way, over all connections; more are answered "unavailable".
const CALLS: usize = 16_384;

/// Most entries of a batch.
const ENTRIES: usize = 4096;

/// Deadline of the entries of a batch: a slow one must not hold the answer for all others up. Entries not done by then
/// are answered "unavailable", and the caller retries.
const ENTRY_PATIENCE: Duration = Duration::from_secs(2);

/// Time for calls under way to end: longer than the slowest batch.
const FINISH: Duration = Duration::from_secs(3);

/// Serves `router` until `shutdown` drains, then finishes calls under way; drops them when `shutdown` stops.
///
/// Guarantee: a call that has reached `router` is carried through, also after its caller has gone.
pub async fn serve_router<R: RouterLink + ResourceLink + IngressLink + 'static>(
    listener: TcpListener,
    router: Arc<R>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let service = Service { router, calls: Arc::new(Semaphore::new(CALLS)) };
    let server = RouterServer::new(service).max_decoding_message_size(MESSAGE);
    let (incoming, draining) = (transport::incoming(listener), shutdown.clone());
    let serving = transport::server()
        .serve_with_incoming_shutdown(server, incoming, async move { draining.draining().await });
    transport::drive(serving, shutdown, FINISH).await
}

struct Service<R> {
    router: Arc<R>,
    calls: Arc<Semaphore>,
}

impl<R> Service<R> {
    /// Carries a call through in a task of its own: a caller that hangs up must not stop a router between two steps.
    async fn carry<T, F>(&self, call: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LinkError>> + Send + 'static,
    {
        let unavailable = || fault::to_status(&LinkError::Unavailable);
        let place = Arc::clone(&self.calls).try_acquire_owned().map_err(|_| unavailable())?;
        let carried = tokio::spawn(async move {
            let answer = call.await;
            drop(place);
            answer
        });
        // The panic hook has reported it.
        carried.await.map_err(|_| unavailable())?.map_err(|error| fault::to_status(&error))
    }

    /// Carries all entries of a batch through at once, and returns those that failed.
    async fn carry_all<F>(&self, calls: Vec<F>) -> Result<Vec<wire::Failed>, Status>
    where
        F: Future<Output = Result<(), LinkError>> + Send + 'static,
    {
        self.carry(async move {
            let deadline = Instant::now() + ENTRY_PATIENCE;
            let mut done = vec![false; calls.len()];
            let mut failed = Vec::new();
            let mut calls: FuturesUnordered<_> = calls
                .into_iter()
                .enumerate()
                .map(|(index, call)| async move { (index, call.await) })
                .collect();
            while let Ok(Some((index, answer))) = timeout_at(deadline, calls.next()).await {
                done[index] = true;
                failed.extend(answer.err().map(|error| fault::failed(index, &error)));
            }
            let late = done.iter().enumerate().filter(|(_, done)| !**done);
            failed.extend(late.map(|(index, _)| fault::failed(index, &LinkError::Unavailable)));
            Ok(failed)
        })
        .await
    }
}

impl<R: ReceiptLink + 'static> Service<R> {
    /// Makes a receipt subscription with a webhook, which has no endpoint.
    async fn open_receipts(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        webhook: WebhookUrl,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        let (router, url) = (Arc::clone(&self.router), webhook.as_str().to_owned());
        let make = async move { router.open_receipts(user_agent, channel, Some(webhook)).await };
        let id = self.carry(make).await?;
        Ok(Response::new(wire::RegisterResponse {
            incarnation: Bytes::copy_from_slice(id.incarnation.as_octets()),
            subscription: Some(wire_stored::Subscription { webhook: Some(url), ..Default::default() }),
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl<R: RouterLink + ResourceLink + IngressLink + 'static> Router for Service<R> {
    async fn open(
        &self,
        request: Request<wire::OpenRequest>,
    ) -> Result<Response<wire::OpenResponse>, Status> {
        let request = request.into_inner();
        let (user_agent, session) =
            (form::user_agent(&request.user_agent)?, form::session(request.session.as_ref())?);
        let router = Arc::clone(&self.router);
        let min_urgency = form::min_urgency(request.min_urgency());
        let opened = self.carry(async move { router.open(user_agent, session, min_urgency).await }).await?;
        Ok(Response::new(match opened {
            Opened::Known { epoch, min_urgency } => {
                wire::OpenResponse { epoch: Some(epoch.0), min_urgency: form::of_min_urgency(min_urgency) }
            }
            Opened::Unknown => wire::OpenResponse::default(),
        }))
    }

    async fn set_urgency(
        &self,
        request: Request<wire::SetUrgencyRequest>,
    ) -> Result<Response<wire::SetUrgencyResponse>, Status> {
        let request = request.into_inner();
        let (user_agent, session) =
            (form::user_agent(&request.user_agent)?, form::session(request.session.as_ref())?);
        let min_urgency = form::min_urgency(request.min_urgency());
        let router = Arc::clone(&self.router);
        self.carry(async move { router.set_urgency(user_agent, session, min_urgency).await }).await?;
        Ok(Response::new(wire::SetUrgencyResponse {}))
    }

    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        let request = request.into_inner();
        let (user_agent, channel) =
            (form::user_agent(&request.user_agent)?, form::channel(&request.channel)?);
        let restriction = stored::restriction(request.restriction.as_deref());
        let restriction = restriction.map_err(|_| form::invalid("restriction"))?;
        let (router, joins) = (Arc::clone(&self.router), request.joins);
        if let Some(url) = request.webhook {
            let webhook = WebhookUrl::new(&url).ok_or_else(|| form::invalid("webhook"))?;
            return self.open_receipts(user_agent, channel, webhook).await;
        }
        let make = async move {
            if joins {
                router.join(user_agent, channel, restriction).await
            } else {
                router.register(user_agent, channel, restriction).await.map(Some)
            }
        };
        let Some(registered) = self.carry(make).await? else {
            return Ok(Response::new(wire::RegisterResponse { alone: true, ..Default::default() }));
        };
        Ok(Response::new(wire::RegisterResponse {
            incarnation: Bytes::copy_from_slice(registered.subscription.id.incarnation.as_octets()),
            subscription: Some(stored::subscription_to_wire(&registered.subscription)),
            endpoint: registered.endpoint,
            alone: false,
        }))
    }

    async fn unregister(
        &self,
        request: Request<wire::UnregisterRequest>,
    ) -> Result<Response<wire::UnregisterResponse>, Status> {
        let request = request.into_inner();
        let (user_agent, channel) =
            (form::user_agent(&request.user_agent)?, form::channel(&request.channel)?);
        let router = Arc::clone(&self.router);
        let Some(incarnation) = request.incarnation else {
            self.carry(async move { router.unregister(user_agent, channel).await }).await?;
            return Ok(Response::new(wire::UnregisterResponse { gone: false }));
        };
        let id = SubscriptionRef { user_agent, channel, incarnation: form::incarnation(&incarnation)? };
        let ended = self.carry(async move { router.unsubscribe(id).await }).await?;
        Ok(Response::new(wire::UnregisterResponse { gone: ended == Cancelled::Gone }))
    }

    async fn unregister_all(
        &self,
        request: Request<wire::UnregisterAllRequest>,
    ) -> Result<Response<wire::UnregisterAllResponse>, Status> {
        let user_agent = form::user_agent(&request.into_inner().user_agent)?;
        let router = Arc::clone(&self.router);
        self.carry(async move { router.unregister_all(user_agent).await }).await?;
        Ok(Response::new(wire::UnregisterAllResponse {}))
    }

    async fn settle(
        &self,
        request: Request<wire::SettleRequest>,
    ) -> Result<Response<wire::SettleResponse>, Status> {
        let settled = bounded(request.into_inner().settled)?;
        let settled = settled.iter().map(settlements).collect::<Result<Vec<_>, _>>()?;
        let calls = settled.into_iter().map(|(user_agent, ended)| {
            let router = Arc::clone(&self.router);
            async move { router.settle(user_agent, ended).await }
        });
        let failed = self.carry_all(calls.collect()).await?;
        Ok(Response::new(wire::SettleResponse { failed }))
    }

    async fn close(
        &self,
        request: Request<wire::CloseRequest>,
    ) -> Result<Response<wire::CloseResponse>, Status> {
        let closed = bounded(request.into_inner().closed)?;
        let closed = closed.iter().map(|closed| {
            Ok((form::user_agent(&closed.user_agent)?, form::session(closed.session.as_ref())?))
        });
        let calls = closed.collect::<Result<Vec<_>, Status>>()?.into_iter().map(|(user_agent, session)| {
            let router = Arc::clone(&self.router);
            async move { router.close(user_agent, session).await }
        });
        let failed = self.carry_all(calls.collect()).await?;
        Ok(Response::new(wire::CloseResponse { failed }))
    }

    async fn cancel(
        &self,
        request: Request<wire::CancelRequest>,
    ) -> Result<Response<wire::CancelResponse>, Status> {
        let request = request.into_inner();
        let message = MessageRef {
            user_agent: form::user_agent(&request.user_agent)?,
            channel: form::channel(&request.channel)?,
            id: form::message_id(&request.id)?,
            sequence: Sequence(request.sequence),
        };
        let (router, acknowledged) = (Arc::clone(&self.router), request.acknowledged);
        let end = async move {
            if acknowledged { router.acknowledge(message).await } else { router.cancel(message).await }
        };
        let ended = match self.carry(end).await? {
            Cancelled::Ended => true,
            Cancelled::Gone => false,
        };
        Ok(Response::new(wire::CancelResponse { ended }))
    }

    async fn end_set(
        &self,
        request: Request<wire::EndSetRequest>,
    ) -> Result<Response<wire::EndSetResponse>, Status> {
        let user_agent = form::user_agent(&request.into_inner().user_agent)?;
        let router = Arc::clone(&self.router);
        let ended = self.carry(async move { router.end_set(user_agent).await }).await?;
        Ok(Response::new(wire::EndSetResponse { gone: ended == Cancelled::Gone }))
    }

    async fn read(
        &self,
        request: Request<wire::ReadRequest>,
    ) -> Result<Response<wire::ReadResponse>, Status> {
        let request = request.into_inner();
        let message = MessageRef {
            user_agent: form::user_agent(&request.user_agent)?,
            channel: form::channel(&request.channel)?,
            id: form::message_id(&request.id)?,
            sequence: Sequence(request.sequence),
        };
        let router = Arc::clone(&self.router);
        let message = self.carry(async move { router.read(message).await }).await?;
        Ok(Response::new(wire::ReadResponse { message: message.map(|message| stored::to_wire(&message)) }))
    }

    async fn look_up(
        &self,
        request: Request<wire::LookUpRequest>,
    ) -> Result<Response<wire::LookUpResponse>, Status> {
        let resource = form::resource(&request.into_inner())?;
        let router = Arc::clone(&self.router);
        let standing = self.carry(async move { router.look_up(resource).await }).await?;
        let members = fitting::<u64>(standing.members);
        let (endpoint, webhook) = (standing.endpoint, standing.has_webhook);
        Ok(Response::new(wire::LookUpResponse { members, endpoint, webhook }))
    }

    async fn alive(
        &self,
        request: Request<wire::AliveRequest>,
    ) -> Result<Response<wire::AliveResponse>, Status> {
        let request = request.into_inner();
        let id = SubscriptionRef {
            user_agent: form::user_agent(&request.user_agent)?,
            channel: form::channel(&request.channel)?,
            incarnation: form::incarnation(&request.incarnation)?,
        };
        let router = Arc::clone(&self.router);
        let alive = self.carry(async move { router.alive(id).await }).await?;
        Ok(Response::new(wire::AliveResponse { alive }))
    }
}

fn bounded<T>(entries: Vec<T>) -> Result<Vec<T>, Status> {
    if entries.len() > ENTRIES { Err(form::invalid("entries")) } else { Ok(entries) }
}

/// Decodes the settlements of one session.
fn settlements(settled: &wire::Settled) -> Result<(UserAgentId, Vec<Settlement>), Status> {
    let (ids, rest) = settled.ids.as_chunks::<{ MessageId::SIZE }>();
    if !rest.is_empty() || ids.len() != settled.outcomes.len() {
        return Err(form::invalid("ids"));
    }
    let ended = ids.iter().zip(&settled.outcomes).map(|(id, outcome)| {
        let outcome =
            Outcome::ALL.get(usize::from(*outcome)).copied().filter(|outcome| is_seen_by_a_node(*outcome));
        let outcome = outcome.ok_or_else(|| form::invalid("outcomes"))?;
        Ok(Settlement { id: MessageId::from_octets(*id), outcome })
    });
    Ok((form::user_agent(&settled.user_agent)?, ended.collect::<Result<_, Status>>()?))
}

/// True for outcomes that a node may report. Losses of the log or the changelog are seen by routers only.
pub(crate) const fn is_seen_by_a_node(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Dropped(DropReason::LostFromLog | DropReason::Damaged))
}

#[cfg(test)]
mod tests;
