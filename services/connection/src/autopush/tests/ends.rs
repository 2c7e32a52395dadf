use futures_util::{SinkExt, StreamExt};
use pushgrid_session::autopush::Close;
use pushgrid_store::{Eviction, NodeLink, NotDelivered, Settlement};
use pushgrid_types::Outcome;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::testing::{Call, Mood, Op, Server, UserAgent, message, within};

fn as_told(close: Close) -> (u16, String) {
    (close.code(), close.reason().to_owned())
}

// Holds: H-20.
#[tokio::test]
async fn the_earlier_connection_of_a_user_agent_is_told_why_it_ends() {
    let server = Server::start(&[]).await;
    let (earlier, id, channel) = server.subscribe().await;
    let mut later = server.connect().await;
    assert_eq!(later.hello(Some(id)).await, id);
    assert_eq!(earlier.closed().await, as_told(Close::Superseded));
    assert_eq!(server.router.push(message(id, channel, b"x")), Some(Ok(())));
    assert_eq!(later.next().await["data"], "eA");
    assert_eq!(server.router.closes(), 1);
}

#[tokio::test]
async fn a_router_that_lost_track_has_the_user_agent_reconnect() {
    let server = Server::start(&[]).await;
    let (user_agent, id, _) = server.subscribe().await;
    server.node.evict(server.router.session(id), Eviction::Resync);
    assert_eq!(user_agent.closed().await, as_told(Close::Resync));
}

