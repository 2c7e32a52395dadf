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

/// How long an event may take from its cause to the page's server: a push message through a busy machine, with the
/// start of the service worker.
const ARRIVAL: Duration = Duration::from_mins(1);

/// More than any test causes.
const EVENTS: usize = 1000;

/// The largest report: a payload of 4 KiB in base64, and a list of notifications.
const REPORT: usize = 256 * 1024;

/// What a service worker has reported.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A push message was handed to it.
    Push {
        /// The path that the worker serves.
        scope: String,
        /// The decrypted payload in base64; `None` for a message without one.
        payload: Option<String>,
        /// The bodies of all notifications of this scope that are shown now.
        shown: Vec<String>,
        /// How many pages of the site are open.
        pages: u32,
    },
    /// The browser has taken its subscription away (`pushsubscriptionchange`).
    SubscriptionChange {
        /// The path that the worker serves.
        scope: String,
    },
}

/// The web site of an application that uses push: a page, its service worker, and a server that hears from both.
/// The page gives `subscribe(scope, key)`, `subscription(scope)`, `unsubscribe(scope)` and `permission()`.
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
            // Ends with the test, which notices when the site is gone before.
            let _ = axum::serve(listener, site).await;
        });
        Ok(Self { port, events, server })
    }

    /// The site's address. A secure context, as is all of loopback.
    pub fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Waits for the first event that `wanted` finds something in, among those that were there before too.
    pub async fn event<T>(&self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> Result<T> {
        let mut events = self.events.clone();
        let arrival = events.wait_for(|events| events.iter().any(|event| wanted(event).is_some()));
        let found = match within(ARRIVAL, what, arrival).await {
            Ok(found) => found.context("the site has ended")?,
            Err(late) => bail!("{late}; what came: {:?}", self.events.borrow().clone()),
        };
        Ok(found.iter().find_map(wanted).expect("it was found a moment ago"))
    }

    /// Waits for a push message at `scope` with exactly this payload, and gives what was shown then, and how many
    /// pages were open.
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

    /// The payloads of all push messages at `scope` so far, in order of arrival.
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

    /// Waits until the browser has told the worker at `scope` that its subscription is gone.
    pub async fn subscription_change(&self, scope: &str) -> Result<()> {
        self.event(&format!("the end of the subscription at {scope}"), |event| match event {
            Event::SubscriptionChange { scope: at } => (at == scope).then_some(()),
            Event::Push { .. } => None,
        })
        .await
    }

    /// How many subscriptions the browser has taken away so far.
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
