//! Nothing of what has ended stays readable in the files.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pushgrid_store::{Mailbox, Subscriptions};
use pushgrid_types::{Content, Message, SubscriptionRef};

use super::{Home, message, subscription};
use crate::EmbeddedConfig;

/// Octets found in nothing but the body of a message.
const BODY: &[u8] = b"known by nobody but its user agent";

/// Files of the store with these octets.
fn files_with(home: &Home, sought: &[u8]) -> Vec<String> {
    let files = fs::read_dir(home.directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.file_name().is_some_and(|name| name != "reserve"));
    let has = |path: &std::path::PathBuf| {
        let octets = fs::read(path).unwrap_or_default();
        octets.windows(sought.len()).any(|window| window == sought)
    };
    files.filter(has).map(|path| path.display().to_string()).collect()
}

fn body(octets: usize) -> Content {
    let body = BODY.iter().copied().cycle().take(octets).collect::<Vec<_>>();
    Content { body: Bytes::from(body), ..Content::default() }
}

#[tokio::test]
async fn what_has_ended_leaves_no_trace_once_the_store_rests() {
    let home = Home::with(|config| EmbeddedConfig { rest: Duration::from_millis(50), ..config });
    let other = subscription(1);
    let to = SubscriptionRef {
        user_agent: pushgrid_types::UserAgentId::from_octets(*b"the user agent's"),
        channel: pushgrid_types::ChannelId::from_octets(*b"the channel's id"),
        incarnation: pushgrid_types::Incarnation::from_octets(*b"incarnation!"),
    };
    home.subscribe(other).await;
    home.subscribe(to).await;
    let mut waiting = Vec::new();
    // In a page with others, and over several pages.
    for (label, octets) in (0..).zip([100, 1000, 4000, 20_000]) {
        waiting.push(home.append(Message { content: body(octets), ..message(to, label) }).await);
    }
    let kept = home.append(message(other, 9)).await;
    home.store.store(waiting.clone()).await.unwrap();
    home.store.store(vec![kept.clone()]).await.unwrap();
    let secrets = [BODY, &b"the user agent's"[..], b"the channel's id", b"incarnation!"];
    for secret in secrets {
        assert!(!files_with(&home, secret).is_empty(), "it is there while it waits");
    }
    assert!(home.store.remove(to.user_agent, to.channel).await.unwrap());
    let until = Instant::now() + Duration::from_secs(30);
    for secret in secrets {
        while let Some(file) = files_with(&home, secret).pop() {
            assert!(Instant::now() < until, "{:?} is still in {file}", String::from_utf8_lossy(secret));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(home.waiting(other.user_agent).await, [Message::clone(&kept)], "the others are as they were");
    // The log begins again with the next change, and is emptied again.
    for label in 10..12 {
        home.append(message(other, label)).await;
        let log = home.directory.path().join("pushgrid.sqlite-wal");
        while fs::metadata(&log).unwrap().len() > 0 {
            assert!(Instant::now() < until, "the log was not emptied");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(home.store.ledger().snapshot().adds_up());
}
