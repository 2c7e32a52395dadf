//! One post: what waits, its form, and its end.

use std::time::{Duration, UNIX_EPOCH};

use pushgrid_session::receipt;
use pushgrid_store::{LinkError, PageLimit, PageStart, ResourceLink};
use pushgrid_types::{MessageId, Outcome, Receipt, UserAgentId};
use pushgrid_webhook::PostError;

use crate::handle::Handle;

/// Receipts of one post.
const LIMIT: PageLimit = PageLimit { messages: 100, octets: 64 << 10 };

/// Result of a turn for one receipt subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something was posted, and more may wait.
    Posted,
    /// Nothing waits.
    Empty,
    /// There is no webhook (any more).
    Ended,
    /// To be tried again; `None`: a store failed.
    Failed(Option<PostError>),
}

impl Handle {
    /// Posts what waits for a user agent with a webhook, up to the limit of a post.
    pub(super) async fn post_turn(&self, user_agent: UserAgentId) -> Turn {
        match self.post_waiting(user_agent).await {
            Ok(turn) => turn,
            Err(error) => {
                tracing::debug!(%error, "receipts could not be read or ended");
                Turn::Failed(None)
            }
        }
    }

    async fn post_waiting(&self, user_agent: UserAgentId) -> Result<Turn, LinkError> {
        let shared = self.shared();
        let all = shared.subscriptions.all(user_agent).await?;
        let found = all.iter().find_map(|it| it.webhook.clone().map(|webhook| (it.id, webhook)));
        let Some((id, webhook)) = found else { return Ok(Turn::Ended) };
        let page = shared.mailbox.page(user_agent, PageStart::FIRST, shared.now(), LIMIT).await?;
        let receipts: Vec<_> =
            page.messages.iter().filter_map(|it| Receipt::of(it).map(|receipt| (it.id, receipt))).collect();
        let Some((first, _)) = receipts.first() else { return Ok(Turn::Empty) };
        let name = format!("{}-{}", first.to_text(), receipts.len());
        let (at, body) = self.form(&receipts);
        match shared.context.webhooks.post(&id, &webhook, &name, at, body.into()).await {
            Ok(()) => {
                let ended = receipts.iter().map(|(id, _)| (*id, Outcome::Delivered)).collect();
                shared.mailbox.settle(user_agent, ended).await?;
                self.note_visit(all);
                Ok(Turn::Posted)
            }
            Err(error) if error.is_final() => {
                tracing::info!(user_agent = ?user_agent, "{error}; its receipt subscription ends");
                self.unsubscribe(id).await?;
                Ok(Turn::Ended)
            }
            Err(error) => Ok(Turn::Failed(Some(error))),
        }
    }

    /// The time of day in seconds, and the body of a post.
    fn form(&self, receipts: &[(MessageId, Receipt)]) -> (u64, String) {
        let context = &self.shared().context;
        let now = context.wall.wall();
        let time = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(now.as_millis()));
        let each = receipts.iter().map(|(_, it)| {
            let location = format!("{}/m/{}", context.public_url, context.addresses.seal(&it.message));
            format!("{{{}}}", receipt::members(it, &location))
        });
        let all = each.collect::<Vec<_>>().join(",");
        let body =
            format!("{{\"type\":\"receipts\",\"timestamp\":\"{time}\",\"data\":{{\"receipts\":[{all}]}}}}");
        (now.as_secs(), body)
    }
}
