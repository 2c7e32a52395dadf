//! Checks of [`pushgrid_store::Subscriptions`]: compare and set, durability.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_types::{Restriction, SubscriptionRef, VapidKeyHash, WebhookUrl};

use super::support::{reborn, subscription, user_agent};
use super::{Parts, checks};
use pushgrid_store::Subscription;

checks!(
    what_was_put_is_found,
    put_replaces_only_what_was_expected,
    of_two_puts_at_once_one_wins,
    remove_says_whether_there_was_one,
    every_later_read_sees_a_change,
    alive_answers_for_each_in_order,
    count_is_of_one_user_agent,
    all_are_those_of_one_user_agent,
    a_visit_is_noted_in_place,
    a_sweep_goes_through_all_subscriptions,
    user_agents_with_a_webhook_are_found,
    subscriptions_are_durable,
);

/// A subscription is found whole, under one user agent and channel only.
pub async fn what_was_put_is_found(parts: Parts) {
    let id = subscription(1, 1);
    let seen_at = parts.now.plus(Duration::from_millis(7));
    let new = Subscription {
        id,
        restriction: Restriction::VapidKey(VapidKeyHash([9; 32])),
        seen_at,
        is_noted: true,
        webhook: None,
    };
    assert_eq!(parts.find(id).await, None, "nothing is there at first");
    assert_eq!(parts.put(None, new.clone()).await, Some(new.clone()));
    assert_eq!(parts.find(id).await, Some(new));
    assert_eq!(parts.find(subscription(1, 2)).await, None, "another channel");
    for (on, kind) in (3..).zip(0..4) {
        let restriction = Restriction::from_parts(kind, [9; 32]).expect("all kinds are known");
        let new =
            Subscription { id: subscription(3, on), restriction, seen_at, is_noted: true, webhook: None };
        assert_eq!(parts.put(None, new.clone()).await, Some(new.clone()));
        assert_eq!(parts.find(new.id).await, Some(new), "with a restriction of kind {kind}");
    }
    assert_eq!(parts.find(subscription(2, 1)).await, None, "another user agent");
}

/// Compare and set: the answer is the subscription afterwards, and only the expected one is replaced.
pub async fn put_replaces_only_what_was_expected(parts: Parts) {
    let first = parts.subscribe(subscription(1, 1)).await;
    let second = Subscription {
        id: reborn(first.id),
        restriction: Restriction::VapidKey(VapidKeyHash([2; 32])),
        ..first.clone()
    };
    assert_eq!(
        parts.put(None, second.clone()).await,
        Some(first.clone()),
        "one was there, though none was expected"
    );
    assert_eq!(
        parts.put(Some(second.id), second.clone()).await,
        Some(first.clone()),
        "another was there than was expected"
    );
    assert_eq!(
        parts.put(Some(subscription(1, 2)), second.clone()).await,
        Some(first.clone()),
        "nor is it that of a channel"
    );
    assert_eq!(parts.find(first.id).await, Some(first.clone()), "so nothing has changed");
    assert_eq!(
        parts.put(Some(first.id), second.clone()).await,
        Some(second.clone()),
        "the expected one is replaced"
    );
    assert_eq!(parts.find(first.id).await, Some(second.clone()));
    assert_eq!(parts.put(Some(first.id), first.clone()).await, Some(second), "it is not there any more");
    let elsewhere = Subscription { id: subscription(1, 3), ..first.clone() };
    assert_eq!(
        parts.put(Some(elsewhere.id), elsewhere.clone()).await,
        None,
        "one was expected, and none is there"
    );
    assert_eq!(parts.find(elsewhere.id).await, None);
}

/// Of two concurrent puts without an expected subscription, one wins, and both answer with the winner.
pub async fn of_two_puts_at_once_one_wins(parts: Parts) {
    for round in 0..10 {
        let first = Subscription {
            id: subscription(1, round),
            restriction: Restriction::Open,
            seen_at: parts.now,
            is_noted: true,
            webhook: None,
        };
        let second = Subscription { id: reborn(first.id), ..first.clone() };
        let put = |new| {
            let subscriptions = Arc::clone(&parts.subscriptions);
            tokio::spawn(async move { subscriptions.put(None, new).await.expect("put answers") })
        };
        let (one, other) = tokio::join!(put(first.clone()), put(second.clone()));
        let (one, other) = (one.expect("put does not panic"), other.expect("put does not panic"));
        assert!(one == Some(first.clone()) || one == Some(second), "one of the two is there");
        assert_eq!(one, other, "and both were told which");
        assert_eq!(parts.find(first.id).await, one);
    }
}

