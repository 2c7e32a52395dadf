//! The suite of the seams, over three ways to end a life.

use std::fs;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store_model::conformance::ends::ToldEnds;
use pushgrid_store_model::conformance::{self, Life, Parts};
use tempfile::TempDir;

use super::NOW;
use crate::{Embedded, EmbeddedConfig, EmbeddedPresence};

#[derive(Debug, Clone, Copy)]
enum Ending {
    /// Asked to close.
    Closed,
    /// Last handle dropped.
    Dropped,
    /// Never ended: the next life finds the files as of one moment.
    Crashed,
}

#[derive(Debug)]
struct Present {
    directory: TempDir,
    store: Embedded,
    ending: Ending,
}

fn open(directory: TempDir, ending: Ending) -> Parts {
    // A ring of a few messages, so that both ways of handing out are walked.
    let (ends, feed) = ToldEnds::new(NOW);
    let config =
        EmbeddedConfig { ring_messages: 7, ends: Some(feed), ..EmbeddedConfig::at(directory.path()) };
    let store = Embedded::open(&config).unwrap();
    Parts {
        log: Arc::new(store.clone()),
        consumer: Box::new(store.consumer().unwrap()),
        mailbox: Arc::new(store.clone()),
        subscriptions: Arc::new(store.clone()),
        ledger: store.ledger(),
        ends,
        now: NOW,
        life: Box::new(Present { directory, store, ending }),
    }
}

#[async_trait]
impl Life for Present {
    async fn rest(&self) {
        self.store.flush().await.unwrap();
    }

    async fn reopen(self: Box<Self>) -> Parts {
        let Self { directory, store, ending } = *self;
        match ending {
            Ending::Closed => {
                store.close().await;
                open(directory, ending)
            }
            Ending::Dropped => {
                drop(store);
                open(directory, ending)
            }
            Ending::Crashed => {
                let copy = TempDir::new().unwrap();
                for name in ["pushgrid.sqlite", "pushgrid.sqlite-wal"] {
                    fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
                }
                open(copy, ending)
            }
        }
    }
}

async fn conforms(ending: Ending) {
    conformance::run(async || open(TempDir::new().unwrap(), ending)).await;
}

#[tokio::test]
async fn the_contracts_are_kept_over_a_close() {
    conforms(Ending::Closed).await;
}

#[tokio::test]
async fn the_contracts_are_kept_over_a_drop() {
    conforms(Ending::Dropped).await;
}

#[tokio::test]
async fn the_contracts_are_kept_over_a_crash() {
    conforms(Ending::Crashed).await;
}

#[tokio::test]
async fn presence_keeps_its_contract() {
    conformance::presence::run(async || EmbeddedPresence::new()).await;
}
