use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{Message, Sequence};

use super::Shared;
use pushgrid_store::{End, ErrorKind, EventLog, Flushing, LogConsumer, LogEnd, StoreError};

/// The model of [`EventLog`].
#[derive(Debug, Clone)]
pub struct MemoryLog(Arc<Shared>);

impl MemoryLog {
    pub(super) fn over(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The router's side of the log; see [`super::Memory::consumer`].
    pub fn consumer(&self) -> MemoryConsumer {
        MemoryConsumer::over(Arc::clone(&self.0))
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, message: Message) -> Result<Sequence, StoreError> {
        let sequence = self.0.lock().append(message)?;
        self.0.arrived.notify_waiters();
        Ok(sequence)
    }
}

/// The model of [`LogConsumer`].
#[derive(Debug)]
pub struct MemoryConsumer {
    shared: Arc<Shared>,
    /// The last sequence handed out.
    handed_out: Sequence,
    inherited_to: Sequence,
}

impl MemoryConsumer {
    pub(super) fn over(shared: Arc<Shared>) -> Self {
        let inherited_to = shared.lock().end();
        Self { shared, handed_out: Sequence(0), inherited_to }
    }
}

#[async_trait]
impl LogConsumer for MemoryConsumer {
    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        let limit = limit.max(1);
        loop {
            // Listening begins before looking: an append between the two is not missed.
            let mut arrived = std::pin::pin!(self.shared.arrived.notified());
            arrived.as_mut().enable();
            let (batch, closed) = {
                let state = self.shared.lock();
                (state.after(self.handed_out, limit), state.closed)
            };
            if let Some(last) = batch.last() {
                self.handed_out = last.sequence;
            } else if !closed {
                arrived.await;
                continue;
            }
            return Ok(batch);
        }
    }

    fn read_to(&self) -> Sequence {
        let state = self.shared.lock();
        let next = state.after(self.handed_out, 1);
        next.first().map_or_else(|| state.end(), |message| message.sequence)
    }

    fn inherited_to(&self) -> Sequence {
        self.inherited_to
    }

    fn end(&self) -> LogEnd {
        LogEnd::Known(self.shared.lock().end())
    }

    fn settle(&self, ended: Vec<End>) {
        let mut state = self.shared.lock();
        if state.closed {
            return;
        }
        for end in ended {
            state.settle_logged(end.sequence, end.outcome);
        }
    }

    /// The model forgets nothing, so only a closed one has anything to say.
    fn flush(&self) -> Flushing {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if shared.lock().closed { Err(StoreError::plain(ErrorKind::Closed)) } else { Ok(()) }
        })
    }
}
