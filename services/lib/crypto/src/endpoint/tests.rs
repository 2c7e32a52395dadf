//! Tested: tokens open to the sealed subscription, every altered token is refused, and key rotation keeps endpoints.

use proptest::prelude::*;
use pushgrid_types::{ApplicationId, Restriction, Rng, SigningKeyHash, VapidKeyHash};

use super::*;
use crate::testing::{SeededRng, with_letter};
use crate::text;

fn keys(seed: u64) -> EndpointKeys {
    EndpointKeys::generate(&SeededRng::new(seed))
}

fn subscription(rng: &dyn Rng) -> SubscriptionRef {
    SubscriptionRef {
        user_agent: UserAgentId::random(rng),
        channel: ChannelId::random(rng),
        incarnation: Incarnation::random(rng),
    }
}

prop_compose! {
    fn endpoints()(seed: u64, kind in 0..4_u8, value: [u8; 32]) -> SealedEndpoint {
        let to = subscription(&SeededRng::new(seed));
        SealedEndpoint { to, restriction: Restriction::from_parts(kind, value).unwrap() }
    }
}

proptest! {
    #[test]
    fn a_token_opens_to_what_was_sealed(endpoint in endpoints(), seed: u64) {
        let tokens = EndpointTokens::new(&keys(seed));
        let token = tokens.seal(&endpoint.to, endpoint.restriction);
        prop_assert_eq!(token.len(), 126);
        prop_assert!(token.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet)));
        prop_assert_eq!(tokens.open(&token), Some(endpoint));
    }

    #[test]
    fn a_token_with_a_character_changed_is_refused(endpoint in endpoints(), at in 0..126_usize, other: char) {
        let tokens = EndpointTokens::new(&keys(1));
        let token = tokens.seal(&endpoint.to, endpoint.restriction);
        let changed = with_letter(&token, at, other);
        prop_assert!(changed == token || tokens.open(&changed).is_none());
    }

    #[test]
    fn any_other_text_is_refused_without_panic(text: String, shaped in "[A-Za-z0-9_-]{126}") {
        let tokens = EndpointTokens::new(&keys(1));
        prop_assert_eq!(tokens.open(&text), None);
        prop_assert_eq!(tokens.open(&shaped), None);
    }
}

#[test]
fn a_token_with_any_bit_flipped_is_refused() {
    let rng = SeededRng::new(2);
    let tokens = EndpointTokens::new(&keys(2).with_new_first(&rng));
    let token = tokens.seal(&subscription(&rng), Restriction::Open);
    let octets = text::decode_strictly(&token).unwrap();
    for bit in 0..octets.len() * 8 {
        let mut flipped = octets.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(tokens.open(&text::encode(&flipped)), None, "bit {bit}");
    }
}

#[test]
fn a_token_with_any_character_of_the_alphabet_in_any_place_is_refused() {
    let rng = SeededRng::new(3);
    let tokens = EndpointTokens::new(&keys(3));
    let token = tokens.seal(&subscription(&rng), Restriction::Open);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/. \n";
    for at in 0..token.len() {
        for &letter in alphabet.iter().filter(|&&letter| letter != token.as_bytes()[at]) {
            let mut changed = token.clone().into_bytes();
            changed[at] = letter;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(tokens.open(&changed), None, "{} at {at}", char::from(letter));
        }
    }
}

#[test]
fn a_token_cut_or_grown_is_refused() {
    let rng = SeededRng::new(4);
    let tokens = EndpointTokens::new(&keys(4));
    let token = tokens.seal(&subscription(&rng), Restriction::Open);
    for end in 0..token.len() {
        assert_eq!(tokens.open(&token[..end]), None, "cut to {end}");
    }
    for more in ["A", "=", "==", "\n", "/", "AAAA"] {
        assert_eq!(tokens.open(&format!("{token}{more}")), None, "{more:?}");
        assert_eq!(tokens.open(&format!("{more}{token}")), None, "{more:?}");
    }
}

