//! A process that is killed at any moment (promises P1 and P2).
//!
//! This program is both: asked by a variable it is the process that is killed, which says on its output what it was
//! answered; else it kills that process, several times over one directory, and compares what it said with what is
//! there. It has no harness, for the child must do nothing else.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use pushgrid_store::{
    End, EventLog, LogConsumer, Mailbox, PageLimit, PageStart, Subscription, Subscriptions,
};
use pushgrid_store_embedded::{Embedded, EmbeddedConfig};
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Outcome, Restriction, Rng, Sequence,
    SubscriptionRef, SystemRng, Timestamp, Ttl, Urgency, UserAgentId,
};
use tokio::task::JoinSet;

const DIRECTORY: &str = "PUSHGRID_TEST_KILL_DIRECTORY";
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const ALL: PageLimit = PageLimit { messages: 1 << 20, octets: 1 << 30 };
const ROUNDS: usize = 4;
/// Lines of a child before it is killed.
const LINES: usize = 3000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    match std::env::var_os(DIRECTORY) {
        Some(directory) => runtime.block_on(live(Path::new(&directory))),
        None => runtime.block_on(kill()),
    }
}

fn to(user_agent: u8) -> SubscriptionRef {
    SubscriptionRef {
        user_agent: UserAgentId::from_octets([user_agent; 16]),
        channel: ChannelId::from_octets([user_agent; 16]),
        incarnation: Incarnation::from_octets([user_agent; 12]),
    }
}

fn message(user_agent: u8) -> Message {
    let ttl = Ttl::from_secs(3600);
    let mut body = vec![0; 700];
    SystemRng.fill(&mut body);
    Message {
        id: MessageId::random(&SystemRng),
        to: to(user_agent),
        sequence: Sequence(0),
        accepted_at: NOW,
        ttl,
        expires_at: Message::expiry(NOW, ttl),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content { body: body.into(), ..Content::default() },
    }
}

/// Prints each answer, and each end before it is asked for, until killed.
async fn live(directory: &Path) {
    let store = Embedded::open(&EmbeddedConfig::at(directory)).expect("the store opens");
    for user_agent in 0..8 {
        let new = Subscription {
            id: to(user_agent),
            restriction: Restriction::Open,
            seen_at: NOW,
            is_noted: true,
            webhook: None,
        };
        store.put(None, new).await.expect("put answers");
    }
    let mut tasks = JoinSet::new();
    for user_agent in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            loop {
                let sequence = store.append(message(user_agent)).await.expect("append answers");
                say("accepted", [sequence]);
            }
        });
    }
    tasks.spawn(consume(store));
    tasks.join_all().await;
}

/// Ends a third of the messages in the log, stores the others, and ends some of the stored ones.
async fn consume(store: Embedded) {
    let mut consumer = store.consumer().expect("there is no other consumer");
    loop {
        let batch = consumer.next(50).await.expect("next answers");
        let (ended, kept): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|it| it.sequence.0.is_multiple_of(3));
        say("ending", ended.iter().map(|it| it.sequence));
        consumer.settle(ended.iter().map(|it| End::of(it, Outcome::Delivered)).collect());
        if ended.len().is_multiple_of(2) {
            consumer.flush().await.expect("flush answers");
            say("ended", ended.iter().map(|it| it.sequence));
        }
        store.store(kept).await.expect("store answers");
        let limit = PageLimit { messages: 5, ..ALL };
        let user_agent = to(0).user_agent;
        let page = store.page(user_agent, PageStart::FIRST, NOW, limit).await.expect("page answers").messages;
        say("ending", page.iter().map(|it| it.sequence));
        let ended = page.iter().map(|it| (it.id, Outcome::Cancelled)).collect();
        store.settle(user_agent, ended).await.expect("settle answers");
    }
}

/// Prints whole lines, which are in the pipe when the call returns: an end must be printed before it happens.
fn say(word: &str, sequences: impl IntoIterator<Item = Sequence>) {
    let mut output = std::io::stdout().lock();
    for sequence in sequences {
        writeln!(output, "{word} {}", sequence.0).expect("the parent reads");
    }
    output.flush().expect("the parent reads");
}

async fn kill() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut accepted = BTreeSet::new();
    let mut ending = BTreeSet::new();
    let mut ended = BTreeSet::new();
    for round in 1..=ROUNDS {
        for line in said_until_killed(directory.path()) {
            // The last line may be cut off, and then says nothing.
            match line.split_once(' ').and_then(|(word, number)| Some((word, number.parse::<u64>().ok()?))) {
                Some(("accepted", sequence)) => {
                    assert!(accepted.insert(sequence), "{sequence} was given twice");
                }
                Some(("ending", sequence)) => _ = ending.insert(sequence),
                Some(("ended", sequence)) => _ = ended.insert(sequence),
                Some(_) | None => {}
            }
        }
        let there = look(directory.path()).await;
        let lost: Vec<_> = accepted.difference(&ending).filter(|it| !there.contains(it)).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?} were accepted, and neither ended nor are there");
        let back: Vec<_> = ended.intersection(&there).collect();
        assert!(back.is_empty(), "round {round}: {back:?} had ended, durably");
        println!("round {round}: {} accepted, {} there, none lost", accepted.len(), there.len());
    }
    println!("test a_process_that_is_killed_at_any_moment_loses_nothing ... ok");
}

/// Runs a child, and kills it after enough lines. Only whole lines count.
fn said_until_killed(directory: &Path) -> Vec<String> {
    let program = std::env::current_exe().expect("this program has a path");
    let child = Command::new(program).env(DIRECTORY, directory).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("this program can be started again");
    let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        let octets = output.read_line(&mut line).expect("the output can be read");
        if octets == 0 {
            break;
        }
        if line.ends_with('\n') {
            lines.push(line.trim_end().to_owned());
        }
        if lines.len() == LINES {
            child.kill().expect("a child can be killed");
        }
    }
    let status = child.wait().expect("a child can be waited for");
    assert!(
        !status.success() && lines.len() >= LINES,
        "the child was killed, and did not end by itself: {status}"
    );
    lines
}

/// Sequences in the log or in the mailbox; the account must agree.
async fn look(directory: &Path) -> BTreeSet<u64> {
    let store = Embedded::open(&EmbeddedConfig::at(directory)).expect("the store opens after a crash");
    let account = store.ledger().snapshot();
    assert!(account.adds_up(), "the account adds up after a crash: {account:?}");
    let mut there = BTreeSet::new();
    for user_agent in 0..8 {
        let user_agent = to(user_agent).user_agent;
        let page = store.page(user_agent, PageStart::FIRST, NOW, ALL).await.expect("page answers").messages;
        let usage = store.usage(user_agent).await.expect("usage answers");
        assert_eq!(usage.messages, u64::try_from(page.len()).expect("a length fits"));
        there.extend(page.iter().map(|message| message.sequence.0));
    }
    // A closed log hands out what it has, and then says that this was all.
    let mut consumer = store.consumer().expect("there is no other consumer");
    store.close().await;
    loop {
        let batch = consumer.next(1000).await.expect("next answers");
        if batch.is_empty() {
            break;
        }
        there.extend(batch.iter().map(|message| message.sequence.0));
    }
    assert_eq!(account.pending, u64::try_from(there.len()).expect("a length fits"), "each is in one place");
    there
}
