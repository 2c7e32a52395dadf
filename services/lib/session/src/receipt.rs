//! Receipts as JSON, in events and in the posts of webhooks.

use std::time::{Duration, UNIX_EPOCH};

use pushgrid_types::Receipt;

/// Members of the JSON object of a receipt: the message by its `Location`, the status (204 or 410), the outcome by the word
/// of the metrics, and the time of the end (RFC 3339).
pub fn members(receipt: &Receipt, location: &str) -> String {
    let (status, outcome) = (receipt.status().code(), receipt.outcome.as_str());
    let time = UNIX_EPOCH + Duration::from_millis(receipt.ended_at.as_millis());
    let time = humantime::format_rfc3339_millis(time);
    format!("\"message\":\"{location}\",\"status\":{status},\"outcome\":\"{outcome}\",\"time\":\"{time}\"")
}
