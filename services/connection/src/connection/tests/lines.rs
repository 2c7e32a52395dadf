//! Log lines of a connection and of a message with a trace context: which one they are about.

use pushgrid_runtime::logs::Format;
use pushgrid_runtime::logs::testing::Kept;
use pushgrid_store::LinkError;
use pushgrid_types::Content;

use super::*;

const TRACED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[tokio::test]
async fn a_line_of_a_session_names_the_protocol_the_session_and_the_user_agent() {
    let kept = Kept::begin(Format::Json, "debug").unwrap();
    let core = Core::new(&[]);
    let (id, _) = subscribed(&core).await;
    core.router.set_mood(Some((Op::Open, Mood::Unavailable)));
    let mut refused = UserAgent::connect(&core);
    refused.say(&format!("iam {}", id.to_hex())).await;
    refused.farewell().await;
    core.router.set_mood(None);
    drop(UserAgent::identified(&core, id).await);
    within(async {
        while kept.with("a connection ends").len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let asked = &kept.with("the router did not do what it was asked")[0];
    assert_eq!(asked["error"], LinkError::Unavailable.to_string());
    let ends = kept.with("a connection ends");
    assert!(ends[0]["span"]["user_agent"].is_null(), "it was never told who it is: {}", ends[0]);
    for line in [asked, &ends[1]] {
        let span = &line["span"];
        assert_eq!((&span["name"], &span["protocol"]), (&"session".into(), &"line".into()));
        assert_eq!(span["user_agent"], format!("{id:?}"));
    }
    let session =
        |line: &pushgrid_runtime::logs::testing::Line| line["span"]["session"].as_str().unwrap().to_owned();
    assert_eq!(session(asked), session(&ends[0]));
    assert_ne!(session(&ends[0]), session(&ends[1]));
    assert!(session(asked).starts_with("SessionRef(~"));
}

/// The spans that a message leaves behind at the node, in their order.
async fn spans_of(trace_parent: Option<&str>) -> Vec<String> {
    let kept = Kept::begin(Format::Json, "info,pushgrid::message=debug").unwrap();
    let core = Core::new(&[]);
    let (id, channel) = subscribed(&core).await;
    let mut user_agent = UserAgent::identified(&core, id).await;
    let mut letter = message(id, channel, b"hello");
    let trace_parent = trace_parent.map(|text| text.parse().unwrap());
    letter.content = Content { trace_parent, ..letter.content };
    let letter_id = letter.id;
    assert_eq!(core.router.push(letter), Some(Ok(())));
    user_agent.hear().await;
    user_agent.say(&ack(letter_id)).await;
    within(async {
        while core.router.settled().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let steps = ["handed to a session", "sent", "acknowledged"].map(|step| kept.with(step)).concat();
    for line in &steps {
        assert_eq!(line["span"]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736", "{line}");
        assert_eq!(line["span"]["parent_id"], "00f067aa0ba902b7");
        assert_eq!(line["span"]["message_id"], format!("{letter_id:?}"));
    }
    steps.iter().map(|line| line["span"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_message_with_a_trace_context_has_its_trace_in_every_step_and_another_has_no_span() {
    assert_eq!(spans_of(Some(TRACED)).await, ["deliver", "send", "settle"]);
    assert_eq!(spans_of(None).await, [""; 0]);
}
