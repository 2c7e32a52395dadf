use std::sync::Arc;

use pushgrid_store::{Changelog, ErrorKind, Footing, StoreError, View, ViewError};
use pushgrid_types::{Partition, Position, Tenure};
use tokio::sync::watch;

use crate::pause::Pause;
use crate::{Health, Stop, Tuning};

/// A partition and what it is made of, while it is taken over and after.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) partition: Partition,
    pub(crate) tenure: Tenure,
    pub(crate) changelog: Arc<dyn Changelog>,
    pub(crate) view: Arc<dyn View>,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) tuning: Tuning,
}

/// Why a partition cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// A later tenure has begun.
    Fenced,
    /// What keeps the partition is closing, or has given it to another.
    Closed,
    /// Something cannot be read, and no repetition mends that.
    Corrupt,
}

/// What came of asking the view.
#[derive(Debug)]
pub(crate) enum Asked<T> {
    Answered(T),
    /// It has lost something, and has to be brought up first.
    Behind,
    /// It failed, and a pause is over.
    Again,
}

impl Ground {
    pub(crate) fn pause(&self) -> Pause {
        Pause::new(&self.tuning)
    }

    pub(crate) fn footing(&self, position: Position) -> Footing {
        Footing { partition: self.partition, tenure: self.tenure, position }
    }

    /// What to make of an answer of the view.
    pub(crate) async fn asked<T>(
        &self,
        answer: Result<T, ViewError>,
        pause: &mut Pause,
        what: &'static str,
    ) -> Result<Asked<T>, Halt> {
        match answer {
            Ok(answer) => Ok(Asked::Answered(answer)),
            Err(ViewError::Fenced) => Err(Halt::Fenced),
            Err(ViewError::Behind(_)) => Ok(Asked::Behind),
            Err(ViewError::Store(error)) => {
                self.after(error, pause, what).await?;
                Ok(Asked::Again)
            }
        }
    }

    /// Waits after a failure, if it may pass.
    pub(crate) async fn after(
        &self,
        error: StoreError,
        pause: &mut Pause,
        what: &'static str,
    ) -> Result<(), Halt> {
        match error.kind {
            ErrorKind::Unavailable | ErrorKind::Unknown => {
                pause.after(&error, what).await;
                Ok(())
            }
            ErrorKind::Closed => Err(Halt::Closed),
            ErrorKind::Corrupt => {
                tracing::error!(%error, partition = self.partition.0, "could not {what}");
                Err(Halt::Corrupt)
            }
        }
    }

    /// Begins the tenure in the view, or begins it again, and answers how far the view is.
    pub(crate) async fn begin(&self) -> Result<Position, Halt> {
        let mut pause = self.pause();
        loop {
            let answer = self.view.begin(self.partition, self.tenure).await;
            if let Asked::Answered(at) = self.asked(answer, &mut pause, "begin with the view").await? {
                return Ok(at);
            }
        }
    }
}

impl Halt {
    pub(crate) const fn stop(self) -> Stop {
        match self {
            Self::Fenced => Stop::Fenced,
            Self::Closed => Stop::Lost,
            Self::Corrupt => Stop::Corrupt,
        }
    }

    /// What whoever waits is told.
    pub(crate) fn error(self) -> StoreError {
        match self {
            Self::Fenced => StoreError::new(ErrorKind::Closed, "another router has taken the partition over"),
            Self::Closed => StoreError::plain(ErrorKind::Closed),
            Self::Corrupt => StoreError::new(ErrorKind::Corrupt, "the partition cannot be read"),
        }
    }
}