/// Removing takes out one channel, and reports whether there was a subscription.
pub async fn remove_says_whether_there_was_one(parts: Parts) {
    parts.subscribe(subscription(1, 1)).await;
    let kept = parts.subscribe(subscription(1, 2)).await;
    assert!(!parts.remove(subscription(1, 3)).await, "another channel has none");
    assert!(!parts.remove(subscription(2, 1)).await, "another user agent has none");
    assert!(parts.remove(subscription(1, 1)).await, "it was there");
    assert!(!parts.remove(subscription(1, 1)).await, "and now it is not");
    assert_eq!(parts.find(subscription(1, 1)).await, None);
    assert_eq!(parts.find(kept.id).await, Some(kept), "the other channel is as it was");
}

/// A read after a change sees the change, however often it was read before.
pub async fn every_later_read_sees_a_change(parts: Parts) {
    let id = subscription(1, 1);
    for round in 0..20 {
        let id = if round % 2 == 0 { id } else { reborn(id) };
        assert_eq!(parts.find(id).await, None, "round {round}: nothing is there");
        assert_eq!(parts.alive(&[id]).await, [false]);
        let new = parts.subscribe(id).await;
        assert_eq!(parts.find(id).await, Some(new), "round {round}: what was put is there");
        assert_eq!(parts.alive(&[id]).await, [true]);
        assert_eq!(parts.count(1).await, 1);
        assert!(parts.remove(id).await);
        assert_eq!(parts.count(1).await, 0);
    }
    assert_eq!(parts.find(id).await, None, "what was removed is gone");
}

/// Each id is answered in its place; another incarnation of a channel is not alive.
pub async fn alive_answers_for_each_in_order(parts: Parts) {
    let (one, two) = (subscription(1, 1), subscription(2, 1));
    parts.subscribe(one).await;
    parts.subscribe(reborn(two)).await;
    let ids = [subscription(3, 1), one, reborn(one), two, reborn(two), one];
    let expected = [false, true, false, false, true, true];
    assert_eq!(parts.alive(&ids).await, expected);
    assert_eq!(parts.alive(&ids).await, expected, "and asked again");
    assert_eq!(parts.alive(&[]).await, Vec::<bool>::new());
}

/// Counts are of one user agent; zero means unknown.
pub async fn count_is_of_one_user_agent(parts: Parts) {
    assert_eq!(parts.count(1).await, 0);
    for on in 1..=3 {
        parts.subscribe(subscription(1, on)).await;
        parts.subscribe(subscription(2, on)).await;
        assert_eq!(parts.count(1).await, usize::from(on));
    }
    assert!(parts.remove(subscription(1, 2)).await);
    assert_eq!(parts.count(1).await, 2);
    assert_eq!(parts.count(2).await, 3, "the other user agent has its own");
}

/// A change is there in the next life, once the call has returned.
pub async fn subscriptions_are_durable(parts: Parts) {
    let kept = parts.subscribe(subscription(1, 1)).await;
    parts.subscribe(subscription(1, 2)).await;
    let old = parts.subscribe(subscription(1, 3)).await;
    let new =
        Subscription { id: reborn(old.id), restriction: Restriction::VapidKey(VapidKeyHash([3; 32])), ..old };
    assert!(parts.remove(subscription(1, 2)).await);
    assert_eq!(parts.put(Some(old.id), new.clone()).await, Some(new.clone()));
    let parts = parts.reopened().await;
    assert_eq!(parts.find(kept.id).await, Some(kept), "what was put is there");
    assert_eq!(parts.find(subscription(1, 2)).await, None, "what was removed is not");
    assert_eq!(parts.find(old.id).await, Some(new), "what was replaced is replaced");
    assert_eq!(parts.count(1).await, 2);
    parts.assert_account(0, &[]).await;
}

/// All subscriptions of a user agent are those that are alive, each once, as they are counted.
pub async fn all_are_those_of_one_user_agent(parts: Parts) {
    let all = async |of| {
        let mut all = parts.subscriptions.all(user_agent(of)).await.expect("all answers");
        all.sort_unstable_by_key(|it| it.id.channel);
        all.into_iter().map(|it| it.id).collect::<Vec<_>>()
    };
    assert_eq!(all(1).await, []);
    let ids = [subscription(1, 1), subscription(1, 2), subscription(1, 3)];
    for id in ids {
        parts.subscribe(id).await;
    }
    parts.subscribe(subscription(2, 1)).await;
    assert_eq!(all(1).await, ids);
    assert_eq!(all(2).await, [subscription(2, 1)]);
    assert!(parts.subscriptions.remove(user_agent(1), ids[1].channel).await.expect("remove answers"));
    assert_eq!(all(1).await, [ids[0], ids[2]]);
}

