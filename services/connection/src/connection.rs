//! One connection of a user agent, in any protocol, from the handshake to the end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use pushgrid_runtime::spans;
use pushgrid_session::Next;
use pushgrid_store::Settlement;
use pushgrid_types::{CloseReason, Outcome, UserAgentId};
use tokio::time::{Sleep, sleep, timeout};
use tracing::Level;

use crate::broadcasts::Told;
use crate::end::End;
use crate::node::Slot;
use crate::protocol::{Command, EndOf, Input, Output, Protocol};
use crate::router_session::{AckReport, Answer, Answered, Request, RouterSession};
use crate::send_queue::Ending;
use crate::shared::Shared;
use crate::timer::{Due, Timer};

mod requests;

#[cfg(test)]
mod tests;

/// Inputs taken from a user agent in a row before messages have a turn.
const INPUTS_AT_ONCE: usize = 32;

/// Acknowledgements gathered before a report to the router, give or take those of one request.
const ACKS_AT_ONCE: usize = 256;

/// Messages sent in a row before the user agent's input has a turn.
const MESSAGES_AT_ONCE: usize = 32;

/// One user agent connection.
struct Connection<P: Protocol> {
    shared: Arc<Shared>,
    slot: Slot,
    protocol: P,
    session: RouterSession,
    timer: Timer,
    /// Messages ended by acknowledgement or by expiry, and still to be reported to the router.
    unreported: Vec<Settlement>,
    /// The report of earlier messages, polled beside all else.
    report: Option<AckReport>,
    /// Request received before the answer about the user agent's identity. Nothing more is read until then.
    early: Option<Box<P::Request>>,
}

/// Event awaited by a connection.
enum Event<P: Protocol> {
    /// Something from the user agent.
    Input(Result<Input<P::Request>, EndOf<P>>),
    /// The time has come.
    Timer,
    /// Something from the router or the node.
    Queue,
    /// The router has confirmed the report, or could not be reached for too long.
    Confirmed(bool),
    /// The request under way has ended.
    Answer(Answered),
}

/// State of the transport for which output waits.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// There is room for one more output.
    Room,
    /// All is handed to the operating system.
    Flushed,
}

/// Serves a connection to the end.
pub(crate) fn serve<P: Protocol>(
    shared: Arc<Shared>,
    slot: Slot,
    protocol: P,
) -> impl Future<Output = ()> + Send {
    let mut connection = Connection {
        protocol,
        session: RouterSession::default(),
        timer: Timer::new(&shared.config),
        unreported: Vec::new(),
        report: None,
        early: None,
        slot,
        shared,
    };
    connection.shared.counts.opened();
    // A block that owns the connection holds it once; an asynchronous function would have room for it twice. What is
    // done for an event is in a box, so that only the wait stays in memory while nothing happens.
    async move {
        loop {
            let event = connection.event().await;
            if let Err(end) = Box::pin(connection.serve(event)).await {
                break Box::pin(connection.finish(end)).await;
            }
        }
    }
}

impl<P: Protocol> Connection<P> {
    /// Handles one event, and then gives the other side a turn.
    async fn serve(&mut self, event: Event<P>) -> Result<(), EndOf<P>> {
        match event {
            Event::Input(input) => self.inputs(input?).await?,
            Event::Timer => self.due().await?,
            Event::Queue => {}
            Event::Confirmed(confirmed) => self.confirmed(confirmed)?,
            Event::Answer(answer) => {
                if let Some(answer) = answer? {
                    self.answered(answer).await?;
                }
            }
        }
        self.carry_out_requests().await?;
        if let Some(ending) = self.slot.queue.ending() {
            return Err(ending.into());
        }
        if let Some(dropped) = self.slot.queue.take_dropped() {
            self.session.tell_urgency(dropped);
            self.carry_out_requests().await?;
        }
        if self.delivers() {
            if self.slot.queue.has_due_broadcast() {
                self.tell_broadcasts(Told::default()).await?;
            }
            self.messages().await?;
        }
        self.catch_up().await
    }

    /// The connection, as named in log lines.
    fn context(&self) -> spans::Session {
        let user_agent = self.session.user_agent();
        spans::Session { protocol: P::NAME, session: self.slot.session(), user_agent }
    }

