//! Requests to the router with their answers, and the report of acknowledgements, beside all else.

use std::future::poll_fn;
use std::task::Poll;

use pushgrid_types::CloseReason;

use super::Connection;
use crate::end::End;
use crate::protocol::{EndOf, Output, Protocol};
use crate::router_session::{Answer, Request};

impl<P: Protocol> Connection<P> {
    /// Has a request carried out after those waiting already, and after the report of all earlier
    /// acknowledgements.
    pub(super) async fn ask(&mut self, request: Request) -> Result<(), EndOf<P>> {
        let unconfirmed = self.unreported.len() + self.report.as_ref().map_or(0, |report| report.count);
        self.session.add(request, unconfirmed);
        if unconfirmed > 0 {
            self.report_acks().await?;
        }
        self.carry_out_requests().await
    }

    /// Carries the waiting requests out, as far as the router answers at once: most of the time, all of them.
    pub(super) async fn carry_out_requests(&mut self) -> Result<(), EndOf<P>> {
        while self.session.begin(&self.shared, &self.slot, P::NAME) {
            match poll_fn(|cx| Poll::Ready(self.session.poll(cx))).await {
                Poll::Ready(answer) => {
                    if let Some(answer) = answer? {
                        self.answered(answer).await?;
                    }
                }
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    pub(super) async fn answered(&mut self, answer: Answer) -> Result<(), EndOf<P>> {
        let answer = match answer {
            Answer::Identified { user_agent, .. } => {
                self.session.identified(user_agent);
                let broadcasts = self.shared.broadcasts.take_due(&self.slot.queue);
                Answer::Identified { user_agent, broadcasts }
            }
            answer => answer,
        };
        self.put(Output::Answer(answer)).await
    }

    /// Begins to report ended messages to the router; the next report has those ended meanwhile. Most of the
    /// time the confirmation comes at once.
    pub(super) async fn report_acks(&mut self) -> Result<(), EndOf<P>> {
        if self.unreported.is_empty() || self.report.is_some() {
            return Ok(());
        }
        let ended = std::mem::take(&mut self.unreported);
        let count = ended.len();
        self.report = self.session.report_acks(ended, &self.shared, &self.slot, P::NAME);
        let Some(report) = &mut self.report else {
            self.forget_confirmed(count);
            return Ok(());
        };
        match poll_fn(|cx| Poll::Ready(report.poll(cx))).await {
            Poll::Ready(confirmed) => self.confirmed(confirmed),
            Poll::Pending => Ok(()),
        }
    }

    /// The report is over: the router has confirmed all messages, or could not be reached.
    pub(super) fn confirmed(&mut self, confirmed: bool) -> Result<(), EndOf<P>> {
        self.forget_report();
        if confirmed { Ok(()) } else { Err(End::For(CloseReason::Unavailable)) }
    }

    fn forget_report(&mut self) {
        let count = self.report.take().map_or(0, |report| report.count);
        self.forget_confirmed(count);
    }

    /// Forgets the oldest `count` of the messages ended here: from now on the router knows.
    fn forget_confirmed(&mut self, count: usize) {
        self.session.confirmed(count);
        self.slot.queue.confirmed(count);
    }

    /// Returns when the router has confirmed every ended message.
    pub(super) async fn all_confirmed(&mut self) -> Result<(), EndOf<P>> {
        loop {
            if let Some(report) = &mut self.report {
                let confirmed = report.confirmed(&self.slot.queue).await;
                self.forget_report();
                confirmed?;
            }
            if self.unreported.is_empty() {
                return Ok(());
            }
            self.report_acks().await?;
        }
    }
}
