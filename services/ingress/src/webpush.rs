//! Web Push: the dialect of RFC 8030 section 5 and RFC 8292.
//!
//! `push` presents a `POST` to acceptance: `authorization` reads the sender, `fields` the terms in the header
//! fields, `content` the body. `answer` is the answer table: every reason to refuse, with the status, number,
//! text and header fields.

mod answer;
mod authorization;
mod content;
mod fault;
mod fields;
mod push;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::accept;
use crate::request::segment;
use crate::service::Edge;
use fault::Fault;

/// Name of the dialect in log lines.
const DIALECT: &str = "webpush";

/// The push resources, the message resources, and the answer where there is neither.
pub(crate) fn routes() -> Router<Edge> {
    Router::new()
        .route("/push/{token}", any(push_resource))
        .route("/wpush/v1/{token}", any(push_resource))
        .route("/wpush/v2/{token}", any(push_resource))
        .route("/m/{address}", any(message_resource))
        .fallback(nothing_here)
}

async fn push_resource(
    State(ingress): State<Edge>,
    token: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let answer = match *request.method() {
        Method::POST => push::push(&ingress.0, &segment(token), request).await,
        _ => Err(Fault::Method { allow: "POST, OPTIONS" }),
    };
    let response = answer::answer(&ingress, "push", answer);
    ingress.0.figures.seconds.record(began.elapsed().as_secs_f64());
    response
}

async fn message_resource(
    State(ingress): State<Edge>,
    address: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let answer = match *request.method() {
        Method::DELETE => {
            let trace = fields::trace_parent(request.headers());
            match accept::cancel(&ingress.0, DIALECT, trace, &segment(address)).await {
                Ok(()) => Ok(StatusCode::NO_CONTENT),
                Err(refusal) => Err(Fault::Refused(refusal)),
            }
        }
        _ => Err(Fault::Method { allow: "DELETE, OPTIONS" }),
    };
    answer::answer(&ingress, "message", answer)
}

async fn nothing_here(State(ingress): State<Edge>) -> Response {
    answer::answer(&ingress, "other", Err::<(), _>(Fault::NoRoute))
}
