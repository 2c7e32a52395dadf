use pushgrid_types::{
    ChannelId, Content, Incarnation, NodeId, Sequence, SessionId, SubscriptionRef, Timestamp, Ttl, Urgency,
};

use super::*;
use crate::logs::Format;
use crate::logs::testing::Kept;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const USER_AGENT: UserAgentId = UserAgentId::from_octets([0xab; 16]);
const SESSION: SessionRef = SessionRef { node: NodeId(0x1234_5678_9abc), session: SessionId(7_777_777) };

fn trace(flags: &str) -> TraceParent {
    format!("00-{TRACE}-{PARENT}-{flags}").parse().unwrap()
}

fn message(trace_parent: Option<TraceParent>) -> Message {
    Message {
        id: MessageId::from_octets([0xcd; 16]),
        to: SubscriptionRef {
            user_agent: USER_AGENT,
            channel: ChannelId::from_octets([2; 16]),
            incarnation: Incarnation::from_octets([3; 12]),
        },
        sequence: Sequence(1),
        accepted_at: Timestamp::from_secs(1),
        ttl: Ttl::from_secs(60),
        expires_at: Timestamp::from_secs(61),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content { trace_parent, ..Content::default() },
    }
}

/// A line in a span, and the span as JSON.
fn line_in(kept: &Kept, span: &Span) -> serde_json::Value {
    tracing::error!(parent: span, "here");
    kept.with("here").pop().unwrap()["span"].take()
}

#[test]
fn a_line_says_what_it_is_about_whatever_the_filter_says_of_spans() {
    for filter in [
        "error",
        "trace",
        "pushgrid_runtime=error",
        "warn,pushgrid::message=debug",
        "off,pushgrid_runtime=warn",
    ] {
        let kept = Kept::begin(Format::Json, filter).unwrap();
        assert_eq!(line_in(&kept, &partition(Partition(3)))["partition"], 3, "{filter}");
    }
}

#[test]
fn a_filter_can_choose_by_the_span() {
    let kept = Kept::begin(Format::Json, "info,[partition{partition=3}]=debug").unwrap();
    for number in [2, 3] {
        partition(Partition(number)).in_scope(|| tracing::debug!("detail"));
    }
    let lines = kept.with("detail");
    assert_eq!((lines.len(), &lines[0]["span"]["partition"]), (1, &3.into()));
}

#[test]
fn a_partition_gets_its_leader_epoch_with_the_claim_in_both_formats() {
    let kept = Kept::begin(Format::Json, "info").unwrap();
    let span = partition(Partition(3));
    assert_eq!(line_in(&kept, &span), serde_json::json!({"name": "partition", "partition": 3}));
    span.in_scope(|| leads(LeaderEpoch(9)));
    let led = serde_json::json!({"name": "partition", "partition": 3, "leader_epoch": 9});
    assert_eq!(line_in(&kept, &span), led);
    drop(kept);
    let kept = Kept::begin(Format::Text, "info").unwrap();
    partition(Partition(3)).in_scope(|| {
        leads(LeaderEpoch(9));
        tracing::info!("here");
    });
    assert!(kept.text().contains("partition{partition=3 leader_epoch=9}: "), "{}", kept.text());
}

#[test]
fn a_request_has_a_span_for_its_lines_and_one_for_itself_only_when_it_is_sampled() {
    let kept = Kept::begin(Format::Json, "info").unwrap();
    for (trace, is_sampled) in [(None, false), (Some(trace("00")), false), (Some(trace("01")), true)] {
        let has_trace = trace.is_some();
        let request = Request::new("webpush", Some(USER_AGENT), trace);
        assert_eq!(!request.whole.is_disabled(), is_sampled);
        let span = line_in(&kept, &request.span());
        assert_eq!((&span["name"], &span["dialect"]), (&"request".into(), &"webpush".into()));
        assert_eq!(span["user_agent"], format!("{USER_AGENT:?}"));
        assert_eq!(span["trace_id"] == TRACE && span["parent_id"] == PARENT, has_trace, "{span}");
    }
    let nobody = line_in(&kept, &Request::new("webpush", None, None).span());
    assert_eq!(nobody, serde_json::json!({"name": "request", "dialect": "webpush"}));
}

#[test]
fn what_is_done_for_a_sampled_request_is_in_its_span() {
    let kept = Kept::begin(Format::Json, "info").unwrap();
    let request = Request::new("webpush", None, Some(trace("01")));
    let mut work = std::pin::pin!(request.around(async { tracing::info!("work") }));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(work.as_mut().poll(&mut context).is_ready());
    assert_eq!(kept.with("work")[0]["span"]["trace_id"], TRACE);
}

#[test]
fn a_step_of_a_message_is_a_span_only_with_a_trace_context_and_only_if_asked_for() {
    type Step = fn(&Message) -> Span;
    let settle: Step = |it| settle(it.to.user_agent, it.id, it.content.trace_parent.as_ref());
    for (name, step) in [("route", route as Step), ("deliver", deliver), ("send", send), ("settle", settle)] {
        let kept = Kept::begin(Format::Json, "info,pushgrid::message=debug").unwrap();
        assert!(step(&message(None)).is_disabled(), "{name}");
        let span = line_in(&kept, &step(&message(Some(trace("00")))));
        assert_eq!((&span["name"], &span["trace_id"]), (&name.into(), &TRACE.into()));
        assert_eq!(span["parent_id"], PARENT);
        assert_eq!(span["message_id"], format!("{:?}", message(None).id));
        drop(kept);
        let _kept = Kept::begin(Format::Json, "info").unwrap();
        assert!(step(&message(Some(trace("01")))).is_disabled(), "{name}, which costs nothing");
    }
}

#[test]
fn no_span_shows_what_it_is_a_fingerprint_of() {
    let kept = Kept::begin(Format::Json, "trace").unwrap();
    let session = Session { protocol: "autopush", session: SESSION, user_agent: Some(USER_AGENT) };
    let named = line_in(&kept, &session.span());
    assert_eq!((&named["name"], &named["protocol"]), (&"session".into(), &"autopush".into()));
    assert_eq!(named["session"], format!("SessionRef(~{:08x})", SESSION.fingerprint()));
    let other = SessionRef { session: SessionId(7_777_778), ..SESSION };
    assert_ne!(other.fingerprint(), SESSION.fingerprint());
    line_in(&kept, &Request::new("webpush", Some(USER_AGENT), Some(trace("01"))).span());
    line_in(&kept, &route(&message(Some(trace("01")))));
    for secret in ["abab", "cdcd", "7777777", &SESSION.node.0.to_string(), "00-4bf9"] {
        assert!(!kept.text().contains(secret), "{secret} is in {}", kept.text());
    }
}
