//! Checks of [`pushgrid_store::Presence`]: epochs, claims, releases.

use pushgrid_types::{Epoch, NodeId, SessionId, SessionRef};

use super::support::user_agent;
use pushgrid_store::{Claim, Presence};

/// Runs every check, each on a presence opened by `make`.
pub async fn run<P: Presence>(make: impl AsyncFn() -> P) {
    the_latest_claim_holds(&make().await).await;
    epochs_rise_over_claims_and_releases(&make().await).await;
    locate_answers_for_each_in_order(&make().await).await;
    a_release_ends_its_own_claim_only(&make().await).await;
    a_lost_claim_holds_again_when_it_is_resumed(&make().await, &make().await).await;
    a_resumed_claim_gives_way_to_a_later_one(&make().await).await;
    claims_are_resumed_in_order(&make().await).await;
}

fn session(label: u64) -> SessionRef {
    SessionRef { node: NodeId(label % 2), session: SessionId(label) }
}

async fn claim(presence: &dyn Presence, of: u8, label: u64) -> (Claim, Option<Claim>) {
    presence.claim(user_agent(of), session(label)).await.expect("claim answers")
}

async fn locate(presence: &dyn Presence, of: u8) -> Option<Claim> {
    let found = presence.locate(&[user_agent(of)]).await.expect("locate answers");
    assert_eq!(found.len(), 1, "locate answers once for each user agent");
    found[0]
}

/// A claim always succeeds, is located from then on, and returns the one superseded.
pub async fn the_latest_claim_holds(presence: &dyn Presence) {
    assert_eq!(locate(presence, 1).await, None, "nobody holds an unknown user agent");
    let (first, before) = claim(presence, 1, 10).await;
    assert_eq!(before, None, "the first claim puts nobody out");
    assert_eq!(first.session, session(10));
    assert_eq!(locate(presence, 1).await, Some(first));
    let (second, before) = claim(presence, 1, 11).await;
    assert_eq!(before, Some(first), "the second puts the first out");
    assert_eq!(second.session, session(11));
    assert_eq!(locate(presence, 1).await, Some(second));
    assert_eq!(locate(presence, 2).await, None, "another user agent is not concerned");
}

/// An epoch is higher than every earlier one of the same user agent, also after a release.
pub async fn epochs_rise_over_claims_and_releases(presence: &dyn Presence) {
    let (mut last, _) = claim(presence, 1, 0).await;
    for label in 1..50 {
        if label % 3 == 0 {
            presence.release(user_agent(1), last.epoch).await.expect("release answers");
        }
        let (next, _) = claim(presence, 1, label).await;
        assert!(next.epoch > last.epoch, "{:?} was given after {:?}", next.epoch, last.epoch);
        last = next;
    }
}

/// Answers are in the order of the user agents.
pub async fn locate_answers_for_each_in_order(presence: &dyn Presence) {
    let (one, _) = claim(presence, 1, 1).await;
    let (three, _) = claim(presence, 3, 3).await;
    let asked = [3, 2, 1, 3].map(user_agent);
    let found = presence.locate(&asked).await.expect("locate answers");
    assert_eq!(found, [Some(three), None, Some(one), Some(three)]);
    assert_eq!(presence.locate(&[]).await.expect("locate answers"), []);
}

/// Releasing a superseded claim does not end the later one.
pub async fn a_release_ends_its_own_claim_only(presence: &dyn Presence) {
    let (first, _) = claim(presence, 1, 1).await;
    let (other, _) = claim(presence, 2, 2).await;
    let (second, _) = claim(presence, 1, 3).await;
    presence.release(user_agent(1), first.epoch).await.expect("release answers");
    assert_eq!(locate(presence, 1).await, Some(second), "the later claim stays");
    presence.release(user_agent(1), second.epoch).await.expect("release answers");
    assert_eq!(locate(presence, 1).await, None, "its own release ends it");
    presence.release(user_agent(1), second.epoch).await.expect("a second release is nothing");
    assert_eq!(locate(presence, 2).await, Some(other), "another user agent stays");
    let (third, before) = claim(presence, 1, 4).await;
    assert_eq!(before, None, "what was released is not put out");
    assert_eq!(locate(presence, 1).await, Some(third));
}

/// A store without its data is told the claims again, and epochs go on from there.
pub async fn a_lost_claim_holds_again_when_it_is_resumed(lost: &dyn Presence, presence: &dyn Presence) {
    claim(lost, 1, 9).await;
    let (held, _) = claim(lost, 1, 10).await;
    let resumed = presence.resume(&[(user_agent(1), held)]).await.expect("resume answers");
    assert_eq!(resumed, [held], "nobody has claimed it since");
    assert_eq!(locate(presence, 1).await, Some(held));
    let (next, before) = claim(presence, 1, 11).await;
    assert_eq!(before, Some(held), "a later claim puts it out");
    assert!(next.epoch > held.epoch, "{:?} was given after {:?}", next.epoch, held.epoch);
    presence.release(user_agent(1), held.epoch).await.expect("release answers");
    assert_eq!(locate(presence, 1).await, Some(next), "it has been put out for good");
}

/// A claim after a resumed one holds; resuming the holding claim changes nothing.
pub async fn a_resumed_claim_gives_way_to_a_later_one(presence: &dyn Presence) {
    let (first, _) = claim(presence, 1, 1).await;
    let (second, _) = claim(presence, 1, 2).await;
    for resumed in [first, second, first] {
        let holds = presence.resume(&[(user_agent(1), resumed)]).await.expect("resume answers");
        assert_eq!(holds, [second]);
        assert_eq!(locate(presence, 1).await, Some(second));
    }
    let later = Claim { epoch: Epoch(second.epoch.0 + 1_000_000), session: session(3) };
    let holds = presence.resume(&[(user_agent(1), later)]).await.expect("resume answers");
    assert_eq!(holds, [later], "a later claim that was lost puts an earlier one out");
    let (next, _) = claim(presence, 1, 4).await;
    assert!(next.epoch > later.epoch, "{:?} was given after {:?}", next.epoch, later.epoch);
    presence.release(user_agent(1), next.epoch).await.expect("release answers");
    let holds = presence.resume(&[(user_agent(1), next)]).await.expect("resume answers");
    assert_eq!(holds, [next], "what nobody holds can be resumed");
}

/// One answer for each claim, in order; none for none.
pub async fn claims_are_resumed_in_order(presence: &dyn Presence) {
    let (one, _) = claim(presence, 1, 1).await;
    let (two, _) = claim(presence, 2, 2).await;
    let (again, _) = claim(presence, 2, 3).await;
    let lost = Claim { epoch: Epoch(5), session: session(4) };
    let asked = [(2, two), (3, lost), (1, one), (2, again)].map(|(of, claim)| (user_agent(of), claim));
    let holds = presence.resume(&asked).await.expect("resume answers");
    assert_eq!(holds, [again, lost, one, again]);
    let found = presence.locate(&[3, 2, 1].map(user_agent)).await.expect("locate answers");
    assert_eq!(found, [Some(lost), Some(again), Some(one)]);
    assert_eq!(presence.resume(&[]).await.expect("resume answers"), []);
}
