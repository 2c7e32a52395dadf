//! Tested: requests come back from their text, and any other text is refused with the right close.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const A_NEW_ONE: Request<'static> =
    Request::Hello { user_agent: None, min_urgency: Urgency::LEAST, broadcasts: Vec::new() };

const CHANNEL: &str = "eb46cc68-b7a3-4bfd-a1dd-13b9962af523";

impl Request<'_> {
    /// The other half of the codec, which only a user agent needs.
    fn to_json(&self) -> Value {
        match self {
            Self::Hello { user_agent: None, min_urgency: Urgency::LEAST, broadcasts }
                if broadcasts.is_empty() =>
            {
                json!({"messageType": "hello", "use_webpush": true})
            }
            Self::Hello { user_agent, min_urgency, broadcasts } => {
                let (uaid, urgency) = (user_agent.map(UserAgentId::to_hex), min_urgency.as_str());
                let broadcasts = versions(broadcasts);
                json!({"messageType": "hello", "uaid": uaid, "urgency": urgency, "broadcasts": broadcasts})
            }
            Self::Urgency { min } => {
                json!({"messageType": "urgency", "min": min.map_or("urgent", Urgency::as_str)})
            }
            Self::Register { channel, key: None } => {
                json!({"messageType": "register", "channelID": channel.to_string()})
            }
            Self::Register { channel, key: Some(key) } => {
                json!({"messageType": "register", "channelID": channel.to_string(), "key": key})
            }
            Self::Unregister { channel } => {
                json!({"messageType": "unregister", "channelID": channel.to_string(), "code": 200})
            }
            Self::UnregisterAll => json!({"messageType": "unregister_all", "code": 200}),
            Self::Ack { updates } => {
                let update = |update: &Acknowledged| match update.code {
                    None => json!({"channelID": CHANNEL, "version": update.id.to_text()}),
                    Some(code) => json!({"channelID": CHANNEL, "version": update.id.to_text(), "code": code}),
                };
                json!({"messageType": "ack", "updates": updates.iter().map(update).collect::<Vec<_>>()})
            }
            Self::Nack { code } => json!({"messageType": "nack", "version": "v", "code": code}),
            Self::Ping => json!({}),
            Self::BroadcastSubscribe { broadcasts } => {
                json!({"messageType": "broadcast_subscribe", "broadcasts": versions(broadcasts)})
            }
        }
    }
}

fn versions(of: &[AskedBroadcast]) -> Value {
    of.iter().map(|asked| (asked.id.clone(), json!(asked.known))).collect::<serde_json::Map<_, _>>().into()
}

fn asked() -> impl Strategy<Value = Vec<AskedBroadcast>> {
    let versions = prop::collection::btree_map(any::<String>(), any::<Option<String>>(), 0..4);
    versions.prop_map(|all| all.into_iter().map(|(id, known)| AskedBroadcast { id, known }).collect())
}

fn request() -> impl Strategy<Value = Request<'static>> {
    let channel = any::<[u8; 16]>().prop_map(ChannelId::from_octets);
    let update = (any::<[u8; 16]>(), any::<Option<u16>>())
        .prop_map(|(id, code)| Acknowledged { id: MessageId::from_octets(id), code: code.map(i64::from) });
    prop_oneof![
        (any::<Option<[u8; 16]>>(), prop::sample::select(&Urgency::ALL[..]), asked()).prop_map(
            |(id, min_urgency, broadcasts)| Request::Hello {
                user_agent: id.map(UserAgentId::from_octets),
                min_urgency,
                broadcasts,
            }
        ),
        prop::option::of(prop::sample::select(&Urgency::ALL[..])).prop_map(|min| Request::Urgency { min }),
        (channel.clone(), any::<Option<String>>())
            .prop_map(|(channel, key)| Request::Register { channel, key: key.map(Cow::Owned) }),
        channel.prop_map(|channel| Request::Unregister { channel }),
        Just(Request::UnregisterAll),
        prop::collection::vec(update, 0..5).prop_map(|updates| Request::Ack { updates: updates.into() }),
        any::<Option<u16>>().prop_map(|code| Request::Nack { code: code.map(i64::from) }),
        Just(Request::Ping),
        asked().prop_map(|broadcasts| Request::BroadcastSubscribe { broadcasts }),
    ]
}

