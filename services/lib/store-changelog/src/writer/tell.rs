use pushgrid_store::Change;
use pushgrid_types::Position;

use super::Writer;
use crate::append::Written;
use crate::context::{Halt, ReadResult};
use crate::core::Counters;

impl Writer {
    /// Writes changes to the changelog and tells the view, however long both take. Answers the position up to
    /// which the counts are to hold.
    pub(super) async fn make_durable(&mut self, changes: &[Change]) -> Result<Position, Halt> {
        let at = self.core.position();
        let figures = &self.core.figures;
        Counters::add(&figures.changes, changes.len());
        match self.core.context.append(at, changes, || Counters::add(&figures.repeats, 1)).await? {
            Written::To(_) => {
                self.core.context.unreadable.supersede(changes);
                self.tell(at, changes).await?;
            }
            Written::Somewhere => self.catch_up().await?,
        }
        Ok(self.core.position())
    }

    /// Tells the view consecutive changes from `at` on.
    async fn tell(&mut self, mut at: Position, mut changes: &[Change]) -> Result<(), Halt> {
        let mut pause = self.core.context.pause();
        while !changes.is_empty() {
            let (batch, rest) = changes.split_at(self.core.context.batch(changes));
            let to = Position(at.0 + u64::try_from(batch.len()).expect("a length fits 64 bits"));
            let answer = self.core.context.view.apply(self.core.context.barrier(at), batch, to).await;
            match self.core.context.asked(answer, &mut pause, "tell the view").await? {
                ReadResult::Answered(()) => {
                    self.core.set_position(to);
                    (at, changes) = (to, rest);
                }
                ReadResult::Behind => return self.catch_up().await,
                ReadResult::Again => {}
            }
        }
        Ok(())
    }
}
