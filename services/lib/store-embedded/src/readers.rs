//! Pool of connections that read: a bounded number, opened on demand, used off the runtime's own threads. Invariant:
//! a connection on which a read failed is not used again.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use pushgrid_store::{ErrorKind, StoreError};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::damage::Damage;
use crate::failure::Failure;
use crate::schema;

#[derive(Debug)]
pub(crate) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    damage: Arc<Damage>,
}

impl Readers {
    pub(crate) fn new(file: PathBuf, connections: usize, damage: Arc<Damage>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(connections.max(1)));
        Arc::new(Self { file, idle: Mutex::default(), permits, damage })
    }

    /// Runs `read` on a connection of its own. Sees everything committed before the call.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.expect("nobody closes this semaphore");
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let result = readers.with_connection(read);
            drop(permit);
            result
        });
        match reading.await {
            Ok(result) => result.map_err(|failure| failure.to_error()),
            Err(gone) => Err(StoreError::new(ErrorKind::Closed, gone)),
        }
    }

    fn with_connection<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.file)?,
        };
        let result = read(&connection);
        match &result {
            Ok(_) => self.lock().push(connection),
            // A connection on which something failed is not used again.
            Err(failure) => self.damage.note(failure),
        }
        result
    }

    /// Closes the idle connections.
    pub(crate) fn close_idle(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock()
    }
}
