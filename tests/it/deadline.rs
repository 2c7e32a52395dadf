use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Waits for `future`, at most for `limit`. The error names `what`.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> Result<T> {
    timeout(limit, future).await.with_context(|| format!("{what}: not within {limit:?}"))
}

/// Polls `look` until `Ok(Some)`, at most for `limit`. The error names `what`, and the result of the last look.
///
/// `Ok(None)` and errors of `look` mean "not yet".
pub async fn eventually<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    let late = || format!("{what}: not within {limit:?}");
    let mut last = None;
    while let Ok(found) = timeout_at(deadline, look()).await {
        match found {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => last = None,
            Err(fault) => last = Some(fault),
        }
        if timeout_at(deadline, sleep(INTERVAL)).await.is_err() {
            break;
        }
    }
    Err(last.map_or_else(|| anyhow!(late()), |fault| fault.context(late())))
}
