//! Gathering of batches behind one in flight, and behind one that hangs.

use std::sync::Arc;

use futures_util::future::join_all;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::LinkError;

use super::*;

type Batch = (Vec<u32>, oneshot::Sender<Result<Vec<Failed>, Failure>>);

/// Batches answered by the test.
fn batches(batch: usize) -> (Arc<Batches<u32>>, mpsc::Receiver<Batch>) {
    let meter = Meter::new();
    let limits = Limits {
        batch,
        queue: 100,
        calls: meter.counter(&metrics::CALLS, &[("call", "settle")]),
        batches: meter.counter(&metrics::BATCHES, &[("call", "settle")]),
    };
    let (started, sending) = mpsc::channel(100);
    let send = move |calls| {
        let started = started.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            started.send((calls, answer)).await.unwrap();
            answered.await.unwrap()
        }
    };
    (Arc::new(Batches::new(limits, send)), sending)
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_batch_is_under_way_goes_in_the_next() {
    let (batches, mut sending) = batches(4);
    let add = |call| {
        tokio::spawn({
            let batches = Arc::clone(&batches);
            async move { batches.add(call).await }
        })
    };
    let first = add(0);
    let (calls, answer) = sending.recv().await.unwrap();
    assert_eq!(calls, [0], "the first one goes at once");
    let begun = Instant::now();
    let rest: Vec<_> = (1..4).map(add).collect();
    tokio::task::yield_now().await;
    assert!(sending.try_recv().is_err());
    assert!(answer.send(Ok(Vec::new())).is_ok());
    first.await.unwrap().unwrap();
    let (calls, answer) = sending.recv().await.unwrap();
    assert_eq!(calls, [1, 2, 3]);
    assert!(begun.elapsed() < PATIENCE);
    assert!(answer.send(Ok(vec![fault::failed(1, &LinkError::Unavailable)])).is_ok());
    let answers: Vec<bool> = join_all(rest).await.into_iter().map(|answer| answer.unwrap().is_ok()).collect();
    assert_eq!(answers, [true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_hangs_holds_the_next_up_for_a_moment_only_and_so_many_may_hang() {
    let (batches, mut sending) = batches(4);
    let mut hanging = Vec::new();
    for call in 0..u32::try_from(UNDER_WAY).unwrap() {
        let batches = Arc::clone(&batches);
        tokio::spawn(async move { batches.add(call).await });
        let begun = Instant::now();
        let (calls, answer) = sending.recv().await.unwrap();
        assert_eq!(calls, [call]);
        assert!(begun.elapsed() <= PATIENCE + Duration::from_millis(1));
        hanging.push(answer);
    }
    let last = tokio::spawn(async move { batches.add(99).await });
    tokio::time::sleep(PATIENCE * 10).await;
    assert!(sending.try_recv().is_err(), "too many are under way");
    assert!(hanging.pop().unwrap().send(Err(Failure::Lost)).is_ok());
    let (calls, answer) = sending.recv().await.unwrap();
    assert_eq!(calls, [99]);
    let said = Failure::Said(LinkError::TooManySubscriptions { limit: 5 });
    assert!(answer.send(Err(said)).is_ok());
    let answer = last.await.unwrap().unwrap_err().into_error();
    assert!(matches!(answer, LinkError::TooManySubscriptions { limit: 5 }));
}
