use pushgrid_store::Change;
use pushgrid_types::Position;

use super::Writer;
use crate::append::Written;
use crate::core::Counters;
use crate::ground::{Asked, Halt};

impl Writer {
    /// Writes changes to the changelog and tells them to the view, however long that takes. Answers the position up to
    /// which the counts are to hold.
    pub(super) async fn make_durable(&mut self, changes: &[Change]) -> Result<Position, Halt> {
        let at = self.core.position();
        let figures = &self.core.figures;
        Counters::add(&figures.changes, changes.len());
        match self.core.ground.append(at, changes, || Counters::add(&figures.repeats, 1)).await? {
            Written::To(_) => self.tell(at, changes).await?,
            Written::Somewhere => self.catch_up().await?,
        }
        Ok(self.core.position())
    }

    /// Tells the view changes that stand one after the other from `at` on.
    async fn tell(&mut self, mut at: Position, mut changes: &[Change]) -> Result<(), Halt> {
        let mut pause = self.core.ground.pause();
        while !changes.is_empty() {
            let (batch, rest) = changes.split_at(self.batch(changes));
            let to = Position(at.0 + u64::try_from(batch.len()).expect("a length fits 64 bits"));
            let answer = self.core.ground.view.apply(self.core.ground.footing(at), batch, to).await;
            match self.core.ground.asked(answer, &mut pause, "tell the view").await? {
                Asked::Answered(()) => {
                    self.core.set_position(to);
                    (at, changes) = (to, rest);
                }
                Asked::Behind => return self.catch_up().await,
                Asked::Again => {}
            }
        }
        Ok(())
    }

    /// How many of the changes fit one call.
    fn batch(&self, changes: &[Change]) -> usize {
        let tuning = &self.core.ground.tuning;
        let mut octets = 0;
        let fitting = changes.iter().take(tuning.batch).take_while(|change| {
            let fits = octets < tuning.batch_octets;
            if let Change::Stored { message, .. } = change {
                octets += message.weight();
            }
            fits
        });
        fitting.count().max(1)
    }
}
