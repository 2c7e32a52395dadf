//! Encoding and decoding of records: round trips, damaged and foreign records, and those of earlier and newer releases.

use proptest::prelude::*;
use pushgrid_store::Subscription;
use pushgrid_types::{ApplicationId, Content, Restriction, SystemRng, Timestamp, Ttl, Urgency, VapidKeyHash};

use super::*;

impl Record {
    fn raw(&self) -> Raw<'_> {
        Raw {
            key: &self.key,
            value: self.value.as_deref(),
            leader_epoch: self.leader_epoch.as_ref().map(<[u8; 8]>::as_slice),
            outcome: self.ended.as_ref().map(|(outcome, _)| std::slice::from_ref(outcome)),
            reason: self.reason.as_ref().map(std::slice::from_ref),
            sequence: self.ended.as_ref().map(|(_, sequence)| sequence.as_slice()),
            version: self.version.as_ref().map(std::slice::from_ref),
        }
    }
}

prop_compose! {
    fn subscription_ref()(user_agent: [u8; 16], channel: [u8; 16], incarnation: [u8; 12]) -> SubscriptionRef {
        SubscriptionRef {
            user_agent: UserAgentId::from_octets(user_agent),
            channel: ChannelId::from_octets(channel),
            incarnation: Incarnation::from_octets(incarnation),
        }
    }
}

