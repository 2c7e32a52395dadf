//! The view of partitions over Redis, for their owners: arguments of the scripts, and answers as values. Not here:
//! the rules of the view (`lua/`), and the order of changes (the changelog).

use async_trait::async_trait;
use pushgrid_store::{
    Change, History, Page, PageLimit, PageStart, ReadBarrier, Stamp, StoredMessage, Subscription, SweepPlace,
    Usage, View, ViewError,
};
use pushgrid_types::cast::saturating;
use pushgrid_types::{
    ChannelId, LeaderEpoch, Message, MessageId, Partition, Position, ReplaceKey, SubscriptionRef, Timestamp,
    Urgency, UserAgentId,
};
use redis::Cmd;

use crate::answer::{self, Items, PageAnswer};
use crate::batch::{Batch, exact, topic_of};
use crate::failure::{Effect, corrupt};
use crate::script::Source;
use crate::{Redis, key};

/// [`View`] over Redis, for the owners of partitions. Each call is one round trip and one script.
///
/// [`View::apply`] takes at most [`crate::MAX_CHANGES`] changes of at most [`crate::MAX_OCTETS`] octets; larger
/// batches are refused as [`pushgrid_store::ErrorKind::Corrupt`]. A change with a number too large for scripts, or of
/// a user agent with foreign values under the keys, sets the user agent aside. Without free memory Redis still takes
/// batches that neither store nor subscribe, and refuses others as [`pushgrid_store::ErrorKind::Unavailable`].
///
/// A page, an end, or a topic costs the logarithm of the user agent's stored messages; [`View::in_channel`] visits
/// each of them once.
#[derive(Debug, Clone)]
pub struct RedisView {
    redis: Redis,
}

