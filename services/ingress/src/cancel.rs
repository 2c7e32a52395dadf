use http::StatusCode;
use pushgrid_store::Cancelled;

use crate::refusal::Refusal;
use crate::shared::Shared;

/// `DELETE` of a message resource by the application server that sent the message: its address is a capability.
/// The message ends as cancelled; once it has ended, by this or otherwise, the answer is 404.
pub(crate) async fn cancel(ingress: &Shared, address: &str) -> Result<StatusCode, Refusal> {
    let message = ingress.deps.addresses.open(address).ok_or(Refusal::NoMessage)?;
    match ingress.deps.router.cancel(message).await {
        Ok(Cancelled::Ended) => Ok(StatusCode::NO_CONTENT),
        Ok(Cancelled::Gone) => Err(Refusal::NoMessage),
        Err(error) => {
            tracing::warn!(%error, "could not cancel a message");
            Err(Refusal::Store)
        }
    }
}
