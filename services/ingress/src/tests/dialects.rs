use std::time::Duration;

use pushgrid_types::VapidKeyHash;

use super::*;

fn address(location: &str) -> &str {
    location.strip_prefix(ORIGIN).and_then(|path| path.strip_prefix("/m/")).unwrap()
}

// Holds: A-25, I-18.
#[tokio::test]
async fn a_second_dialect_accepts_into_the_same_log_with_the_same_grants() {
    let world = World::serving(&[webpush::routes, line::routes], &["max_ttl=50s"]);
    let token = world.subscribe(Restriction::Open).await;
    let said = world.line(&format!("{token} 60 hello")).await;
    assert!(said.starts_with("accepted ") && said.ends_with(" 50"), "{said}");
    let created = world.push(&token, &[("ttl", "60")]).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let accepted = world.accepted().await;
    let bodies: Vec<_> = accepted.iter().map(|message| &message.content.body[..]).collect();
    assert_eq!(bodies, [&b"hello"[..], b""]);
    assert_eq!(accepted[0].to, accepted[1].to);
    assert_eq!(accepted[0].expires_at, accepted[1].expires_at);
    assert_eq!(accepted[0].ttl.as_secs(), 50);
}

#[tokio::test]
async fn each_dialect_says_one_reason_in_its_own_way_and_it_is_counted_once_for_all() {
    let world = World::both();
    let key = KeyPair::generate(&SystemRng).public().hash();
    let (restricted, ended) =
        (world.subscribe(Restriction::VapidKey(key)).await, World::both().subscribe(Restriction::Open).await);
    assert_eq!(world.line(&format!("{restricted} 60 x")).await, "refused vapid_missing");
    let answer = world.push(&restricted, &[("ttl", "60")]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.text.contains("\"errno\":109"), "{}", answer.text);
    assert_eq!(world.line(&format!("{ended} 60 x")).await, "refused token_invalid");
    assert_eq!(world.push(&ended, &[("ttl", "60")]).await.status, StatusCode::NOT_FOUND);
    let counted = world.meter.render();
    for reason in ["vapid_missing", "token_invalid"] {
        let line = format!("pushgrid_ingress_refused_total{{reason=\"{reason}\"}} 2");
        assert!(counted.lines().any(|it| it == line), "{line}\n{counted}");
    }
    assert!(world.accepted().await.is_empty());
}

// Holds: C-47.
#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_after_whom_it_is_for_in_every_dialect() {
    let world = World::both();
    let (live, foreign) =
        (world.subscribe(Restriction::Open).await, World::both().subscribe(Restriction::Open).await);
    assert_eq!(world.line(&format!("{foreign} soon x")).await, "refused token_invalid");
    assert_eq!(world.push(&foreign, &[("ttl", "soon")]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.line(&format!("{live} soon x")).await, "refused no_number");
    assert_eq!(world.push(&live, &[("ttl", "soon")]).await.status, StatusCode::BAD_REQUEST);
    let long = "x".repeat(6000);
    assert_eq!(world.line(&format!("{foreign} soon {long}")).await, "refused body_too_large");
}