impl RedisView {
    /// Builds the view on `redis`.
    pub const fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// Runs a script behind the read barrier.
    async fn ask(
        &self,
        script: &Source,
        effect: Effect,
        barrier: ReadBarrier,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Items, ViewError> {
        let meta = key::meta(self.redis.prefix(), barrier.partition);
        let (leader_epoch, position) = (exact(barrier.leader_epoch.0)?, exact(barrier.position.0)?);
        let answer = self.redis.run(script, effect, [&meta], |command| {
            command.arg(leader_epoch).arg(position);
            arguments(command);
        });
        answer::open_view(answer.await?)
    }

    async fn read(
        &self,
        script: &Source,
        barrier: ReadBarrier,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Items, ViewError> {
        self.ask(script, Effect::Reads, barrier, arguments).await
    }
}

#[async_trait]
impl View for RedisView {
    async fn begin(&self, partition: Partition, leader_epoch: LeaderEpoch) -> Result<Position, ViewError> {
        let meta = key::meta(self.redis.prefix(), partition);
        let leader_epoch = exact(leader_epoch.0)?;
        let answer = self.redis.run(&self.redis.scripts().begin, Effect::Writes, [&meta], |command| {
            command.arg(leader_epoch);
        });
        let mut items = answer::open_view(answer.await?)?;
        Ok(answer::position(items.next())?)
    }

    async fn stamp(&self, partition: Partition) -> Result<Option<Stamp>, ViewError> {
        let meta = key::meta(self.redis.prefix(), partition);
        let answer = self.redis.run(&self.redis.scripts().stamp, Effect::Reads, [&meta], |_| {}).await?;
        Ok(answer::stamp(answer::open_view(answer)?)?)
    }

    async fn sign(
        &self,
        partition: Partition,
        leader_epoch: LeaderEpoch,
        history: History,
    ) -> Result<(), ViewError> {
        let meta = key::meta(self.redis.prefix(), partition);
        let leader_epoch = exact(leader_epoch.0)?;
        let answer = self.redis.run(&self.redis.scripts().sign, Effect::Writes, [&meta], |command| {
            command.arg(leader_epoch).arg(&history.0[..]);
        });
        answer::open_view(answer.await?).map(drop)
    }

    /// Visits all keys of the partition's server, a thousand in a call.
    async fn discard(
        &self,
        partition: Partition,
        leader_epoch: LeaderEpoch,
        history: History,
    ) -> Result<(), ViewError> {
        let meta = key::meta(self.redis.prefix(), partition);
        let leader_epoch = exact(leader_epoch.0)?;
        let mut cursor = Vec::new();
        while cursor != b"0" {
            let answer = self.redis.run(&self.redis.scripts().discard, Effect::Writes, [&meta], |command| {
                command.arg(leader_epoch).arg(&history.0[..]).arg(&cursor[..]);
            });
            cursor = answer::octets(answer::open_view(answer.await?)?.next())?;
        }
        self.redis.count_discarded();
        Ok(())
    }

    async fn apply(&self, barrier: ReadBarrier, changes: &[Change], to: Position) -> Result<(), ViewError> {
        let to = exact(to.0)?;
        let batch = Batch::of(changes)?;
        let script = &self.redis.scripts().apply;
        let answer = self.ask(script, Effect::Writes, barrier, |command| {
            command.arg(to).arg(u8::from(batch.grows));
            for argument in &batch.arguments {
                command.arg(argument.as_slice());
            }
        });
        answer.await.map(drop)
    }

    async fn complete(&self, barrier: ReadBarrier) -> Result<Vec<UserAgentId>, ViewError> {
        let answer = self.ask(&self.redis.scripts().complete, Effect::Writes, barrier, |_| {});
        Ok(answer::user_agents(answer.await?)?)
    }

    async fn set_aside(&self, barrier: ReadBarrier, user_agents: &[UserAgentId]) -> Result<(), ViewError> {
        let answer = self.ask(&self.redis.scripts().set_aside, Effect::Writes, barrier, |command| {
            for user_agent in user_agents {
                command.arg(&user_agent.as_octets()[..]);
            }
        });
        answer.await.map(drop)
    }

    async fn restore(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        changes: &[Change],
        whole: bool,
    ) -> Result<(), ViewError> {
        let batch = Batch::of(changes)?;
        let answer = self.ask(&self.redis.scripts().restore, Effect::Writes, barrier, |command| {
            command.arg(&user_agent.as_octets()[..]).arg(u8::from(whole)).arg(u8::from(batch.grows));
            for argument in &batch.arguments {
                command.arg(argument.as_slice());
            }
        });
        answer.await.map(drop)
    }

    async fn find(
        &self,
        barrier: ReadBarrier,
        channels: &[(UserAgentId, ChannelId)],
    ) -> Result<Vec<Option<Subscription>>, ViewError> {
        let items = self.read(&self.redis.scripts().find, barrier, |command| {
            for (user_agent, channel) in channels {
                command.arg([*user_agent.as_octets(), *channel.as_octets()].concat());
            }
        });
        let read = |at: usize, octets: &[u8]| {
            let (user_agent, channel) = channels[at];
            answer::subscription(user_agent, channel, octets)
        };
        answer::each(items.await?, channels.len(), read, |at| channels[at].0)
    }

    async fn alive(&self, barrier: ReadBarrier, ids: &[SubscriptionRef]) -> Result<Vec<bool>, ViewError> {
        let items = self.read(&self.redis.scripts().alive, barrier, |command| {
            for id in ids {
                command.arg(&name(id)[..]);
            }
        });
        let digits = answer::octets(items.await?.next())?;
        if digits.len() != ids.len() {
            return Err(corrupt("a script has answered more or less than it was asked").into());
        }
        Ok(digits.into_iter().map(|digit| digit == b'1').collect())
    }

    async fn count(&self, barrier: ReadBarrier, user_agent: UserAgentId) -> Result<usize, ViewError> {
        let items = self.read(&self.redis.scripts().count, barrier, |command| {
            command.arg(&user_agent.as_octets()[..]);
        });
        let count = answer::count(items.await?.next().as_ref())?;
        Ok(saturating::<usize>(count))
    }

    async fn all(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
    ) -> Result<Vec<Subscription>, ViewError> {
        let items = self.read(&self.redis.scripts().all, barrier, |command| {
            command.arg(&user_agent.as_octets()[..]);
        });
        answer::read(user_agent, answer::subscriptions(user_agent, items.await?))
    }

    async fn sweep(
        &self,
        barrier: ReadBarrier,
        from: Option<SweepPlace>,
    ) -> Result<(Vec<Subscription>, Option<SweepPlace>), ViewError> {
        let from = from.map_or_else(Vec::new, |place| place.0);
        let items = self.read(&self.redis.scripts().sweep, barrier, |command| {
            command.arg(&from[..]);
        });
        let mut items = items.await?;
        let next = answer::octets(items.next())?;
        let next = (!next.is_empty()).then_some(SweepPlace(next));
        Ok((answer::swept(items)?, next))
    }

    async fn webhooks(
        &self,
        barrier: ReadBarrier,
        after: Option<UserAgentId>,
        limit: usize,
    ) -> Result<Vec<UserAgentId>, ViewError> {
        let after = after.map_or_else(Vec::new, |after| after.as_octets().to_vec());
        let items = self.read(&self.redis.scripts().webhooks, barrier, |command| {
            command.arg(&after[..]).arg(limit);
        });
        Ok(answer::user_agents(items.await?)?)
    }

    async fn stored(
        &self,
        barrier: ReadBarrier,
        ids: &[(UserAgentId, MessageId)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError> {
        let items = self.read(&self.redis.scripts().stored, barrier, |command| {
            for (user_agent, id) in ids {
                command.arg([*user_agent.as_octets(), *id.as_octets()].concat());
            }
        });
        answer::each(items.await?, ids.len(), |at, octets| answer::stored(ids[at].0, octets), |at| ids[at].0)
    }

    async fn in_topic(
        &self,
        barrier: ReadBarrier,
        topics: &[(UserAgentId, ChannelId, ReplaceKey)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError> {
        let items = self.read(&self.redis.scripts().in_topic, barrier, |command| {
            for (user_agent, channel, topic) in topics {
                command.arg([&user_agent.as_octets()[..], &topic_of(*channel, Some(topic))].concat());
            }
        });
        answer::each(
            items.await?,
            topics.len(),
            |at, octets| answer::stored(topics[at].0, octets),
            |at| topics[at].0,
        )
    }

    async fn in_channel(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Vec<StoredMessage>, ViewError> {
        let items = self.read(&self.redis.scripts().in_channel, barrier, |command| {
            command.arg(&user_agent.as_octets()[..]).arg(&channel.as_octets()[..]);
        });
        answer::read(user_agent, answer::all(items.await?, |octets| answer::stored(user_agent, &octets)))
    }

    async fn due(
        &self,
        barrier: ReadBarrier,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, ViewError> {
        // A larger number would become a negative limit, which is none.
        let limit = saturating::<u32>(limit);
        let items = self.read(&self.redis.scripts().due, barrier, |command| {
            command.arg(now.as_millis()).arg(limit);
        });
        Ok(answer::all(items.await?, |octets| answer::due(&octets))?)
    }

    async fn page(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        start: PageStart,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Page, ViewError> {
        let mut places: Vec<_> = start.places().collect();
        loop {
            let items = self.read(&self.redis.scripts().page, barrier, |command| {
                command.arg(&user_agent.as_octets()[..]).arg(now.as_millis());
                command.arg(limit.messages).arg(limit.octets);
                for (urgency, after) in &places {
                    command.arg(stored_form(*urgency)).arg(after.0);
                }
            });
            match answer::page(items.await?) {
                Ok(PageAnswer::Read(page)) => return Ok(page),
                // Each time further on in the same mailbox, so this ends.
                Ok(PageAnswer::Unfinished { level, after }) if level < places.len() => {
                    places.drain(..level);
                    places[0].1 = after;
                }
                Ok(PageAnswer::Unfinished { .. }) => return Err(answer::wrong_form().into()),
                Err(error) => return answer::read(user_agent, Err(error)),
            }
        }
    }

    async fn message(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        id: MessageId,
    ) -> Result<Option<Message>, ViewError> {
        let items = self.read(&self.redis.scripts().message, barrier, |command| {
            command.arg(&user_agent.as_octets()[..]).arg(&id.as_octets()[..]);
        });
        let found = answer::optional(items.await?.next());
        answer::read(user_agent, found.and_then(|octets| octets.map(answer::message).transpose()))
    }

    async fn usage(&self, barrier: ReadBarrier, user_agent: UserAgentId) -> Result<Usage, ViewError> {
        let items = self.read(&self.redis.scripts().usage, barrier, |command| {
            command.arg(&user_agent.as_octets()[..]);
        });
        answer::read(user_agent, answer::usage(items.await?))
    }

    async fn waiting(&self, barrier: ReadBarrier) -> Result<u64, ViewError> {
        let items = self.read(&self.redis.scripts().waiting, barrier, |_| {}).await;
        Ok(answer::count(items?.next().as_ref())?)
    }
}

/// Urgency as stored messages have it (`stored.proto`).
fn stored_form(urgency: Urgency) -> u8 {
    urgency.level() + 1
}

/// User agent, channel and incarnation, as one octet string.
pub(crate) fn name(id: &SubscriptionRef) -> [u8; 44] {
    let mut name = [0; 44];
    name[..16].copy_from_slice(id.user_agent.as_octets());
    name[16..32].copy_from_slice(id.channel.as_octets());
    name[32..].copy_from_slice(id.incarnation.as_octets());
    name
}
