use pushgrid_runtime::spans::Request;
use pushgrid_store::{ErrorKind, Usage};
use pushgrid_types::SubscriptionRef;

use super::{Refusal, failed};
use crate::shared::Shared;

/// The messages waiting for the user agent of a live subscription. A failed look-up does not make a
/// subscription gone: senders delete an endpoint reported gone, and retry after a failure. A subscription
/// absent from the directory is gone only when the router says so, too: a directory can lose the last of its
/// changes. The router is asked as well when the directory's data of the user agent cannot be read: while the
/// user agent is away nobody else would find the fault, and only the router can restore the data.
pub(super) async fn look_up(
    ingress: &Shared,
    request: &Request,
    to: &SubscriptionRef,
) -> Result<Usage, Refusal> {
    match ingress.directory.look_up(to).await {
        Ok(Some(waiting)) => {
            ingress.outages.look_up.worked();
            return Ok(waiting);
        }
        Ok(None) => {}
        Err(error) if error.kind == ErrorKind::Corrupt => {}
        Err(error) => return Err(failed(&ingress.outages.look_up, request, &error)),
    }
    match ingress.router.alive(*to).await {
        Ok(true) => Ok(Usage::default()),
        Ok(false) => Err(Refusal::Gone),
        Err(error) => Err(failed(&ingress.outages.look_up, request, &error)),
    }
}

/// Refuses a message without room in the mailbox, before any promise: no accepted message is ever thrown out
/// for another.
pub(super) fn check_room(ingress: &Shared, waiting: Usage) -> Result<(), Refusal> {
    let full = waiting.messages >= ingress.config.max_waiting_messages
        || waiting.octets >= ingress.config.max_waiting_octets;
    if full { Err(Refusal::MailboxFull) } else { Ok(()) }
}
