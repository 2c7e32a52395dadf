//! No room for more.

use std::sync::Arc;

use pushgrid_store::{ErrorKind, EventLog, LogConsumer, Mailbox, Stored};
use pushgrid_types::{Message, Outcome};

use super::{Home, message, subscription};
use crate::{Embedded, EmbeddedConfig};

fn small() -> Home {
    Home::with(|config| EmbeddedConfig { file_octets: Some(512 << 10), ..config })
}

/// Appends until there is no room, and answers what was accepted.
async fn fill(home: &Home) -> Vec<Arc<Message>> {
    let mut accepted = Vec::new();
    loop {
        let message = message(subscription(1), u64::try_from(accepted.len()).unwrap());
        match home.store.append(message.clone()).await {
            Ok(sequence) => accepted.push(Arc::new(Message { sequence, ..message })),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Unavailable, "{:?}", error.source);
                return accepted;
            }
        }
        assert!(accepted.len() < 1000, "half a mebibyte has no room for a thousand messages");
    }
}

#[tokio::test]
async fn a_full_file_refuses_messages_and_recovers_when_some_have_ended() {
    let home = small();
    let mut consumer = home.store.consumer().unwrap();
    let accepted = fill(&home).await;
    assert!(accepted.len() > 100, "{} messages found room", accepted.len());
    assert_eq!(home.store.ledger().snapshot().accepted, u64::try_from(accepted.len()).unwrap());

    let ended = accepted[..50].iter().map(|message| (message.sequence, Outcome::Delivered)).collect();
    consumer.settle(ended);
    home.store.flush().await.expect("ending messages and writing the account need no room");
    let again = fill(&home).await;
    assert!(again.len() >= 40, "the room of 50 messages has taken {} new ones", again.len());
    assert!(again[0].sequence > accepted.last().unwrap().sequence);

    let mut handed_out = Vec::new();
    while handed_out.len() < accepted.len() - 50 + again.len() {
        handed_out.extend(consumer.next(100).await.unwrap());
    }
    assert_eq!(handed_out.last(), again.last(), "all that was accepted and has not ended is handed out");
    let account = home.store.ledger().snapshot();
    assert!(account.adds_up());

    drop((home.store, consumer));
    let reopened = Embedded::open(&EmbeddedConfig::at(home.directory.path())).unwrap();
    assert_eq!(reopened.ledger().snapshot(), account, "what was refused has left no trace");
}

#[tokio::test]
async fn a_full_file_still_ends_and_hands_out_what_it_has() {
    let home = small();
    home.subscribe(subscription(1)).await;
    let first = home.append(message(subscription(1), 10_000)).await;
    assert_eq!(home.store.store(vec![first.clone()]).await.unwrap(), [Stored::Kept]);
    fill(&home).await;
    let other = home.connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (appended, settled) = {
        let append = home.store.append(message(subscription(1), 10_001));
        let settle = home.store.settle(first.to.user_agent, vec![(first.id, Outcome::Cancelled)]);
        let release = async { other.execute_batch("ROLLBACK").unwrap() };
        let (appended, settled, ()) = tokio::join!(append, settle, release);
        (appended, settled)
    };
    assert_eq!(settled.unwrap(), [true], "one that needs no room does not fail for one that does");
    if let Err(error) = appended {
        assert_eq!(error.kind, ErrorKind::Unavailable);
    }
    assert!(home.store.ledger().snapshot().adds_up());
}
