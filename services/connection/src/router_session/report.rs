//! The report of acknowledged and expired messages, repeated with backoff until the router confirms all.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pushgrid_runtime::{Backoff, spans};
use pushgrid_store::{LinkError, Settlement};
use pushgrid_types::UserAgentId;
use tokio::time::{Instant, sleep, timeout};

use super::RouterFailure;
use super::call::log;
use crate::send_queue::{Ending, SendQueue};
use crate::shared::Shared;

/// Backoff after the first failed report; doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);

/// The longest backoff.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Report to the router of messages ended by acknowledgement or by expiry. To be polled beside all else.
pub(crate) struct AckReport {
    /// Messages in the report.
    pub(crate) count: usize,
    call: Pin<Box<dyn Future<Output = bool> + Send>>,
}

impl AckReport {
    /// Begins the report, possibly with messages of an earlier connection. Without a router the report waits
    /// for one, up to the patience set.
    pub(super) fn begin(
        user_agent: UserAgentId,
        ended: Vec<Settlement>,
        shared: &Arc<Shared>,
        context: spans::Session,
    ) -> Self {
        let (count, shared) = (ended.len(), Arc::clone(shared));
        let call = Box::pin(async move {
            let until = Instant::now() + shared.config.router_patience;
            let mut backoff = Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF);
            loop {
                let settled = shared.router.settle(user_agent, ended.clone());
                match timeout(shared.config.router_timeout, settled).await {
                    Ok(Ok(())) => return true,
                    Ok(Err(error)) => log("settle", &error, &context),
                    Err(_elapsed) => log("settle", &LinkError::Unavailable, &context),
                }
                let pause = backoff.fail();
                if Instant::now() + pause > until {
                    return false;
                }
                sleep(pause).await;
            }
        });
        Self { count, call }
    }

    /// Ready with `true` when the router has confirmed the end of all messages; with `false` when no router
    /// could be reached for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.call.as_mut().poll(cx)
    }

    /// Waits for the confirmation, but not when the node stops at once.
    pub(crate) async fn confirmed(&mut self, queue: &SendQueue) -> Result<(), RouterFailure> {
        poll_fn(|cx| {
            if let Poll::Ready(confirmed) = self.poll(cx) {
                // The messages are redelivered on the next connection, and acknowledged there again.
                return Poll::Ready(if confirmed { Ok(()) } else { Err(RouterFailure::Unavailable) });
            }
            queue.poll_ending(cx, Ending::Abandoned).map(|()| Err(RouterFailure::Abandoned))
        })
        .await
    }
}
