//! Calls over a real connection to model routers: retries, moves of partitions, the breaker, and batches.

use futures_util::future::join_all;
use pushgrid_store::{IngressLink, Member, ReceiptLink, Resource, ResourceLink, Standing};
use pushgrid_types::{
    ApplicationId, Message, MessageRef, Outcome, Partition, Restriction, Sequence, Urgency, VapidKeyHash,
    WebhookUrl,
};

use super::*;
use crate::testing::{
    Call, ModelRouter, Scripted, again, hang_up, listener, registered, router_member, session, soon,
    user_agent,
};

fn message_ref(of: UserAgentId, label: u8) -> MessageRef {
    MessageRef { user_agent: of, channel: channel(), id: id(label), sequence: Sequence(u64::from(label) + 7) }
}

fn routers_of(members: Vec<Member>) -> (Routers, MembershipView, Meter) {
    routers_with(RoutersConfig { patience: Duration::from_secs(15), ..RoutersConfig::default() }, members)
}

fn routers_with(config: RoutersConfig, members: Vec<Member>) -> (Routers, MembershipView, Meter) {
    let meter = Meter::new();
    let membership_view = MembershipView::new(&meter);
    membership_view.publish(members);
    (Routers::new(config, membership_view.clone(), &meter), membership_view, meter)
}

fn channel() -> ChannelId {
    ChannelId::from_octets([5; 16])
}

fn id(label: u8) -> MessageId {
    MessageId::from_octets([label; 16])
}

fn settlements() -> Vec<Settlement> {
    let outcomes =
        Outcome::ALL.into_iter().filter(|outcome| crate::router_server::is_seen_by_a_node(*outcome)).zip(1..);
    outcomes.map(|(outcome, label)| Settlement { id: id(label), outcome }).collect()
}

#[tokio::test]
async fn every_call_goes_through_with_all_it_says_and_is_answered() {
    let router = ModelRouter::new();
    let (address, _serving) = router.serve().await;
    let (routers, ..) = routers_of(vec![router_member(1, address, &[(0, 1)], 1)]);
    let (somebody, stranger, socket) = (user_agent(1), user_agent(0), session(u64::MAX, 7));

    assert_eq!(
        routers.open(somebody, socket, Urgency::Low).await.unwrap(),
        Opened::Known { epoch: Epoch(107), min_urgency: Urgency::Low }
    );
    assert_eq!(routers.open(stranger, socket, Urgency::Low).await.unwrap(), Opened::Unknown);
    let key = Restriction::VapidKey(VapidKeyHash([8; 32]));
    let application = Restriction::ApiKey(ApplicationId([9; 32]));
    for restriction in [key, Restriction::Open, application] {
        let answer = routers.register(somebody, channel(), restriction).await.unwrap();
        assert_eq!(answer, registered(somebody, channel(), restriction));
    }
    routers.unregister(somebody, channel()).await.unwrap();
    routers.unregister_all(somebody).await.unwrap();
    routers.settle(somebody, settlements()).await.unwrap();
    routers.close(somebody, socket).await.unwrap();
    assert_eq!(routers.cancel(message_ref(somebody, 1)).await.unwrap(), Cancelled::Ended);
    assert_eq!(routers.cancel(message_ref(somebody, 0)).await.unwrap(), Cancelled::Gone);
    assert_eq!(routers.acknowledge(message_ref(somebody, 1)).await.unwrap(), Cancelled::Ended);
    assert_eq!(routers.acknowledge(message_ref(somebody, 0)).await.unwrap(), Cancelled::Gone);
    let life = |user_agent| registered(user_agent, channel(), Restriction::Open).subscription.id;
    assert!(routers.alive(life(somebody)).await.unwrap());
    assert!(!routers.alive(life(stranger)).await.unwrap());
    assert_eq!(
        routers.join(somebody, channel(), key).await.unwrap(),
        Some(registered(somebody, channel(), key))
    );
    assert_eq!(routers.join(stranger, channel(), key).await.unwrap(), None);
    assert_eq!(routers.end_set(somebody).await.unwrap(), Cancelled::Ended);
    assert_eq!(routers.end_set(stranger).await.unwrap(), Cancelled::Gone);
    let read = routers.read(message_ref(somebody, 1)).await.unwrap().unwrap();
    assert_eq!(*read, Message { id: id(1), ..Message::clone(&crate::testing::message(somebody, 1, 9)) });
    assert_eq!(routers.read(message_ref(somebody, 0)).await.unwrap(), None);
    let (of_life, set) = (Resource::Subscription(life(somebody)), Resource::Set(somebody));
    let endpoint = Some("https://push.example/push/token".to_owned());
    assert_eq!(
        routers.look_up(of_life).await.unwrap(),
        Standing { members: 3, endpoint, has_webhook: false }
    );
    assert_eq!(
        routers.look_up(set).await.unwrap(),
        Standing { members: 3, endpoint: None, has_webhook: false }
    );
    let (on, webhook) = (ChannelId::from_octets([4; 16]), WebhookUrl::new("https://app.example/receipts"));
    for webhook in [None, webhook.clone()] {
        let made = routers.open_receipts(somebody, on, webhook.clone()).await.unwrap();
        assert_eq!((made.user_agent, made.channel), (somebody, on));
    }
    assert_eq!(routers.unsubscribe(life(somebody)).await.unwrap(), Cancelled::Ended);
    assert_eq!(routers.unsubscribe(life(stranger)).await.unwrap(), Cancelled::Gone);

    let expected = [
        Call::Open(somebody, socket),
        Call::Open(stranger, socket),
        Call::Register(somebody, channel(), key),
        Call::Register(somebody, channel(), Restriction::Open),
        Call::Register(somebody, channel(), application),
        Call::Unregister(somebody, channel()),
        Call::UnregisterAll(somebody),
        Call::Settle(somebody, settlements()),
        Call::Close(somebody, socket),
        Call::Cancel(message_ref(somebody, 1)),
        Call::Cancel(message_ref(somebody, 0)),
        Call::Acknowledge(message_ref(somebody, 1)),
        Call::Acknowledge(message_ref(somebody, 0)),
        Call::Alive(life(somebody)),
        Call::Alive(life(stranger)),
        Call::Join(somebody, channel(), key),
        Call::Join(stranger, channel(), key),
        Call::EndSet(somebody),
        Call::EndSet(stranger),
        Call::Read(message_ref(somebody, 1)),
        Call::Read(message_ref(somebody, 0)),
        Call::LookUp(of_life),
        Call::LookUp(set),
        Call::Register(somebody, on, Restriction::Open),
        Call::OpenReceipts(somebody, on, webhook),
        Call::Unsubscribe(life(somebody)),
        Call::Unsubscribe(life(stranger)),
    ];
    assert_eq!(router.calls(), expected);
}

