//! Tests of the broadcasts that are told to user agents: to each its own, once.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use pushgrid_runtime::admin::Writers;
use pushgrid_store::Broadcasts as _;
use pushgrid_store_model::memory::MemoryBroadcasts;
use tower::ServiceExt;

use super::*;
use crate::broadcasts::admin::broadcast_routes;
use crate::node::Slot;
use crate::testing::Core;

fn asked(id: &str, known: Option<&str>) -> AskedBroadcast {
    AskedBroadcast { id: id.to_owned(), known: known.map(str::to_owned) }
}

async fn set(broadcasts: &MemoryBroadcasts, id: &str, version: &str) {
    broadcasts.set(id.parse().unwrap(), version.parse().unwrap()).await.unwrap();
}

fn due(core: &Core, slot: &Slot) -> Vec<(String, String)> {
    let due = core.shared.broadcasts.take_due(&slot.queue);
    due.into_iter().map(|(id, version)| (id.to_string(), version.to_string())).collect()
}

fn pair(id: &str, version: &str) -> (String, String) {
    (id.to_owned(), version.to_owned())
}

// Holds: H-23.
#[tokio::test]
async fn only_what_differs_is_due_and_what_is_not_there_is_named() {
    let core = Core::new(&[]);
    for (id, version) in [("same", "1"), ("other", "2"), ("new", "3"), ("unasked", "4")] {
        set(&core.broadcasts, id, version).await;
    }
    let slot = core.shared.node.enter().unwrap();
    let told = core.shared.broadcasts.ask(
        &slot.queue,
        vec![
            asked("same", Some("1")),
            asked("other", Some("1")),
            asked("new", None),
            asked("missing", Some("1")),
            asked("no id", None),
        ],
    );
    let unknown = vec!["no id".to_owned(), "missing".to_owned()];
    assert_eq!(told, Told { unknown, ..Told::default() });
    assert_eq!(due(&core, &slot), [pair("other", "2"), pair("new", "3")]);
    assert_eq!(due(&core, &slot), [], "once");
}

#[tokio::test]
async fn a_connection_asks_for_no_more_than_its_bound() {
    let core = Core::new(&[]);
    let slot = core.shared.node.enter().unwrap();
    let many = (0..20).map(|number| asked(&number.to_string(), None)).collect();
    let told = core.shared.broadcasts.ask(&slot.queue, many);
    assert_eq!((told.unknown.len(), told.refused.len()), (8, 12));
}

async fn request(
    broadcasts: &MemoryBroadcasts,
    method: Method,
    path: &str,
    body: &str,
) -> (StatusCode, String) {
    let routes = broadcast_routes(Arc::new(broadcasts.clone()), Writers::Local);
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
    let answer = routes.oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn an_operator_sets_lists_and_removes() {
    let broadcasts = MemoryBroadcasts::default();
    let ask = async |method, path: &str, body: &str| request(&broadcasts, method, path, body).await;
    let set = ask(Method::PUT, "/broadcasts/remote-settings/monitor_changes", "\"17\"").await;
    assert_eq!(set, (StatusCode::NO_CONTENT, String::new()));
    let (status, all) = ask(Method::GET, "/broadcasts", "").await;
    assert_eq!(status, StatusCode::OK);
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all, serde_json::json!({"broadcasts": {"remote-settings/monitor_changes": "\"17\""}}));
    for (method, path, body, status, says) in [
        (Method::PUT, "/broadcasts/a%20b", "1", 400, "the id of a broadcast"),
        (Method::PUT, "/broadcasts/a", "1\n", 400, "without a line end"),
        (Method::PUT, "/broadcasts/a", "", 400, "1 to 200"),
        (Method::PUT, "/broadcasts/a", &"1".repeat(10_000), 400, "1 to 200"),
        (Method::DELETE, "/broadcasts/a", "", 404, "no such broadcast"),
        (Method::DELETE, "/broadcasts/remote-settings/monitor_changes", "", 204, ""),
    ] {
        let (got, text) = ask(method, path, body).await;
        assert!(got == status && text.contains(says), "{path} {body:?}: {got} {text}");
    }
    for number in 0..BroadcastVersions::MAX {
        assert_eq!(ask(Method::PUT, &format!("/broadcasts/{number}"), "1").await.0, 204);
    }
    let (status, text) = ask(Method::PUT, "/broadcasts/one-more", "1").await;
    assert!(status == 409 && text.contains("which is the limit"), "{status} {text}");
}
