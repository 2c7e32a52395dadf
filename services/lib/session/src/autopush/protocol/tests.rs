//! Tested: the order of hello and other frames, and the action for each frame.

use std::time::Duration;

use pushgrid_types::{DropReason, MessageId, Outcome, Restriction};
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const ALLOWANCE: PingAllowance = PingAllowance { burst: 5, every: Duration::from_secs(1) };
const CHANNEL: &str = "eb46cc68-b7a3-4bfd-a1dd-13b9962af523";
const KEY: &str = "BOvJUy7rhH8-O_BYIFhlQIOiOjodrJ5qlzX8Qa_IJSe1KWu68wUK64JdSEBmVCdMgnUIOVq0stI9qxqYzJ9UpRQ=";

fn identified() -> Protocol {
    let mut protocol = Protocol::default();
    protocol.identified(UserAgentId::from_octets([7; 16]), &[]);
    protocol
}

fn receive(protocol: &mut Protocol, frame: &Value) -> Action {
    protocol.receive(&frame.to_string(), NOW, &ALLOWANCE).1
}

// Holds: H-02, H-24.
#[test]
fn hello_comes_first_and_once() {
    let mut protocol = Protocol::default();
    let register = json!({"messageType": "register", "channelID": CHANNEL});
    assert_eq!(receive(&mut protocol, &register), Action::Close(Close::HelloExpected));
    assert_eq!(receive(&mut protocol, &json!({})), Action::Close(Close::HelloExpected));

    let hello = json!({
        "messageType": "hello", "uaid": "924808b7504247a08ad130c1e8757e55", "broadcasts": {"a/b": "1"}
    });
    let claimed = "924808b7504247a08ad130c1e8757e55".parse().ok();
    let broadcasts = vec![AskedBroadcast { id: "a/b".into(), known: Some("1".into()) }];
    let identify = Action::Identify { claimed, min_urgency: Urgency::LEAST, broadcasts };
    assert_eq!(receive(&mut protocol, &hello), identify);
    assert!(!protocol.is_identified(), "claiming is not being");
    assert!(protocol.identified(claimed.unwrap(), &[]).contains(r#""status":200"#));
    assert_eq!(receive(&mut protocol, &hello), Action::Close(Close::SecondHello));
}

// Holds: C-45, G-06.
#[test]
fn a_key_is_taken_in_every_base64_that_is_deployed() {
    let expected = vapid::PublicKey::from_text(KEY).unwrap().hash();
    let unpadded = KEY.trim_end_matches('=').to_owned();
    let standard = KEY.replace('-', "+").replace('_', "/");
    for key in [KEY, &unpadded, &standard] {
        let register = json!({"messageType": "register", "channelID": CHANNEL, "key": key});
        let action = receive(&mut identified(), &register);
        assert_eq!(
            action,
            Action::Register {
                channel: CHANNEL.parse().unwrap(),
                restriction: Restriction::VapidKey(expected)
            }
        );
    }
    let none = json!({"messageType": "register", "channelID": CHANNEL, "key": null});
    let action = receive(&mut identified(), &none);
    assert_eq!(
        action,
        Action::Register { channel: CHANNEL.parse().unwrap(), restriction: Restriction::Open }
    );
}

// Holds: D-07, H-07.
#[test]
fn a_bad_key_is_answered_and_the_connection_goes_on() {
    let not_on_the_curve = format!("B{}", "A".repeat(86));
    for key in ["", "AAAA", "%%%", &not_on_the_curve] {
        let mut protocol = identified();
        let register = json!({"messageType": "register", "channelID": CHANNEL, "key": key});
        let channel = CHANNEL.parse().unwrap();
        assert_eq!(receive(&mut protocol, &register), Action::RefuseKey { channel }, "{key}");
        assert!(reply::refused(channel, reply::Refused::BadKey).contains(r#""status":400"#));
        assert!(matches!(receive(&mut protocol, &json!({})), Action::Send(_)));
    }
}

// Holds: A-116, D-13, H-12.
#[test]
fn every_code_of_an_ack_ends_the_message() {
    let id = MessageId::from_octets([0; 16]);
    for (code, outcome) in [
        (json!(100), Outcome::Delivered),
        (json!(101), Outcome::Undecryptable),
        (json!(102), Outcome::Dropped(DropReason::NotDelivered)),
        (json!(999), Outcome::Delivered),
        (json!(-1), Outcome::Delivered),
        (Value::Null, Outcome::Delivered),
    ] {
        let update = json!({"channelID": CHANNEL, "version": id.to_text(), "code": code});
        let action = receive(&mut identified(), &json!({"messageType": "ack", "updates": [update]}));
        let Action::Settle(ended) = action else { panic!("not settled: {code}") };
        let ended: Vec<_> = ended.iter().map(|update| (update.id, update.outcome())).collect();
        assert_eq!(ended, [(id, outcome)], "{code}");
    }
    let nothing = json!({"messageType": "ack", "updates": []});
    assert_eq!(receive(&mut identified(), &nothing), Action::Nothing);
}

// Holds: H-14.
#[test]
fn both_forms_of_a_ping_are_answered_until_they_flood() {
    let mut protocol = identified();
    for ping in [json!({}), json!({"messageType": "ping"})] {
        assert_eq!(receive(&mut protocol, &ping), Action::Send("{}".into()));
    }
    let closed = (0..10).any(|_| receive(&mut protocol, &json!({})) == Action::Close(Close::PingFlood));
    assert!(closed);
}

// Holds: H-13, H-23.
#[test]
fn a_nack_and_a_broadcast_subscription_leave_the_connection_open() {
    let mut protocol = identified();
    let nack = json!({"messageType": "nack", "version": "v", "code": 301});
    assert_eq!(receive(&mut protocol, &nack), Action::Nack { code: Some(301) });
    let none = json!({"messageType": "broadcast_subscribe", "broadcasts": {}});
    assert_eq!(receive(&mut protocol, &none), Action::Nothing);
    let some = json!({"messageType": "broadcast_subscribe", "broadcasts": {"a/b": "v"}});
    let asked = vec![AskedBroadcast { id: "a/b".into(), known: Some("v".into()) }];
    assert_eq!(receive(&mut protocol, &some), Action::AskBroadcasts(asked));
}

#[test]
fn an_unregister_of_all_is_for_those_who_have_said_hello() {
    let frame = json!({"messageType": "unregister_all", "code": 200});
    assert_eq!(receive(&mut Protocol::default(), &frame), Action::Close(Close::HelloExpected));
    assert_eq!(receive(&mut identified(), &frame), Action::UnregisterAll);
}

#[test]
fn the_state_of_a_connection_is_small() {
    assert!(size_of::<Protocol>() <= 32, "{} octets", size_of::<Protocol>());
}

#[test]
fn every_frame_is_counted_by_its_kind() {
    let kind = |text: &str| identified().receive(text, NOW, &ALLOWANCE).0;
    for known in Kind::ALL {
        let members = r#""version":"v","min":"low","updates":[],"broadcasts":{}"#;
        let text = format!(r#"{{"messageType":"{}","channelID":"{CHANNEL}",{members}}}"#, known.as_str());
        assert_eq!(kind(&text), known);
    }
    assert_eq!(kind("{}"), Kind::Ping);
}
