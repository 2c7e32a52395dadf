//! What a member says of itself, as octets: the version of the form, role, whether it drains, its address; a router's
//! partitions with their tenures.

use pushgrid_store::{Member, Role, StoreError};
use pushgrid_types::{NodeId, Partition, Tenure};

use crate::answer::{end, take};
use crate::failure::corrupt;

const VERSION: u8 = 1;
const CONNECTION: u8 = 0;
const ROUTER: u8 = 1;

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
        for (partition, tenure) in owns {
            octets.extend_from_slice(&partition.0.to_be_bytes());
            octets.extend_from_slice(&tenure.0.to_be_bytes());
        }
    }
    Ok(octets)
}

pub(crate) fn decode(id: NodeId, octets: &[u8]) -> Result<Member, StoreError> {
    let mut rest = octets;
    let [version, role, draining] = take(&mut rest)?;
    if version != VERSION {
        return Err(corrupt("a member speaks another version"));
    }
    let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
    let (address, mut rest) =
        rest.split_at_checked(length).ok_or_else(|| corrupt("a member's address is cut"))?;
    let address =
        String::from_utf8(address.to_vec()).map_err(|_| corrupt("a member's address is no text"))?;
    let role = match role {
        CONNECTION => Role::Connection,
        ROUTER => router(&mut rest)?,
        _ => return Err(corrupt("a member has a role that is none")),
    };
    let draining = match draining {
        0 => false,
        1 => true,
        _ => return Err(corrupt("a member drains neither yes nor no")),
    };
    end(rest, Member { id, role, address, draining })
}

fn router(rest: &mut &[u8]) -> Result<Role, StoreError> {
    let of = u16::from_be_bytes(take(rest)?);
    let owned = u16::from_be_bytes(take(rest)?);
    let mut owns = Vec::with_capacity(owned.into());
    for _ in 0..owned {
        let partition = Partition(u16::from_be_bytes(take(rest)?));
        owns.push((partition, Tenure(u64::from_be_bytes(take(rest)?))));
    }
    Ok(Role::Router { owns, of })
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
                .map(|(partition, tenure)| (Partition(partition), Tenure(tenure)))
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
        fn no_octets_make_it_panic(octets: Vec<u8>) {
            let _ = decode(NodeId(1), &octets);
        }
    }
}
