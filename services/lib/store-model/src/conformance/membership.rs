//! Checks of [`pushgrid_store::Membership`]: leases, member lists, clocks.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_types::{ClockOffset, ClockVote, LeaderEpoch, NodeId, Partition};

use pushgrid_store::{Member, Membership, Role};

/// Lease longer than every check.
const LONG: Duration = Duration::from_mins(10);

/// Questions after which a check gives up on the end of a lease.
const PATIENCE: usize = 100_000;

/// Runs every check, each on a membership opened by `make`, without members.
pub async fn run(make: impl AsyncFn() -> Arc<dyn Membership>) {
    a_member_is_seen_as_it_says(make().await.as_ref()).await;
    the_last_word_of_a_member_counts(make().await.as_ref()).await;
    one_who_is_no_member_sees_all(make().await.as_ref()).await;
    who_leaves_is_gone(make().await.as_ref()).await;
    a_lease_runs_out(make().await.as_ref()).await;
    a_renewed_lease_does_not_run_out(make().await.as_ref()).await;
    what_members_say_of_their_clocks_is_heard(make().await.as_ref()).await;
    time_moves_on(make().await.as_ref()).await;
}

fn node(id: u64) -> Member {
    Member { id: NodeId(id), role: Role::Connection, address: format!("node-{id}:8084"), draining: false }
}

fn router(id: u64, owns: &[(u16, u64)]) -> Member {
    let owns = owns
        .iter()
        .map(|(partition, leader_epoch)| (Partition(*partition), LeaderEpoch(*leader_epoch)))
        .collect();
    Member {
        id: NodeId(id),
        role: Role::Router { owns, of: 12 },
        address: "[::1]:8083".to_owned(),
        draining: true,
    }
}

/// Renews, and returns all members in the order of their ids.
async fn renew(membership: &dyn Membership, me: Option<&Member>, lease: Duration) -> Vec<Member> {
    let mut members = membership.renew(me, None, lease).await.expect("renew answers").members;
    members.sort_by_key(|member| member.id);
    members
}

/// A member sees itself and all others, with every field.
pub async fn a_member_is_seen_as_it_says(membership: &dyn Membership) {
    let first = router(1, &[(0, 7), (u16::MAX, (1 << 53) - 1), (3, 0)]);
    assert_eq!(renew(membership, Some(&first), LONG).await, std::slice::from_ref(&first));
    let second = node(u64::MAX);
    assert_eq!(renew(membership, Some(&second), LONG).await, [first.clone(), second.clone()]);
    let third = router(0, &[]);
    assert_eq!(renew(membership, Some(&third), LONG).await, [third.clone(), first.clone(), second.clone()]);
    let many: Vec<_> = (0..1000).map(|partition| (partition, u64::from(partition) + 1)).collect();
    let fourth = router(2, &many);
    assert_eq!(renew(membership, Some(&fourth), LONG).await, [third, first, fourth, second]);
}

/// A renewal replaces the whole entry.
pub async fn the_last_word_of_a_member_counts(membership: &dyn Membership) {
    let mut member = router(1, &[(1, 1)]);
    renew(membership, Some(&member), LONG).await;
    member.role = Role::Router { owns: vec![(Partition(2), LeaderEpoch(9))], of: 12 };
    assert_eq!(renew(membership, Some(&member), LONG).await, [member.clone()]);
    member = Member { draining: true, address: "elsewhere:1".to_owned(), ..node(1) };
    assert_eq!(renew(membership, Some(&member), LONG).await, [member]);
}

/// A process without a lease sees all members, and is seen by none.
pub async fn one_who_is_no_member_sees_all(membership: &dyn Membership) {
    assert_eq!(renew(membership, None, LONG).await, []);
    renew(membership, Some(&node(1)), LONG).await;
    renew(membership, Some(&node(2)), LONG).await;
    assert_eq!(renew(membership, None, LONG).await, [node(1), node(2)]);
}

/// A leaving member is gone at once, and may join again.
pub async fn who_leaves_is_gone(membership: &dyn Membership) {
    renew(membership, Some(&node(1)), LONG).await;
    renew(membership, Some(&node(2)), LONG).await;
    membership.leave(NodeId(1)).await.expect("leave answers");
    assert_eq!(renew(membership, None, LONG).await, [node(2)]);
    membership.leave(NodeId(1)).await.expect("leave answers again");
    membership.leave(NodeId(9)).await.expect("leave answers one who was never there");
    assert_eq!(renew(membership, Some(&node(1)), LONG).await, [node(1), node(2)]);
}

/// A member without renewal is gone, and no other.
pub async fn a_lease_runs_out(membership: &dyn Membership) {
    renew(membership, Some(&node(1)), LONG).await;
    let seen = renew(membership, Some(&node(2)), Duration::from_millis(200)).await;
    assert_eq!(seen, [node(1), node(2)], "it holds when it is given");
    for _ in 0..PATIENCE {
        if renew(membership, None, LONG).await == [node(1)] {
            return;
        }
    }
    panic!("a lease of 200 ms did not run out");
}

/// A lease runs from its last renewal, also when renewed for less time.
pub async fn a_renewed_lease_does_not_run_out(membership: &dyn Membership) {
    let short = Duration::from_millis(50);
    renew(membership, Some(&node(1)), short).await;
    renew(membership, Some(&node(1)), LONG).await;
    renew(membership, Some(&node(2)), LONG).await;
    renew(membership, Some(&node(2)), short).await;
    for _ in 0..PATIENCE {
        if renew(membership, None, LONG).await == [node(1)] {
            return;
        }
    }
    panic!("a lease that was made shorter did not run out");
}

/// Votes on clocks are seen by members and others until the member leaves or stops voting; the last vote
/// counts.
pub async fn what_members_say_of_their_clocks_is_heard(membership: &dyn Membership) {
    let vote = |judged, wall| ClockVote {
        judged: ClockOffset::from_micros(judged),
        wall: ClockOffset::from_micros(wall),
    };
    let renew = async |me: Option<&Member>, vote| {
        let mut renewed = membership.renew(me, vote, LONG).await.expect("renew answers");
        renewed.votes.sort_by_key(|vote| vote.judged);
        (renewed.votes, renewed.line.map(ClockOffset::as_micros))
    };
    let (low, high) = (vote(i64::MIN, 7), vote(-3, i64::MAX));
    assert_eq!(renew(Some(&node(1)), None).await, (vec![], None));
    assert_eq!(renew(Some(&node(1)), Some(high)).await, (vec![high], Some(-3)));
    assert_eq!(renew(Some(&node(2)), Some(low)).await, (vec![low, high], Some(i64::MIN)));
    assert_eq!(renew(None, None).await, (vec![low, high], Some(i64::MIN)));
    membership.leave(NodeId(2)).await.expect("leave answers");
    assert_eq!(renew(None, None).await, (vec![high], Some(i64::MIN)));
    membership.leave(NodeId(1)).await.expect("leave answers");
    assert_eq!(renew(None, None).await, (vec![], Some(i64::MIN)));
}

/// The store reports its time, which is recent and does not go back.
pub async fn time_moves_on(membership: &dyn Membership) {
    let ask = async || membership.renew(None, None, LONG).await.expect("renew answers").time;
    let first = ask().await;
    assert!(first > Duration::from_hours(50 * 365 * 24), "{first:?}");
    for _ in 0..PATIENCE {
        if ask().await > first {
            return;
        }
    }
    panic!("the time of the keeper stands still");
}