/// One small change at a place that is anywhere in the frame.
fn mutate(frame: &str, place: usize, change: u8, octet: u8) -> String {
    let mut octets = frame.as_bytes().to_vec();
    let place = place % octets.len();
    match change % 5 {
        0 => octets[place] = octet,
        1 => octets.insert(place, octet),
        2 => drop(octets.remove(place)),
        3 => octets.truncate(place),
        _ => {
            let again = octets[place..].to_vec();
            octets.extend(again);
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

proptest! {
    #[test]
    fn every_request_comes_back_from_its_text(request in request()) {
        let text = request.to_json().to_string();
        prop_assert_eq!(Request::parse(&text), Ok(request));
    }

    #[test]
    fn any_text_is_answered_without_panic(text: String) {
        let _ = Request::parse(&text);
    }
}

// Holds: H-22.
#[test]
fn mutated_frames_are_read_or_refused_clearly() {
    let frames = [
        r#"{"messageType":"hello","uaid":"924808b7504247a08ad130c1e8757e55","broadcasts":{},"use_webpush":true}"#,
        r#"{"channelID":"eb46cc68-b7a3-4bfd-a1dd-13b9962af523","messageType":"register","key":"BOvJUy7rhH8="}"#,
        r#"{"channelID":"eb46cc68-b7a3-4bfd-a1dd-13b9962af523","messageType":"unregister","code":202}"#,
        r#"{"messageType":"unregister_all","code":202}"#,
        r#"{"messageType":"ack","updates":[{"channelID":"eb46cc68-b7a3-4bfd-a1dd-13b9962af523","version":"AAAAAAAAAAAAAAAAAAAAAA","code":100}]}"#,
        r#"{"messageType":"nack","version":"AAAAAAAAAAAAAAAAAAAAAA","code":301}"#,
        r#"{"messageType":"broadcast_subscribe","broadcasts":{"remote-settings/monitor_changes":"\"0\""}}"#,
        r#"{"messageType":"ping"}"#,
        "{}",
    ];
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) };
    for frame in frames {
        assert!(Request::parse(frame).is_ok(), "{frame}");
        let mutation = (any::<usize>(), any::<u8>(), any::<u8>());
        proptest!(config.clone(), |(mutations in prop::collection::vec(mutation, 1..4))| {
            let mut text = frame.to_owned();
            for (place, change, octet) in mutations {
                if !text.is_empty() {
                    text = mutate(&text, place, change, octet);
                }
            }
            match Request::parse(&text) {
                // Whatever is taken is one of the messages, and says so again.
                Ok(request) => {
                    let again = request.to_json().to_string();
                    prop_assert_eq!(Request::parse(&again), Ok(request));
                }
                Err(close) => prop_assert!(matches!(close.code(), 1007 | 1008), "{:?}", close),
            }
        });
    }
}

// Holds: G-17, H-03.
#[test]
fn a_hello_of_one_member_is_enough() {
    assert_eq!(Request::parse(r#"{"messageType":"hello"}"#), Ok(A_NEW_ONE));
}

// Holds: H-27.
#[test]
fn the_least_urgency_is_one_of_four_words() {
    for urgency in Urgency::ALL {
        let hello = format!(r#"{{"messageType":"hello","urgency":"{}"}}"#, urgency.as_str());
        let expected = Request::Hello { user_agent: None, min_urgency: urgency, broadcasts: Vec::new() };
        assert_eq!(Request::parse(&hello), Ok(expected));
        let frame = format!(r#"{{"messageType":"urgency","min":"{}"}}"#, urgency.as_str());
        assert_eq!(Request::parse(&frame), Ok(Request::Urgency { min: Some(urgency) }));
    }
    let unknown = r#"{"messageType":"urgency","min":"urgent"}"#;
    assert_eq!(Request::parse(unknown), Ok(Request::Urgency { min: None }));
    let hello = r#"{"messageType":"hello","urgency":"urgent"}"#;
    assert_eq!(Request::parse(hello), Err(Close::MalformedHello));
    for bad in [r#"{"messageType":"urgency"}"#, r#"{"messageType":"urgency","min":1}"#] {
        assert_eq!(Request::parse(bad), Err(Close::MalformedUrgency));
    }
}

// Holds: H-05.
#[test]
fn a_uaid_that_is_none_starts_afresh_and_one_of_another_type_is_refused() {
    for none in [r#""""#, r#""not-a-uuid""#, "null"] {
        let frame = format!(r#"{{"messageType":"hello","uaid":{none}}}"#);
        assert_eq!(Request::parse(&frame), Ok(A_NEW_ONE), "{none}");
    }
    assert_eq!(Request::parse(r#"{"messageType":"hello","uaid":7}"#), Err(Close::MalformedHello));
}

// Holds: H-03.
#[test]
fn members_that_are_not_of_a_message_are_ignored() {
    let hello =
        r#"{"messageType":"hello","channelIDs":["x",1],"broadcasts":null,"wakeup":{"a":[1]},"code":"x"}"#;
    assert!(Request::parse(hello).is_ok());
}

// Holds: H-03, H-23.
#[test]
fn a_version_that_is_no_text_is_none_and_broadcasts_are_an_object() {
    let asked =
        |id: &str, known: Option<&str>| AskedBroadcast { id: id.into(), known: known.map(Into::into) };
    let expected = vec![asked("", None), asked("a/b", Some("\"0\"")), asked("c", None)];
    let broadcasts = r#"{"a/b":"\"0\"","c":7,"":null}"#;
    let frame = |kind: &str| format!(r#"{{"messageType":"{kind}","broadcasts":{broadcasts}}}"#);
    let (subscribe, hello) = (frame("broadcast_subscribe"), frame("hello"));
    let subscribed = Request::BroadcastSubscribe { broadcasts: expected.clone() };
    assert_eq!(Request::parse(&subscribe), Ok(subscribed));
    let Ok(Request::Hello { broadcasts, .. }) = Request::parse(&hello) else { panic!("no hello") };
    assert_eq!(broadcasts, expected);
    let list = r#"{"messageType":"hello","broadcasts":["a/b"]}"#;
    assert_eq!(Request::parse(list), Err(Close::MalformedHello));
}

// Holds: H-07.
#[test]
fn a_channel_is_a_lower_case_uuid_with_dashes() {
    let upper = CHANNEL.to_uppercase();
    let plain = CHANNEL.replace('-', "");
    let braced = format!("{{{CHANNEL}}}");
    for bad in ["", "x", &upper, &plain, &braced] {
        for kind in ["register", "unregister"] {
            let frame = json!({"messageType": kind, "channelID": bad}).to_string();
            assert_eq!(Request::parse(&frame), Err(Close::MalformedChannel), "{frame}");
        }
    }
}

#[test]
fn an_unregister_of_all_needs_its_type_alone() {
    for frame in [
        r#"{"messageType":"unregister_all"}"#,
        r#"{"messageType":"unregister_all","code":null}"#,
        r#"{"messageType":"unregister_all","code":201,"channelID":"x"}"#,
    ] {
        assert_eq!(Request::parse(frame), Ok(Request::UnregisterAll), "{frame}");
    }
}

// Holds: H-12.
#[test]
fn versions_that_nobody_gave_out_are_left_out_of_an_ack() {
    let updates = json!([
        {"channelID": CHANNEL, "version": "garbage"},
        {"channelID": CHANNEL, "version": "AAAAAAAAAAAAAAAAAAAAAA", "code": 102},
    ]);
    let frame = json!({"messageType": "ack", "updates": updates}).to_string();
    let Ok(Request::Ack { updates }) = Request::parse(&frame) else { panic!("not an ack") };
    let only = Acknowledged { id: MessageId::from_octets([0; 16]), code: Some(102) };
    assert_eq!(updates.as_slice(), [only]);
}

// Holds: H-22.
#[test]
fn what_cannot_be_answered_says_why() {
    let deep = format!("{{\"a\":{}", "[".repeat(5000));
    for (frame, close) in [
        ("", Close::NotJson),
        ("hello", Close::NotJson),
        ("[\"hello\"]", Close::NotJson),
        ("{} {}", Close::NotJson),
        (deep.as_str(), Close::NotJson),
        (r#"{"messageType":7}"#, Close::UnknownType),
        (r#"{"uaid":"x"}"#, Close::UnknownType),
        (r#"{"messageType":"register"}"#, Close::MalformedRegister),
        (r#"{"messageType":"unregister","channelID":1}"#, Close::MalformedUnregister),
        (r#"{"messageType":"unregister_all","code":"200"}"#, Close::MalformedUnregisterAll),
        (r#"{"messageType":"ack"}"#, Close::MalformedAck),
        (r#"{"messageType":"ack","updates":[{"channelID":"x","version":"v"}]}"#, Close::MalformedAck),
        (r#"{"messageType":"nack"}"#, Close::MalformedNack),
        (r#"{"messageType":"broadcast_subscribe"}"#, Close::MalformedBroadcastSubscribe),
    ] {
        assert_eq!(Request::parse(frame), Err(close), "{frame}");
    }
    let integer_version =
        json!({"messageType": "ack", "updates": [{"channelID": CHANNEL, "version": 7}]}).to_string();
    assert_eq!(Request::parse(&integer_version), Err(Close::MalformedAck));
}
