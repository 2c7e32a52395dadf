//! Members of the group that are killed or suspended.
//!
//! This program is both sides: with a variable set it is the member, which prints its events; else it starts that
//! member, and is the router that takes over. Without a harness, for the child must do nothing else.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[expect(dead_code, reason = "it is shared with tests that use more of it")]
#[path = "kafka/support.rs"]
mod support;

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pushgrid_log_kafka::{KafkaAssignments, topics};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{Assignments, Commit};
use pushgrid_types::Sequence;
use rustix::process::{Pid, Signal, kill_process};

const PREFIX: &str = "PUSHGRID_TEST_KILL_PREFIX";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    match std::env::var(PREFIX) {
        Ok(prefix) => runtime.block_on(live(&prefix)),
        Err(_) => runtime.block_on(async {
            println!("the partition of a member that was killed is taken over, from its last commit on");
            killed().await;
            println!("a member that stood still while its partition was taken over cannot commit any more");
            stopped().await;
        }),
    }
}

/// The child: joins, prints the committed offset, and commits once more for each line of input.
async fn live(prefix: &str) {
    let config = support::configured(prefix, 1);
    let topics = topics::ensure(&config).await.unwrap();
    let mut member = KafkaAssignments::join(&config, &topics, &Meter::new()).unwrap();
    let share = support::gained(&mut member, 1).await.remove(0);
    for (round, line) in (1..).zip(std::iter::once(Ok(String::new())).chain(std::io::stdin().lines())) {
        line.unwrap();
        let commit = Commit { next: Sequence(round), note: format!("round {round}") };
        match share.offsets.commit(commit).await {
            Ok(()) => println!("committed"),
            Err(error) => println!("{:?}", error.kind),
        }
        std::io::stdout().flush().unwrap();
    }
}

struct Member {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Member {
    fn start(prefix: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(PREFIX, prefix).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output }
    }

    /// Next line of the child's output.
    fn says(&mut self) -> String {
        tokio::task::block_in_place(|| self.output.next().expect("it is alive").unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.child.kill().expect("it is our own child");
        self.child.wait().expect("it is our own child");
    }
}

async fn killed() {
    let place = support::place(1).await;
    let mut member = Member::start(&place.config.topic_prefix);
    assert_eq!(member.says(), "committed");
    member.signal(Signal::KILL);
    let mut assignments = place.join();
    let share = support::gained(&mut assignments, 1).await.remove(0);
    let committed = share.offsets.committed().await.unwrap().unwrap();
    assert_eq!(committed, Commit { next: Sequence(1), note: "round 1".to_owned() });
}

async fn stopped() {
    let place = support::place(1).await;
    let mut member = Member::start(&place.config.topic_prefix);
    assert_eq!(member.says(), "committed");
    member.signal(Signal::STOP);
    let mut assignments = place.join();
    let share = support::gained(&mut assignments, 1).await.remove(0);
    let mine = Commit { next: Sequence(7), note: "mine".to_owned() };
    share.offsets.commit(mine.clone()).await.unwrap();
    member.input.write_all(b"again\n").unwrap();
    member.signal(Signal::CONT);
    assert_eq!(member.says(), "Closed");
    assert_eq!(share.offsets.committed().await.unwrap(), Some(mine));
    assignments.leave();
}
