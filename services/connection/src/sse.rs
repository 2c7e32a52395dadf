//! Server-Sent Events: the connection of a user agent that monitors a resource by an HTTP request, with the events of
//! [`pushgrid_session::sse`] in the answer.

mod stream;

use std::task::{Context, Poll};

use pushgrid_crypto::ResourceAddresses;
use pushgrid_session::sse::{self, Close};
use pushgrid_types::{CloseReason, Message, Receipt, Timestamp};
use tokio::sync::oneshot;

use self::stream::{Gone, Writer};
use crate::end::End;
use crate::monitor::{Claim, Form, Head, Monitor, NoFault, NoReply, Target, message_path};
use crate::protocol::{Command, Input, Output, Protocol};
use crate::receipt_form::ReceiptForm;
use crate::router_session::Answer;

pub(crate) use stream::Reader;

/// One connection by Server-Sent Events.
pub(crate) struct Sse {
    monitor: Monitor,
    addresses: ResourceAddresses,
    receipts: ReceiptForm,
    writer: Writer,
    /// A keep-alive is on its way: once it is taken, the client is there.
    is_probed: bool,
}

impl Sse {
    /// A connection, the body of the answer, and its head, which is told when the resource was found.
    pub(crate) fn new(
        target: Target,
        addresses: ResourceAddresses,
        receipts: ReceiptForm,
    ) -> (Self, Reader, oneshot::Receiver<Head>) {
        let ((writer, reader), (monitor, head)) = (stream::new(), Monitor::new(target));
        (Self { monitor, addresses, receipts, writer, is_probed: false }, reader, head)
    }

    /// The event of a message; `None` for a receipt that cannot be read.
    fn event(&self, message: &Message) -> Option<String> {
        if self.monitor.form() == Form::Receipts {
            let receipt = Receipt::of(message)?;
            let path = format!("{}/{}", self.monitor.own_path(), message.id.to_text());
            return Some(sse::receipt(message.id, &receipt, &self.receipts.location(&receipt), &path));
        }

        let (subscription, address) =
            (self.monitor.path(&message.to, &self.addresses), message_path(&self.addresses, message));
        Some(sse::message(message, sse::Addresses { subscription: &subscription, message: &address }))
    }
}

impl From<Gone> for End<NoFault> {
    fn from(_: Gone) -> Self {
        // Hanging up is the only goodbye.
        Self::For(CloseReason::Client)
    }
}

impl Protocol for Sse {
    const NAME: &'static str = "sse";

    const ACKNOWLEDGES: bool = false;

    type Request = Claim;
    type Reply = NoReply;
    type Fault = NoFault;

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input<Claim>, End<NoFault>>> {
        if let Some(claim) = self.monitor.take_claim() {
            return Poll::Ready(Ok(Input::Request(claim)));
        }
        if let Poll::Ready(gone) = self.writer.poll_gone(cx) {
            return Poll::Ready(Err(gone.into()));
        }
        if self.is_probed && self.writer.poll_taken(cx).is_ready() {
            self.is_probed = false;
            return Poll::Ready(Ok(Input::Alive));
        }
        if self.monitor.poll_quiet(cx).is_ready() {
            self.monitor.tell(Head::Empty);
            return Poll::Ready(Ok(Input::Goodbye));
        }
        Poll::Pending
    }

    fn decode(&mut self, Claim: Claim, _: Timestamp) -> Result<Command<NoReply>, End<NoFault>> {
        Ok(self.monitor.identify())
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<NoFault>>> {
        self.writer.poll_room(cx).map_err(End::from)
    }

    fn put(&mut self, output: Output<'_, NoReply>) -> Result<(), End<NoFault>> {
        match output {
            Output::Answer(Answer::Identified { user_agent, .. }) => {
                self.monitor.identified(user_agent)?;
                if !self.monitor.is_brief() {
                    self.monitor.tell(Head::Events);
                }
            }
            // Nobody has asked.
            Output::Answer(
                Answer::Registered { .. }
                | Answer::Unregistered { .. }
                | Answer::UnregisteredAll(_)
                | Answer::UrgencySet(_),
            )
            | Output::Broadcasts(_) => {}
            Output::Message(message) => {
                self.monitor.check(&message.to)?;
                self.monitor.tell(Head::Events);
                if let Some(event) = self.event(message) {
                    self.writer.write(&event);
                } else {
                    tracing::error!("a receipt cannot be read: it is of a newer release, or damaged");
                }
                self.monitor.message();
            }
            Output::Probe => {
                self.writer.write(sse::KEEP_ALIVE);
                self.is_probed = true;
            }
            Output::Reply(none) => match none {},
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<NoFault>>> {
        self.writer.poll_taken(cx).map_err(End::from)
    }

    async fn close(&mut self, why: End<NoFault>) {
        let close = Close::of(why.reason());
        if self.monitor.is_untold() {
            // The one that came later gets what waits.
            self.monitor.tell(if close == Close::Superseded { Head::Empty } else { Head::Unavailable });
            return;
        }
        self.writer.write(close.event());
        // One that has gone needs no goodbye.
        let _ = std::future::poll_fn(|cx| self.writer.poll_taken(cx)).await;
    }
}

#[cfg(test)]
mod tests;
