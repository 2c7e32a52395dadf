use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::shared::Shared;

/// Ends the committer with the last handle.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) committer: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    /// Refuses further changes, and returns once queued ones are written and the directory is released.
    pub(crate) fn end(&self) {
        self.shared.queue.close();
        let mut committer = self.committer.lock();
        if let Some(thread) = committer.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes has panicked");
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end();
    }
}
