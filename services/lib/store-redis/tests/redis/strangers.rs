//! Entries among the members that are foreign, or that this release cannot read.

use std::time::Duration;

use pushgrid_store::{Member, Membership, Renewed, Role};
use pushgrid_store_redis::RedisMembership;
use pushgrid_types::{ClockOffset, ClockVote, NodeId};

use crate::servers::Server;
use crate::support::{Fresh, eventually};

const MEMBERS: &str = "test-0:{members}";
const CLOCKS: &str = "test-0:{members}:clocks";
const LEASE: Duration = Duration::from_mins(10);
const VOTE: ClockVote = ClockVote { judged: ClockOffset::from_micros(1), wall: ClockOffset::from_micros(2) };

fn node(id: u64) -> Member {
    Member { id: NodeId(id), role: Role::Connection, address: "node:8084".to_owned(), draining: false }
}

/// Server, and the membership on it.
async fn start() -> (Server, RedisMembership) {
    let server = Server::start(&[]);
    let redis = Fresh::at(&format!("redis://127.0.0.1:{}", server.port)).make().await;
    (server, RedisMembership::new(redis))
}

async fn renew(membership: &RedisMembership, id: u64) -> Renewed {
    membership.renew(Some(&node(id)), Some(VOTE), LEASE).await.expect("renew answers")
}

/// End of a lease in `millis` milliseconds, by the clock of the server.
fn till(server: &Server, millis: u64) -> Vec<u8> {
    let (seconds, micros): (u64, u64) = server.say(&["TIME"]);
    (seconds * 1000 + micros / 1000 + millis).to_be_bytes().to_vec()
}

fn put(server: &Server, key: &str, field: &[u8], value: &[u8]) {
    redis::cmd("HSET").arg(key).arg(field).arg(value).exec(&mut server.direct()).expect("it takes it");
}

fn get(server: &Server, key: &str, field: &[u8]) -> Option<Vec<u8>> {
    redis::cmd("HGET").arg(key).arg(field).query(&mut server.direct()).expect("it answers")
}

#[tokio::test]
async fn what_has_no_lease_is_taken_away_at_once() {
    let (server, membership) = start().await;
    renew(&membership, 1).await;
    let live = till(&server, 60_000);
    let entries: [(&[u8], &[u8]); 6] = [
        (b"1", &live),
        (b"a host name", &live),
        (b"12345678", b""),
        (b"12345679", &live[..7]),
        (b"1234567a", b"text is no lease of this age"),
        (b"1234567b", &u64::MAX.to_be_bytes()),
    ];
    for (field, value) in entries {
        put(&server, MEMBERS, field, value);
    }
    let seen = renew(&membership, 2).await;
    assert_eq!(seen.members.len(), 2, "{seen:?}");
    assert_eq!((seen.strange.removed, seen.strange.passed_over), (6, vec![]));
    assert_eq!(server.say::<u64>(&["HLEN", MEMBERS]), 2);
    assert_eq!(renew(&membership, 2).await.strange.removed, 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_passed_over_until_its_lease_is_over() {
    let (server, membership) = start().await;
    renew(&membership, 1).await;
    let short = till(&server, 500);
    let mut known = get(&server, MEMBERS, &1_u64.to_be_bytes()).expect("it has renewed");
    known[8] = 2;
    put(&server, MEMBERS, &2_u64.to_be_bytes(), &known);
    for (id, said) in
        [(3, &b""[..]), (4, b"\x01\x07\0\0\0"), (5, b"\x01\0\0\0\x30text"), (6, b"\0\0\0\0\0\0")]
    {
        put(&server, MEMBERS, &u64::to_be_bytes(id), &[&short[..], said].concat());
    }
    let seen = renew(&membership, 7).await;
    let ids = |seen: &Renewed| seen.strange.passed_over.iter().map(|(id, _)| id.0).collect::<Vec<_>>();
    let (mut members, mut strange) = (seen.members.clone(), ids(&seen));
    members.sort_by_key(|member| member.id);
    strange.sort_unstable();
    assert_eq!((members, strange), (vec![node(1), node(7)], vec![2, 3, 4, 5, 6]));
    let left = eventually(async || {
        let seen = renew(&membership, 7).await;
        (seen.strange.passed_over.len() == 1).then_some(seen)
    })
    .await;
    assert_eq!(ids(&left), [2], "a lease that goes on");
    assert_eq!(server.say::<u64>(&["HLEN", MEMBERS]), 3);
}

#[tokio::test]
async fn what_a_newer_release_appends_and_what_an_older_one_leaves_out_is_no_fault() {
    let (server, membership) = start().await;
    let live = till(&server, 60_000);
    let older = [&live[..], b"\x01\0\0\0\x09node:8084"].concat();
    put(&server, MEMBERS, &1_u64.to_be_bytes(), &older);
    put(&server, MEMBERS, &2_u64.to_be_bytes(), &[&older[..], b" and more"].concat());
    put(&server, CLOCKS, &2_u64.to_be_bytes(), b"\x02\0\0\x17\x70of another form");
    let seen = renew(&membership, 3).await;
    let mut members = seen.members;
    members.sort_by_key(|member| member.id);
    assert_eq!(members, [node(1), node(2), node(3)]);
    assert_eq!((seen.votes, seen.strange), (vec![VOTE], pushgrid_store::Strange::default()));
    assert_eq!(seen.without_vote, 1, "the one that says nothing of clocks");
    // One that joins has no vote yet, and is none of those.
    let joining = membership.renew(Some(&node(4)), None, LEASE).await.unwrap();
    assert_eq!((joining.members.len(), joining.votes, joining.without_vote), (4, vec![VOTE], 1));
    // And the older release reads what this one writes: nothing of clocks is among the members.
    let written = get(&server, MEMBERS, &3_u64.to_be_bytes()).expect("it has renewed");
    assert_eq!(written[8..], older[8..]);
}

#[tokio::test]
async fn something_else_in_the_place_of_the_members_is_replaced() {
    let (server, membership) = start().await;
    for key in [MEMBERS, CLOCKS] {
        for making in [["SET", key, "text"], ["LPUSH", key, "item"], ["SADD", key, "item"]] {
            server.say::<()>(&["DEL", key]);
            server.say::<redis::Value>(&making);
            let seen = renew(&membership, 1).await;
            assert_eq!((seen.members, seen.votes), (vec![node(1)], vec![VOTE]), "{making:?}");
            assert_eq!(membership.renew(None, None, LEASE).await.unwrap().members, [node(1)]);
        }
    }
    server.say::<redis::Value>(&["DEL", MEMBERS]);
    server.say::<redis::Value>(&["SET", MEMBERS, "text"]);
    assert_eq!(
        membership.renew(None, None, LEASE).await.unwrap().members,
        [],
        "who only asks is answered too"
    );
}

#[tokio::test]
async fn a_lease_from_before_the_clock_of_the_server_was_set_back_is_cut_to_its_length() {
    let (server, membership) = start().await;
    membership.renew(Some(&node(1)), Some(VOTE), Duration::from_millis(300)).await.unwrap();
    let two_hours = till(&server, 7_200_000);
    put(&server, MEMBERS, &1_u64.to_be_bytes(), &[&two_hours[..], b"\x01\0\0\0\x09node:8084"].concat());
    assert_eq!(renew(&membership, 2).await.members.len(), 2);
    eventually(async || (renew(&membership, 2).await.members == [node(2)]).then_some(())).await;
    assert_eq!(server.say::<u64>(&["HLEN", CLOCKS]), 2, "its own, and the line");
}
