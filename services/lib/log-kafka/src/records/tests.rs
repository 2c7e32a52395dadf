use proptest::prelude::*;
use pushgrid_store::Subscription;
use pushgrid_types::{Content, Message, SystemRng, Timestamp, Ttl, Urgency, VapidKeyHash};

use super::*;

impl Record {
    fn raw(&self) -> Raw<'_> {
        Raw {
            key: &self.key,
            value: self.value.as_deref(),
            tenure: self.tenure.as_ref().map(<[u8; 8]>::as_slice),
            outcome: self.ended.as_ref().map(|(outcome, _)| std::slice::from_ref(outcome)),
            sequence: self.ended.as_ref().map(|(_, sequence)| sequence.as_slice()),
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
        topic in proptest::option::of("[A-Za-z0-9_-]{1,32}"),
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
            content: Content { body: body.into(), encoding: encoding.map(Into::into), ..Content::default() },
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let subscribed =
        (subscription_ref(), any::<Option<[u8; 32]>>(), 0_u64..1 << 50).prop_map(|(id, vapid, at)| {
            let created_at = Timestamp::from_millis(at);
            Change::Subscribed(Subscription { id, vapid: vapid.map(VapidKeyHash), created_at })
        });
    let stored = (message(), any::<u64>())
        .prop_map(|(message, since)| Change::Stored { message: Arc::new(message), since: Tenure(since) });
    let ended = (any::<([u8; 16], [u8; 16], u64, u64)>(), 0..Outcome::ALL.len()).prop_map(
        |((user_agent, id, sequence, since), outcome)| Change::Ended {
            user_agent: UserAgentId::from_octets(user_agent),
            stored: StoredMessage {
                id: MessageId::from_octets(id),
                sequence: Sequence(sequence),
                since: Tenure(since),
            },
            outcome: Outcome::ALL[outcome],
        },
    );
    prop_oneof![
        Just(Change::Claimed),
        subscribed,
        subscription_ref().prop_map(Change::Unsubscribed),
        stored,
        ended
    ]
}

proptest! {
    #[test]
    fn every_change_comes_back(change in change(), by: u64, position in 0_u64..u64::MAX) {
        let record = encode(&change, Tenure(by), &SystemRng);
        let by = if change == Change::Claimed { Tenure(position + 1) } else { Tenure(by) };
        let position = Position(position);
        prop_assert_eq!(decode(position, record.raw()), Ok(Entry { position, by, change }));
    }

    #[test]
    fn a_record_that_lost_a_part_is_refused(change in change(), cut in 0_usize..40) {
        prop_assume!(change != Change::Claimed);
        let record = encode(&change, Tenure(1), &SystemRng);
        let raw = record.raw();
        let short = decode(Position(0), Raw { key: &raw.key[..cut], ..raw });
        prop_assert!(short.is_err());
        prop_assert_eq!(decode(Position(0), Raw { tenure: None, ..raw }), Err(Invalid::Header(TENURE)));
        if record.ended.is_some() {
            prop_assert_eq!(decode(Position(0), Raw { outcome: Some(&[200]), ..raw }), Err(Invalid::Header(OUTCOME)));
            prop_assert_eq!(decode(Position(0), Raw { sequence: None, ..raw }), Err(Invalid::Header(SEQUENCE)));
        }
    }

    #[test]
    fn noise_is_refused_without_panic(key: Vec<u8>, value: Option<Vec<u8>>, header: Option<Vec<u8>>) {
        let header = header.as_deref();
        let raw = Raw { key: &key, value: value.as_deref(), tenure: header, outcome: header, sequence: header };
        if let Ok(entry) = decode(Position(7), raw) {
            let again = encode(&entry.change, entry.by, &SystemRng);
            prop_assert!(entry.change == Change::Claimed || again.key == key);
        }
    }

    #[test]
    fn nothing_of_a_record_is_shown(change in change()) {
        let record = encode(&change, Tenure(1), &SystemRng);
        let shown = format!("{record:?} {:?}", record.raw());
        prop_assert!(shown.len() < 80);
    }

    #[test]
    fn a_message_under_the_key_of_another_is_refused(message in message()) {
        let change = Change::Stored { message: Arc::new(message), since: Tenure(3) };
        let mut record = encode(&change, Tenure(3), &SystemRng);
        record.key[20] ^= 1;
        prop_assert_eq!(decode(Position(0), record.raw()), Err(Invalid::Value));
    }

    #[test]
    fn two_tenures_store_one_message_under_two_keys(message in message()) {
        let message = Arc::new(message);
        let stored = |since| Change::Stored { message: Arc::clone(&message), since: Tenure(since) };
        let [one, other] = [1, 2].map(|since| encode(&stored(since), Tenure(9), &SystemRng).key);
        prop_assert_ne!(one, other);
    }
}
