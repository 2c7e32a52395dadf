//! The endpoint keys that a file was used with.

use pushgrid_store::{Mailbox, Subscriptions};
use pushgrid_types::{Outcome, Restriction};
use tempfile::TempDir;

use super::{Home, message, subscription};
use crate::{Embedded, EmbeddedConfig, KeyId, KeyOrigin, Keys, OpenError};

const OLD: KeyId = [1; 8];
const NEW: KeyId = [2; 8];

fn keys(origin: KeyOrigin, ids: &[KeyId]) -> Keys {
    Keys { ids: ids.to_vec(), origin }
}

fn open(directory: &TempDir, keys: Keys, accept_loss: Option<String>) -> Result<Embedded, OpenError> {
    let keys = Some(keys);
    Embedded::open(&EmbeddedConfig { accept_loss, keys, ..EmbeddedConfig::at(directory.path()) })
}

/// Store that was used with `OLD`, with a subscription and a stored message.
async fn used_with(ids: Option<Keys>) -> TempDir {
    let home = Home::with(|config| EmbeddedConfig { keys: ids, ..config });
    home.subscribe(subscription(1)).await;
    let accepted = home.append(message(subscription(1), 1)).await;
    home.store.store(vec![accepted]).await.unwrap();
    home.store.close().await;
    home.directory
}

/// Id of the loss in a refused open.
fn refused(opened: Result<Embedded, OpenError>) -> String {
    match opened {
        Err(OpenError::Keys { subscriptions: 1, id, .. }) => id,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_file_with_subscriptions_is_opened_with_the_keys_that_sealed_them_alone() {
    let directory = used_with(Some(keys(KeyOrigin::Made, &[OLD]))).await;
    for origin in [KeyOrigin::Made, KeyOrigin::Kept, KeyOrigin::Configured] {
        let id = refused(open(&directory, keys(origin, &[NEW]), None));
        refused(open(&directory, keys(origin, &[NEW]), Some("endpoint-keys-0000000000000000".to_owned())));
        let text = open(&directory, keys(origin, &[NEW]), None).unwrap_err().to_string();
        assert!(text.contains(&format!("accept_loss={id}")) && text.contains("Restore the keys"), "{text}");
    }
    drop(open(&directory, keys(KeyOrigin::Kept, &[NEW, OLD]), None).expect("a rotation keeps the old key"));
    drop(open(&directory, keys(KeyOrigin::Kept, &[OLD]), None).expect("and can be taken back"));
}

#[tokio::test]
async fn a_file_of_an_earlier_release_is_opened_with_any_keys_but_not_with_new_ones() {
    let directory = used_with(None).await;
    refused(open(&directory, keys(KeyOrigin::Made, &[NEW]), None));
    drop(open(&directory, keys(KeyOrigin::Kept, &[OLD]), None).unwrap());
    refused(open(&directory, keys(KeyOrigin::Kept, &[NEW]), None));
}

#[tokio::test]
async fn whoever_accepts_the_loss_begins_anew_and_the_account_adds_up() {
    let directory = used_with(Some(keys(KeyOrigin::Made, &[OLD]))).await;
    let id = refused(open(&directory, keys(KeyOrigin::Made, &[NEW]), None));
    let store = open(&directory, keys(KeyOrigin::Made, &[NEW]), Some(id.clone())).unwrap();
    let account = store.ledger().snapshot();
    assert!(account.adds_up(), "{account:?}");
    assert_eq!((account.pending, account.ended[Outcome::Unsubscribed.index()]), (0, 1));
    let to = subscription(1);
    assert_eq!(store.count(to.user_agent).await.unwrap(), 0, "the user agent is a stranger");
    assert_eq!(store.usage(to.user_agent).await.unwrap().messages, 0);
    store
        .put(
            None,
            pushgrid_store::Subscription {
                id: to,
                restriction: Restriction::Open,
                seen_at: super::NOW,
                is_noted: true,
                webhook: None,
            },
        )
        .await
        .unwrap();
    store.close().await;
    let next = refused(open(&directory, keys(KeyOrigin::Made, &[OLD]), Some(id)));
    assert!(next.ends_with("0202020202020202"), "the next loss is another one: {next}");
}

#[tokio::test]
async fn keys_may_be_made_while_there_are_no_subscriptions() {
    let home = Home::with(|config| EmbeddedConfig { keys: Some(keys(KeyOrigin::Made, &[OLD])), ..config });
    assert!(home.store.is_new());
    home.store.close().await;
    let store = open(&home.directory, keys(KeyOrigin::Made, &[NEW]), None).unwrap();
    assert!(!store.is_new());
}
