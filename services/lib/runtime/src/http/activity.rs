//! The state of one connection, shared by socket, requests and task: the party waited for, and since when.
//!
//! Invariant: a client is timed only while the connection waits for that client, never while a route works. Closing
//! is the task's.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use pushgrid_types::cast::saturating;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::framing::Framing;
use super::rest::Rest;

/// Longest silences of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the first octet of a header section, or from the opening of the connection, to the request.
    pub(super) header: Duration,
    /// From an answer to the first octet of the next request.
    pub(super) idle: Duration,
    /// From the last progress of an answer, while no route is being waited for.
    pub(super) answer: Duration,
}

/// Reason for closing a connection without a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// A request did not come in time.
    Header,
    /// No request came.
    Idle,
    /// An answer was not taken in time.
    Answer,
}

/// Activity of a connection. Socket and connection task write in one task; the streams of HTTP/2 have tasks of their
/// own, hence the atomics.
pub(super) struct Activity {
    opened: Instant,
    phase: AtomicU8,
    /// Begin of the phase in which the client is waited for, in nanoseconds from the opening.
    since: AtomicU64,
    /// Requests, each from the head to the end of the answer.
    in_flight: AtomicU32,
    /// Requests in flight for which the end of the process does not wait: the client has still to send some of the
    /// body or to take the answer, or the request came too late.
    unsettled: AtomicU32,
    /// Requests in flight with an answer on the way.
    answered: AtomicU32,
    /// Answers among those of which all is sent that their routes have made so far.
    quiet: AtomicU32,
    /// True while the socket takes nothing more.
    blocked: AtomicBool,
    multiplexed: AtomicBool,
    late: AtomicBool,
    /// True when the client may still be sending octets without a reader.
    unread: AtomicBool,
    /// Unread rest of the body of an HTTP/1.1 request.
    rest: Mutex<Option<Rest>>,
    /// Ends of the HTTP/1.1 requests among the octets received.
    framing: Mutex<Framing>,
}

/// Before the first octet.
const OPENED: u8 = 0;
/// Within a header section.
const HEAD: u8 = 1;
/// A request is in flight, or an answer is on the way out.
const TALKING: u8 = 2;
/// After the last answer.
const IDLE: u8 = 3;

