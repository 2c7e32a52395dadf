//! Renewal of leases, staleness, leaving, the grid's time, and unreadable entries.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgrid_runtime::Readiness;
use pushgrid_runtime::clock::ManualUptime;
use pushgrid_store::{Renewed, StoreError, Strange};
use pushgrid_types::{Clock as _, ClockOffset, ClockVote, ManualClock, NodeId, Timestamp};
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::testing::{node_member, router_member, unavailable};

const LEASE: Duration = Duration::from_secs(6);

/// Lead of the process's wall clock.
const AHEAD: Duration = Duration::from_millis(700);

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Membership store that answers as configured.
#[derive(Debug, Default)]
struct Leases {
    others: Mutex<Vec<Member>>,
    down: AtomicBool,
    renewals: AtomicUsize,
    said: Mutex<Vec<Option<Member>>>,
    voted: Mutex<Vec<Option<ClockVote>>>,
    votes: Mutex<Vec<ClockVote>>,
    strange: Mutex<Strange>,
    left: Mutex<Vec<NodeId>>,
}

#[async_trait]
impl Membership for Leases {
    async fn renew(
        &self,
        me: Option<&Member>,
        vote: Option<ClockVote>,
        _lease: Duration,
    ) -> Result<Renewed, StoreError> {
        self.voted.lock().push(vote);
        self.renewals.fetch_add(1, Ordering::Relaxed);
        self.said.lock().push(me.cloned());
        if self.down.load(Ordering::Relaxed) {
            return Err(unavailable());
        }
        Ok(Renewed {
            members: self.others.lock().iter().chain(me).cloned().collect(),
            votes: self.votes.lock().iter().copied().chain(vote).collect(),
            without_vote: 0,
            line: None,
            time: Duration::from_millis(NOW.as_millis()),
            strange: self.strange.lock().clone(),
        })
    }

    async fn leave(&self, id: NodeId) -> Result<(), StoreError> {
        self.left.lock().push(id);
        Ok(())
    }
}

struct Kept {
    leases: Arc<Leases>,
    membership_view: MembershipView,
    meter: Meter,
    time: GridTime,
    shutdown: Shutdown,
    changes: Receiver<Arc<MemberList>>,
    keeping: JoinHandle<()>,
}

impl Kept {
    fn new(others: Vec<Member>, me: impl Fn() -> Option<Member> + Send + Sync + 'static) -> Self {
        let leases = Arc::new(Leases { others: Mutex::new(others), ..Leases::default() });
        let (meter, shutdown) = (Meter::new(), Shutdown::new());
        let membership_view = MembershipView::new(&meter);
        let (uptime, wall) = (Arc::new(ManualUptime::default()), ManualClock::at(NOW.plus(AHEAD)));
        let latch = Readiness::new().latch("clock");
        let time = GridTime::on(uptime, Arc::new(wall), LEASE, MembershipView::round(LEASE), latch, &meter);
        let changes = membership_view.changes();
        let keeping = {
            let (membership_view, membership, shutdown) =
                (membership_view.clone(), leases.clone(), shutdown.clone());
            let time = time.clone();
            tokio::spawn(async move { membership_view.keep(membership, me, LEASE, time, shutdown).await })
        };
        Self { leases, membership_view, meter, time, shutdown, changes, keeping }
    }

    async fn changed(&mut self) -> Arc<MemberList> {
        timeout(LEASE * 2, self.changes.changed()).await.expect("nothing changes").unwrap();
        self.changes.borrow_and_update().clone()
    }

    fn ids(&self) -> Vec<u64> {
        self.membership_view.member_list().members().iter().map(|member| member.id.0).collect()
    }
}

fn address() -> std::net::SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

fn node(id: u64) -> Member {
    node_member(id, address())
}

