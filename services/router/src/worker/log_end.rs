//! The question for the end of the log, asked for all who wait at once.

use pushgrid_store::LogEnd;

use super::PartitionWorker;
use super::carry_out::{BACKOFF, Done};
use crate::partition::{EndAsker, Turn};

impl PartitionWorker {
    /// Keeps sessions waiting for the end of the log. A cancellation is answered by what is known.
    pub(super) fn ask_again(&mut self, askers: Vec<EndAsker>) {
        for asker in askers {
            match asker {
                EndAsker::Session(..) => self.askers.push(asker),
                EndAsker::Cancel(message, reply) => self.partition.cancel(message, reply),
            }
        }
    }

    /// Asks for the end of the log, once at a time: an answer to an earlier question is none to those who have come
    /// since. True when it was known, and the partition may have decided on more.
    pub(super) fn ask_log_end(&mut self, draining: bool) -> bool {
        if draining {
            self.askers.retain(|asker| matches!(asker, EndAsker::Cancel(..)));
        }
        if self.asking || self.askers.is_empty() {
            return false;
        }
        let askers = std::mem::take(&mut self.askers);
        match self.consumer.end() {
            LogEnd::Known(end) => {
                let turn = Turn { now: self.shared.now(), nodes: &*self.nodes, log_end: Some(end) };
                self.partition.log_ends_at(turn, end, askers);
                true
            }
            LogEnd::Ask(end) => {
                self.asking = true;
                self.calls.push(Box::pin(async move {
                    let end = end.await;
                    if let Err(error) = &end {
                        let mut backoff = BACKOFF;
                        backoff.wait_after(error, "ask for the end of the log").await;
                    }
                    Done::LogEnd { end: end.ok(), askers }
                }));
                false
            }
        }
    }
}
