use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use pushgrid_store::StoreError;
use pushgrid_types::NodeId;
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::testing::{node_member, router_member, unavailable};

const LEASE: Duration = Duration::from_secs(6);

/// A keeper of leases: what it is told to answer.
#[derive(Debug, Default)]
struct Leases {
    others: Mutex<Vec<Member>>,
    down: AtomicBool,
    renewals: AtomicUsize,
    said: Mutex<Vec<Option<Member>>>,
    left: Mutex<Vec<NodeId>>,
}

#[async_trait]
impl Membership for Leases {
    async fn renew(&self, me: Option<&Member>, _lease: Duration) -> Result<Vec<Member>, StoreError> {
        self.renewals.fetch_add(1, Ordering::Relaxed);
        self.said.lock().unwrap().push(me.cloned());
        if self.down.load(Ordering::Relaxed) {
            return Err(unavailable());
        }
        Ok(self.others.lock().unwrap().iter().chain(me).cloned().collect())
    }

    async fn leave(&self, id: NodeId) -> Result<(), StoreError> {
        self.left.lock().unwrap().push(id);
        Ok(())
    }
}

struct Kept {
    leases: Arc<Leases>,
    roster: Roster,
    meter: Meter,
    shutdown: Shutdown,
    changes: Receiver<Arc<Lineup>>,
    keeping: JoinHandle<()>,
}

impl Kept {
    fn new(others: Vec<Member>, me: impl Fn() -> Option<Member> + Send + Sync + 'static) -> Self {
        let leases = Arc::new(Leases { others: Mutex::new(others), ..Leases::default() });
        let (meter, shutdown) = (Meter::new(), Shutdown::new());
        let roster = Roster::new(&meter);
        let changes = roster.changes();
        let keeping = {
            let (roster, membership, shutdown) = (roster.clone(), leases.clone(), shutdown.clone());
            tokio::spawn(async move { roster.keep(membership, me, LEASE, shutdown).await })
        };
        Self { leases, roster, meter, shutdown, changes, keeping }
    }

    async fn changed(&mut self) -> Arc<Lineup> {
        timeout(LEASE * 2, self.changes.changed()).await.expect("nothing changes").unwrap();
        self.changes.borrow_and_update().clone()
    }

    fn ids(&self) -> Vec<u64> {
        self.roster.lineup().members().iter().map(|member| member.id.0).collect()
    }
}

fn address() -> std::net::SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

fn node(id: u64) -> Member {
    node_member(id, address())
}

#[tokio::test(start_paused = true)]
async fn of_two_routers_that_name_a_partition_the_higher_tenure_has_it() {
    let routers = vec![
        router_member(1, address(), &[(0, 5), (1, 9)], 3),
        node(2),
        router_member(3, address(), &[(0, 7), (1, 8)], 3),
    ];
    let mut kept = Kept::new(routers, || None);
    assert_eq!(kept.roster.partitions(), None);
    kept.changed().await;
    let owners =
        [0, 1, 2, 3].map(|partition| kept.roster.owner(Partition(partition)).map(|owner| owner.id.0));
    assert_eq!(owners, [Some(3), Some(1), None, None]);
    assert_eq!(kept.roster.partitions(), Some(3));
    assert_eq!(kept.roster.lineup().connections().map(|node| node.id.0).collect::<Vec<_>>(), [2]);
    let metrics = kept.meter.render();
    assert!(metrics.contains("pushgrid_members{role=\"router\"} 2"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_six_times_in_its_length_and_at_once_when_touched() {
    let mut kept = Kept::new(vec![], || Some(node(7)));
    kept.changed().await;
    let begun = Instant::now();
    while kept.leases.renewals.load(Ordering::Relaxed) < 7 {
        advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    let took = begun.elapsed();
    assert!(took.abs_diff(LEASE) < Duration::from_millis(200), "{took:?}");
    kept.leases.others.lock().unwrap().push(node(8));
    kept.roster.touch();
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
    kept.leases.others.lock().unwrap().push(node(2));
    kept.changed().await;
    assert_eq!(kept.ids(), [1, 2, 7]);
    assert!(kept.meter.render().contains("pushgrid_members_stale 0"));
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_has_lost_everything_makes_nobody_disappear_who_comes_back() {
    let mut kept = Kept::new(vec![node(1), node(2)], || Some(node(7)));
    kept.changed().await;
    kept.leases.others.lock().unwrap().clear();
    assert!(timeout(LEASE / 4, kept.changes.changed()).await.is_err(), "somebody disappeared at once");
    kept.leases.others.lock().unwrap().push(node(1));
    kept.changed().await;
    assert_eq!(kept.ids(), [1, 7], "who does not come back is gone");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_said_goodbye_is_gone_at_once() {
    let mut kept = Kept::new(vec![Member { draining: true, ..node(1) }], || Some(node(7)));
    kept.changed().await;
    kept.leases.others.lock().unwrap().clear();
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
    assert!(kept.leases.left.lock().unwrap().is_empty());
    kept.roster.leave();
    timeout(LEASE, &mut kept.keeping).await.unwrap().unwrap();
    assert_eq!(*kept.leases.left.lock().unwrap(), [NodeId(7)]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_stopped_leaves_and_one_without_a_lease_has_nothing_to_leave() {
    let mut kept = Kept::new(vec![], || Some(node(7)));
    kept.changed().await;
    kept.shutdown.stop();
    timeout(LEASE, &mut kept.keeping).await.unwrap().unwrap();
    assert_eq!(*kept.leases.left.lock().unwrap(), [NodeId(7)]);

    let mut asking = Kept::new(vec![node(1)], || None);
    asking.changed().await;
    asking.shutdown.stop();
    timeout(LEASE, &mut asking.keeping).await.unwrap().unwrap();
    assert!(asking.leases.left.lock().unwrap().is_empty());
    assert!(asking.leases.said.lock().unwrap().iter().all(Option::is_none));
}
