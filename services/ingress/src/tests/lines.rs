//! Log lines of a request: which one they are about.

use pushgrid_runtime::logs::Format;
use pushgrid_runtime::logs::testing::Kept;

use super::*;

const TRACED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";

/// Checks that a line is in the span of a request, with or without the trace.
fn is_about(
    line: &pushgrid_runtime::logs::testing::Line,
    dialect: &str,
    user_agent: Option<UserAgentId>,
    traced: bool,
) {
    let span = &line["span"];
    assert_eq!((&span["name"], &span["dialect"]), (&"request".into(), &dialect.into()), "{line}");
    let user_agent = user_agent.map(|id| format!("{id:?}"));
    assert_eq!(span["user_agent"].as_str(), user_agent.as_deref());
    assert_eq!(span["trace_id"].as_str(), traced.then_some("4bf92f3577b34da6a3ce929d0e0e4736"), "{line}");
    assert_eq!(span["parent_id"].as_str(), traced.then_some("00f067aa0ba902b7"));
    assert_eq!(line["spans"].as_array().unwrap().len(), 1, "a request has one span: {line}");
}

#[tokio::test]
async fn a_line_of_a_request_names_dialect_user_agent_and_trace() {
    let kept = Kept::begin(Format::Json, "debug").unwrap();
    let world = World::both();
    let token = world.subscribe(Restriction::Open).await;
    let to = Some(world.tokens.open(&token).unwrap().to.user_agent);
    for (flags, traced) in [("0", true), ("1", true), ("x", false)] {
        let trace_parent = format!("{TRACED}{flags}");
        let fields = [("ttl", "60"), ("traceparent", &*trace_parent)];
        assert_eq!(world.push(&token, &fields).await.status, StatusCode::CREATED);
        is_about(kept.with("a message is accepted").last().unwrap(), "webpush", to, traced);
        assert_eq!(world.push(&token, &fields[1..]).await.status, StatusCode::BAD_REQUEST);
        let line = kept.with("a message is refused").pop().unwrap();
        assert_eq!(line["reason"], "header_invalid");
        is_about(&line, "webpush", to, traced);
    }
    world.line(&format!("{token} soon x")).await;
    is_about(kept.with("a message is refused").last().unwrap(), "line", to, false);
    world.push("nothing", &[("ttl", "60")]).await;
    is_about(kept.with("a message is refused").last().unwrap(), "webpush", None, false);
    let said = world.line(&format!("{token} 60 hello")).await;
    world.line(&format!("cancel {}", said.split(' ').nth(1).unwrap())).await;
    is_about(&kept.with("a cancellation")[0], "line", to, false);
    let traces: Vec<_> = world.accepted().await.iter().map(|it| it.content.trace_parent.clone()).collect();
    let carried: Vec<_> = traces.iter().flatten().map(|trace| trace.as_str().to_owned()).collect();
    assert_eq!(carried, [format!("{TRACED}0"), format!("{TRACED}1")]);
}

// Holds: A-146.
#[tokio::test]
async fn the_begin_of_an_outage_names_the_request_that_met_it() {
    let kept = Kept::begin(Format::Json, "info").unwrap();
    let world = World::both();
    let token = world.subscribe(Restriction::Open).await;
    let to = Some(world.tokens.open(&token).unwrap().to.user_agent);
    world.memory.close();
    let trace_parent = format!("{TRACED}0");
    let answer = world.push(&token, &[("ttl", "60"), ("traceparent", &*trace_parent)]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let outages = ["take messages", "look up subscriptions"]
        .map(|what| format!("could not {what}; this is not repeated"));
    let lines = outages.map(|line| kept.with(&line)).concat();
    is_about(&lines[0], "webpush", to, true);
}