    async fn event(&mut self) -> Event<P> {
        let (delivers, reads) = (self.delivers(), self.reads());
        poll_fn(|cx| {
            if let Some(report) = &mut self.report
                && let Poll::Ready(confirmed) = report.poll(cx)
            {
                return Poll::Ready(Event::Confirmed(confirmed));
            }
            if let Poll::Ready(answer) = self.session.poll(cx) {
                return Poll::Ready(Event::Answer(answer));
            }
            let work = if delivers {
                self.slot.queue.poll_work(cx)
            } else {
                self.slot.queue.poll_ending(cx, Ending::Draining)
            };
            if reads {
                if let Some(early) = self.early.take() {
                    return Poll::Ready(Event::Input(Ok(Input::Request(*early))));
                }
                if let Poll::Ready(input) = self.protocol.poll_input(cx) {
                    return Poll::Ready(Event::Input(input));
                }
                // Who is not read cannot show that it is there.
                if self.timer.poll(cx).is_ready() {
                    return Poll::Ready(Event::Timer);
                }
            }
            work.map(|()| Event::Queue)
        })
        .await
    }

    /// Tells whether messages may be sent: after the answer about the user agent's identity, and after the
    /// answer to the request by which the session is opened.
    fn delivers(&self) -> bool {
        self.session.user_agent().is_some() && !self.session.is_opening()
    }

    /// Tells whether the user agent is read. Reading stops while no router confirms an endless run of
    /// acknowledgements or requests, and after a request that came before the answer about the user agent's
    /// identity.
    fn reads(&self) -> bool {
        let may_come = self.early.is_none() || self.session.user_agent().is_some();
        may_come && self.unreported.len() < ACKS_AT_ONCE && !self.session.is_full()
    }

    /// Takes an input together with all others already there, for one report of all the acknowledgements.
    async fn inputs(&mut self, mut input: Input<P::Request>) -> Result<(), EndOf<P>> {
        let mut left = INPUTS_AT_ONCE;
        loop {
            self.timer.alive();
            match input {
                Input::Request(request) => self.request(request).await?,
                Input::Alive => {}
                Input::Goodbye => {
                    // What was acknowledged before the goodbye is not redelivered after the answer to it.
                    self.all_confirmed().await?;
                    self.session.finish(&self.shared, &self.slot, P::NAME).await?;
                    // The answer to it waits to be flushed; the user agent need not stay for it.
                    let _ = self.ready(Until::Flushed).await;
                    return Err(End::For(CloseReason::Client));
                }
            }
            left -= 1;
            if left == 0 || !self.reads() {
                return Ok(());
            }
            match poll_fn(|cx| Poll::Ready(self.protocol.poll_input(cx))).await {
                Poll::Ready(next) => input = next?,
                Poll::Pending => return Ok(()),
            }
        }
    }

    async fn request(&mut self, request: P::Request) -> Result<(), EndOf<P>> {
        let user_agent = self.session.user_agent();
        if user_agent.is_none() && self.session.is_busy() {
            self.early = Some(Box::new(request));
            return Ok(());
        }
        match (self.protocol.decode(request, self.shared.clock.now())?, user_agent) {
            (Command::Identify { claimed, min_urgency, broadcasts }, _) => {
                // Those without a version are not named in the answer, and come when they get one.
                let _ = self.shared.broadcasts.ask(&self.slot.queue, broadcasts);
                self.slot.queue.set_min_urgency(min_urgency);
                // From now on it is about probes, however long the answer takes.
                self.timer.identified(&self.shared.config, &*self.shared.rng);
                let Some(claimed) = claimed else {
                    // The router need not hear of it before it has a subscription.
                    let new = UserAgentId::random(&*self.shared.rng);
                    return self.answered(Answer::identified(new)).await;
                };
                self.ask(Request::Identify { claimed }).await
            }
            (Command::Reply(reply), _) => self.put(Output::Reply(reply)).await,
            (Command::Nothing, _) => Ok(()),
            (_, None) => Err(End::For(CloseReason::Unidentified)),
            (Command::Register { channel, restriction }, Some(user_agent)) => {
                self.ask(Request::Register { user_agent, channel, restriction }).await
            }
            (Command::RegisterWithBadKey { channel }, Some(_)) => {
                self.ask(Request::RegisterWithBadKey { channel }).await
            }
            (Command::Unregister { channel }, Some(_)) => self.ask(Request::Unregister { channel }).await,
            (Command::UnregisterAll, Some(_)) => self.ask(Request::UnregisterAll).await,
            (Command::SetUrgency { min_urgency }, Some(_)) => {
                self.ask(Request::SetUrgency { min_urgency }).await
            }
            (Command::Broadcasts(asked), Some(_)) => {
                let told = self.shared.broadcasts.ask(&self.slot.queue, asked);
                self.tell_broadcasts(told).await
            }
            (Command::Acknowledge(acks), Some(user_agent)) => {
                for ack in &acks {
                    // Ids that it does not owe are for the router to judge: an earlier connection may have sent them.
                    let owed = self.slot.queue.settle(ack.id);
                    let trace = owed.as_ref().and_then(|message| message.content.trace_parent.as_ref());
                    let span = spans::settle(user_agent, ack.id, trace);
                    if !span.is_disabled() {
                        let outcome = ack.outcome.as_str();
                        span.in_scope(|| tracing::debug!(target: spans::MESSAGES, outcome, "acknowledged"));
                    }
                }
                self.unreported.extend(acks);
                Ok(())
            }
        }
    }

