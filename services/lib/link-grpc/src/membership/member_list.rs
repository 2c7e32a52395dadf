//! An immutable list of members, with the owner of each partition.
//! Invariant: of several routers that claim a partition, the one with the highest leader epoch is the owner.

use pushgrid_store::{Member, Role};
use pushgrid_types::{LeaderEpoch, NodeId, Partition, UserAgentId};

/// Members of the grid at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MemberList {
    /// Sorted by id.
    members: Vec<Member>,
    /// Index into `members` of the owner of each partition.
    owners: Vec<Option<usize>>,
}

impl MemberList {
    pub(crate) fn new(mut members: Vec<Member>) -> Self {
        members.sort_unstable_by_key(|member| member.id);
        let owners = owners(&members);
        Self { members, owners }
    }

    /// Members in the order of their ids.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Connection nodes.
    pub fn connections(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role == Role::Connection)
    }

    /// Connection node with this id; `None` when missing or of another role.
    pub fn connection(&self, id: NodeId) -> Option<&Member> {
        let place = self.members.binary_search_by_key(&id, |member| member.id).ok()?;
        self.members.get(place).filter(|member| member.role == Role::Connection)
    }

    /// Routers that are not draining.
    pub fn routers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| matches!(member.role, Role::Router { .. }) && !member.draining)
    }

    /// True when a member has this id.
    pub fn has(&self, id: NodeId) -> bool {
        self.members.binary_search_by_key(&id, |member| member.id).is_ok()
    }

    /// Owner of a partition: of all routers that claim the partition, the one with the highest leader epoch.
    pub fn owner(&self, partition: Partition) -> Option<&Member> {
        let place = *self.owners.get(usize::from(partition.0))?;
        place.map(|place| &self.members[place])
    }

    /// Owner of the partition of a user agent.
    pub fn owner_of(&self, user_agent: UserAgentId) -> Option<&Member> {
        self.owner(Partition::of(user_agent, self.partitions()?))
    }

    /// Number of partitions, as announced by routers; `None` without a router.
    pub fn partitions(&self) -> Option<u16> {
        u16::try_from(self.owners.len()).ok().filter(|count| *count > 0)
    }
}

/// Owner of each partition. Of differing numbers of partitions the highest is used, for partitions are only ever added.
fn owners(members: &[Member]) -> Vec<Option<usize>> {
    let counts = members.iter().map(|member| match member.role {
        Role::Router { of, .. } => usize::from(of),
        Role::Connection => 0,
    });
    let mut best: Vec<Option<(LeaderEpoch, usize)>> = vec![None; counts.max().unwrap_or(0)];
    for (place, member) in members.iter().enumerate() {
        let Role::Router { owns, .. } = &member.role else { continue };
        for (partition, leader_epoch) in owns {
            if let Some(best) = best.get_mut(usize::from(partition.0)) {
                *best = (*best).max(Some((*leader_epoch, place)));
            }
        }
    }
    best.into_iter().map(|best| best.map(|(_, place)| place)).collect()
}
