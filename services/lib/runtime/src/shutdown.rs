use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

#[cfg(test)]
mod tests;

/// How long tasks get to end after they were told to stop at once: they have nothing to wait for any more.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// The end of a process, in two stages, and the tasks that have to end before it. Clones share both.
///
/// *Draining*: take nothing new, finish what has begun. *Stopping*: end now, whatever is left. A stage is never
/// taken back.
///
/// Guarantee: a task that panics, fails, or ends unasked although it is essential is recorded as the
/// [failure](Self::failure) of the process and begins the drain, so that nothing runs on without it.
#[derive(Debug, Clone)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stage: watch::Sender<Stage>,
    tasks: TaskTracker,
    /// How many tasks of each name are running.
    running: Mutex<BTreeMap<&'static str, usize>>,
    failure: Mutex<Option<String>>,
    /// The tasks that a deadline stopped.
    overdue: Mutex<Option<Unfinished>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    Draining,
    Stopping,
}

/// Tasks had not ended at their deadline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not all tasks ended in time: {tasks}")]
pub struct Unfinished {
    /// The names of the tasks, and how many there were of each.
    pub tasks: String,
}

/// How the output of a task says that it failed.
pub trait TaskEnd {
    /// The failure, if it is one.
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
    /// One that has not begun.
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

    /// Begins the first stage, if it has not begun.
    pub fn drain(&self) {
        self.advance(Stage::Draining);
    }

    /// Begins the second stage, and the first with it.
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

    /// Whether the first stage has begun.
    pub fn is_draining(&self) -> bool {
        *self.inner.stage.borrow() >= Stage::Draining
    }

    /// Whether the second stage has begun.
    pub fn is_stopping(&self) -> bool {
        *self.inner.stage.borrow() >= Stage::Stopping
    }

    /// Runs a task that [`Self::finished`] waits for, and that may end when it likes. Panics outside a runtime.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        self.run(name, future, false)
    }

    /// Runs a task that [`Self::finished`] waits for, and that has to run until the process drains: to end before is
    /// a failure. Panics outside a runtime.
    pub fn spawn_essential<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        self.run(name, future, true)
    }

    /// Records that the process failed, and begins the drain. The first failure is kept, all are logged.
    pub fn fail(&self, name: &'static str, why: impl Into<String>) {
        let why = why.into();
        tracing::error!(task = name, why, "failed");
        lock(&self.inner.failure).get_or_insert_with(|| format!("{name}: {why}"));
        self.drain();
    }

    /// The first failure, if there was one: the process then exits with 1.
    pub fn failure(&self) -> Option<String> {
        lock(&self.inner.failure).clone()
    }

    /// Waits for the drain to begin, and then for every task to end. After `deadline`, counted from the beginning of
    /// the drain or from this call, the second stage begins; what does not end within a second then is given up.
    ///
    /// Fails, naming tasks, when they had to be stopped at a deadline, or are given up. Tasks that end after a second
    /// signal are not a failure: that was asked for.
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
        lock(&self.inner.overdue).clone().map_or(Ok(()), Err)
    }

    /// Turns signals into stages: the first SIGTERM or SIGINT begins the drain; the second, or the end of `deadline`
    /// after the drain began for whatever reason, stops. Returns when it has.
    ///
    /// Run it beside the tasks, with `tokio::spawn`: as one of them, [`Self::finished`] would wait for it.
    pub async fn on_signals(self, deadline: Duration) {
        let signals =
            signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
        let (mut term, mut interrupt) = match signals {
            Ok(signals) => signals,
            Err(error) => return self.fail("signals", error.to_string()),
        };
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

    /// Stops, and remembers what was not finished by then.
    fn expire(&self) {
        let unfinished = self.unfinished();
        if !unfinished.tasks.is_empty() {
            lock(&self.inner.overdue).get_or_insert(unfinished);
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
        let running = lock(&self.inner.running);
        let tasks: Vec<String> = running.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        Unfinished { tasks: tasks.join(", ") }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts a task for as long as it lives.
struct Running {
    shutdown: Shutdown,
    name: &'static str,
}

impl Running {
    fn enter(shutdown: &Shutdown, name: &'static str) -> Self {
        *lock(&shutdown.inner.running).entry(name).or_default() += 1;
        Self { shutdown: shutdown.clone(), name }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = lock(&self.shutdown.inner.running);
        match running.get_mut(self.name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(running.remove(self.name)),
        }
    }
}

/// An error and all that caused it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}

/// No code panics while it holds one of these locks, so what a poisoned one guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
