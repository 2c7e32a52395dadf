//! Waiting of a node for the streams of all routers.

use parking_lot::Mutex;
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::Member;

use super::*;
use crate::testing::{node_member, router_member};

const NODE: NodeId = NodeId(5);
const LEASE: Duration = Duration::from_secs(6);

/// Members: this node, and routers of these ids.
fn members(routers: &[u64]) -> Vec<Member> {
    let address = |id: u64| format!("127.0.0.1:{id}").parse().unwrap();
    let routers = routers.iter().map(|id| router_member(*id, address(*id), &[], 1));
    routers.chain([node_member(NODE.0, address(1))]).collect()
}

/// A node that waits, with the reported reason.
struct Waiting {
    membership_view: MembershipView,
    streams: RouterStreams,
    said: Arc<Mutex<String>>,
    over: tokio::task::JoinHandle<Vec<String>>,
    begun: Instant,
}

impl Waiting {
    fn begin() -> Self {
        let (membership_view, streams) = (MembershipView::new(&Meter::new()), RouterStreams::new());
        let said = Arc::new(Mutex::new(String::new()));
        let over = {
            let (membership_view, streams, said) = (membership_view.clone(), streams.clone(), said.clone());
            tokio::spawn(async move {
                streams.of_all(&membership_view, NODE, LEASE, |why| *said.lock() = why).await
            })
        };
        Self { membership_view, streams, said, over, begun: Instant::now() }
    }

    /// Waits until the node has looked at all changes, and checks that it still waits.
    async fn waits(&self, said: &str) {
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        assert!(!self.over.is_finished(), "it waits for {said}");
        assert_eq!(*self.said.lock(), said);
    }

    /// Missing routers at the end of the wait, and its duration.
    async fn over(self) -> (Vec<String>, Duration) {
        let missing = self.over.await.unwrap();
        (missing, self.begun.elapsed())
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_reached_when_it_is_a_member_and_every_router_has_a_stream() {
    let waiting = Waiting::begin();
    waiting.waits("waiting for its place among the members").await;
    waiting.membership_view.publish(members(&[7, 8]));
    waiting.waits("waiting for the streams of 2 routers").await;
    let _first = waiting.streams.begin(7);
    waiting.waits("waiting for the streams of 1 routers").await;
    let again = waiting.streams.begin(7);
    drop(again);
    let broken = waiting.streams.begin(8);
    drop(broken);
    waiting.waits("waiting for the streams of 1 routers").await;
    let _second = waiting.streams.begin(8);
    assert_eq!(waiting.over().await, (vec![], Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn without_routers_there_is_nothing_to_wait_for() {
    let waiting = Waiting::begin();
    waiting.membership_view.publish(members(&[]));
    assert_eq!(waiting.over().await, (vec![], Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_router_that_has_gone_or_leaves_is_not_waited_for() {
    let waiting = Waiting::begin();
    waiting.membership_view.publish(members(&[7, 8]));
    waiting.waits("waiting for the streams of 2 routers").await;
    let mut left = members(&[7]);
    left[0].draining = true;
    waiting.membership_view.publish(left);
    assert_eq!(waiting.over().await, (vec![], Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_router_without_a_stream_holds_it_up_for_a_lease_and_no_longer() {
    let waiting = Waiting::begin();
    tokio::time::sleep(LEASE * 3).await;
    waiting.waits("waiting for its place among the members").await;
    waiting.membership_view.publish(members(&[7, 8]));
    let _one = waiting.streams.begin(8);
    waiting.waits("waiting for the streams of 1 routers").await;
    tokio::time::sleep(LEASE / 2).await;
    waiting.membership_view.publish(members(&[7, 8, 10]));
    assert_eq!(waiting.over().await, (vec!["127.0.0.1:7".to_owned(), "127.0.0.1:10".to_owned()], LEASE * 4));
}

#[tokio::test(start_paused = true)]
async fn a_router_that_does_not_say_who_it_is_counts_as_one() {
    let waiting = Waiting::begin();
    waiting.membership_view.publish(members(&[7, 8]));
    let _old = waiting.streams.begin(0);
    waiting.waits("waiting for the streams of 1 routers").await;
    let _new = waiting.streams.begin(8);
    assert_eq!(waiting.over().await, (vec![], Duration::ZERO));
}
