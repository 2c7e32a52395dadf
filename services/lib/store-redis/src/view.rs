use async_trait::async_trait;
use pushgrid_store::{Change, Footing, PageLimit, StoredMessage, Subscription, Usage, View, ViewError};
use pushgrid_types::{
    ChannelId, Message, MessageId, Partition, Position, Sequence, SubscriptionRef, Tenure, Timestamp, Topic,
    UserAgentId,
};
use redis::Cmd;

use crate::answer::{self, Items};
use crate::batch::{Batch, exact, topic_of};
use crate::failure::{Effect, corrupt};
use crate::script::Source;
use crate::{Redis, key};

/// [`View`] over Redis, for the owners of partitions. Each call is one round trip and one script.
///
/// [`View::apply`] takes at most [`crate::MAX_CHANGES`] changes of at most [`crate::MAX_OCTETS`] octets; more are refused as
/// [`pushgrid_store::ErrorKind::Corrupt`]. When Redis has no memory left it still takes batches in which nothing is
/// stored or subscribed, and refuses others as [`pushgrid_store::ErrorKind::Unavailable`].
///
/// A page, an ending, a topic cost the logarithm of what waits for the user agent; [`View::in_channel`] goes through all
/// of it once.
#[derive(Debug, Clone)]
pub struct RedisView {
    redis: Redis,
}

impl RedisView {
    /// A view on `redis`.
    pub const fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// Runs a script that checks the footing first.
    async fn ask(
        &self,
        script: &Source,
        effect: Effect,
        footing: Footing,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Items, ViewError> {
        let meta = key::meta(self.redis.prefix(), footing.partition);
        let (tenure, position) = (exact(footing.tenure.0)?, exact(footing.position.0)?);
        let answer = self.redis.run(script, effect, [&meta], |command| {
            command.arg(tenure).arg(position);
            arguments(command);
        });
        answer::open_view(answer.await?)
    }

    async fn read(
        &self,
        script: &Source,
        footing: Footing,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Items, ViewError> {
        self.ask(script, Effect::Reads, footing, arguments).await
    }
}

#[async_trait]
impl View for RedisView {
    async fn begin(&self, partition: Partition, tenure: Tenure) -> Result<Position, ViewError> {
        let meta = key::meta(self.redis.prefix(), partition);
        let tenure = exact(tenure.0)?;
        let answer = self.redis.run(&self.redis.scripts().begin, Effect::Writes, [&meta], |command| {
            command.arg(tenure);
        });
        let mut items = answer::open_view(answer.await?)?;
        Ok(answer::position(items.next())?)
    }

    async fn apply(&self, footing: Footing, changes: &[Change], to: Position) -> Result<(), ViewError> {
        let to = exact(to.0)?;
        let batch = Batch::of(changes)?;
        let script = &self.redis.scripts().apply;
        let answer = self.ask(script, Effect::Writes, footing, |command| {
            command.arg(to).arg(u8::from(batch.grows));
            for argument in &batch.arguments {
                command.arg(argument.as_slice());
            }
        });
        answer.await.map(drop)
    }

    async fn complete(&self, footing: Footing) -> Result<(), ViewError> {
        self.ask(&self.redis.scripts().complete, Effect::Writes, footing, |_| {}).await.map(drop)
    }

    async fn find(
        &self,
        footing: Footing,
        channels: &[(UserAgentId, ChannelId)],
    ) -> Result<Vec<Option<Subscription>>, ViewError> {
        let items = self.read(&self.redis.scripts().find, footing, |command| {
            for (user_agent, channel) in channels {
                command.arg([*user_agent.as_octets(), *channel.as_octets()].concat());
            }
        });
        let found = answer::each(items.await?, channels.len(), |at, octets| {
            let (user_agent, channel) = channels[at];
            answer::subscription(user_agent, channel, octets)
        });
        Ok(found?)
    }

    async fn alive(&self, footing: Footing, ids: &[SubscriptionRef]) -> Result<Vec<bool>, ViewError> {
        let items = self.read(&self.redis.scripts().alive, footing, |command| {
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

    async fn count(&self, footing: Footing, user_agent: UserAgentId) -> Result<usize, ViewError> {
        let items = self.read(&self.redis.scripts().count, footing, |command| {
            command.arg(&user_agent.as_octets()[..]);
        });
        let count = answer::count(items.await?.next().as_ref())?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    async fn stored(
        &self,
        footing: Footing,
        ids: &[(UserAgentId, MessageId)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError> {
        let items = self.read(&self.redis.scripts().stored, footing, |command| {
            for (user_agent, id) in ids {
                command.arg([*user_agent.as_octets(), *id.as_octets()].concat());
            }
        });
        Ok(answer::each(items.await?, ids.len(), |_, octets| answer::stored(octets))?)
    }

    async fn in_topic(
        &self,
        footing: Footing,
        topics: &[(UserAgentId, ChannelId, Topic)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError> {
        let items = self.read(&self.redis.scripts().in_topic, footing, |command| {
            for (user_agent, channel, topic) in topics {
                command.arg([&user_agent.as_octets()[..], &topic_of(*channel, Some(topic))].concat());
            }
        });
        Ok(answer::each(items.await?, topics.len(), |_, octets| answer::stored(octets))?)
    }

    async fn in_channel(
        &self,
        footing: Footing,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Vec<StoredMessage>, ViewError> {
        let items = self.read(&self.redis.scripts().in_channel, footing, |command| {
            command.arg(&user_agent.as_octets()[..]).arg(&channel.as_octets()[..]);
        });
        Ok(answer::all(items.await?, |octets| answer::stored(&octets))?)
    }

    async fn due(
        &self,
        footing: Footing,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(UserAgentId, StoredMessage)>, ViewError> {
        // A negative limit, which a larger number would become, is none.
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let items = self.read(&self.redis.scripts().due, footing, |command| {
            command.arg(now.as_millis()).arg(limit);
        });
        Ok(answer::all(items.await?, |octets| answer::due(&octets))?)
    }

    async fn page(
        &self,
        footing: Footing,
        user_agent: UserAgentId,
        after: Sequence,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Vec<Message>, ViewError> {
        let items = self.read(&self.redis.scripts().page, footing, |command| {
            command.arg(&user_agent.as_octets()[..]).arg(after.0).arg(now.as_millis());
            command.arg(limit.messages).arg(limit.octets);
        });
        Ok(answer::all(items.await?, answer::message)?)
    }

    async fn usage(&self, footing: Footing, user_agent: UserAgentId) -> Result<Usage, ViewError> {
        let items = self.read(&self.redis.scripts().usage, footing, |command| {
            command.arg(&user_agent.as_octets()[..]);
        });
        Ok(answer::usage(items.await?)?)
    }

    async fn waiting(&self, footing: Footing) -> Result<u64, ViewError> {
        let items = self.read(&self.redis.scripts().waiting, footing, |_| {}).await;
        Ok(answer::count(items?.next().as_ref())?)
    }
}

/// User agent, channel and incarnation.
pub(crate) fn name(id: &SubscriptionRef) -> [u8; 44] {
    let mut name = [0; 44];
    name[..16].copy_from_slice(id.user_agent.as_octets());
    name[16..32].copy_from_slice(id.channel.as_octets());
    name[32..].copy_from_slice(id.incarnation.as_octets());
    name
}
