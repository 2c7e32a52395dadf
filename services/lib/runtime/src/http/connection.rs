use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::{Limits, Socket};
use crate::Shutdown;

/// What an HTTP/2 client may send on one stream before it is read, in octets: a message and its overhead fit often.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What is kept of an answer on an HTTP/2 stream that the client does not read, in octets.
const STREAM_SEND_BUFFER: usize = 64 * 1024;

/// What all connections of a listener share.
pub(super) struct Server {
    builder: Builder<Tasks>,
    app: Router,
    header_timeout: Duration,
    idle_timeout: Duration,
    shutdown: Shutdown,
}

/// Runs the streams of HTTP/2 connections, so that the end of the server waits for them, too.
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
    pub(super) fn new(app: Router, limits: &Limits, shutdown: Shutdown, tasks: TaskTracker) -> Self {
        let mut builder = Builder::new(Tasks(tasks));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_octets.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.h2_max_streams)
            .max_pending_accept_reset_streams(limits.h2_max_resets)
            .max_local_error_reset_streams(limits.h2_max_resets)
            .max_header_list_size(u32::try_from(limits.header_octets).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_SEND_BUFFER)
            .keep_alive_interval(limits.h2_ping_interval)
            .keep_alive_timeout(limits.h2_ping_timeout);
        Self {
            builder,
            app,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            shutdown,
        }
    }

    /// Serves one connection to its end or its upgrade. How it ended is the client's business: nothing is logged.
    pub(super) async fn serve(self: Arc<Self>, socket: Socket) {
        let activity = Arc::new(Activity::default());
        let service = service_fn(|request: Request<Incoming>| {
            let ongoing = Ongoing::begin(&activity);
            let answer = self.app.clone().oneshot(request);
            async move {
                let response = answer.await?;
                Ok::<_, Infallible>(response.map(|body| Answer { body, _ongoing: ongoing }))
            }
        });
        let io = TokioIo::new(socket);
        let mut connection = pin!(self.builder.serve_connection_with_upgrades(io, service));
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = self.shutdown.draining() => {}
            () = activity.idle(self.header_timeout, self.idle_timeout) => {}
        }
        connection.as_mut().graceful_shutdown();
        // A client that does not follow is left alone once it has had the time of a request and has none in flight.
        tokio::select! {
            biased;
            _ = connection => {}
            () = self.shutdown.stopping() => {}
            () = activity.quiet(self.header_timeout) => {}
        }
    }
}

/// How many requests of a connection have begun and ended.
#[derive(Default)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    fn read(&self) -> (u64, u64) {
        (self.begun.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed))
    }

    /// Returns when no request has come within `first`, or later, when it was quiet for `then`.
    async fn idle(&self, first: Duration, then: Duration) {
        tokio::time::sleep(first).await;
        if self.read() != (0, 0) {
            self.quiet(then).await;
        }
    }

    /// Returns when there was neither a request in flight nor a new one for `time`, at most twice that. It looks at
    /// intervals, so that a request costs no timer.
    async fn quiet(&self, time: Duration) {
        let mut seen = self.read();
        loop {
            tokio::time::sleep(time).await;
            let now = self.read();
            if now == seen && now.0 == now.1 {
                return;
            }
            seen = now;
        }
    }
}

/// A request in flight: from its head to the end of its answer.
struct Ongoing(Arc<Activity>);

impl Ongoing {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of an answer, which keeps its request in flight.
struct Answer {
    body: Body,
    _ongoing: Ongoing,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