#[tokio::test(start_paused = true)]
async fn of_two_routers_that_name_a_partition_the_higher_leader_epoch_has_it() {
    let routers = vec![
        router_member(1, address(), &[(0, 5), (1, 9)], 3),
        node(2),
        router_member(3, address(), &[(0, 7), (1, 8)], 3),
    ];
    let mut kept = Kept::new(routers, || None);
    assert_eq!(kept.membership_view.partitions(), None);
    kept.changed().await;
    let owners = [0, 1, 2, 3]
        .map(|partition| kept.membership_view.owner(Partition(partition)).map(|owner| owner.id.0));
    assert_eq!(owners, [Some(3), Some(1), None, None]);
    assert_eq!(kept.membership_view.partitions(), Some(3));
    assert_eq!(
        kept.membership_view.member_list().connections().map(|node| node.id.0).collect::<Vec<_>>(),
        [2]
    );
    let metrics = kept.meter.render();
    assert!(metrics.contains("pushgrid_members{role=\"router\"} 2"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_six_times_in_its_length_and_at_once_when_touched() {
    let mut kept = Kept::new(vec![], || Some(node(7)));
    kept.changed().await;
    let begun = Instant::now();
    // The second renewal follows the first at once, to announce the clocks.
    while kept.leases.renewals.load(Ordering::Relaxed) < 8 {
        advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    let took = begun.elapsed();
    assert!(took.abs_diff(LEASE) < Duration::from_millis(200), "{took:?}");
    kept.leases.others.lock().push(node(8));
    kept.membership_view.touch();
    let before = Instant::now();
    kept.changed().await;
    assert!(before.elapsed() < LEASE / 12, "{:?}", before.elapsed());
    assert_eq!(kept.ids(), [7, 8]);
}

#[tokio::test(start_paused = true)]
async fn members_stay_while_they_cannot_be_asked_for() {
    let mut kept = Kept::new(vec![node(1)], || Some(node(7)));
    kept.changed().await;
    kept.leases.down.store(true, Ordering::Relaxed);
    assert!(timeout(LEASE * 10, kept.changes.changed()).await.is_err(), "something changed");
    assert_eq!(kept.ids(), [1, 7]);
    assert!(kept.meter.render().contains("pushgrid_members_stale 1"));
    kept.leases.down.store(false, Ordering::Relaxed);
    kept.leases.others.lock().push(node(2));
    kept.changed().await;
    assert_eq!(kept.ids(), [1, 2, 7]);
    assert!(kept.meter.render().contains("pushgrid_members_stale 0"));
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_has_lost_everything_makes_nobody_disappear_who_comes_back() {
    let mut kept = Kept::new(vec![node(1), node(2)], || Some(node(7)));
    kept.changed().await;
    kept.leases.others.lock().clear();
    assert!(timeout(LEASE / 4, kept.changes.changed()).await.is_err(), "somebody disappeared at once");
    kept.leases.others.lock().push(node(1));
    kept.changed().await;
    assert_eq!(kept.ids(), [1, 7], "who does not come back is gone");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_said_goodbye_is_gone_at_once() {
    let mut kept = Kept::new(vec![Member { draining: true, ..node(1) }], || Some(node(7)));
    kept.changed().await;
    kept.leases.others.lock().clear();
    let before = Instant::now();
    kept.changed().await;
    assert!(before.elapsed() <= LEASE / 6 + Duration::from_millis(1));
    assert_eq!(kept.ids(), [7]);
}

#[tokio::test(start_paused = true)]
async fn while_it_drains_a_member_says_so_and_it_leaves_when_told() {
    let draining = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&draining);
    let mut kept =
        Kept::new(vec![], move || Some(Member { draining: says.load(Ordering::Relaxed), ..node(7) }));
    kept.changed().await;
    draining.store(true, Ordering::Relaxed);
    kept.shutdown.drain();
    let before = Instant::now();
    assert!(kept.changed().await.members()[0].draining);
    assert!(before.elapsed() < LEASE / 12);
    assert!(kept.leases.left.lock().is_empty());
    kept.membership_view.leave();
    timeout(LEASE, &mut kept.keeping).await.unwrap().unwrap();
    assert_eq!(*kept.leases.left.lock(), [NodeId(7)]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_stopped_leaves_and_one_without_a_lease_has_nothing_to_leave() {
    let mut kept = Kept::new(vec![], || Some(node(7)));
    kept.changed().await;
    kept.shutdown.stop();
    timeout(LEASE, &mut kept.keeping).await.unwrap().unwrap();
    assert_eq!(*kept.leases.left.lock(), [NodeId(7)]);

    let mut asking = Kept::new(vec![node(1)], || None);
    asking.changed().await;
    asking.shutdown.stop();
    timeout(LEASE, &mut asking.keeping).await.unwrap().unwrap();
    assert!(asking.leases.left.lock().is_empty());
    assert!(asking.leases.said.lock().iter().all(Option::is_none));
}

#[tokio::test(start_paused = true)]
async fn a_process_takes_the_time_of_the_grid_and_says_where_its_clocks_are() {
    let mut kept = Kept::new(vec![node(1)], || Some(node(7)));
    let other = ClockVote { judged: ClockOffset::from_micros(500_000), wall: ClockOffset::ZERO };
    kept.leases.votes.lock().push(other);
    kept.changed().await;
    assert_eq!(kept.time.clock().now(), NOW.plus(Duration::from_millis(500)));
    while kept.leases.voted.lock().len() < 2 {
        advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    let voted = kept.leases.voted.lock().clone();
    assert_eq!(voted[0], None, "it knows nothing yet");
    let own = voted[1].expect("it knows now");
    assert_eq!((own.judged, own.wall), (other.judged, ClockOffset::from_micros(700_000)));
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_read_is_counted_once() {
    let mut kept = Kept::new(vec![node(1)], || Some(node(7)));
    let passed_over = vec![(NodeId(8), "it is cut short"), (NodeId(9), "it is of another version")];
    *kept.leases.strange.lock() = Strange { removed: 0, passed_over };
    kept.changed().await;
    while kept.leases.renewals.load(Ordering::Relaxed) < 5 {
        advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(kept.ids(), [1, 7]);
    let metrics = kept.meter.render();
    assert!(metrics.contains("pushgrid_members_passed_over_total 2"), "{metrics}");
}
