//! One connection from accept to close or upgrade: HTTP/1.1 or HTTP/2, with the ends that a slow client can force.
//!
//! Invariant: after an answer over HTTP/1.1 the connection is either ready for the next request, or the answer has
//! announced its end. The bounds themselves come from the limits of the listener.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use futures_util::FutureExt;
use hyper::Request;
use hyper::rt::Executor;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::{Builder, UpgradeableConnection};
use pushgrid_types::cast::saturating;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::activity::{Activity, Expired, Patience};
use super::answer::{Answer, answer};
use super::http2::{Http2, Http2Connection};
use super::incoming::Incoming;
use super::limits::{CONNECTION_WINDOW, STREAM_SEND_BUFFER, STREAM_WINDOW};
use super::watched::Watched;
use super::{Limits, Socket, preface};
use crate::Shutdown;

/// Interval of looking whether the last answers are out, once a connection is kept for those alone.
const LOOK: Duration = Duration::from_millis(20);

/// Time for an answer to leave when the process ends.
const LEAVE: Duration = Duration::from_secs(1);

/// State shared by all connections of a listener.
pub(super) struct Server {
    builder: Builder<Tasks>,
    /// Serves HTTP/2 instead of the builder, where routes push.
    http2: Option<Arc<Http2>>,
    app: Router,
    patience: Patience,
    finish_timeout: Duration,
    /// True while places are scarce.
    crowded: watch::Sender<bool>,
    shutdown: Shutdown,
}

/// A connection of either stack.
trait Graceful: Future {
    /// Announces the end: what was asked by then is answered.
    fn shut_down(self: Pin<&mut Self>);
}

impl<S> Graceful for UpgradeableConnection<'_, TokioIo<Watched>, S, Tasks>
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<Answer>, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl Graceful for Http2Connection {
    fn shut_down(mut self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs the streams of HTTP/2 connections as tasks for which the end of the server waits.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn(future));
    }
}

impl Server {
    /// A server whose routes can push over HTTP/2 if `pushes`.
    pub(super) fn new(
        app: Router,
        limits: &Limits,
        shutdown: Shutdown,
        tasks: TaskTracker,
        pushes: bool,
    ) -> Self {
        let http2 = pushes.then(|| Arc::new(Http2::new(app.clone(), limits, tasks.clone())));
        let mut builder = Builder::new(Tasks(tasks));
        builder
            .http1()
            .timer(TokioTimer::new())
            // hyper's own timeout would run between requests as well.
            .header_read_timeout(None)
            .max_buf_size(limits.header_octets.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.h2_max_streams)
            .max_pending_accept_reset_streams(limits.h2_max_resets)
            .max_local_error_reset_streams(limits.h2_max_resets)
            .max_header_list_size(saturating::<u32>(limits.header_octets))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_SEND_BUFFER)
            .keep_alive_interval(limits.h2_ping_interval)
            .keep_alive_timeout(limits.h2_ping_timeout);
        Self {
            builder,
            http2,
            app,
            patience: Patience {
                header: limits.header_timeout,
                idle: limits.idle_timeout,
                answer: limits.answer_timeout,
            },
            finish_timeout: limits.finish_timeout,
            crowded: watch::Sender::new(false),
            shutdown,
        }
    }

    /// Tells all idle connections whether places are scarce.
    pub(super) fn crowd(&self, crowded: bool) {
        self.crowded.send_if_modified(|is| std::mem::replace(is, crowded) != crowded);
    }

    /// Serves one connection to the end or the upgrade. Failures of a client are not logged.
    pub(super) async fn serve(self: Arc<Self>, socket: Socket) {
        let activity = Arc::new(Activity::new());
        let mut io = Watched::new(socket, Arc::clone(&activity));
        if let Some(http2) = &self.http2 {
            let is_http2 = tokio::select! {
                biased;
                is_http2 = preface::is_http2(&mut io) => is_http2,
                () = self.shutdown.draining() => return,
                _ = activity.expired(self.patience, &self.crowded) => return,
            };
            match is_http2 {
                Ok(true) => {
                    let connection = Arc::clone(http2).serve(io, Arc::clone(&activity));
                    // A box, so that connections of HTTP/1.1 have no room for it.
                    return Box::pin(self.drive(connection, &activity)).await;
                }
                Ok(false) => {}
                Err(_gone) => return,
            }
        }
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            answer(self.app.clone(), Arc::clone(&activity), request.map(Incoming::Hyper))
        });
        let connection = self.builder.serve_connection_with_upgrades(TokioIo::new(io), service);
        self.drive(connection, &activity).await;
    }

    /// Drives a connection to the end, which is forced on a client that is too slow.
    async fn drive(&self, connection: impl Graceful, activity: &Activity) {
        let mut connection = pin!(connection);
        let expired = tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = self.shutdown.draining() => None,
            expired = activity.expired(self.patience, &self.crowded) => Some(expired),
        };
        connection.as_mut().shut_down();
        if expired == Some(Expired::Header) {
            // Lets HTTP/2 send its GOAWAY; no more is waited for.
            let _ = connection.as_mut().now_or_never();
            return;
        }
        tokio::select! {
            biased;
            _ = connection => {}
            () = self.shutdown.stopping() => {}
            // Requests that have come since the expiry have the time of a request to end.
            () = sleep(self.patience.header), if expired == Some(Expired::Answer) => {}
            () = self.overdue(activity) => {}
        }
    }

    /// Returns when a client does not follow the announced end of the connection: after the time of a request without
    /// any in flight; or, at the end of the process, after the time to finish sending, once all that had been sent by
    /// then is answered.
    async fn overdue(&self, activity: &Activity) {
        tokio::select! {
            biased;
            () = self.shutdown.draining() => {}
            () = activity.quiet(self.patience.header) => return,
        }
        sleep(self.finish_timeout).await;
        activity.close_doors();
        loop {
            while activity.is_working() {
                sleep(LOOK).await;
            }
            // An answer has a moment to leave, or its next part. A client without room for it on the stream is not
            // waited for.
            let left = async {
                while activity.is_talking() && !activity.is_working() {
                    sleep(LOOK).await;
                }
            };
            if timeout(LEAVE, left).await.is_err() || !activity.is_working() {
                return;
            }
        }
    }
}
