//! [`crate::Membership`].

use std::sync::Arc;
use std::time::Duration;

use pushgrid_types::{NodeId, Partition, Tenure};

use crate::{Member, Membership, Role};

/// A lease that outlives every check.
const LONG: Duration = Duration::from_mins(10);

/// How often a check asks whether a lease has run out, before it gives up.
const PATIENCE: usize = 100_000;

/// Runs every check, each on what `make` opens for it: a membership without members.
pub async fn run(make: impl AsyncFn() -> Arc<dyn Membership>) {
    a_member_is_seen_as_it_says(make().await.as_ref()).await;
    the_last_word_of_a_member_counts(make().await.as_ref()).await;
    one_who_is_no_member_sees_all(make().await.as_ref()).await;
    who_leaves_is_gone(make().await.as_ref()).await;
    a_lease_runs_out(make().await.as_ref()).await;
    a_renewed_lease_does_not_run_out(make().await.as_ref()).await;
}

fn node(id: u64) -> Member {
    Member { id: NodeId(id), role: Role::Connection, address: format!("node-{id}:8084"), draining: false }
}

fn router(id: u64, owns: &[(u16, u64)]) -> Member {
    let owns = owns.iter().map(|(partition, tenure)| (Partition(*partition), Tenure(*tenure))).collect();
    Member {
        id: NodeId(id),
        role: Role::Router { owns, of: 12 },
        address: "[::1]:8083".to_owned(),
        draining: true,
    }
}

/// All members, in the order of their names.
async fn renew(membership: &dyn Membership, me: Option<&Member>, lease: Duration) -> Vec<Member> {
    let mut members = membership.renew(me, lease).await.expect("renew answers");
    members.sort_by_key(|member| member.id);
    members
}

/// Whoever renews sees itself and the others, with everything that they say of themselves.
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

/// Every renewal says all of it anew.
pub async fn the_last_word_of_a_member_counts(membership: &dyn Membership) {
    let mut member = router(1, &[(1, 1)]);
    renew(membership, Some(&member), LONG).await;
    member.role = Role::Router { owns: vec![(Partition(2), Tenure(9))], of: 12 };
    assert_eq!(renew(membership, Some(&member), LONG).await, [member.clone()]);
    member = Member { draining: true, address: "elsewhere:1".to_owned(), ..node(1) };
    assert_eq!(renew(membership, Some(&member), LONG).await, [member]);
}

/// And is not seen.
pub async fn one_who_is_no_member_sees_all(membership: &dyn Membership) {
    assert_eq!(renew(membership, None, LONG).await, []);
    renew(membership, Some(&node(1)), LONG).await;
    renew(membership, Some(&node(2)), LONG).await;
    assert_eq!(renew(membership, None, LONG).await, [node(1), node(2)]);
}

/// At once, and may come again.
pub async fn who_leaves_is_gone(membership: &dyn Membership) {
    renew(membership, Some(&node(1)), LONG).await;
    renew(membership, Some(&node(2)), LONG).await;
    membership.leave(NodeId(1)).await.expect("leave answers");
    assert_eq!(renew(membership, None, LONG).await, [node(2)]);
    membership.leave(NodeId(1)).await.expect("leave answers again");
    membership.leave(NodeId(9)).await.expect("leave answers one who was never there");
    assert_eq!(renew(membership, Some(&node(1)), LONG).await, [node(1), node(2)]);
}

/// A member that does not renew is gone, and nobody else.
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

/// A renewal counts from when it is made, also when it makes the lease shorter.
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