    async fn due(&mut self) -> Result<(), EndOf<P>> {
        match self.timer.due(&self.shared.config, &*self.shared.rng) {
            Due::Probe => self.put(Output::Probe).await,
            Due::End(reason) => Err(End::For(reason)),
        }
    }

    /// Sends some of the waiting messages. Expiry is judged when there is room for the message, and not
    /// before: a slow reader must not get a message late.
    async fn messages(&mut self) -> Result<(), EndOf<P>> {
        for _ in 0..MESSAGES_AT_ONCE {
            if !self.slot.queue.has_pending() {
                break;
            }
            self.ready(Until::Room).await?;
            match self.slot.queue.next(self.shared.clock.now()) {
                Some(Next::Send { message, .. }) => {
                    let span = spans::send(&message);
                    span.in_scope(|| self.protocol.put(Output::Message(&message)))?;
                    if !P::ACKNOWLEDGES {
                        self.slot.queue.sent(message.id);
                    }
                    if !span.is_disabled() {
                        span.in_scope(|| tracing::debug!(target: spans::MESSAGES, "sent"));
                    }
                }
                Some(Next::Expired(message)) => {
                    self.unreported.push(Settlement { id: message.id, outcome: Outcome::Expired });
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Flushes all output, and reports ended messages to the router. A confirmation at once may release the
    /// answer to a request, and then this answer leaves too.
    async fn catch_up(&mut self) -> Result<(), EndOf<P>> {
        loop {
            self.ready(Until::Flushed).await?;
            let unreported = self.unreported.len();
            self.report_acks().await?;
            if unreported == 0 || self.report.is_some() || !self.session.is_busy() {
                return Ok(());
            }
            self.carry_out_requests().await?;
        }
    }

    /// Tells of broadcasts that are due, and what `told` has beside them. Nothing is sent if there is nothing to tell.
    async fn tell_broadcasts(&mut self, told: Told) -> Result<(), EndOf<P>> {
        // The versions are looked up when there is room for them: a slow reader gets the newest.
        self.ready(Until::Room).await?;
        let told = Told { versions: self.shared.broadcasts.take_due(&self.slot.queue), ..told };
        if told.is_empty() { Ok(()) } else { self.protocol.put(Output::Broadcasts(told)) }
    }

    async fn put(&mut self, output: Output<'_, P::Reply>) -> Result<(), EndOf<P>> {
        self.ready(Until::Room).await?;
        self.protocol.put(output)
    }

    /// Waits for the transport. The fast way costs nothing; only a full transport gets a timer. A connection
    /// about to end does not wait.
    async fn ready(&mut self, until: Until) -> Result<(), EndOf<P>> {
        let mut deadline: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            let ready = match until {
                Until::Room => self.protocol.poll_room(cx),
                Until::Flushed => self.protocol.poll_flush(cx),
            };
            if ready.is_ready() {
                return ready;
            }
            let queue = &self.slot.queue;
            if queue.poll_ending(cx, Ending::Draining).is_ready() {
                return Poll::Ready(Err(queue.ending().map_or(End::Abandoned, End::from)));
            }
            let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(self.shared.config.write_timeout)));
            deadline.as_mut().poll(cx).map(|()| Err(End::For(CloseReason::Slow)))
        })
        .await
    }

    /// Takes nothing any more, hands the rest to the router, and then tells the user agent why.
    async fn finish(&mut self, end: EndOf<P>) {
        self.shared.counts.closed(end.reason());
        let unsettled = self.slot.queue.close();
        if tracing::enabled!(Level::DEBUG) {
            self.context().span().in_scope(|| tracing::debug!(?end, unsettled, "a connection ends"));
        }
        if matches!(end, End::Abandoned) {
            return;
        }
        // What the router does not confirm now is redelivered.
        let _ = self.all_confirmed().await;
        let answer = self.session.finish(&self.shared, &self.slot, P::NAME).await;
        self.session.close(&self.shared, &self.slot, P::NAME).await;
        if end.is_told() {
            let patience = self.shared.config.close_timeout;
            if let Ok(Some(answer)) = answer {
                // It was asked for before the end, and goes before the goodbye if it is read in time.
                let _ = timeout(patience, self.answered(answer)).await;
            }
            // A box, for it is the largest future of a connection and needed once.
            let _ = Box::pin(timeout(patience, self.protocol.close(end))).await;
        }
    }
}
