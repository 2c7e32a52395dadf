//! Identifiers on the wire.

use bytes::Bytes;
use pushgrid_proto::stored::{urgency_from_wire, urgency_to_wire};
use pushgrid_proto::wire::router::v1 as wire;
use pushgrid_proto::wire::stored::v1 as stored;
use pushgrid_store::Resource;
use pushgrid_types::{
    ChannelId, Incarnation, MessageId, NodeId, SessionId, SessionRef, SubscriptionRef, Urgency, UserAgentId,
};
use tonic::Status;

/// Status for a request that no client of this project makes.
pub(crate) fn invalid(field: &'static str) -> Status {
    Status::invalid_argument(format!("the field {field} is missing or not valid"))
}

pub(crate) fn user_agent(octets: &[u8]) -> Result<UserAgentId, Status> {
    UserAgentId::from_slice(octets).ok_or_else(|| invalid("user_agent"))
}

pub(crate) fn channel(octets: &[u8]) -> Result<ChannelId, Status> {
    ChannelId::from_slice(octets).ok_or_else(|| invalid("channel"))
}

pub(crate) fn incarnation(octets: &[u8]) -> Result<Incarnation, Status> {
    Incarnation::from_slice(octets).ok_or_else(|| invalid("incarnation"))
}

pub(crate) fn message_id(octets: &[u8]) -> Result<MessageId, Status> {
    MessageId::from_slice(octets).ok_or_else(|| invalid("id"))
}

pub(crate) fn session(session: Option<&wire::Session>) -> Result<SessionRef, Status> {
    let session = session.ok_or_else(|| invalid("session"))?;
    Ok(SessionRef { node: NodeId(session.node), session: SessionId(session.session) })
}

pub(crate) fn of_session(session: SessionRef) -> wire::Session {
    wire::Session { node: session.node.0, session: session.session.0 }
}

/// Least urgency of a session; without one, the least of all.
pub(crate) fn min_urgency(urgency: stored::Urgency) -> Urgency {
    urgency_from_wire(urgency).unwrap_or(Urgency::LEAST)
}

pub(crate) fn of_min_urgency(urgency: Urgency) -> i32 {
    urgency_to_wire(urgency).into()
}

pub(crate) fn of_user_agent(id: UserAgentId) -> Bytes {
    Bytes::copy_from_slice(id.as_octets())
}

pub(crate) fn of_channel(id: ChannelId) -> Bytes {
    Bytes::copy_from_slice(id.as_octets())
}

/// The resource that a look-up means.
pub(crate) fn resource(request: &wire::LookUpRequest) -> Result<Resource, Status> {
    let user_agent = user_agent(&request.user_agent)?;
    let Some(life) = &request.life else { return Ok(Resource::Set(user_agent)) };
    let (channel, incarnation) = (channel(&life.channel)?, incarnation(&life.incarnation)?);
    Ok(Resource::Subscription(SubscriptionRef { user_agent, channel, incarnation }))
}

pub(crate) fn of_resource(resource: Resource) -> wire::LookUpRequest {
    let life = match resource {
        Resource::Subscription(id) => Some(wire::look_up_request::Life {
            channel: of_channel(id.channel),
            incarnation: Bytes::copy_from_slice(id.incarnation.as_octets()),
        }),
        Resource::Set(_) => None,
    };
    wire::LookUpRequest { user_agent: of_user_agent(resource.user_agent()), life }
}

pub(crate) fn of_alive(id: SubscriptionRef) -> wire::AliveRequest {
    wire::AliveRequest {
        user_agent: of_user_agent(id.user_agent),
        channel: of_channel(id.channel),
        incarnation: Bytes::copy_from_slice(id.incarnation.as_octets()),
    }
}
