//! Encoding of a member's entry: version of the form, role, draining, address; a router's partitions with their
//! leader epochs. Readers ignore whatever a newer release appends.

use pushgrid_store::{Member, Role, StoreError};
use pushgrid_types::{ClockOffset, ClockVote, LeaderEpoch, NodeId, Partition};

use crate::failure::corrupt;

const VERSION: u8 = 1;
const CONNECTION: u8 = 0;
const ROUTER: u8 = 1;

const CUT: &str = "it is cut short";

pub(crate) fn encode(member: &Member) -> Result<Vec<u8>, StoreError> {
    let too_long = |_| corrupt("a member says more of itself than fits");
    let address = u16::try_from(member.address.len()).map_err(too_long)?.to_be_bytes();
    let role = match &member.role {
        Role::Connection => CONNECTION,
        Role::Router { .. } => ROUTER,
    };
    let mut octets = vec![VERSION, role, u8::from(member.draining)];
    octets.extend_from_slice(&address);
    octets.extend_from_slice(member.address.as_bytes());
    if let Role::Router { owns, of } = &member.role {
        let owned = u16::try_from(owns.len()).map_err(too_long)?;
        octets.extend_from_slice(&of.to_be_bytes());
        octets.extend_from_slice(&owned.to_be_bytes());
        for (partition, leader_epoch) in owns {
            octets.extend_from_slice(&partition.0.to_be_bytes());
            octets.extend_from_slice(&leader_epoch.0.to_be_bytes());
        }
    }
    Ok(octets)
}

/// Decodes an entry of this version; octets appended by a newer release are ignored. The error says why the entry is
/// unreadable.
pub(crate) fn decode(id: NodeId, octets: &[u8]) -> Result<Member, &'static str> {
    let mut rest = octets;
    let [version, role, draining] = take(&mut rest)?;
    if version != VERSION {
        return Err("it is of another version");
    }
    let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
    let (address, mut rest) = rest.split_at_checked(length).ok_or(CUT)?;
    let address = String::from_utf8(address.to_vec()).map_err(|_| "its address is no text")?;
    let role = match role {
        CONNECTION => Role::Connection,
        ROUTER => router(&mut rest)?,
        _ => return Err("it has an unknown role"),
    };
    let draining = match draining {
        0 => false,
        1 => true,
        _ => return Err("it drains neither yes nor no"),
    };
    Ok(Member { id, role, address, draining })
}

fn router(rest: &mut &[u8]) -> Result<Role, &'static str> {
    let of = u16::from_be_bytes(take(rest)?);
    let owned = u16::from_be_bytes(take(rest)?);
    let mut owns = Vec::with_capacity(owned.into());
    for _ in 0..owned {
        let partition = Partition(u16::from_be_bytes(take(rest)?));
        owns.push((partition, LeaderEpoch(u64::from_be_bytes(take(rest)?))));
    }
    Ok(Role::Router { owns, of })
}

/// Clocks of a member that does not know the time of the grid yet. Readers take the version for one without a vote.
pub(crate) const UNDECIDED: [u8; 1] = [0];

/// Encodes version, judging clock, wall clock. The script inserts the length of the lease after the version.
pub(crate) fn encode_clocks(vote: ClockVote) -> Vec<u8> {
    let offsets = [vote.judged, vote.wall].map(|offset| offset.as_micros().to_be_bytes());
    [&[VERSION], offsets.as_flattened()].concat()
}

/// Decodes the clocks of a member. Unreadable ones are `None`: the member has no vote.
pub(crate) fn decode_clocks(octets: &[u8]) -> Option<ClockVote> {
    let mut rest = octets;
    let [version, ..]: [u8; 5] = take(&mut rest).ok()?;
    let mut offset = || Some(ClockOffset::from_micros(i64::from_be_bytes(take(&mut rest).ok()?)));
    (version == VERSION).then_some(ClockVote { judged: offset()?, wall: offset()? })
}

/// Takes the next octets.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], &'static str> {
    let (first, after) = rest.split_first_chunk().ok_or(CUT)?;
    *rest = after;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members() -> impl Strategy<Value = Member> {
        let owns = proptest::collection::vec((any::<u16>(), any::<u64>()), 0..50);
        let router = (owns, any::<u16>()).prop_map(|(owns, of)| Role::Router {
            owns: owns
                .into_iter()
                .map(|(partition, leader_epoch)| (Partition(partition), LeaderEpoch(leader_epoch)))
                .collect(),
            of,
        });
        let role = prop_oneof![Just(Role::Connection), router];
        (any::<u64>(), role, ".{0,40}", any::<bool>()).prop_map(|(id, role, address, draining)| Member {
            id: NodeId(id),
            role,
            address,
            draining,
        })
    }

    /// As the first release writes it: a rolling update has such members.
    #[test]
    fn the_first_form_stays_readable() {
        let octets = b"\x01\x01\x01\0\x09[::1]:808\0\x0c\0\x01\0\x03\0\0\0\0\0\0\0\x09";
        let owns = vec![(Partition(3), LeaderEpoch(9))];
        let address = "[::1]:808".to_owned();
        let member = Member { id: NodeId(1), role: Role::Router { owns, of: 12 }, address, draining: true };
        assert_eq!(decode(NodeId(1), octets).unwrap(), member);
        assert_eq!(encode(&member).unwrap(), octets);
    }

    proptest! {
        #[test]
        fn a_member_comes_back_from_its_octets(member in members()) {
            let octets = encode(&member).unwrap();
            prop_assert_eq!(decode(member.id, &octets).unwrap(), member.clone());
            for cut in 0..octets.len() {
                prop_assert!(decode(member.id, &octets[..cut]).is_err(), "cut at {}", cut);
            }
        }

        #[test]
        fn what_a_newer_release_appends_is_passed_over(member in members(), more: Vec<u8>) {
            let octets = [encode(&member).unwrap(), more].concat();
            prop_assert_eq!(decode(member.id, &octets).unwrap(), member);
        }

        #[test]
        fn clocks_come_back_from_their_octets(judged: i64, wall: i64, lease: [u8; 4], more: Vec<u8>) {
            let [judged, wall] = [judged, wall].map(ClockOffset::from_micros);
            let said = encode_clocks(ClockVote { judged, wall });
            let kept = [&said[..1], &lease, &said[1..], &more].concat();
            prop_assert_eq!(decode_clocks(&kept), Some(ClockVote { judged, wall }));
            for cut in 0..21 {
                prop_assert_eq!(decode_clocks(&kept[..cut]), None);
            }
            prop_assert_eq!(decode_clocks(&[&[VERSION + 1], &kept[1..]].concat()), None);
        }

        #[test]
        fn no_octets_make_it_panic(octets: Vec<u8>) {
            let _ = (decode(NodeId(1), &octets), decode_clocks(&octets));
        }
    }
}
