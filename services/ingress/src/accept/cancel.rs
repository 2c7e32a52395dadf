use pushgrid_runtime::spans::Request;
use pushgrid_store::Cancelled;
use pushgrid_types::{MessageRef, TraceParent};
use tracing::Level;

use super::{Refusal, failed};
use crate::shared::Shared;

/// Ends a message as cancelled, for the application server of its sender: the address of a message is a
/// capability. For a message already ended, by a cancellation or otherwise, the reason is
/// [`Refusal::NoMessage`].
pub(crate) async fn cancel(
    ingress: &Shared,
    dialect: &'static str,
    trace: Option<TraceParent>,
    address: &str,
) -> Result<(), Refusal> {
    let message = ingress.addresses.open(address);
    let request = Request::new(dialect, message.map(|message| message.user_agent), trace);
    let answer = request.around(end(ingress, &request, message)).await;
    let ended = answer.is_ok();
    if tracing::enabled!(Level::DEBUG) {
        let message_id = message.map(|message| tracing::field::debug(message.id));
        request.span().in_scope(|| tracing::debug!(message_id, ended, "a cancellation"));
    }
    answer
}

async fn end(ingress: &Shared, request: &Request, message: Option<MessageRef>) -> Result<(), Refusal> {
    let message = message.ok_or(Refusal::NoMessage)?;
    match ingress.router.cancel(message).await {
        Ok(answer) => {
            ingress.outages.cancel.worked();
            match answer {
                Cancelled::Ended => Ok(()),
                Cancelled::Gone => Err(Refusal::NoMessage),
            }
        }
        Err(error) => Err(failed(&ingress.outages.cancel, request, &error)),
    }
}
