//! Every look-up has its index, whatever `SQLite` thinks of the amount of data.

use pushgrid_store::{Mailbox, Subscriptions};
use pushgrid_types::{ChannelId, SubscriptionRef};
use rusqlite::{Connection, StatementStatus, params};

use super::{Home, message, subscription};
use crate::{consumer, mailbox, subscriptions, usage, write};

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let parameters = vec![1_i64; statement.parameter_count()];
    let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get("detail")).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn no_look_up_reads_more_than_it_answers() {
    let home = Home::new();
    let connection = home.connection();
    let of_user_agent = "SEARCH message USING INDEX message_of_user_agent";
    let from_index_alone = "SEARCH message USING COVERING INDEX message_of_user_agent";
    for (sql, expected) in [
        (mailbox::SEQUENCES, format!("{from_index_alone} (user_agent=? AND urgency=? AND seq>?)")),
        (mailbox::PAGE, format!("{of_user_agent} (user_agent=? AND urgency=? AND seq>?)")),
        (write::OF_CHANNEL, format!("{from_index_alone} (user_agent=?)")),
        (write::BY_ID, "SEARCH message USING INDEX message_by_id (user_agent=? AND id=?)".into()),
        (write::EXPIRED, format!("{from_index_alone} (user_agent=?)")),
        (write::FIRST_EXPIRY, format!("{from_index_alone} (user_agent=?)")),
        (
            write::OF_TOPIC,
            "SEARCH message USING INDEX message_by_topic \
             (user_agent=? AND channel=? AND incarnation=? AND topic=?)"
                .into(),
        ),
        (consumer::LOGGED, "SEARCH message USING INTEGER PRIMARY KEY (rowid>?)".into()),
        (consumer::BEHIND, "SEARCH message USING INTEGER PRIMARY KEY (rowid>?)".into()),
        (mailbox::BY_ID, "SEARCH message USING INDEX message_by_id (user_agent=? AND id=?)".into()),
        (subscriptions::ALL, "SEARCH subscription USING PRIMARY KEY (user_agent=?)".into()),
        (subscriptions::NEXT, "SEARCH subscription USING PRIMARY KEY (user_agent>?)".into()),
        (subscriptions::COUNT, "SEARCH subscription USING PRIMARY KEY (user_agent=?)".into()),
        (
            subscriptions::WITH_WEBHOOK,
            "SEARCH subscription USING INDEX subscription_with_webhook (user_agent>?)".into(),
        ),
        (usage::READ, "SCAN message USING COVERING INDEX message_of_user_agent".into()),
    ] {
        assert_eq!(plan(&connection, sql), [expected], "{sql}");
    }
}

#[test]
fn no_change_scans() {
    let home = Home::new();
    let connection = home.connection();
    for sql in write::STATEMENTS {
        let plan = plan(&connection, sql);
        assert!(plan.iter().all(|step| step.starts_with("SEARCH ")), "{sql}: {plan:?}");
    }
}

#[tokio::test]
async fn ending_a_channel_reads_no_message_of_another_one() {
    let home = Home::new();
    let busy = subscription(1);
    let quiet = SubscriptionRef { channel: ChannelId::from_octets([2; 16]), ..busy };
    home.subscribe(busy).await;
    home.subscribe(quiet).await;
    for label in 0..300 {
        let accepted = home.append(message(if label == 150 { quiet } else { busy }, label)).await;
        home.store.store(vec![accepted]).await.unwrap();
    }
    let connection = home.connection();
    let mut statement = connection.prepare(write::OF_CHANNEL).unwrap();
    let key = params![quiet.user_agent.as_octets(), quiet.channel.as_octets()];
    assert_eq!(statement.query_map(key, |_| Ok(())).unwrap().count(), 1);
    let steps = statement.get_status(StatementStatus::VmStep);
    assert!(steps <= 20 + 300 * 5, "{steps} steps for the index of 300 messages");
}

/// The search must not be for everyone to ask for: only the end of a subscription pays for it.
#[tokio::test]
async fn a_channel_that_does_not_exist_is_not_searched_for() {
    let home = Home::new();
    let to = subscription(1);
    home.subscribe(to).await;
    let accepted = home.append(message(to, 1)).await;
    home.store.store(vec![accepted]).await.unwrap();
    // Whoever searches misses the index.
    home.connection().execute_batch("DROP INDEX message_of_user_agent").unwrap();
    assert!(!home.store.remove(to.user_agent, ChannelId::from_octets([3; 16])).await.unwrap());
    assert!(home.store.remove(to.user_agent, to.channel).await.is_err());
}