prop_compose! {
    fn message()(
        id: [u8; 16],
        to in subscription_ref(),
        sequence: u64,
        millis in 0_u64..1 << 50,
        ttl: u32,
        level in 0_u8..4,
        topic in proptest::option::of("([a-z]{1,8}:[ -~ä]{1,30})|[A-Za-z0-9_-]{1,32}"),
        body in proptest::collection::vec(any::<u8>(), 0..64),
        encoding in proptest::option::of("aes128gcm|aesgcm"),
    ) -> Message {
        let ttl = Ttl::from_secs(ttl);
        let accepted_at = Timestamp::from_millis(millis);
        Message {
            id: MessageId::from_octets(id),
            to,
            sequence: Sequence(sequence),
            accepted_at,
            ttl,
            expires_at: Message::expiry(accepted_at, ttl),
            urgency: Urgency::from_level(level).unwrap(),
            topic: topic.map(|topic| topic.parse().unwrap()),
            receipt: None,
            content: Content { body: body.into(), encoding: encoding.map(Into::into), ..Content::default() },
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![1 => Just(Change::Claimed), 4 => change_of_state()]
}

/// Any but a claim.
fn change_of_state() -> impl Strategy<Value = Change> {
    let subscribed =
        (subscription_ref(), 0..4_u8, any::<[u8; 32]>(), 0_u64..1 << 50).prop_map(|(id, kind, value, at)| {
            let seen_at = Timestamp::from_millis(at);
            Change::Subscribed(Subscription {
                id,
                restriction: Restriction::from_parts(kind, value).unwrap(),
                seen_at,
                is_noted: true,
                webhook: None,
            })
        });
    let stored = (message(), any::<u64>()).prop_map(|(message, since)| Change::Stored {
        message: Arc::new(message),
        since: LeaderEpoch(since),
    });
    let ended = (any::<([u8; 16], [u8; 16], u64, u64)>(), 0..Outcome::ALL.len()).prop_map(
        |((user_agent, id, sequence, since), outcome)| Change::Ended {
            user_agent: UserAgentId::from_octets(user_agent),
            id: MessageId::from_octets(id),
            sequence: Sequence(sequence),
            since: LeaderEpoch(since),
            outcome: Outcome::ALL[outcome],
        },
    );
    prop_oneof![subscribed, subscription_ref().prop_map(Change::Unsubscribed), stored, ended]
}

proptest! {
    #[test]
    fn every_change_comes_back(change in change(), by: u64, position in 0_u64..u64::MAX) {
        let record = encode(&change, LeaderEpoch(by), &SystemRng);
        let by = if change == Change::Claimed { LeaderEpoch(position + 1) } else { LeaderEpoch(by) };
        let position = Position(position);
        prop_assert_eq!(decode(position, record.raw()), Ok(Entry { position, by, change }));
    }

    #[test]
    fn a_record_that_lost_a_part_is_refused(change in change_of_state(), cut in 0_usize..40) {
        let record = encode(&change, LeaderEpoch(1), &SystemRng);
        let raw = record.raw();
        let short = decode(Position(0), Raw { key: &raw.key[..cut], ..raw });
        prop_assert!(short.is_err());
        prop_assert_eq!(decode(Position(0), Raw { leader_epoch: None, ..raw }), Err(Invalid::Header(LEADER_EPOCH)));
        if record.ended.is_some() {
            prop_assert_eq!(decode(Position(0), Raw { outcome: Some(&[200]), ..raw }), Err(Invalid::Header(OUTCOME)));
            prop_assert_eq!(decode(Position(0), Raw { sequence: None, ..raw }), Err(Invalid::Header(SEQUENCE)));
        }
    }

    #[test]
    fn a_change_of_another_version_is_a_newer_releases_but_a_claim_is_a_claim(
        change in change(),
        version: Vec<u8>,
        value in proptest::option::of(any::<Vec<u8>>()),
    ) {
        let record = encode(&change, LeaderEpoch(1), &SystemRng);
        let raw = record.raw();
        let newer = Raw { version: Some(&version), ..raw };
        let decoded = decode(Position(3), newer);
        if change == Change::Claimed {
            prop_assert_eq!(decoded, decode(Position(3), raw));
            prop_assert!(claim_of(raw.key).is_some());
        } else {
            let expected = if version == [1] || version == [2] { decode(Position(3), raw) } else { Err(Invalid::Version) };
            prop_assert_eq!(decoded, expected);
            // Whatever it has become, its key says what compaction would keep it for.
            let damaged = decode(Position(3), Raw { value: value.as_deref(), leader_epoch: None, ..raw });
            prop_assert_eq!(damaged.unwrap_err().cause(), UnreadableCause::Damaged);
            prop_assert_eq!(key_of(raw.key), RecordKey::of(&change));
        }
    }

    #[test]
    fn a_restriction_that_the_first_release_cannot_read_is_of_the_second_version(id in subscription_ref()) {
        let version = |restriction| {
            let change = Change::Subscribed(Subscription { id, restriction, seen_at: Timestamp::from_millis(1), is_noted: true, webhook: None });
            encode(&change, LeaderEpoch(1), &SystemRng).version
        };
        prop_assert_eq!(version(Restriction::Open), None);
        prop_assert_eq!(version(Restriction::VapidKey(VapidKeyHash([1; 32]))), None);
        prop_assert_eq!(version(Restriction::ApiKey(ApplicationId([1; 32]))), Some(2));
    }

    #[test]
    fn a_replace_key_that_the_first_release_cannot_read_is_of_the_second_version(message in message()) {
        let later = message.topic.as_ref().is_some_and(|key| key.as_str().contains(':'));
        let expected = later.then_some(2);
        prop_assert_eq!(version_of(&message), expected);
        let change = Change::Stored { message: Arc::new(message), since: LeaderEpoch(3) };
        prop_assert_eq!(encode(&change, LeaderEpoch(3), &SystemRng).version, expected);
    }

    #[test]
    fn a_kind_that_is_not_known_is_a_newer_releases(kind: u8, rest: Vec<u8>) {
        prop_assume!(!b"csm".contains(&kind));
        let key = [&[kind][..], &rest].concat();
        let invalid = decode(Position(3), Raw { key: &key, ..Raw::default() }).unwrap_err();
        prop_assert_eq!(invalid.cause(), UnreadableCause::Newer);
    }

    #[test]
    fn noise_is_refused_without_panic(key: Vec<u8>, value: Option<Vec<u8>>, header: Option<Vec<u8>>) {
        let header = header.as_deref();
        let raw = Raw {
            key: &key,
            value: value.as_deref(),
            leader_epoch: header,
            outcome: header,
            reason: header,
            sequence: header,
            version: None,
        };
        if let Ok(entry) = decode(Position(7), raw) {
            let again = encode(&entry.change, entry.by, &SystemRng);
            prop_assert!(entry.change == Change::Claimed || again.key == key);
        }
    }

    #[test]
    fn nothing_of_a_record_is_shown(change in change()) {
        let record = encode(&change, LeaderEpoch(1), &SystemRng);
        let shown = format!("{record:?} {:?}", record.raw());
        prop_assert!(shown.len() < 80);
    }

    #[test]
    fn a_message_under_the_key_of_another_is_refused(message in message()) {
        let change = Change::Stored { message: Arc::new(message), since: LeaderEpoch(3) };
        let mut record = encode(&change, LeaderEpoch(3), &SystemRng);
        record.key[20] ^= 1;
        prop_assert_eq!(decode(Position(0), record.raw()), Err(Invalid::Value));
    }

    #[test]
    fn two_leader_epochs_store_one_message_under_two_keys(message in message()) {
        let message = Arc::new(message);
        let stored = |since| Change::Stored { message: Arc::clone(&message), since: LeaderEpoch(since) };
        let [one, other] = [1, 2].map(|since| encode(&stored(since), LeaderEpoch(9), &SystemRng).key);
        prop_assert_ne!(one, other);
    }
}

#[test]
fn a_release_of_seven_outcomes_reads_every_end() {
    let ended = |outcome| Change::Ended {
        user_agent: UserAgentId::from_octets([2; 16]),
        id: MessageId::from_octets([1; 16]),
        sequence: Sequence(9),
        since: LeaderEpoch(2),
        outcome,
    };
    for outcome in Outcome::ALL {
        let record = encode(&ended(outcome), LeaderEpoch(3), &SystemRng);
        assert!(record.ended.is_some_and(|(shown, _)| shown < 7), "{outcome:?}");
        // As commits between the two releases wrote it.
        let index = [u8::try_from(outcome.index()).unwrap()];
        let between = Raw { outcome: Some(&index), reason: None, ..record.raw() };
        let entry = decode(Position(5), between).unwrap();
        assert_eq!(entry.change, ended(outcome));
        // And one with a reason that a newer release knows.
        let newer = Raw { reason: Some(&[200]), ..record.raw() };
        assert_eq!(decode(Position(5), newer).unwrap().change, ended(outcome.for_earlier_releases()));
    }
}
