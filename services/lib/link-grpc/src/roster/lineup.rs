use pushgrid_store::{Member, Role};
use pushgrid_types::{NodeId, Partition, Tenure, UserAgentId};

/// All members at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lineup {
    /// By their ids.
    members: Vec<Member>,
    /// For each partition, the place of its owner among the members.
    owners: Vec<Option<usize>>,
}

impl Lineup {
    pub(crate) fn new(mut members: Vec<Member>) -> Self {
        members.sort_unstable_by_key(|member| member.id);
        let owners = owners(&members);
        Self { members, owners }
    }

    /// The members, in the order of their ids.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The connection nodes.
    pub fn connections(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role == Role::Connection)
    }

    /// Whether it is there.
    pub fn has(&self, id: NodeId) -> bool {
        self.members.binary_search_by_key(&id, |member| member.id).is_ok()
    }

    /// The router that owns a partition: of all that say so, the one with the highest tenure.
    pub fn owner(&self, partition: Partition) -> Option<&Member> {
        let place = *self.owners.get(usize::from(partition.0))?;
        place.map(|place| &self.members[place])
    }

    /// The router that owns the partition of a user agent.
    pub fn owner_of(&self, user_agent: UserAgentId) -> Option<&Member> {
        self.owner(Partition::of(user_agent, self.partitions()?))
    }

    /// How many partitions there are, as routers say; `None` when there is no router.
    pub fn partitions(&self) -> Option<u16> {
        u16::try_from(self.owners.len()).ok().filter(|count| *count > 0)
    }
}

/// Routers that differ in how many partitions there are cannot all be right: more is believed, for partitions only
/// ever become more.
fn owners(members: &[Member]) -> Vec<Option<usize>> {
    let counts = members.iter().map(|member| match member.role {
        Role::Router { of, .. } => usize::from(of),
        Role::Connection => 0,
    });
    let mut best: Vec<Option<(Tenure, usize)>> = vec![None; counts.max().unwrap_or(0)];
    for (place, member) in members.iter().enumerate() {
        let Role::Router { owns, .. } = &member.role else { continue };
        for (partition, tenure) in owns {
            if let Some(best) = best.get_mut(usize::from(partition.0)) {
                *best = (*best).max(Some((*tenure, place)));
            }
        }
    }
    best.into_iter().map(|best| best.map(|(_, place)| place)).collect()
}
