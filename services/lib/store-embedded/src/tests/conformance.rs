//! The suite of the seams, over three ways to end a life.

use std::fs;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store_model::conformance::ends::ToldEnds;
use pushgrid_store_model::conformance::{self, Life, Parts};
use pushgrid_types::ManualClock;
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
    store.date_by(Arc::new(ManualClock::at(NOW)));
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
        open(end(directory, store, ending).await, ending)
    }
}

/// Ends a life. Returns the directory of the next.
async fn end(directory: TempDir, store: Embedded, ending: Ending) -> TempDir {
    match ending {
        Ending::Closed => {
            store.close().await;
            directory
        }
        Ending::Dropped => {
            drop(store);
            directory
        }
        Ending::Crashed => {
            let copy = TempDir::new().unwrap();
            for name in ["pushgrid.sqlite", "pushgrid.sqlite-wal"] {
                fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
            }
            copy
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

/// A store, asked for broadcasts alone.
#[derive(Debug)]
struct BroadcastLife(Present);

#[async_trait]
impl conformance::broadcasts::Life for BroadcastLife {
    async fn reopen(self: Box<Self>) -> conformance::broadcasts::Parts {
        let Present { directory, store, ending } = self.0;
        broadcasts(end(directory, store, ending).await, ending)
    }
}

fn broadcasts(directory: TempDir, ending: Ending) -> conformance::broadcasts::Parts {
    let store = Embedded::open(&EmbeddedConfig::at(directory.path())).unwrap();
    let life = Box::new(BroadcastLife(Present { directory, store: store.clone(), ending }));
    conformance::broadcasts::Parts { broadcasts: Arc::new(store), life }
}

#[tokio::test]
async fn broadcasts_keep_their_contract_over_every_end() {
    for ending in [Ending::Closed, Ending::Dropped, Ending::Crashed] {
        conformance::broadcasts::run(async || broadcasts(TempDir::new().unwrap(), ending)).await;
    }
}
