//! One stream of an HTTP/2 connection that can push: a request goes to the routes, and the answer to the client.
//!
//! Invariant: a client that resets the stream ends the route at once.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::response::Response;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request};
use hyper::body::Body as _;
use parking_lot::Mutex;
use pushgrid_types::{SystemClock, WallClock};

use crate::http::activity::Activity;
use crate::http::answer::{Answer, answer};
use crate::http::incoming::Incoming;
use crate::http::push::{Exchange, Part, Pusher, Pushes};

/// Fields of HTTP/1.1 alone (RFC 9113 section 8.2.2).
const OF_CONNECTIONS: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Serves a request to the end of the answer.
pub(super) async fn serve(
    app: Router,
    activity: Arc<Activity>,
    connection: Arc<Pushes>,
    request: Request<RecvStream>,
    respond: SendResponse<Part>,
) {
    let (mut head, octets) = request.into_parts();
    let exchange: Exchange = Arc::new(Mutex::new(Some(respond)));
    let _end = End(Arc::clone(&exchange));
    let pusher = (head.method == Method::GET).then(|| Pusher::new(Arc::clone(&exchange), connection));
    if let Some(pusher) = &pusher {
        head.extensions.insert(pusher.clone());
    }
    let body = Incoming::of_stream(octets, &head.headers);
    let response = {
        let mut route = pin!(answer(app, activity, Request::from_parts(head, body)));
        poll_fn(|cx| {
            if let Poll::Ready(Ok(response)) = route.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            let mut exchange = exchange.lock();
            match exchange.as_mut().map(|respond| respond.poll_reset(cx)) {
                Some(Poll::Pending) => Poll::Pending,
                // Reset, or the connection has ended.
                _ => Poll::Ready(None),
            }
        })
        .await
    };
    // Whatever comes, nothing is pushed any more.
    let respond = exchange.lock().take();
    match (response, respond) {
        (Some(response), Some(respond)) => send(response, respond).await,
        _ => pusher.iter().for_each(Pusher::stream_was_reset),
    }
}

/// Takes the answering side back, so that nothing is pushed after the end of the stream, however it came.
struct End(Exchange);

impl Drop for End {
    fn drop(&mut self) {
        drop(self.0.lock().take());
    }
}

/// Sends an answer, unless the client resets the stream.
async fn send(response: Response<Answer>, mut respond: SendResponse<Part>) {
    let (mut head, body) = response.into_parts();
    complete(&mut head.headers, body.size_hint().exact().filter(|_| !body.is_end_stream()));
    let ends = body.is_end_stream();
    match respond.send_response(http::Response::from_parts(head, ()), ends) {
        Ok(stream) if !ends => send_body(body, stream).await,
        Ok(_) => {}
        Err(error) => {
            tracing::debug!(%error, "an answer cannot be sent");
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

/// Takes out the fields that HTTP/2 does not know, and adds those that every answer has.
fn complete(fields: &mut HeaderMap, length: Option<u64>) {
    for name in OF_CONNECTIONS {
        fields.remove(name);
    }
    let now = UNIX_EPOCH + Duration::from_millis(SystemClock.wall().as_millis());
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now)) {
        fields.entry(DATE).or_insert(date);
    }
    if let Some(length) = length {
        fields.entry(CONTENT_LENGTH).or_insert(length.into());
    }
}

/// Sends the body of an answer as the client takes it.
async fn send_body(body: Answer, mut stream: SendStream<Part>) {
    let mut body = pin!(body);
    let mut held: Option<Bytes> = None;
    poll_fn(|cx| {
        loop {
            // Also when the connection has ended.
            if stream.poll_reset(cx).is_ready() {
                return Poll::Ready(());
            }
            if held.is_some() {
                match stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending if stream.capacity() == 0 => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            if let Some(octets) = held.take() {
                let ends = body.is_end_stream();
                if stream.send_data(Part::plain(octets), ends).is_err() || ends {
                    return Poll::Ready(());
                }
            }
            match Pin::new(&mut body).as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(octets) = frame.into_data()
                        && !octets.is_empty()
                    {
                        // As little as says that there is something: the rest comes with the octets.
                        stream.reserve_capacity(1);
                        held = Some(octets);
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => {
                    let _ = stream.send_data(Part::plain(Bytes::new()), true);
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;
}