#[tokio::test]
async fn a_call_that_an_earlier_release_does_not_know_is_refused_at_once() {
    // A server without any call of a router.
    let (address, _talks, _serving) = Scripted::serve().await;
    let config = RoutersConfig { patience: Duration::from_hours(1), ..RoutersConfig::default() };
    let (routers, ..) = routers_with(config, vec![router_member(1, address, &[(0, 1)], 1)]);
    let refused = soon(routers.unregister_all(user_agent(1))).await;
    let is_corrupt =
        |error: &LinkError| matches!(error, LinkError::Store(StoreError { kind: ErrorKind::Corrupt, .. }));
    assert!(refused.as_ref().is_err_and(is_corrupt), "{refused:?}");
}

#[tokio::test]
async fn what_a_router_refuses_comes_back_as_itself_and_is_not_asked_again() {
    let router = ModelRouter::new();
    let (address, _serving) = router.serve().await;
    let (routers, ..) = routers_of(vec![router_member(1, address, &[(0, 1)], 1)]);
    let failures: [fn(&Call) -> Option<LinkError>; 5] = [
        |_| Some(LinkError::TooManySubscriptions { limit: 77 }),
        |_| Some(StoreError::plain(ErrorKind::Unavailable).into()),
        |_| Some(StoreError::plain(ErrorKind::Unknown).into()),
        |_| Some(StoreError::plain(ErrorKind::Corrupt).into()),
        |_| Some(StoreError::plain(ErrorKind::Closed).into()),
    ];
    for fails in failures {
        router.fails(fails);
        let (who, socket) = (user_agent(1), session(1, 1));
        let errors = [
            routers.open(who, socket, Urgency::Low).await.unwrap_err(),
            routers.register(who, channel(), Restriction::Open).await.unwrap_err(),
            routers.unregister(who, channel()).await.unwrap_err(),
            routers.settle(who, settlements()).await.unwrap_err(),
            routers.close(who, socket).await.unwrap_err(),
            routers.cancel(message_ref(who, 1)).await.unwrap_err(),
            routers.alive(registered(who, channel(), Restriction::Open).subscription.id).await.unwrap_err(),
        ];
        let calls = router.calls();
        assert_eq!(calls.len(), errors.len(), "each was made once");
        for (error, call) in errors.iter().zip(&calls) {
            assert_eq!(format!("{error:?}"), format!("{:?}", fails(call).unwrap()));
        }
        router.calls.lock().clear();
    }
}