/// Reason for waiting for the client, and the begin of the wait.
#[derive(Clone, Copy)]
enum Pause {
    InHead(Instant),
    Between(Instant),
    Answering(Instant),
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            phase: AtomicU8::new(OPENED),
            since: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            unsettled: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            quiet: AtomicU32::new(0),
            blocked: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            late: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            rest: Mutex::new(None),
            framing: Mutex::new(Framing::default()),
        }
    }

    /// Notes octets: without a request in flight, those of a header section. Ignored over HTTP/2, where frames come
    /// without a request.
    pub(super) fn heard(&self, octets: &[u8]) {
        if self.multiplexed.load(Ordering::Relaxed) {
            return;
        }
        self.framing().read(octets);
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return;
        }
        match self.phase.load(Ordering::Relaxed) {
            HEAD => return,
            // The first request has its time from the opening on.
            OPENED => {}
            _ => self.since_now(),
        }
        self.phase.store(HEAD, Ordering::Relaxed);
    }

    /// Notes a request, with a body of `length` octets where known.
    pub(super) fn begin(&self, multiplexed: bool, length: Option<u64>) {
        if multiplexed {
            self.multiplexed.store(true, Ordering::Relaxed);
        } else {
            self.framing().begin(length);
        }
        self.phase.store(TALKING, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn end(&self) {
        self.since_now();
        if !self.multiplexed.load(Ordering::Relaxed) && self.framing().end() {
            self.phase.store(HEAD, Ordering::Relaxed);
        }
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Marks a request as one not to wait for: the client has still to send or to take something, or was too late.
    pub(super) fn unsettle(&self) {
        self.unsettled.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn settle(&self) {
        self.unsettled.fetch_sub(1, Ordering::AcqRel);
    }

    /// Notes an answer on the way: from now on the client is waited for.
    pub(super) fn answer(&self) {
        self.since_now();
        self.answered.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes progress of the client in taking an answer.
    pub(super) fn answer_goes_on(&self) {
        self.since_now();
    }

    /// Notes that the route of an answer has no more of it yet: the client is not waited for, except to read.
    pub(super) fn answer_pauses(&self) {
        self.quiet.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes more of an answer that has paused.
    pub(super) fn answer_resumes(&self) {
        self.quiet.fetch_sub(1, Ordering::AcqRel);
    }

    /// Notes whether the socket has taken octets, or is full: then the client does not read.
    pub(super) fn socket_takes(&self, taken: bool) {
        if self.blocked.swap(!taken, Ordering::Relaxed) == taken {
            self.since_now();
        }
    }

    /// Notes the end of an answer: sent, or given up.
    pub(super) fn answer_ends(&self) {
        self.answered.fetch_sub(1, Ordering::AcqRel);
    }

    /// Marks all requests from now on as late: none is waited for.
    pub(super) fn close_doors(&self) {
        self.late.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// True while a request in flight needs nothing more from the client.
    pub(super) fn is_working(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > self.unsettled.load(Ordering::Acquire)
    }

    /// True while any request is in flight.
    pub(super) fn is_talking(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// Gives up reading: the client may go on sending, unread.
    pub(super) fn give_up_reading(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// True after [`Self::give_up_reading`]: the connection cannot be used again.
    pub(super) fn has_given_up_reading(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    pub(super) fn leave(&self, rest: Rest) {
        *self.rest.lock() = Some(rest);
    }

    pub(super) fn take_rest(&self) -> Option<Rest> {
        self.rest.lock().take()
    }

    /// True when the socket has to stay for a moment after its end: unread octets of the client would make the kernel
    /// reset the connection, and an answer on the way would be lost. A client waited for until the end has sent none.
    pub(super) fn lingers(&self) -> bool {
        let phase = self.phase.load(Ordering::Relaxed);
        self.unread.load(Ordering::Relaxed) || phase == HEAD || phase == TALKING
    }

    /// Returns once the client has been silent for too long. While `crowded`, a client that has been silent for as
    /// long as a header section may take is given up as well: others wait for its place.
    ///
    /// To be polled after the connection. A request costs no timer, and an idle connection wakes up once.
    pub(super) async fn expired(&self, patience: Patience, crowded: &watch::Sender<bool>) -> Expired {
        let brief = patience.header.min(patience.idle);
        let mut timer = pin!(sleep(brief));
        let mut crowd: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
        poll_fn(|cx| {
            loop {
                let pause = self.pause();
                let due = pause.map(|pause| match pause {
                    Pause::InHead(since) => (since + patience.header, Expired::Header),
                    Pause::Between(since) => (since + patience.idle, Expired::Idle),
                    Pause::Answering(since) => (since + patience.answer, Expired::Answer),
                });
                // The client is not idle any more: a crowd is no reason to close.
                if crowd.is_some() && !matches!(pause, Some(Pause::Between(_))) {
                    crowd = None;
                    timer.as_mut().reset(Instant::now() + brief);
                }
                // A header section in pieces and an answer may be due before the deadline that the timer was set to.
                if let Some((at, _)) = due
                    && at < timer.deadline()
                {
                    timer.as_mut().reset(at);
                }
                if let Some(waits) = &mut crowd
                    && waits.as_mut().poll(cx).is_ready()
                {
                    return Poll::Ready(Expired::Idle);
                }
                ready!(timer.as_mut().poll(cx));
                let now = Instant::now();
                match (pause, due) {
                    (_, Some((at, what))) if at <= now => return Poll::Ready(what),
                    (Some(Pause::Between(since)), Some((at, _))) if since + brief <= now => {
                        timer.as_mut().reset(at);
                        crowd = Some(Box::pin(becomes_true(crowded.subscribe())));
                    }
                    (Some(Pause::Between(since)), _) => timer.as_mut().reset(since + brief),
                    (Some(Pause::InHead(_) | Pause::Answering(_)), Some((at, _))) => timer.as_mut().reset(at),
                    _ => timer.as_mut().reset(now + brief),
                }
            }
        })
        .await
    }

    /// Returns after `time`, at most twice `time`, with neither a request in flight nor a new one.
    pub(super) async fn quiet(&self, time: Duration) {
        let mut seen = self.since.load(Ordering::Relaxed);
        loop {
            sleep(time).await;
            let now = self.since.load(Ordering::Relaxed);
            if now == seen && self.in_flight.load(Ordering::Acquire) == 0 {
                return;
            }
            seen = now;
        }
    }

    fn pause(&self) -> Option<Pause> {
        let in_flight = self.in_flight.load(Ordering::Acquire);
        let since = self.opened + Duration::from_nanos(self.since.load(Ordering::Relaxed));
        if in_flight > 0 {
            // A request without an answer, or with an answer that is not at its end, is for its route to work on: no
            // time of the client runs, unless the client leaves the socket full.
            let all_answered = self.answered.load(Ordering::Acquire) == in_flight;
            let all_quiet = self.quiet.load(Ordering::Acquire) == in_flight;
            let waits = all_answered && (!all_quiet || self.blocked.load(Ordering::Relaxed));
            return waits.then_some(Pause::Answering(since));
        }
        if self.phase.load(Ordering::Relaxed) < TALKING {
            return Some(Pause::InHead(since));
        }
        self.phase.store(IDLE, Ordering::Relaxed);
        Some(Pause::Between(since))
    }

    fn framing(&self) -> MutexGuard<'_, Framing> {
        self.framing.lock()
    }

    fn since_now(&self) {
        let nanos = saturating::<u64>(self.opened.elapsed().as_nanos());
        self.since.store(nanos, Ordering::Relaxed);
    }
}

async fn becomes_true(mut value: watch::Receiver<bool>) {
    if value.wait_for(|value| *value).await.is_err() {
        // The listener is gone, and with it every client that could wait for a place.
        std::future::pending::<()>().await;
    }
}
