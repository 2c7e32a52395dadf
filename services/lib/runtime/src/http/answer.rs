//! One request, from its head to the end of the answer, whichever stack serves the connection.
//!
//! Invariant: an HTTP/1.1 body that a route leaves is read here, within bounds, or the answer announces the end of the
//! connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};
use hyper::Request;
use hyper::body::{Body as _, Frame, SizeHint};
use hyper::upgrade::OnUpgrade;
use tower::ServiceExt;

use super::activity::Activity;
use super::host;
use super::incoming::Incoming;
use super::received::Received;
use super::rest::Rest;

/// Answers a request. The rest of its body is read, or the answer announces the end of the connection: otherwise the
/// client's next request would go into a closing one.
pub(super) async fn answer(
    app: Router,
    activity: Arc<Activity>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let (mut head, body) = request.into_parts();
    let multiplexed = head.version > Version::HTTP_11;
    let mut ongoing = Ongoing::begin(Arc::clone(&activity), multiplexed, body.size_hint().exact());
    let has_body = !body.is_end_stream();
    let body = if has_body {
        // The octets after the head are a body, and not the first frames of another protocol.
        head.extensions.remove::<OnUpgrade>();
        Body::new(Received::new(body, head.version, &head.headers, &activity))
    } else {
        Body::empty()
    };
    let mut response = match host::check(&head) {
        Ok(()) => app.oneshot(Request::from_parts(head, body)).await?,
        Err(fault) => {
            drop(body);
            fault.into_response()
        }
    };
    if has_body && !multiplexed {
        let read = match activity.take_rest() {
            None => !activity.has_given_up_reading(),
            // A box, so that a message that is accepted has no room for it.
            Some(rest) => Box::pin(discard(rest, &activity, response.status())).await,
        };
        if !read {
            activity.give_up_reading();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
    ongoing.answer();
    Ok(response.map(|body| Answer { body, ongoing }))
}

/// Discards the rest of a body. True when the connection can be used again.
async fn discard(rest: Rest, activity: &Activity, status: StatusCode) -> bool {
    // A client that was too slow does not get more time.
    let read = status != StatusCode::REQUEST_TIMEOUT && rest.discard().await;
    activity.settle();
    read
}

/// A request in flight: from head to end of the answer.
struct Ongoing {
    activity: Arc<Activity>,
    /// True when the request came too late for the end of the process to wait.
    is_late: bool,
    stage: Stage,
}

/// Party that has to go on with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The route has to answer.
    Working,
    /// The client has to take the answer.
    Answering,
    /// The route has to go on with the answer: the client has, or is about to have, all that there is.
    Pausing,
}

impl Ongoing {
    fn begin(activity: Arc<Activity>, multiplexed: bool, length: Option<u64>) -> Self {
        activity.begin(multiplexed, length);
        let is_late = activity.is_late();
        if is_late {
            activity.unsettle();
        }
        Self { activity, is_late, stage: Stage::Working }
    }

    /// Notes the answer: the client has to take it from here on.
    fn answer(&mut self) {
        self.activity.answer();
        self.enter(Stage::Answering);
    }

    /// Notes whether there was a part of the answer to be taken: only a client with something to take is timed, and
    /// the end of the process waits only for the route.
    fn polled(&mut self, has_part: bool) {
        if has_part {
            self.activity.answer_goes_on();
        }
        self.enter(if has_part { Stage::Answering } else { Stage::Pausing });
    }

    fn enter(&mut self, stage: Stage) {
        if stage == self.stage {
            return;
        }
        if self.stage == Stage::Pausing {
            self.activity.answer_resumes();
        }
        if stage == Stage::Pausing {
            self.activity.answer_pauses();
        }
        if !self.is_late {
            match stage {
                Stage::Answering => self.activity.unsettle(),
                Stage::Pausing => self.activity.settle(),
                Stage::Working => {}
            }
        }
        self.stage = stage;
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if self.is_late || self.stage == Stage::Answering {
            self.activity.settle();
        }
        if self.stage == Stage::Pausing {
            self.activity.answer_resumes();
        }
        if self.stage != Stage::Working {
            self.activity.answer_ends();
        }
        self.activity.end();
    }
}

/// The body of an answer, which keeps the request in flight.
pub(super) struct Answer {
    body: Body,
    ongoing: Ongoing,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.ongoing.polled(frame.is_ready());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
