use pushgrid_runtime::spans::Request;
use pushgrid_types::{ChannelId, ReceiptRequest, SubscriptionRef, UserAgentId};

use super::submission::Receipts;
use super::{Refusal, failed, recipient};
use crate::shared::Shared;

/// Checks the receipt subscription that a message names: alive, and with room for another receipt.
pub(super) async fn check(ingress: &Shared, request: &Request, wish: Receipts) -> Result<(), Refusal> {
    let (Receipts::Named(to) | Receipts::To(to)) = wish else {
        let is_refused = wish == Receipts::New && ingress.config.receipts.require_link;
        return if is_refused { Err(Refusal::NewReceipts) } else { Ok(()) };
    };
    let waiting = match recipient::look_up(ingress, request, &to).await {
        Err(Refusal::Gone) => return Err(Refusal::InvalidReceipts),
        answer => answer?,
    };
    let is_full = waiting.messages >= ingress.config.receipts.max_waiting;
    if is_full && wish == Receipts::To(to) { Err(Refusal::ReceiptsFull) } else { Ok(()) }
}

/// The receipt to ask for with a message that is accepted, to a new receipt subscription if need be.
pub(super) async fn ask(
    ingress: &Shared,
    request: &Request,
    wish: Receipts,
) -> Result<Option<ReceiptRequest>, Refusal> {
    let to = match wish {
        Receipts::Unwanted | Receipts::Named(_) => return Ok(None),
        Receipts::To(to) => to,
        Receipts::New => open(ingress, request).await?,
    };
    Ok(Some(ReceiptRequest { to, ttl: ingress.config.receipts.ttl }))
}

async fn open(ingress: &Shared, request: &Request) -> Result<SubscriptionRef, Refusal> {
    let (of, on) = (UserAgentId::random(&*ingress.rng), ChannelId::random(&*ingress.rng));
    match ingress.router.open_receipts(of, on, None).await {
        Ok(id) => {
            ingress.outages.receipts.worked();
            Ok(id)
        }
        Err(error) => Err(failed(&ingress.outages.receipts, request, &error)),
    }
}
