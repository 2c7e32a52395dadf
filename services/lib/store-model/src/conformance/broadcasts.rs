//! Checks of [`pushgrid_store::Broadcasts`]: what is set is kept, followed, replaced, removed and bounded.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_store::{BroadcastNotSet, BroadcastVersions, Broadcasts, VersionsWatch};
use pushgrid_types::{BroadcastId, BroadcastVersion};
use tokio::time::timeout;

/// Time in which a watch shows a change, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// An adapter, opened without broadcasts.
#[derive(Debug)]
pub struct Parts {
    /// The adapter.
    pub broadcasts: Arc<dyn Broadcasts>,
    /// Control over its restarts.
    pub life: Box<dyn Life>,
}

/// Restarts, which are part of no contract.
#[async_trait]
pub trait Life: Send + Sync + fmt::Debug {
    /// Ends this life, and opens the next on the same state. The adapter is dropped before the call.
    async fn reopen(self: Box<Self>) -> Parts;
}

/// Runs every check, each on an adapter opened by `make`.
pub async fn run(make: impl AsyncFn() -> Parts) {
    what_is_set_is_shown_and_the_newest_stays(make().await).await;
    what_is_removed_is_gone(make().await).await;
    the_next_life_has_the_versions_of_the_last(make().await).await;
    there_are_no_more_than_fit(make().await).await;
    of_several_at_once_one_stays(make().await).await;
}

fn id(text: &str) -> BroadcastId {
    text.parse().expect("an id")
}

fn version(text: &str) -> BroadcastVersion {
    text.parse().expect("a version")
}

async fn set(broadcasts: &dyn Broadcasts, of: &str, to: &str) {
    broadcasts.set(id(of), version(to)).await.expect("a version is set");
}

/// Waits until a watch shows exactly these versions.
async fn shown(watch: &mut VersionsWatch, expected: &[(&str, &str)]) {
    let is_so = |versions: &Option<Arc<BroadcastVersions>>| {
        let Some(versions) = versions else { return false };
        versions.iter().map(|(id, version)| (id.as_str(), version.as_str())).eq(expected.iter().copied())
    };
    let seen = timeout(SOON, watch.wait_for(is_so)).await.map(drop);
    assert!(seen.is_ok(), "{:?} is shown, not {expected:?}", watch.borrow());
}

/// A watch shows what was set, before and after it was made, and the newest version of each.
pub async fn what_is_set_is_shown_and_the_newest_stays(parts: Parts) {
    let broadcasts = parts.broadcasts;
    let mut before = broadcasts.versions();
    shown(&mut before, &[]).await;
    set(&*broadcasts, "b/b", "1").await;
    shown(&mut before, &[("b/b", "1")]).await;
    set(&*broadcasts, "a", "\"1\"").await;
    for number in 2..=9 {
        set(&*broadcasts, "b/b", &number.to_string()).await;
    }
    set(&*broadcasts, "b/b", "9").await;
    shown(&mut before, &[("a", "\"1\""), ("b/b", "9")]).await;
    shown(&mut broadcasts.versions(), &[("a", "\"1\""), ("b/b", "9")]).await;
}

/// A removed broadcast is gone, can be set again, and is removed once.
pub async fn what_is_removed_is_gone(parts: Parts) {
    let broadcasts = parts.broadcasts;
    let mut watch = broadcasts.versions();
    shown(&mut watch, &[]).await;
    assert!(!broadcasts.remove(&id("a")).await.expect("an answer"), "there was none");
    set(&*broadcasts, "a", "1").await;
    set(&*broadcasts, "b", "1").await;
    shown(&mut watch, &[("a", "1"), ("b", "1")]).await;
    assert!(broadcasts.remove(&id("a")).await.expect("an answer"));
    shown(&mut watch, &[("b", "1")]).await;
    assert!(!broadcasts.remove(&id("a")).await.expect("an answer"), "it was removed");
    set(&*broadcasts, "a", "2").await;
    shown(&mut watch, &[("a", "2"), ("b", "1")]).await;
}

/// Versions, and the absence of removed ones, outlive a life.
pub async fn the_next_life_has_the_versions_of_the_last(parts: Parts) {
    let Parts { broadcasts, life } = parts;
    shown(&mut broadcasts.versions(), &[]).await;
    for (of, to) in [("kept", "1"), ("changed", "1"), ("removed", "1"), ("changed", "2")] {
        set(&*broadcasts, of, to).await;
    }
    shown(&mut broadcasts.versions(), &[("changed", "2"), ("kept", "1"), ("removed", "1")]).await;
    assert!(broadcasts.remove(&id("removed")).await.expect("an answer"));
    drop(broadcasts);
    let Parts { broadcasts, life } = life.reopen().await;
    shown(&mut broadcasts.versions(), &[("changed", "2"), ("kept", "1")]).await;
    set(&*broadcasts, "kept", "2").await;
    drop(broadcasts);
    let parts = life.reopen().await;
    shown(&mut parts.broadcasts.versions(), &[("changed", "2"), ("kept", "2")]).await;
}

/// One broadcast too many is refused, and nothing else.
pub async fn there_are_no_more_than_fit(parts: Parts) {
    let broadcasts = parts.broadcasts;
    let mut watch = broadcasts.versions();
    shown(&mut watch, &[]).await;
    let ids: Vec<String> = (0..BroadcastVersions::MAX).map(|number| format!("id-{number:03}")).collect();
    for of in &ids {
        set(&*broadcasts, of, "1").await;
    }
    let all: Vec<_> = ids.iter().map(|of| (of.as_str(), "1")).collect();
    shown(&mut watch, &all).await;
    let refused = broadcasts.set(id("one-more"), version("1")).await;
    assert!(matches!(refused, Err(BroadcastNotSet::Full)), "{refused:?}");
    set(&*broadcasts, "id-000", "2").await;
    assert!(broadcasts.remove(&id("id-001")).await.expect("an answer"));
    let gone = watch.wait_for(|versions| versions.as_ref().is_some_and(|them| them.get("id-001").is_none()));
    timeout(SOON, gone).await.expect("it is removed").map(drop).expect("the adapter is there");
    set(&*broadcasts, "one-more", "1").await;
}

/// Versions set at the same time leave one of them, the same in the next life.
pub async fn of_several_at_once_one_stays(parts: Parts) {
    let Parts { broadcasts, life } = parts;
    shown(&mut broadcasts.versions(), &[]).await;
    tokio::join!(set(&*broadcasts, "a", "1"), set(&*broadcasts, "a", "2"), set(&*broadcasts, "a", "3"));
    set(&*broadcasts, "b", "last").await;
    let mut watch = broadcasts.versions();
    let last = watch.wait_for(|versions| versions.as_ref().is_some_and(|them| them.get("b").is_some()));
    let stays = timeout(SOON, last).await.expect("it is shown").expect("the adapter is there").clone();
    let stays = stays.expect("they are known").get("a").expect("one was set").1.clone();
    drop((broadcasts, watch));
    let parts = life.reopen().await;
    shown(&mut parts.broadcasts.versions(), &[("a", stays.as_str()), ("b", "last")]).await;
}