// Holds.
#[tokio::test]
async fn a_message_of_one_dialect_is_cancelled_in_another() {
    let world = World::both();
    let token = world.subscribe(Restriction::Open).await;
    let said = world.line(&format!("{token} 60 x")).await;
    let of_line = said.split(' ').nth(1).unwrap();
    let delete = |address: &str| {
        Request::builder().method(Method::DELETE).uri(format!("/m/{address}")).body(Body::empty()).unwrap()
    };
    assert_eq!(world.send(delete(of_line)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.send(delete(of_line)).await.status, StatusCode::NOT_FOUND);
    let location = world.push(&token, &[("ttl", "60")]).await.location.unwrap();
    let of_push = address(&location);
    assert_eq!(world.line(&format!("cancel {of_push}")).await, "cancelled");
    assert_eq!(world.line(&format!("cancel {of_push}")).await, "refused no_message");
}

#[tokio::test]
async fn a_dialect_that_is_not_listed_is_not_served_and_the_others_are() {
    let world = World::serving(&[line::routes], &[]);
    let token = world.subscribe(Restriction::Open).await;
    assert_eq!(world.push(&token, &[("ttl", "60")]).await.status, StatusCode::NOT_FOUND);
    assert!(world.line(&format!("{token} 60 x")).await.starts_with("accepted "));
    let shipped = World::serving(crate::DIALECTS, &[]);
    let token = shipped.subscribe(Restriction::Open).await;
    assert_eq!(shipped.push(&token, &[("ttl", "60")]).await.status, StatusCode::CREATED);
    let nowhere = shipped.send(Request::post("/line").body(Body::empty()).unwrap()).await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    assert!(nowhere.text.contains("endpoints look like /push/"), "{}", nowhere.text);
}

#[tokio::test]
async fn only_the_credential_that_a_subscription_is_restricted_to_opens_it() {
    let world = World::both();
    let of_vapid_key = world.subscribe(Restriction::VapidKey(VapidKeyHash([1; 32]))).await;
    let of_api_key = world.subscribe(line::FIRST_APPLICATION).await;
    let of_signature = world.subscribe(line::SIGNER).await;
    let of_all = world.subscribe(Restriction::Open).await;
    for (token, opened_by, missing, other) in [
        (&of_vapid_key, &[][..], "vapid_missing", "vapid_mismatch"),
        (&of_api_key, &["old-key", "new-key"], "credential_missing", "credential_mismatch"),
        (&of_signature, &["signed"], "credential_missing", "credential_mismatch"),
        (&of_all, &["old-key", "new-key", "others-key", "signed"], "accepted", ""),
    ] {
        let anonymous = world.line(&format!("{token} 60 x")).await;
        assert!(anonymous.contains(missing), "nobody: {anonymous}");
        for credential in ["old-key", "new-key", "others-key", "signed"] {
            let answer = world.line(&format!("by {credential} {token} 60 x")).await;
            let expected = if opened_by.contains(&credential) { "accepted" } else { other };
            assert!(answer.contains(expected), "{credential}: {answer}");
        }
        let answer = world.line(&format!("by nobodys-key {token} 60 x")).await;
        assert_eq!(answer, "refused no_such_key");
    }
    assert_eq!(world.accepted().await.len(), 3 + 5);
}

#[tokio::test]
async fn web_push_has_no_credential_for_a_subscription_of_another_dialect() {
    let world = World::both();
    let vapid = KeyPair::generate(&SystemRng).authorization(ORIGIN, NOW.plus(Duration::from_hours(1)), None);
    for restriction in [line::FIRST_APPLICATION, line::SIGNER] {
        let token = world.subscribe(restriction).await;
        for fields in [&[("ttl", "60")][..], &[("ttl", "60"), ("authorization", &*vapid)]] {
            let answer = world.push(&token, fields).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
            assert!(answer.text.contains("Web Push has no field"), "{}", answer.text);
        }
    }
    let open = world.subscribe(Restriction::Open).await;
    let answer = world.push(&open, &[("ttl", "60"), ("authorization", &*vapid)]).await;
    assert_eq!(answer.status, StatusCode::CREATED, "the credential is good: {}", answer.text);
    assert_eq!(world.accepted().await.len(), 1);
}

// Holds: D-08.
#[tokio::test]
async fn a_service_that_wants_to_know_its_senders_takes_any_credential() {
    let world = World::serving(&[webpush::routes, line::routes], &["require_vapid=true"]);
    let open = world.subscribe(Restriction::Open).await;
    assert_eq!(world.line(&format!("{open} 60 x")).await, "refused vapid_missing");
    assert_eq!(world.push(&open, &[("ttl", "60")]).await.status, StatusCode::UNAUTHORIZED);
    assert!(world.line(&format!("by old-key {open} 60 x")).await.starts_with("accepted"));
}

#[tokio::test]
async fn a_topic_and_the_key_of_another_dialect_are_never_one() {
    let world = World::both();
    let token = world.subscribe(Restriction::Open).await;
    assert!(world.line(&format!("{token} 60 news=1")).await.starts_with("accepted"));
    let pushed = world.push(&token, &[("ttl", "60"), ("topic", "news")]).await;
    assert_eq!(pushed.status, StatusCode::CREATED);
    let accepted = world.accepted().await;
    let keys: Vec<_> = accepted.iter().filter_map(|message| message.topic.as_ref()).collect();
    assert_eq!(keys.iter().map(|key| key.as_str()).collect::<Vec<_>>(), ["line:news", "news"]);
    assert_ne!(keys[0], keys[1]);
}
