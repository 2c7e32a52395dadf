//! Tested: what was encoded comes back whole, other octets are refused by field, and the stored form does not change.

use proptest::option;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Option<Box<str>>> {
    option::of(".{0,40}".prop_map(Into::into))
}

fn subscription_ref() -> impl Strategy<Value = SubscriptionRef> {
    any::<([u8; 16], [u8; 16], [u8; 12])>().prop_map(|(user_agent, channel, incarnation)| SubscriptionRef {
        user_agent: UserAgentId::from_octets(user_agent),
        channel: ChannelId::from_octets(channel),
        incarnation: Incarnation::from_octets(incarnation),
    })
}

fn content() -> impl Strategy<Value = Content> {
    let trace_parent = option::of("00-[0-9a-f]{31}1-[0-9a-f]{15}1-0[01]")
        .prop_map(|text| text.map(|text| text.parse().unwrap()));
    (any::<Vec<u8>>(), text(), text(), text(), text(), trace_parent).prop_map(
        |(body, encoding, encryption, crypto_key, content_type, trace_parent)| Content {
            body: body.into(),
            encoding,
            encryption,
            crypto_key,
            content_type,
            trace_parent,
        },
    )
}

prop_compose! {
    fn messages()(
        id: [u8; 16],
        to in subscription_ref(),
        numbers: [u64; 3],
        ttl in 0_u32..=1 << 31,
        urgency in prop::sample::select(&Urgency::ALL[..]),
        topic in option::of("([a-z]{1,8}:[ -~ä]{1,30})|[A-Za-z0-9_-]{1,32}"),
        content in content(),
    ) -> Message {
        Message {
            id: MessageId::from_octets(id),
            to,
            sequence: Sequence(numbers[0]),
            accepted_at: Timestamp::from_millis(numbers[1]),
            ttl: Ttl::from_secs(ttl),
            expires_at: Timestamp::from_millis(numbers[2]),
            urgency,
            topic: topic.map(|topic| topic.parse().unwrap()),
            receipt: None,
            content,
        }
    }
}

proptest! {
    #[test]
    fn a_message_comes_back_whole(message in messages()) {
        prop_assert_eq!(decode_message(encode_message(&message).into()), Ok(message));
    }

    #[test]
    fn a_message_comes_back_from_its_head_and_what_was_kept_beside_it(message in messages()) {
        let (head, body) = (encode_head(&message), message.content.body.clone());
        prop_assert_eq!(decode_head(&head, message.sequence, body), Ok(message));
    }

    #[test]
    fn a_subscription_comes_back(
        id in subscription_ref(),
        kind in 0..4_u8,
        value: [u8; 32],
        seen_at: u64,
        is_noted: bool,
    ) {
        let seen_at = Timestamp::from_millis(seen_at);
        let subscription = Subscription { id, restriction: Restriction::from_parts(kind, value).unwrap(), seen_at, is_noted, webhook: None };
        prop_assert_eq!(decode_subscription(&encode_subscription(&subscription), id), Ok(subscription));
    }

    #[test]
    fn any_octets_are_taken_or_refused_without_panic(octets: Vec<u8>, id in subscription_ref()) {
        let _ = decode_head(&octets, Sequence(1), Bytes::new());
        let _ = decode_subscription(&octets, id);
        let _ = decode_message(octets.into());
    }

    #[test]
    fn a_message_with_an_octet_changed_or_cut_off_never_panics(
        message in messages(),
        at: prop::sample::Index,
        octet: u8,
    ) {
        let mut octets = encode_message(&message);
        let at = at.index(octets.len());
        let _ = decode_message(Bytes::copy_from_slice(&octets[..at]));
        octets[at] = octet;
        let _ = decode_message(octets.into());
    }
}

/// A valid head, to spoil one field of.
fn good() -> wire::Head {
    wire::Head {
        id: vec![1; 16].into(),
        user_agent: vec![2; 16].into(),
        channel: vec![3; 16].into(),
        incarnation: vec![4; 12].into(),
        urgency: wire::Urgency::Normal.into(),
        ..wire::Head::default()
    }
}

