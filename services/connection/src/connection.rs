use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use pushgrid_runtime::http;
use pushgrid_session::Next;
use pushgrid_session::autopush::{Action, Close, Kind, Protocol, reply};
use pushgrid_store::Settlement;
use pushgrid_types::Outcome;
use tokio_tungstenite::tungstenite::Message;

use crate::ask::{self, Asking, Settling};
use crate::counts::Sent;
use crate::node::Seat;
use crate::outbox::Ending;
use crate::run::Shared;
use crate::socket::{End, Socket};
use crate::timer::{Due, Timer};

/// Frames of a user agent that are taken in a row before it is its messages' turn.
const FRAMES_AT_ONCE: usize = 32;

/// Acknowledgements that are gathered before they go to the router, give or take those of one frame.
const ENDED_AT_ONCE: usize = 256;

/// Notifications that are sent in a row before it is the user agent's turn.
const MESSAGES_AT_ONCE: usize = 32;

/// One user agent connection.
struct Connection {
    shared: Arc<Shared>,
    seat: Seat,
    socket: Socket,
    protocol: Protocol,
    asking: Asking,
    timer: Timer,
    /// Messages that have ended, for the router to hear of.
    ended: Vec<Settlement>,
    /// Those that it is being told of. Meanwhile the user agent is served, as far as it asks nothing of the router.
    settling: Option<Settling>,
}

/// What a connection waits for.
enum Event {
    /// Something from the user agent.
    Frame(Result<Message, End>),
    /// The time has come.
    Timer,
    /// Something from the router or the node.
    Outbox,
    /// The router has heard of what had ended, or could not be reached for too long.
    Heard(bool),
}

