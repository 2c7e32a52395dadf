//! Sends push messages with the crate web-push, as an application server written in Rust does.
//!
//! Reads jobs from standard input, one JSON object a line, and answers each with one JSON object a line: see
//! `tests/clients/README.md` for both. The crate encrypts, signs and builds the request, and reads the answer;
//! hyper, which the crate's own client is made of, carries both.

use std::error::Error;
use std::io::{BufRead, stdin};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Body;
use serde::{Deserialize, Serialize};
use web_push::{
    ContentEncoding, SubscriptionInfo, Urgency, VapidSignatureBuilder, WebPushMessage, WebPushMessageBuilder,
    request_builder,
};

const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Job {
    endpoint: String,
    p256dh: String,
    auth: String,
    vapid_private: Option<String>,
    subject: String,
    encoding: String,
    payload_base64: String,
    ttl: u32,
    topic: Option<String>,
    urgency: Option<Urgency>,
}

#[derive(Serialize, Default)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// What the crate makes of the status and the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn message(job: &Job) -> Result<WebPushMessage, Box<dyn Error>> {
    let subscription = SubscriptionInfo::new(&job.endpoint, &job.p256dh, &job.auth);
    let payload = STANDARD.decode(&job.payload_base64)?;
    let mut builder = WebPushMessageBuilder::new(&subscription);
    builder.set_ttl(job.ttl);
    let encoding = match job.encoding.as_str() {
        "aes128gcm" => ContentEncoding::Aes128Gcm,
        "aesgcm" => ContentEncoding::AesGcm,
        unknown => return Err(format!("unknown encoding {unknown}").into()),
    };
    builder.set_payload(encoding, &payload);
    if let Some(topic) = &job.topic {
        builder.set_topic(topic.clone());
    }
    if let Some(urgency) = job.urgency {
        builder.set_urgency(urgency);
    }
    if let Some(key) = &job.vapid_private {
        let mut signature = VapidSignatureBuilder::from_base64(key, &subscription)?;
        signature.add_claim("sub", job.subject.as_str());
        builder.set_vapid_signature(signature.build()?);
    }
    Ok(builder.build()?)
}

async fn send(line: &str) -> Result<Answer, Box<dyn Error>> {
    let request = request_builder::build_request::<Body>(message(&serde_json::from_str(line)?)?);
    let response = tokio::time::timeout(TIMEOUT, hyper::Client::new().request(request)).await??;
    let status = response.status();
    let location = response.headers().get("location").and_then(|value| value.to_str().ok()).map(String::from);
    let body = tokio::time::timeout(TIMEOUT, hyper::body::to_bytes(response.into_body())).await??;
    let verdict = request_builder::parse_response(status, body.to_vec());
    Ok(Answer {
        status: Some(status.as_u16()),
        location,
        body: verdict.err().map(|refused| format!("{refused:?}")),
        error: None,
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lock().lines() {
        let answer = send(&line?)
            .await
            .unwrap_or_else(|fault| Answer { error: Some(fault.to_string()), ..Answer::default() });
        println!("{}", serde_json::to_string(&answer)?);
    }
    Ok(())
}