// Holds: H-22, H-25.
#[tokio::test]
async fn frames_that_cannot_be_answered_close_with_a_reason() {
    let server = Server::start(&[]).await;
    let large = "x".repeat(64 * 1024 + 1);
    for (frame, close) in [
        (Frame::Binary(vec![1, 2, 3].into()), Close::Binary),
        (Frame::text("not json"), Close::NotJson),
        (Frame::text(r#"{"messageType":"unheard of"}"#), Close::UnknownType),
        (Frame::text(large), Close::TooLarge),
    ] {
        let (mut user_agent, _) = server.greet().await;
        within(user_agent.stream.send(frame)).await.unwrap();
        assert_eq!(user_agent.closed().await, as_told(close));
    }
}

#[tokio::test]
async fn a_user_agent_that_is_still_sending_can_finish_and_read_why() {
    let server = Server::start(&[]).await;
    let (mut user_agent, _) = server.greet().await;
    let socket = user_agent.stream.get_mut();
    // The head of a text frame of a megabyte, masked with zeros.
    socket.write_all(&[0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let mut read = Vec::new();
    within(socket.read_to_end(&mut read)).await.unwrap();
    assert!(read.ends_with(Close::TooLarge.reason().as_bytes()));
    for _ in 0..32 {
        within(socket.write_all(&[b'x'; 16 * 1024])).await.expect("the server still reads");
    }
}

// Holds: H-14.
#[tokio::test]
async fn a_flood_of_pings_is_closed() {
    let server = Server::start(&["ping_burst=5", "ping_every=1h"]).await;
    let (mut user_agent, _) = server.greet().await;
    for _ in 0..5 {
        user_agent.ping().await;
    }
    user_agent.text("{}").await;
    assert_eq!(user_agent.closed().await, as_told(Close::PingFlood));
}

// Holds: H-15.
#[tokio::test]
async fn a_peer_that_answers_pings_stays_and_one_that_does_not_is_closed() {
    let server = Server::start(&["ping_interval=50ms", "pong_timeout=50ms", "close_timeout=50ms"]).await;
    let (mut alive, _) = server.greet().await;
    // It is never read again, so nothing answers for it: a peer that is half open.
    let (half_open, id, _) = server.subscribe().await;
    let closed = server.router.called(|calls| calls.contains(&Call::Close(id)));
    tokio::pin!(closed);
    let mut pings = 0;
    loop {
        tokio::select! {
            _ = &mut closed => break,
            frame = alive.stream.next() => {
                assert!(matches!(frame, Some(Ok(Frame::Ping(_)))), "{frame:?}");
                pings += 1;
            }
        }
    }
    assert!(pings > 0);
    assert!(server.meter.render().contains(r#"pushgrid_connection_closed_total{reason="idle"} 1"#));
    drop(half_open);
    alive.ping().await;
}

#[tokio::test]
async fn a_peer_that_goes_away_has_its_session_closed_once() {
    let server = Server::start(&[]).await;
    let (mut polite, first, _) = server.subscribe().await;
    within(polite.stream.close(None)).await.unwrap();
    server.router.called(|calls| calls.contains(&Call::Close(first))).await;
    let (rude, second, _) = server.subscribe().await;
    drop(rude);
    server.router.called(|calls| calls.contains(&Call::Close(second))).await;
    assert_eq!(server.router.closes(), 2);
}

#[tokio::test]
async fn a_slow_reader_is_bounded_and_cut_off() {
    let server = Server::start(&["write_timeout=200ms", "queue_octets=64MiB", "queue_messages=10000"]).await;
    let (slow, id, channel) = server.subscribe().await;
    let session = server.router.session(id);
    // Far more than the kernel buffers of a connection that is not read.
    let body = vec![0; 1 << 20];
    let mut taken = 0;
    for _ in 0..48 {
        if server.router.push(message(id, channel, &body)) == Some(Ok(())) {
            taken += 1;
        }
    }
    assert!(taken > 32);
    server.router.called(|calls| calls.contains(&Call::Close(id))).await;
    assert_eq!(server.node.deliver(session, &message(id, channel, b"x").into()), Err(NotDelivered::NotHere));
    assert!(server.meter.render().contains(r#"pushgrid_connection_closed_total{reason="slow"} 1"#));
    drop(slow);
}

#[tokio::test]
async fn acknowledgements_before_the_end_are_settled() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    let letter = message(id, channel, b"x");
    let delivered = Settlement { id: letter.id, outcome: Outcome::Delivered };
    server.router.push(letter);
    let notification = user_agent.next().await;
    let update = json!({"channelID": notification["channelID"], "version": notification["version"]});
    let ack = json!({"messageType": "ack", "updates": [update]}).to_string();
    within(user_agent.stream.feed(Frame::text(ack))).await.unwrap();
    within(user_agent.stream.feed(Frame::text("not json"))).await.unwrap();
    within(user_agent.stream.flush()).await.unwrap();
    assert_eq!(user_agent.closed().await, as_told(Close::NotJson));
    let calls = server.router.calls();
    assert_eq!(calls[calls.len() - 2..], [Call::Settle(vec![delivered]), Call::Close(id)]);
}

#[tokio::test]
async fn a_router_that_takes_no_settlements_for_long_ends_the_connection() {
    let server = Server::start(&["router_patience=300ms"]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    server.router.set_mood(Some((Op::Settle, Mood::Unavailable)));
    server.router.push(message(id, channel, b"x"));
    let notification = user_agent.next().await;
    user_agent.ack(&[&notification]).await;
    assert_eq!(user_agent.closed().await, as_told(Close::Unavailable));
}

#[tokio::test]
async fn an_acknowledgement_waits_for_a_router_and_the_connection_stays_open() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    server.router.set_mood(Some((Op::Settle, Mood::Unavailable)));
    server.router.push(message(id, channel, b"x"));
    let notification = user_agent.next().await;
    user_agent.ack(&[&notification]).await;
    server.router.called(|calls| calls.contains(&Call::Failed(Op::Settle))).await;
    user_agent.text("{}").await;
    assert_eq!(user_agent.next().await, serde_json::json!({}), "it is served meanwhile");
    server.router.set_mood(None);
    server.router.called(|calls| calls.iter().any(|call| matches!(call, Call::Settle(_)))).await;
    server.router.push(message(id, channel, b"y"));
    user_agent.next().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_not_sent_again_while_no_router_has_heard_of_it() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    let (first, second) = (message(id, channel, b"1"), message(id, channel, b"2"));
    server.router.set_mood(Some((Op::Settle, Mood::Unavailable)));
    assert_eq!(server.router.push(first.clone()), Some(Ok(())));
    let got = user_agent.next().await;
    user_agent.ack(&[&got]).await;
    server.router.called(|calls| calls.contains(&Call::Failed(Op::Settle))).await;
    // As a new owner does that has read its log and not heard of the end.
    assert_eq!(server.router.push(first.clone()), Some(Ok(())));
    assert_eq!(server.router.push(second), Some(Ok(())));
    assert_eq!(user_agent.next().await["data"], "Mg");
    server.router.set_mood(None);
    server.router.called(|calls| calls.iter().any(|call| matches!(call, Call::Settle(_)))).await;
    let heard = server.router.settled();
    assert_eq!(heard, [Settlement { id: first.id, outcome: Outcome::Delivered }]);
    // From here on it is the router's to know.
    let again = async {
        loop {
            assert_eq!(server.router.push(first.clone()), Some(Ok(())));
            tokio::select! {
                got = user_agent.next() => break got,
                () = tokio::task::yield_now() => {}
            }
        }
    };
    assert_eq!(within(again).await["data"], "MQ");
}

#[tokio::test]
async fn a_drain_tells_everybody_and_closes_every_session() {
    let server = Server::start(&[]).await;
    let mut user_agents = Vec::new();
    for _ in 0..20 {
        user_agents.push(server.subscribe().await.0);
    }
    let fresh = server.connect().await;
    assert!(server.readiness.is_ready());
    let (router, node, readiness) = (server.router.clone(), server.node.clone(), server.readiness.clone());
    let told = user_agents.into_iter().chain([fresh]).map(UserAgent::closed);
    let ((), told) = tokio::join!(server.drained(), futures_util::future::join_all(told));
    assert!(told.iter().all(|told| *told == as_told(Close::Restarting)), "{told:?}");
    assert_eq!(router.closes(), 20);
    assert_eq!(node.sessions(), 0);
    assert!(!readiness.is_ready());
}

// Holds: H-26.
#[tokio::test]
async fn a_drain_over_a_time_does_not_close_all_at_once() {
    let server = Server::start(&["drain=2s"]).await;
    let mut user_agents = Vec::new();
    for _ in 0..10 {
        user_agents.push(server.greet().await.0);
    }
    let start = tokio::time::Instant::now();
    let ends = user_agents.into_iter().map(|user_agent| async move {
        assert_eq!(user_agent.closed().await, as_told(Close::Restarting));
        start.elapsed()
    });
    let ((), ends) = tokio::join!(server.drained(), futures_util::future::join_all(ends));
    let last = ends.iter().max().unwrap();
    let early = ends.iter().filter(|end| end.as_millis() < 900).count();
    assert!(last.as_millis() >= 1500 && (1..10).contains(&early), "{ends:?}");
}
