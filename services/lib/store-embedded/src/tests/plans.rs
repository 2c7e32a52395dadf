//! Every look-up has its index, whatever `SQLite` thinks of the amount of data.

use rusqlite::Connection;

use super::Home;
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
        (mailbox::PAGE, format!("{of_user_agent} (user_agent=? AND seq>?)")),
        (write::OF_CHANNEL, format!("{of_user_agent} (user_agent=?)")),
        (write::BY_ID, "SEARCH message USING INDEX message_by_id (user_agent=? AND id=?)".into()),
        (write::EXPIRED, format!("{from_index_alone} (user_agent=?)")),
        (write::FIRST_EXPIRY, format!("{from_index_alone} (user_agent=?)")),
        (
            write::OF_TOPIC,
            "SEARCH message USING INDEX message_by_topic \
             (user_agent=? AND channel=? AND incarnation=? AND topic=?)"
                .into(),
        ),
        (consumer::LOGGED, "SEARCH message USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)".into()),
        (subscriptions::COUNT, "SEARCH subscription USING PRIMARY KEY (user_agent=?)".into()),
        (usage::READ, "SCAN message USING COVERING INDEX message_of_user_agent".into()),
    ] {
        assert_eq!(plan(&connection, sql), [expected], "{sql}");
    }
}
