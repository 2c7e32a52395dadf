//! The web site of an application: a page, its service worker, and a server that both report to.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::within;

/// Deadline for an event to reach the site: a push message on a busy machine, with the start of the service worker.
const ARRIVAL: Duration = Duration::from_mins(1);

/// Bound of events, above that of any test.
const EVENTS: usize = 1000;

/// Largest report: a payload of 4 KiB in base64, and a list of notifications.
const REPORT: usize = 256 * 1024;

/// Report of a service worker.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// Push message.
    Push {
        /// Path of the worker's scope.
        scope: String,
        /// Decrypted payload in base64; `None` without one.
        payload: Option<String>,
        /// Bodies of all notifications of this scope on display.
        shown: Vec<String>,
        /// Open pages of the site.
        pages: u32,
    },
    /// The browser has ended the subscription (`pushsubscriptionchange`).
    SubscriptionChange {
        /// Path of the worker's scope.
        scope: String,
    },
}

/// Web site of an application that uses push: a page, its service worker, and a server that both report to.
#[derive(Debug)]
pub struct Page {
    port: u16,
    events: watch::Receiver<Vec<Event>>,
    server: JoinHandle<()>,
}

type Reports = watch::Sender<Vec<Event>>;

impl Page {
    /// Starts the site.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (reports, events) = watch::channel(Vec::new());
        let worker = ([("content-type", "text/javascript")], include_str!("page/worker.js"));
        let site = Router::new()
            .route("/", get(async || Html(include_str!("page/page.html"))))
            .route("/worker.js", get(async move || worker))
            .route("/events", post(report))
            .layer(DefaultBodyLimit::max(REPORT))
            .with_state(reports);
        let server = tokio::spawn(async move {
            // Ends with the test, which notices an earlier end.
            let _ = axum::serve(listener, site).await;
        });
        Ok(Self { port, events, server })
    }

    /// Address of the site: a secure context, as all of loopback.
    pub fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Waits for the first event, past or future, for which `wanted` returns a value.
    pub async fn event<T>(&self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> Result<T> {
        let mut events = self.events.clone();
        let arrival = events.wait_for(|events| events.iter().any(|event| wanted(event).is_some()));
        let found = match within(ARRIVAL, what, arrival).await {
            Ok(found) => found.context("the site has ended")?,
            Err(late) => bail!("{late}; what came: {:?}", self.events.borrow().clone()),
        };
        Ok(found.iter().find_map(wanted).expect("it was found a moment ago"))
    }

    /// Waits for a push message at `scope` with exactly this payload; returns the notifications shown then, and the
    /// number of open pages.
    pub async fn push(&self, scope: &str, payload: &[u8]) -> Result<(Vec<String>, u32)> {
        let expected = STANDARD.encode(payload);
        self.event(&format!("the push message at {scope}"), |event| match event {
            Event::Push { scope: at, payload, shown, pages } => {
                (at == scope && payload.as_deref() == Some(&expected)).then(|| (shown.clone(), *pages))
            }
            Event::SubscriptionChange { .. } => None,
        })
        .await
    }

    /// Payloads of all push messages at `scope` so far, in order.
    pub fn pushed(&self, scope: &str) -> Vec<Vec<u8>> {
        let events = self.events.borrow();
        let payloads = events.iter().filter_map(|event| match event {
            Event::Push { scope: at, payload, .. } if at == scope => Some(
                STANDARD.decode(payload.as_deref().unwrap_or_default()).expect("the worker encodes well"),
            ),
            Event::Push { .. } | Event::SubscriptionChange { .. } => None,
        });
        payloads.collect()
    }

    /// Waits until the browser has reported the end of the subscription at `scope`.
    pub async fn subscription_change(&self, scope: &str) -> Result<()> {
        self.event(&format!("the end of the subscription at {scope}"), |event| match event {
            Event::SubscriptionChange { scope: at } => (at == scope).then_some(()),
            Event::Push { .. } => None,
        })
        .await
    }

    /// Subscriptions ended by the browser so far.
    pub fn subscription_changes(&self) -> usize {
        self.events.borrow().iter().filter(|event| matches!(event, Event::SubscriptionChange { .. })).count()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn report(State(reports): State<Reports>, report: String) -> StatusCode {
    let Ok(event) = serde_json::from_str(&report) else { return StatusCode::BAD_REQUEST };
    reports.send_modify(|events| {
        assert!(events.len() < EVENTS, "a worker that reports without end");
        events.push(event);
    });
    StatusCode::NO_CONTENT
}
