//! Calls at a router: slow entries of a batch, callers that hang up, invalid settlements.

use tokio::sync::oneshot;

use super::*;
use crate::testing::ModelRouter;

#[tokio::test(start_paused = true)]
async fn an_entry_that_hangs_does_not_hold_the_others_up_for_long() {
    let service = Service { router: ModelRouter::new(), calls: Arc::new(Semaphore::new(CALLS)) };
    let entries: Vec<_> = (0..40)
        .map(|index| async move {
            if index == 17 {
                std::future::pending::<()>().await;
            }
            if index == 30 { Err(LinkError::TooManySubscriptions { limit: 3 }) } else { Ok(()) }
        })
        .collect();
    let begun = Instant::now();
    let failed = service.carry_all(entries).await.unwrap();
    assert_eq!(begun.elapsed(), ENTRY_PATIENCE);
    assert_eq!(failed.iter().map(|failed| failed.index).collect::<Vec<_>>(), [30, 17]);
    let late = fault::from_failed(&failed[1]);
    assert!(matches!(late, fault::Failure::Said(LinkError::Unavailable)), "{late:?}");
}

#[tokio::test]
async fn a_call_is_carried_through_when_its_caller_has_gone() {
    let service = Service { router: ModelRouter::new(), calls: Arc::new(Semaphore::new(1)) };
    let ((go, gone), (done, ended)) = (oneshot::channel::<()>(), oneshot::channel());
    let call = service.carry(async move {
        gone.await.unwrap();
        done.send(()).unwrap();
        Ok(())
    });
    assert!(tokio::time::timeout(Duration::ZERO, call).await.is_err());
    let full = service.carry(async { Ok(()) }).await.unwrap_err();
    assert_eq!(full.code(), tonic::Code::Unavailable, "it takes a place until it has ended");
    go.send(()).unwrap();
    ended.await.unwrap();
}

#[test]
fn settlements_that_do_not_fit_together_are_refused() {
    let good = wire::Settled {
        user_agent: vec![1; 16].into(),
        session: Some(wire::Session { node: 1, session: 2 }),
        ids: vec![3; 32].into(),
        outcomes: vec![0, 6].into(),
    };
    assert_eq!(settlements(&good).unwrap().1.len(), 2);
    let unsaid = wire::Settled { session: None, ..good.clone() };
    assert_eq!(settlements(&unsaid).unwrap().1.len(), 2, "nobody reads the session");
    let bad = [
        wire::Settled { ids: vec![3; 31].into(), ..good.clone() },
        wire::Settled { ids: vec![3; 48].into(), ..good.clone() },
        wire::Settled { outcomes: vec![0, 7].into(), ..good.clone() },
        wire::Settled { outcomes: vec![0, 8].into(), ..good.clone() },
        wire::Settled { outcomes: vec![0, 9].into(), ..good.clone() },
        wire::Settled { user_agent: vec![1; 15].into(), ..good },
    ];
    for settled in bad {
        assert_eq!(settlements(&settled).unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}