#[test]
fn what_is_not_valid_is_named() {
    let refused = |spoil: fn(&mut wire::Head)| {
        let mut head = good();
        spoil(&mut head);
        decode_head(&head.encode_to_vec(), Sequence(1), Bytes::new()).unwrap_err()
    };
    assert!(decode_head(&good().encode_to_vec(), Sequence(1), Bytes::new()).is_ok());
    assert_eq!(refused(|head| head.id = vec![1; 15].into()), Invalid::Field("id"));
    assert_eq!(refused(|head| head.user_agent = Bytes::new()), Invalid::Field("user_agent"));
    assert_eq!(refused(|head| head.channel = vec![3; 17].into()), Invalid::Field("channel"));
    assert_eq!(refused(|head| head.incarnation = vec![4; 16].into()), Invalid::Field("incarnation"));
    assert_eq!(refused(|head| head.urgency = 0), Invalid::Field("urgency"));
    assert_eq!(refused(|head| head.urgency = 9), Invalid::Field("urgency"));
    assert_eq!(refused(|head| head.ttl = (1 << 31) + 1), Invalid::Field("ttl"));
    assert_eq!(refused(|head| head.topic = Some("a b".to_owned())), Invalid::Field("topic"));
    assert_eq!(decode_message(Bytes::new()), Err(Invalid::Field("head")));
    assert_eq!(decode_message(Bytes::from_static(b"\xff")), Err(Invalid::Form));
    assert_eq!(restriction(Some(&[0; 31])), Err(Invalid::Field("restriction")));
}

#[test]
fn the_body_of_a_decoded_message_is_a_part_of_the_octets() {
    let head = Some(good());
    let wire = wire::Message { head, sequence: 7, body: vec![5; 4096].into() };
    let octets = Bytes::from(wire.encode_to_vec());
    let body = decode_message(octets.clone()).unwrap().content.body;
    assert!(octets.as_ptr_range().contains(&body.as_ptr()));
}

#[test]
fn the_stored_form_does_not_change() {
    let head = wire::Head { accepted_at: 1, ttl: 2, expires_at: 3, topic: Some("t".to_owned()), ..good() };
    let message = message(head, Sequence(7), Bytes::from_static(b"body")).unwrap();
    let expected = [
        &b"\x0a\x4f\x0a\x10"[..],
        &[1; 16],
        b"\x12\x10",
        &[2; 16],
        b"\x1a\x10",
        &[3; 16],
        b"\x22\x0c",
        &[4; 12],
        b"\x28\x01\x30\x02\x38\x03\x40\x03\x4a\x01t\x10\x07\x1a\x04body",
    ];
    assert_eq!(encode_message(&message), expected.concat());
}

#[test]
fn the_stored_form_of_a_subscription_does_not_change() {
    let id = SubscriptionRef {
        user_agent: UserAgentId::from_octets([1; 16]),
        channel: ChannelId::from_octets([2; 16]),
        incarnation: Incarnation::from_octets([3; 12]),
    };
    let of = |restriction, is_noted| {
        encode_subscription(&Subscription {
            id,
            restriction,
            seen_at: Timestamp::from_millis(1),
            is_noted,
            webhook: None,
        })
    };
    let encoded = |restriction| of(restriction, false);
    assert_eq!(of(Restriction::Open, true), b"\x10\x01\x18\x01");
    assert_eq!(encoded(Restriction::Open), b"\x10\x01");
    let vapid = [&b"\x0a\x20"[..], &[7; 32], b"\x10\x01"].concat();
    assert_eq!(encoded(Restriction::from_parts(1, [7; 32]).unwrap()), vapid);
    let later = [&b"\x0a\x21\x02"[..], &[7; 32], b"\x10\x01"].concat();
    assert_eq!(encoded(Restriction::from_parts(2, [7; 32]).unwrap()), later);
}
