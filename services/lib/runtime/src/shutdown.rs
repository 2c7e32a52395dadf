//! The end of a process: two stages, the tasks that must end before it, and the signals for the end.
//!
//! Invariant: stages only go forward, and no failure or unasked end of a task goes unnoticed. The order in which
//! parts close is the wiring's.

use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

#[cfg(test)]
mod tests;

/// Time for tasks to end after the stop, with nothing left to wait for.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// The end of a process, in two stages, and the tasks to be awaited. Clones share both.
///
/// *Draining*: take nothing new, finish work that has begun. *Stopping*: end now, with work unfinished. A stage is
/// never taken back.
///
/// Guarantee: a task that panics, fails, or ends unasked although essential is recorded as the
/// [failure](Self::failure) of the process and begins the drain, so that no process runs on without the task.
#[derive(Debug, Clone)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stage: watch::Sender<Stage>,
    tasks: TaskTracker,
    /// Number of running tasks of each name.
    running: Mutex<BTreeMap<&'static str, usize>>,
    failure: Mutex<Option<String>>,
    /// Tasks stopped by a deadline.
    overdue: Mutex<Option<Unfinished>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    Draining,
    Stopping,
}

/// Tasks still running at their deadline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not all tasks ended in time: {tasks}")]
pub struct Unfinished {
    /// Names of the tasks, with the number of each.
    pub tasks: String,
}

/// Output of a task, read for failure.
pub trait TaskEnd {
    /// The failure; `None` for a good end.
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>>;
}

impl TaskEnd for () {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        None
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> TaskEnd for Result<(), E> {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.err().map(Into::into)
    }
}

impl Shutdown {
    /// A shutdown at neither stage.
    pub fn new() -> Self {
        let inner = Inner {
            stage: watch::Sender::new(Stage::Running),
            tasks: TaskTracker::new(),
            running: Mutex::default(),
            failure: Mutex::default(),
            overdue: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Begins the first stage; no effect after the first call.
    pub fn drain(&self) {
        self.advance(Stage::Draining);
    }

    /// Begins the second stage, and with it the first.
    pub fn stop(&self) {
        self.advance(Stage::Stopping);
    }

    /// Returns when the first stage has begun.
    pub async fn draining(&self) {
        self.reached(Stage::Draining).await;
    }

    /// Returns when the second stage has begun.
    pub async fn stopping(&self) {
        self.reached(Stage::Stopping).await;
    }

    /// True once the first stage has begun.
    pub fn is_draining(&self) -> bool {
        *self.inner.stage.borrow() >= Stage::Draining
    }

    /// True once the second stage has begun.
    pub fn is_stopping(&self) -> bool {
        *self.inner.stage.borrow() >= Stage::Stopping
    }

    /// Runs a task that [`Self::finished`] waits for, and that may end at any time. Panics outside a runtime.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        self.run(name, future, false)
    }

    /// Runs a task that [`Self::finished`] waits for, and that must run until the process drains: an earlier end is a
    /// failure. Panics outside a runtime.
    pub fn spawn_essential<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        self.run(name, future, true)
    }

    /// Records a failure of the process, and begins the drain. The first failure is kept, all are logged.
    pub fn fail(&self, name: &'static str, why: impl Into<String>) {
        let why = why.into();
        tracing::error!(task = name, why, "failed");
        self.inner.failure.lock().get_or_insert_with(|| format!("{name}: {why}"));
        self.drain();
    }

    /// The first failure, with which the process exits with 1; `None` without one.
    pub fn failure(&self) -> Option<String> {
        self.inner.failure.lock().clone()
    }

    /// Waits for the drain to begin, and then for every task to end. After `deadline`, counted from the beginning of
    /// the drain or from this call, whichever is later, the second stage begins; tasks that do not end within a
    /// second then are given up.
    ///
    /// Fails, naming the tasks, when any had to be stopped at a deadline, or is given up. Tasks stopped by a second
    /// signal are no failure, for the operator asked.
    pub async fn finished(&self, deadline: Duration) -> Result<(), Unfinished> {
        self.draining().await;
        self.inner.tasks.close();
        tokio::select! {
            biased;
            () = self.inner.tasks.wait() => {}
            () = tokio::time::sleep(deadline) => self.expire(),
            () = self.stopping() => {}
        }
        if tokio::time::timeout(STOP_GRACE, self.inner.tasks.wait()).await.is_err() {
            return Err(self.unfinished());
        }
        self.inner.overdue.lock().clone().map_or(Ok(()), Err)
    }

    /// Turns signals into stages: the first SIGTERM or SIGINT begins the drain; the second, or the end of `deadline`
    /// after the begin of the drain for any reason, stops. The future ends at the stop.
    ///
    /// Guarantee: no signal after this call kills the process, however late the future is first polled. (The system
    /// kills a process without a handler.) Panics outside a runtime.
    ///
    /// To be run beside the tasks, with `tokio::spawn`: [`Self::finished`] must not wait for this future.
    pub fn on_signals(self, deadline: Duration) -> impl Future<Output = ()> + Send + 'static {
        let signals =
            signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
        async move {
            match signals {
                Ok((term, interrupt)) => self.heed(term, interrupt, deadline).await,
                Err(error) => self.fail("signals", error.to_string()),
            }
        }
    }

    async fn heed(self, mut term: Signal, mut interrupt: Signal, deadline: Duration) {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
            () = self.draining() => {}
        }
        tracing::info!("draining; a second signal stops at once");
        self.drain();
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
            () = tokio::time::sleep(deadline) => self.expire(),
            () = self.stopping() => {}
        }
        self.stop();
    }

    /// Stops, and records the tasks still running.
    fn expire(&self) {
        let unfinished = self.unfinished();
        if !unfinished.tasks.is_empty() {
            self.inner.overdue.lock().get_or_insert(unfinished);
        }
        self.stop();
    }

    fn advance(&self, to: Stage) {
        self.inner.stage.send_if_modified(|stage| {
            let later = *stage < to;
            *stage = to.max(*stage);
            later
        });
    }

    async fn reached(&self, wanted: Stage) {
        let mut stage = self.inner.stage.subscribe();
        let reached = stage.wait_for(|stage| *stage >= wanted).await;
        reached.expect("the sender lives as long as this reference to it");
    }

    fn run<F>(&self, name: &'static str, future: F, essential: bool) -> JoinHandle<()>
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        let shutdown = self.clone();
        // Counted before the spawn: a task that was never polled is unfinished as well.
        let running = Running::enter(self, name);
        self.inner.tasks.spawn(async move {
            let _running = running;
            match AssertUnwindSafe(future).catch_unwind().await {
                Ok(output) => match output.failure() {
                    Some(error) => shutdown.fail(name, chain(&*error)),
                    None if essential && !shutdown.is_draining() => shutdown.fail(name, "it ended unasked"),
                    None => {}
                },
                Err(panic) => shutdown.fail(name, format!("it panicked: {}", words(&*panic))),
            }
        })
    }

    fn unfinished(&self) -> Unfinished {
        let running = self.inner.running.lock();
        let tasks: Vec<String> = running.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        Unfinished { tasks: tasks.join(", ") }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts a task as running until dropped.
struct Running {
    shutdown: Shutdown,
    name: &'static str,
}

impl Running {
    fn enter(shutdown: &Shutdown, name: &'static str) -> Self {
        *shutdown.inner.running.lock().entry(name).or_default() += 1;
        Self { shutdown: shutdown.clone(), name }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.shutdown.inner.running.lock();
        match running.get_mut(self.name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(running.remove(self.name)),
        }
    }
}

/// Text of an error with all causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// The message of a panic.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}