#[tokio::test]
async fn a_call_waits_for_a_partition_that_gets_its_owner_a_moment_later() {
    let owner = ModelRouter::new();
    let (address, _serving) = owner.serve().await;
    let (routers, membership_view, _) = routers_of(vec![]);
    let asking = routers.clone();
    let call = tokio::spawn(async move { asking.open(user_agent(1), session(1, 1), Urgency::Low).await });
    for owns in [&[][..], &[(0, 1)]] {
        tokio::task::yield_now().await;
        assert!(!call.is_finished());
        membership_view.publish(vec![router_member(1, address, owns, 1)]);
    }
    assert_eq!(
        soon(call).await.unwrap().unwrap(),
        Opened::Known { epoch: Epoch(101), min_urgency: Urgency::Low }
    );
    assert_eq!(owner.calls().len(), 1);
}

#[tokio::test]
async fn a_call_that_the_router_cannot_answer_yet_is_made_again() {
    let router = ModelRouter::new();
    let (address, _serving) = router.serve().await;
    let (routers, ..) = routers_of(vec![router_member(1, address, &[(0, 1)], 1)]);
    router.fails(|_| Some(LinkError::Unavailable));
    let calls = {
        let routers = routers.clone();
        tokio::spawn(async move {
            let opened = routers.open(user_agent(1), session(1, 1), Urgency::Low).await;
            opened.and(routers.settle(user_agent(1), settlements()).await)
        })
    };
    soon(async {
        while router.calls().len() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    router.fails(|_| None);
    soon(calls).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_partition_that_has_moved_is_followed() {
    let (old, new) = (ModelRouter::new(), ModelRouter::new());
    let (listener, at_new) = listener().await;
    let (listener, place) = again(listener);
    let ((at_old, serving_old), serving_new) = (old.serve().await, new.serve_at(listener));
    let first = router_member(1, at_old, &[(0, 1)], 1);
    let (routers, membership_view, _) = routers_of(vec![first.clone()]);
    routers.settle(user_agent(1), settlements()).await.unwrap();

    // Both claim the partition: the higher leader epoch counts.
    membership_view.publish(vec![first, router_member(2, at_new, &[(0, 2)], 1)]);
    routers.settle(user_agent(1), settlements()).await.unwrap();
    assert_eq!((old.calls().len(), new.calls().len()), (1, 1));

    // The member list learns a moment later that the owner has died.
    drop(serving_new);
    let _nobody = hang_up(place);
    let asking = routers.clone();
    let call = tokio::spawn(async move { asking.close(user_agent(1), session(1, 2)).await });
    tokio::task::yield_now().await;
    membership_view.publish(vec![router_member(1, at_old, &[(0, 3)], 1)]);
    soon(call).await.unwrap().unwrap();
    let closes = [&old, &new]
        .map(|router| router.calls().iter().filter(|call| matches!(call, Call::Close(..))).count());
    assert_eq!(closes.iter().sum::<usize>(), 1, "{closes:?}");
    serving_old.drain().await;
}

#[tokio::test]
async fn a_router_that_has_left_is_forgotten() {
    let owner = ModelRouter::new();
    let (address, _serving) = owner.serve().await;
    let (routers, membership_view, _) = routers_of(vec![router_member(1, address, &[(0, 1)], 1)]);
    routers.open(user_agent(1), session(1, 1), Urgency::Low).await.unwrap();
    membership_view.publish(vec![router_member(2, address, &[(0, 2)], 1)]);
    routers.open(user_agent(1), session(1, 1), Urgency::Low).await.unwrap();
    let known: Vec<NodeId> = routers.0.peers.lock().by_id.keys().copied().collect();
    assert_eq!(known, [NodeId(2)]);
}

#[tokio::test]
async fn patience_ends_a_call_that_nobody_answers() {
    let (_bound_but_not_served, silent) = listener().await;
    let config = RoutersConfig {
        patience: Duration::from_millis(300),
        attempt: Duration::from_millis(100),
        ..RoutersConfig::default()
    };
    for members in [vec![], vec![router_member(1, silent, &[(0, 1)], 1)]] {
        let (routers, ..) = routers_with(config.clone(), members);
        let begun = Instant::now();
        let error = routers.open(user_agent(1), session(1, 1), Urgency::Low).await.unwrap_err();
        assert!(matches!(error, LinkError::Unavailable), "{error:?}");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
    }
}

#[tokio::test]
async fn a_router_that_cannot_be_reached_is_left_alone_and_found_again() {
    // Bound without listening: the port stays taken, and no connection succeeds.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let config = RoutersConfig {
        patience: Duration::from_secs(15),
        pause: Duration::from_millis(200),
        ..RoutersConfig::default()
    };
    let (routers, _, meter) = routers_with(config, vec![router_member(1, address, &[(0, 1)], 1)]);
    let series = "pushgrid_breaker_open{dependency=\"router\"}";
    let shunned = |open: u8| meter.render().contains(&format!("{series} {open}"));
    let asking = routers.clone();
    let call = tokio::spawn(async move { asking.open(user_agent(1), session(1, 1), Urgency::Low).await });
    soon(async {
        while !shunned(1) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let router = ModelRouter::new();
    let _serving = router.serve_at(socket.listen(16).unwrap());
    assert_eq!(
        soon(call).await.unwrap().unwrap(),
        Opened::Known { epoch: Epoch(101), min_urgency: Urgency::Low }
    );
    assert!(shunned(0));
}

#[test]
fn a_settlement_has_the_session_that_a_router_of_the_release_before_asks_for() {
    let sent = settled(user_agent(1), &settlements());
    assert!(form::session(sent.session.as_ref()).is_ok());
}

#[tokio::test]
async fn settlements_of_many_sessions_go_in_few_calls_and_each_is_answered_for_itself() {
    let router = ModelRouter::new();
    let (address, _serving) = router.serve().await;
    let (routers, _, meter) = routers_of(vec![router_member(1, address, &[(0, 1)], 1)]);
    router.fails(|call| {
        let Call::Settle(of, _) = call else { return None };
        of.as_octets()[0].is_multiple_of(100).then_some(LinkError::TooManySubscriptions { limit: 1 })
    });
    let labels: Vec<u8> = (0..4).flat_map(|_| 0..250).collect();
    let settle = |label: &u8| routers.settle(user_agent(*label), settlements());
    let answers = soon(join_all(labels.iter().map(settle))).await;
    for (label, answer) in labels.iter().zip(answers) {
        assert_eq!(answer.is_err(), label.is_multiple_of(100), "{label}: {answer:?}");
    }
    assert_eq!(router.calls().len(), 1000);
    let metrics = meter.render();
    let count = |name: &str| -> u32 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(count("pushgrid_link_batched_calls_total{call=\"settle\"}"), 1000);
    let batches = count("pushgrid_link_batches_total{call=\"settle\"}");
    assert!((2..=100).contains(&batches), "{batches}");
}

#[tokio::test]
async fn a_session_that_hangs_at_the_router_does_not_stop_the_others() {
    let router = ModelRouter::new();
    let (address, _serving) = router.serve().await;
    let (routers, ..) = routers_of(vec![router_member(1, address, &[(0, 1)], 1)]);
    router.gate.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let hangs = {
        let routers = routers.clone();
        tokio::spawn(async move { routers.settle(user_agent(1), settlements()).await })
    };
    // The next settlement goes in a batch of its own; a close is not queued behind settlements.
    soon(routers.close(user_agent(1), session(1, 2))).await.unwrap();
    assert!(!hangs.is_finished());
    router.gate.add_permits(10);
    soon(hangs).await.unwrap().unwrap();
}

#[test]
fn partitions_decide_where_a_call_goes() {
    let member_list = Arc::new(MemberList::new(vec![
        router_member(1, "127.0.0.1:1".parse().unwrap(), &[(0, 1)], 2),
        router_member(2, "127.0.0.1:2".parse().unwrap(), &[(1, 1)], 2),
    ]));
    for label in 0..50 {
        let owner = member_list.owner_of(user_agent(label)).unwrap().id.0;
        assert_eq!(owner, u64::from(Partition::of(user_agent(label), 2).0) + 1);
    }
}