// Holds: D-02, H-08.
#[test]
fn the_same_subscription_has_the_same_token_and_its_next_life_another() {
    let rng = SeededRng::new(5);
    let tokens = EndpointTokens::new(&keys(5));
    let first = subscription(&rng);
    let hash = Restriction::VapidKey(VapidKeyHash([1; 32]));
    assert_eq!(tokens.seal(&first, hash), tokens.clone().seal(&first, hash));
    let again = SubscriptionRef { incarnation: Incarnation::random(&rng), ..first };
    assert_ne!(tokens.seal(&first, hash), tokens.seal(&again, hash));
}

#[test]
fn every_rotation_keeps_every_endpoint() {
    let rng = SeededRng::new(6);
    let mut keys = keys(6);
    let mut sealed = Vec::new();
    for _ in 0..8 {
        let tokens = EndpointTokens::new(&keys);
        let to = subscription(&rng);
        sealed.push((to, tokens.seal(&to, Restriction::Open)));
        for (to, token) in &sealed {
            assert_eq!(tokens.open(token), Some(SealedEndpoint { to: *to, restriction: Restriction::Open }));
        }
        keys = keys.with_new_first(&rng);
    }
}

#[test]
fn the_first_key_seals_and_a_key_taken_away_opens_no_more() {
    let rng = SeededRng::new(7);
    let (old, new) = (keys(7), keys(8));
    let both: EndpointKeys = format!("{},{}", new.to_text(), old.to_text()).parse().unwrap();
    let to = subscription(&rng);
    let token = EndpointTokens::new(&both).seal(&to, Restriction::Open);
    assert_eq!(token, EndpointTokens::new(&new).seal(&to, Restriction::Open));
    assert_eq!(EndpointTokens::new(&old).open(&token), None);
}

// Holds, D-19.
#[test]
fn two_endpoints_of_one_user_agent_share_nothing_but_the_key_id() {
    let rng = SeededRng::new(9);
    let tokens = EndpointTokens::new(&keys(9));
    let one = subscription(&rng);
    let two = SubscriptionRef { user_agent: one.user_agent, ..subscription(&rng) };
    let hash = Restriction::VapidKey(VapidKeyHash([3; 32]));
    let [one, two] = [one, two].map(|to| text::decode_strictly(&tokens.seal(&to, hash)).unwrap());
    assert_eq!(one[0], two[0]);
    for run in one[1..].windows(4) {
        assert!(!two.windows(4).any(|other| other == run), "a run of four octets is in both");
    }
}

#[test]
fn a_token_with_a_flag_of_a_later_release_is_refused() {
    let sealed = |flags: u8| {
        let mut plaintext = [0; PLAINTEXT_SIZE];
        plaintext[0] = flags;
        Sealer::new(&keys(11), Purpose::Endpoint).seal([flags; 12], plaintext)
    };
    let tokens = EndpointTokens::new(&keys(11));
    let restriction = |flags| tokens.open(&sealed(flags)).unwrap().restriction;
    assert_eq!(restriction(0), Restriction::Open);
    assert_eq!(restriction(1), Restriction::VapidKey(VapidKeyHash([0; 32])));
    assert_eq!(restriction(2), Restriction::ApiKey(ApplicationId([0; 32])));
    assert_eq!(restriction(3), Restriction::Signature(SigningKeyHash([0; 32])));
    for unknown in 4..=u8::MAX {
        assert_eq!(tokens.open(&sealed(unknown)), None, "{unknown}");
    }
}

#[test]
fn debug_shows_neither_token_nor_identifier() {
    let rng = SeededRng::new(10);
    let tokens = EndpointTokens::new(&keys(10));
    let to = subscription(&rng);
    let shown = format!(
        "{:?} {tokens:?}",
        tokens.open(&tokens.seal(&to, Restriction::VapidKey(VapidKeyHash([4; 32]))))
    );
    assert!(!shown.contains(&to.user_agent.to_hex()) && !shown.contains(&to.channel.to_string()), "{shown}");
    assert!(shown.contains("VapidKeyHash(..)"), "{shown}");
}