/// Serves an upgraded connection to its end. `read` is what had been read beyond the request.
pub(crate) async fn begin(
    shared: Arc<Shared>,
    seat: Seat,
    socket: http::Socket,
    read: Bytes,
) -> impl Future<Output = ()> + Send {
    let config = &shared.config;
    let mut connection = Connection {
        socket: Socket::new(socket, read, config.max_frame, config.write_timeout).await,
        protocol: Protocol::default(),
        asking: Asking::new(seat.session()),
        timer: Timer::new(config),
        ended: Vec::new(),
        settling: None,
        seat,
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

impl Connection {
    /// Does what is to be done, and gives what waits on the other side its turn.
    async fn serve(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Frame(frame) => self.frames(frame?).await?,
            Event::Timer => self.due().await?,
            Event::Outbox => {}
            Event::Heard(heard) => {
                self.settling = None;
                if !heard {
                    return Err(End::Close(Close::Unavailable));
                }
            }
        }
        if let Some(ending) = self.seat.outbox.ending() {
            return Err(ending.into());
        }
        if self.protocol.user_agent().is_some() {
            self.notifications().await?;
        }
        self.catch_up().await
    }

    async fn event(&mut self) -> Event {
        let identified = self.protocol.user_agent().is_some();
        // A user agent that acknowledges on and on is not read any more while nobody hears of it.
        let reads = self.ended.len() < ENDED_AT_ONCE;
        poll_fn(|cx| {
            if let Some(settling) = &mut self.settling
                && let Poll::Ready(heard) = settling.as_mut().poll(cx)
            {
                return Poll::Ready(Event::Heard(heard));
            }
            let work = if identified {
                self.seat.outbox.poll_work(cx)
            } else {
                self.seat.outbox.poll_ending(cx, Ending::Draining)
            };
            if reads && let Poll::Ready(frame) = self.socket.poll_frame(cx) {
                return Poll::Ready(Event::Frame(frame));
            }
            if self.timer.poll(cx).is_ready() {
                return Poll::Ready(Event::Timer);
            }
            work.map(|()| Event::Outbox)
        })
        .await
    }

    /// Takes a frame, and those that are there already, so that their acknowledgements go to the router as one.
    async fn frames(&mut self, mut frame: Message) -> Result<(), End> {
        let mut left = FRAMES_AT_ONCE;
        loop {
            self.timer.heard();
            match frame {
                Message::Text(text) => self.text(&text).await?,
                Message::Binary(_) => return Err(End::Close(Close::Binary)),
                Message::Close(_) => {
                    // What was acknowledged before the goodbye does not come again after the answer to it.
                    self.all_heard().await?;
                    // The answer to it waits to be flushed; the user agent need not stay for it.
                    let _ = self.socket.flush(&self.seat.outbox).await;
                    return Err(End::ByPeer);
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
            left -= 1;
            if left == 0 || self.ended.len() >= ENDED_AT_ONCE {
                return Ok(());
            }
            match self.socket.frame_at_hand().await {
                Some(next) => frame = next?,
                None => return Ok(()),
            }
        }
    }

    async fn text(&mut self, text: &str) -> Result<(), End> {
        let config = &self.shared.config;
        let (kind, action) = self.protocol.receive(text, self.shared.clock.now(), &config.pings);
        self.shared.counts.received(kind);
        match action {
            Action::Identify { claimed } => {
                let user_agent = self.asking.identify(claimed, &self.shared, &self.seat.outbox).await?;
                self.timer.greeted(&self.shared.config, &*self.shared.rng);
                let reply = self.protocol.identified(user_agent);
                self.put(Sent::Hello, reply).await
            }
            Action::Register { channel, vapid } => {
                self.catch_up().await?;
                self.all_heard().await?;
                let Some(user_agent) = self.protocol.user_agent() else {
                    return Err(End::Close(Close::Internal));
                };
                let outbox = &self.seat.outbox;
                let reply = self.asking.register(user_agent, channel, vapid, &self.shared, outbox).await?;
                self.put(Sent::Register, reply).await
            }
            Action::Unregister { channel } => {
                self.catch_up().await?;
                self.all_heard().await?;
                let reply = self.asking.unregister(channel, &self.shared, &self.seat.outbox).await?;
                self.put(Sent::Unregister, reply).await
            }
            Action::Settle(updates) => {
                for update in updates {
                    self.shared.counts.ack(update.code);
                    // Ids that it does not owe are for the router to judge: an earlier connection may have sent them.
                    self.seat.outbox.settle(update.id);
                    self.ended.push(Settlement { id: update.id, outcome: update.outcome() });
                }
                Ok(())
            }
            Action::Nack { code } => {
                self.shared.counts.nack(code);
                Ok(())
            }
            Action::Send(text) => self.put(answer_to(kind), text).await,
            Action::Nothing => Ok(()),
            Action::Close(why) => Err(End::Close(why)),
        }
    }

    async fn due(&mut self) -> Result<(), End> {
        match self.timer.due(&self.shared.config, &*self.shared.rng) {
            Due::Ping => {
                self.socket.room(&self.seat.outbox).await?;
                self.socket.put(Message::Ping(Bytes::new()))
            }
            Due::Close(why) => Err(End::Close(why)),
        }
    }

    /// Sends some of what waits. A message's expiry is looked at when there is room for it, and not before: a user
    /// agent that reads slowly must not get it late.
    async fn notifications(&mut self) -> Result<(), End> {
        for _ in 0..MESSAGES_AT_ONCE {
            if !self.seat.outbox.has_pending() {
                break;
            }
            self.socket.room(&self.seat.outbox).await?;
            match self.seat.outbox.next(self.shared.clock.now()) {
                Some(Next::Send { message, .. }) => {
                    self.socket.put(Message::text(reply::notification(&message)))?;
                    self.shared.counts.sent(Sent::Notification);
                }
                Some(Next::Expired(message)) => {
                    self.ended.push(Settlement { id: message.id, outcome: Outcome::Expired });
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Everything that was put leaves, and the router is told what has ended.
    async fn catch_up(&mut self) -> Result<(), End> {
        self.socket.flush(&self.seat.outbox).await?;
        self.report_ended().await
    }

    /// Begins to tell the router what has ended; what ends meanwhile is told next. Most of the time it is told at once.
    async fn report_ended(&mut self) -> Result<(), End> {
        if self.ended.is_empty() || self.settling.is_some() {
            return Ok(());
        }
        self.settling = self.asking.settling(std::mem::take(&mut self.ended), &self.shared);
        let Some(settling) = &mut self.settling else { return Ok(()) };
        if let Poll::Ready(heard) = poll_fn(|cx| Poll::Ready(settling.as_mut().poll(cx))).await {
            self.settling = None;
            if !heard {
                return Err(End::Close(Close::Unavailable));
            }
        }
        Ok(())
    }

    /// Returns when the router has heard of everything that has ended.
    async fn all_heard(&mut self) -> Result<(), End> {
        loop {
            if let Some(settling) = &mut self.settling {
                let heard = ask::heard(settling, &self.seat.outbox).await;
                self.settling = None;
                heard?;
            }
            if self.ended.is_empty() {
                return Ok(());
            }
            self.report_ended().await?;
        }
    }

    async fn put(&mut self, kind: Sent, text: String) -> Result<(), End> {
        self.socket.room(&self.seat.outbox).await?;
        self.shared.counts.sent(kind);
        self.socket.put(Message::text(text))
    }

    /// Takes nothing any more, hands what is left to the router, and then tells the user agent why.
    async fn finish(&mut self, end: End) {
        self.shared.counts.closed(end);
        let unsettled = self.seat.outbox.close();
        tracing::debug!(session = self.seat.session().session.0, ?end, unsettled, "a connection ends");
        if end != End::Abandoned {
            // What the router does not hear of now comes again.
            let _ = self.all_heard().await;
            self.asking.close(&self.shared, &self.seat.outbox).await;
            if let End::Close(why) = end {
                self.socket.close(why, self.shared.config.close_timeout).await;
            }
        }
    }
}

/// As what an answer of the protocol's own is counted.
const fn answer_to(kind: Kind) -> Sent {
    match kind {
        Kind::Register => Sent::Register,
        Kind::BroadcastSubscribe => Sent::Broadcast,
        Kind::Hello | Kind::Unregister | Kind::Ack | Kind::Nack | Kind::Ping | Kind::Invalid => Sent::Ping,
    }
}

#[cfg(test)]
mod tests;
