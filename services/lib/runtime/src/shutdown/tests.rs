//! Tested: stages, deadlines, signals, and the failure of tasks.

use std::future::pending;
use std::io;

use futures_util::poll;
use tokio::time::Instant;

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn stages_only_go_forward_and_stopping_is_draining() {
    let shutdown = Shutdown::new();
    let (mut draining, mut stopping) = (Box::pin(shutdown.draining()), Box::pin(shutdown.stopping()));
    assert!(poll!(draining.as_mut()).is_pending() && poll!(stopping.as_mut()).is_pending());

    shutdown.clone().drain();
    assert!(poll!(draining).is_ready() && poll!(stopping.as_mut()).is_pending());
    assert!(shutdown.is_draining() && !shutdown.is_stopping());

    shutdown.stop();
    shutdown.drain();
    assert!(poll!(stopping).is_ready());
    assert!(shutdown.is_draining() && shutdown.is_stopping());
    assert_eq!(shutdown.failure(), None);
}

#[tokio::test(start_paused = true)]
async fn finished_waits_for_the_drain_and_for_every_task() {
    let shutdown = Shutdown::new();
    let task = shutdown.clone();
    shutdown.spawn_essential("worker", async move {
        task.draining().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    });
    let waiting = shutdown.clone();
    let finished = tokio::spawn(async move { waiting.finished(DEADLINE).await });
    tokio::time::advance(Duration::from_mins(10)).await;
    assert!(!finished.is_finished());

    let drained = Instant::now();
    shutdown.drain();
    assert_eq!(finished.await.unwrap(), Ok(()));
    assert_eq!(drained.elapsed().as_secs(), 3);
    assert!(!shutdown.is_stopping());
    assert_eq!(shutdown.failure(), None);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_stops_what_drains_too_slowly_and_names_it() {
    let shutdown = Shutdown::new();
    let task = shutdown.clone();
    shutdown.spawn("slow", async move { task.stopping().await });
    shutdown.drain();
    let unfinished = shutdown.finished(DEADLINE).await.unwrap_err();
    assert_eq!(unfinished.tasks, "slow (1)");
    assert!(shutdown.is_stopping());
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_does_not_wait_for_the_deadline_and_what_ignores_it_is_given_up() {
    let (shutdown, start) = (Shutdown::new(), Instant::now());
    shutdown.spawn("deaf", pending::<()>());
    shutdown.spawn("deaf", pending::<()>());
    shutdown.spawn("quick", async {});
    shutdown.stop();
    let unfinished = shutdown.finished(DEADLINE).await.unwrap_err();
    assert_eq!(unfinished.tasks, "deaf (2)");
    assert_eq!(start.elapsed(), STOP_GRACE);
}

#[tokio::test]
async fn a_task_that_fails_drains_the_process_and_says_why() {
    #[derive(Debug, thiserror::Error)]
    #[error("the log cannot be read")]
    struct Outer(#[source] io::Error);

    let shutdown = Shutdown::new();
    let failing = async { Err(Outer(io::Error::other("the disk is gone"))) };
    shutdown.spawn("consumer", failing).await.unwrap();
    assert!(shutdown.is_draining() && !shutdown.is_stopping());
    assert_eq!(shutdown.failure().unwrap(), "consumer: the log cannot be read: the disk is gone");

    shutdown.spawn("later", async { Err("too late to matter") }).await.unwrap();
    assert!(shutdown.failure().unwrap().starts_with("consumer"));
    assert_eq!(shutdown.finished(DEADLINE).await, Ok(()));
}

#[tokio::test]
async fn a_task_that_panics_drains_the_process() {
    let shutdown = Shutdown::new();
    let number = 7;
    shutdown.spawn("worker", async move { assert_eq!(number, 8, "it does not add up") }).await.unwrap();
    let failure = shutdown.failure().unwrap();
    assert!(
        failure.starts_with("worker: it panicked") && failure.contains("it does not add up"),
        "{failure}"
    );
    assert!(shutdown.is_draining());
}

#[tokio::test]
async fn only_an_essential_task_may_not_end_unasked() {
    let shutdown = Shutdown::new();
    shutdown.spawn("errand", async {}).await.unwrap();
    assert!(!shutdown.is_draining());
    shutdown.spawn_essential("heart", async {}).await.unwrap();
    assert!(shutdown.is_draining());
    assert_eq!(shutdown.failure().unwrap(), "heart: it ended unasked");
}

/// One test, because a signal reaches everyone in the process who listens.
#[tokio::test]
async fn signals_drain_and_stop_and_so_does_the_deadline() {
    let shutdown = Shutdown::new();
    let signals = shutdown.clone().on_signals(DEADLINE);
    let task = shutdown.clone();
    shutdown.spawn("worker", async move { task.stopping().await });

    // Before the first poll: the process must not die of it.
    kill("TERM");
    let signals = tokio::spawn(signals);
    shutdown.draining().await;
    assert!(!shutdown.is_stopping());
    kill("INT");
    shutdown.stopping().await;
    signals.await.unwrap();
    assert_eq!(shutdown.finished(DEADLINE).await, Ok(()));
    assert_eq!(shutdown.failure(), None);

    // From here on without signals: the process drains for a reason of its own.
    tokio::time::pause();
    let (shutdown, start) = (Shutdown::new(), Instant::now());
    let task = shutdown.clone();
    shutdown.spawn("worker", async move { task.stopping().await });
    shutdown.fail("heart", "it broke");
    shutdown.clone().on_signals(DEADLINE).await;
    assert!(shutdown.is_stopping());
    assert_eq!(start.elapsed().as_secs(), DEADLINE.as_secs());
    assert_eq!(shutdown.finished(DEADLINE).await.unwrap_err().tasks, "worker (1)");
}

fn kill(signal: &str) {
    let command = format!("kill -{signal} {}", std::process::id());
    let sent = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(sent.success());
}