/// A subscription that is put in its own place again has the later visit; nothing of it ends.
pub async fn a_visit_is_noted_in_place(parts: Parts) {
    let id = subscription(1, 1);
    let kept = {
        parts.subscribe(id).await;
        parts.keep(id, [1]).await
    };
    let before = parts.subscriptions.find(id.user_agent, id.channel).await.expect("find answers");
    let before = before.expect("it is there");
    for (minutes, is_noted) in [(60, true), (61, false)] {
        let seen_at = parts.now.plus(Duration::from_mins(minutes));
        let noted = Subscription { seen_at, is_noted, ..before.clone() };
        let put = parts.subscriptions.put(Some(id), noted.clone()).await.expect("put answers");
        assert_eq!(put, Some(noted.clone()));
        let found = parts.subscriptions.find(id.user_agent, id.channel).await.expect("find answers");
        assert_eq!(found, Some(noted.clone()));
        assert_eq!(parts.subscriptions.all(id.user_agent).await.expect("all answers"), [noted]);
    }
    assert_eq!(parts.waiting(1).await.len(), kept.len(), "what waits for it waits on");
}

/// User agents with a webhook come page by page, and no others; the URL comes with the subscription.
pub async fn user_agents_with_a_webhook_are_found(parts: Parts) {
    let webhook = WebhookUrl::new("https://app.example/receipts?a=b");
    let all = async |limit| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = parts.subscriptions.webhooks(after, limit).await.expect("webhooks answers");
            assert!(page.len() <= limit, "{} user agents came where {limit} were asked for", page.len());
            let Some(last) = page.last() else { return found };
            after = Some(*last);
            found.extend(page);
        }
    };
    assert_eq!(all(5).await, []);
    parts.subscribe(subscription(9, 1)).await;
    for label in [3, 1, 4, 2, 5] {
        let id = subscription(label, 1);
        let (restriction, seen_at, webhook) = (Restriction::Open, parts.now, webhook.clone());
        let new = Subscription { id, restriction, seen_at, is_noted: true, webhook };
        assert_eq!(parts.put(None, new.clone()).await, Some(new.clone()));
        let found = parts.subscriptions.find(id.user_agent, id.channel).await.expect("find answers");
        assert_eq!(found, Some(new.clone()), "with its webhook");
        assert_eq!(parts.subscriptions.all(id.user_agent).await.expect("all answers"), [new]);
        assert_eq!(parts.subscriptions.alive(&[id]).await.expect("alive answers"), [true]);
        parts.keep(id, [u64::from(label)]).await;
    }
    let labels = |labels: &[u8]| labels.iter().map(|label| user_agent(*label)).collect::<Vec<_>>();
    assert_eq!(all(2).await, labels(&[1, 2, 3, 4, 5]));
    assert!(parts.remove(subscription(3, 1)).await);
    assert_eq!(all(100).await, labels(&[1, 2, 4, 5]), "one that has ended is not there");
    let next = parts.reopened().await;
    let found = next.subscriptions.webhooks(Some(user_agent(1)), 2).await.expect("webhooks answers");
    assert_eq!(found, labels(&[2, 4]));
}

/// A sweep hands out every subscription, and all of a user agent together.
pub async fn a_sweep_goes_through_all_subscriptions(parts: Parts) {
    let sweep = async || {
        let (mut swept, mut place) = (Vec::new(), None);
        loop {
            let (some, next) = parts.subscriptions.sweep(place).await.expect("sweep answers");
            let mut ids: Vec<_> = some.into_iter().map(|it| it.id).collect();
            ids.sort_unstable_by_key(|id| (id.user_agent, id.channel));
            swept.push(ids);
            match next {
                Some(_) => place = next,
                None => return swept,
            }
        }
    };
    assert!(sweep().await.iter().all(Vec::is_empty));
    let mut ids = Vec::new();
    for (of, on) in (1..=8).flat_map(|of| (1..=of % 3 + 1).map(move |on| (of, on))) {
        parts.subscribe(subscription(of, on)).await;
        ids.push(subscription(of, on));
    }
    let swept = sweep().await;
    for of in 1..=8 {
        let of: Vec<_> = ids.iter().filter(|id| id.user_agent == user_agent(of)).collect();
        let all_of = |some: &&Vec<SubscriptionRef>| of.iter().all(|id| some.contains(id));
        assert!(swept.iter().find(all_of).is_some(), "all of it in one piece");
    }
    assert!(swept.iter().flatten().all(|id| ids.contains(id)), "nothing else");
}

impl Parts {
    async fn find(&self, id: SubscriptionRef) -> Option<Subscription> {
        self.subscriptions.find(id.user_agent, id.channel).await.expect("find answers")
    }

    async fn put(&self, expected: Option<SubscriptionRef>, new: Subscription) -> Option<Subscription> {
        self.subscriptions.put(expected, new).await.expect("put answers")
    }

    pub(super) async fn remove(&self, id: SubscriptionRef) -> bool {
        self.subscriptions.remove(id.user_agent, id.channel).await.expect("remove answers")
    }

    async fn alive(&self, ids: &[SubscriptionRef]) -> Vec<bool> {
        self.subscriptions.alive(ids).await.expect("alive answers")
    }

    async fn count(&self, of: u8) -> usize {
        self.subscriptions.count(user_agent(of)).await.expect("count answers")
    }
}
