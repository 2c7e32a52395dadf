//! Ends of an attempt: from the answer of a webhook, or from the failure to get one.
//!
//! Invariant: no error holds or shows a URL, a host, an address, or a text of the other side.

use std::error::Error;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use hyper_util::client::legacy;
use tokio::time::error::Elapsed;

use crate::InvalidWebhook;
use crate::resolver::AllRefused;

/// Longest pause that a webhook may ask for.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Values of label `result`, one for each end of an attempt.
pub(crate) const DELIVERED: &str = "delivered";
const GONE: &str = "gone";
const REFUSED_STATUS: &str = "refused_status";
const REFUSED_ADDRESS: &str = "refused_address";
const UNREACHABLE: &str = "unreachable";
const TIMED_OUT: &str = "timed_out";

/// All values of label `result`.
pub(crate) const RESULTS: [&str; 6] =
    [DELIVERED, GONE, REFUSED_STATUS, REFUSED_ADDRESS, UNREACHABLE, TIMED_OUT];

/// Failure of an attempt to post. The texts are for the operator's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Answer 410: the webhook wants no more.
    #[error("the webhook answered 410: post no more to it")]
    Gone,
    /// Any other answer that is not a success, a redirect included.
    #[error("the webhook answered {}: its owner has to make it answer 2xx, without a redirect", .0.as_u16())]
    Status(StatusCode),
    /// Answer 429 or 503 that names a pause, of at most an hour.
    #[error("the webhook answered {}: try again in {} s", .0.as_u16(), .1.as_secs())]
    Later(StatusCode, Duration),
    /// All addresses of the webhook are of refused ranges.
    #[error(
        "the webhook is at a private, local or reserved address: its owner has to name a public host, \
         or the operator to set webhook.allow_private"
    )]
    RefusedAddress,
    /// The URL is none that the settings allow, though it once was taken.
    #[error("the webhook is not posted to any more: {0}")]
    RefusedUrl(InvalidWebhook),
    /// No connection was made, or it was lost before an answer.
    #[error(
        "the webhook could not be reached: its owner has to look at the name, the server and the \
         certificate; authorities of one's own go into webhook.ca_file"
    )]
    NotReached,
    /// The limit of time was over. The webhook may have taken the post or not.
    #[error(
        "the webhook did not answer within webhook.timeout: its owner has to answer first and work later"
    )]
    TimedOut,
    /// The id cannot be signed. A fault of the caller: nothing was posted.
    #[error("the id of a receipt has to be 1 to 256 characters of A-Z, a-z, 0-9, - and _")]
    InvalidId,
}

impl PostError {
    /// True when no attempt will ever succeed: the webhook is gone.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Gone)
    }

    /// The pause that the webhook asked for (`Retry-After` in seconds, of 429 or 503), at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Later(_, pause) => Some(*pause),
            _ => None,
        }
    }

    /// The value of label `result`; `None` for an attempt that never was.
    pub(crate) fn label(self) -> Option<&'static str> {
        match self {
            Self::Gone => Some(GONE),
            Self::Status(_) | Self::Later(..) => Some(REFUSED_STATUS),
            Self::RefusedAddress | Self::RefusedUrl(_) => Some(REFUSED_ADDRESS),
            Self::NotReached => Some(UNREACHABLE),
            Self::TimedOut => Some(TIMED_OUT),
            Self::InvalidId => None,
        }
    }
}

impl From<InvalidWebhook> for PostError {
    fn from(invalid: InvalidWebhook) -> Self {
        match invalid {
            InvalidWebhook::RefusedAddress => Self::RefusedAddress,
            other => Self::RefusedUrl(other),
        }
    }
}

impl From<legacy::Error> for PostError {
    fn from(error: legacy::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(this) = cause {
            if this.is::<AllRefused>() {
                return Self::RefusedAddress;
            }
            if this.is::<Elapsed>() {
                return Self::TimedOut;
            }
            cause = this.source();
        }
        Self::NotReached
    }
}

/// Judges an answer by its head.
pub(crate) fn judge_answer(status: StatusCode, headers: &HeaderMap) -> Result<(), PostError> {
    if status.is_success() {
        return Ok(());
    }
    match status {
        StatusCode::GONE => Err(PostError::Gone),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Err(pause(headers).map_or(PostError::Status(status), |pause| PostError::Later(status, pause)))
        }
        _ => Err(PostError::Status(status)),
    }
}

/// `Retry-After` in seconds; a date is passed over, for two clocks need not agree.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    // More digits than a number has are more than an hour.
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, retry_after: Option<&str>) -> Result<(), PostError> {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
        }
        judge_answer(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn only_2xx_is_success_and_only_410_is_final() {
        for status in 200..=299 {
            assert_eq!(judged(status, None), Ok(()));
        }
        for status in (100..=199).chain(300..=599) {
            let error = judged(status, Some("Tue, 01 Dec 2026 00:00:00 GMT")).unwrap_err();
            assert_eq!(error.is_final(), status == 410, "{status}");
            assert_eq!(error.retry_after(), None);
            assert!(error.to_string().contains(&status.to_string()));
        }
    }

    #[test]
    fn a_pause_is_taken_from_429_and_503_up_to_an_hour() {
        let pause = |status, text| judged(status, Some(text)).unwrap_err().retry_after();
        for status in [429, 503] {
            assert_eq!(pause(status, "0"), Some(Duration::ZERO));
            assert_eq!(pause(status, "120"), Some(Duration::from_mins(2)));
            for long in ["3600", "3601", "99999999999999999999999"] {
                assert_eq!(pause(status, long), Some(Duration::from_hours(1)));
            }
            for none in ["", "-1", "+1", "1.5", "soon"] {
                assert_eq!(pause(status, none), None, "{none}");
            }
        }
        assert_eq!(pause(500, "120"), None);
    }
}
