//! A protocol of lines over a stream: nothing of it is in the core, and nothing of the core in it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pushgrid_store::Settlement;
use pushgrid_types::{AskedBroadcast, CloseReason, Outcome, Timestamp, Urgency};
use smallvec::smallvec;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use crate::end::End;
use crate::protocol::{Command, Input, Output, Protocol};
use crate::router_session::Answer;

/// The side of the service.
pub(super) struct Line {
    stream: DuplexStream,
    read: Vec<u8>,
    unwritten: Vec<u8>,
}

/// A line that means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gibberish;

impl From<Gibberish> for CloseReason {
    fn from(_: Gibberish) -> Self {
        Self::Protocol
    }
}

impl Line {
    pub(super) const fn new(stream: DuplexStream) -> Self {
        Self { stream, read: Vec::new(), unwritten: Vec::new() }
    }

    fn put_line(&mut self, line: &str) {
        self.unwritten.extend(line.as_bytes());
        self.unwritten.push(b'\n');
    }
}

impl Protocol for Line {
    const NAME: &'static str = "line";

    type Request = String;
    type Reply = Infallible;
    type Fault = Gibberish;

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input<String>, End<Gibberish>>> {
        loop {
            if let Some(end) = self.read.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let line = String::from_utf8(line).map_err(|_| End::Fault(Gibberish))?;
                return Poll::Ready(Ok(match line.trim_end() {
                    "" => Input::Alive,
                    "bye" => Input::Goodbye,
                    line => Input::Request(line.to_owned()),
                }));
            }
            let (mut room, before) = ([0; 64], self.read.len());
            let mut buffer = ReadBuf::new(&mut room);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            read.map_err(|_| End::For(CloseReason::Io))?;
            self.read.extend(buffer.filled());
            if self.read.len() == before {
                return Poll::Ready(Err(End::For(CloseReason::Io)));
            }
        }
    }

    fn decode(&mut self, line: String, _: Timestamp) -> Result<Command<Infallible>, End<Gibberish>> {
        match line.split_once(' ') {
            Some(("iam", id)) => {
                let (claimed, min_urgency) = (id.parse().ok(), Urgency::LEAST);
                Ok(Command::Identify { claimed, min_urgency, broadcasts: Vec::new() })
            }
            Some(("broadcasts", ids)) => {
                let asked = |id: &str| AskedBroadcast { id: id.to_owned(), known: None };
                Ok(Command::Broadcasts(ids.split(' ').map(asked).collect()))
            }
            Some(("ack", id)) => {
                let id = id.parse().map_err(|_| End::Fault(Gibberish))?;
                Ok(Command::Acknowledge(smallvec![Settlement { id, outcome: Outcome::Delivered }]))
            }
            _ => Err(End::Fault(Gibberish)),
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<Gibberish>>> {
        self.poll_flush(cx)
    }

    fn put(&mut self, output: Output<'_, Infallible>) -> Result<(), End<Gibberish>> {
        match output {
            Output::Answer(Answer::Identified { user_agent, .. }) => {
                self.put_line(&format!("youare {}", user_agent.to_hex()));
            }
            Output::Answer(
                Answer::Registered { .. }
                | Answer::Unregistered { .. }
                | Answer::UnregisteredAll(_)
                | Answer::UrgencySet(_),
            ) => {
                unreachable!("there is no line that asks for it")
            }
            Output::Message(message) => {
                let body = String::from_utf8_lossy(&message.content.body);
                self.put_line(&format!("message {} {body}", message.id.to_text()));
            }
            Output::Broadcasts(told) => {
                let versions = told.versions.iter().map(|(id, version)| format!("{id}={version}"));
                let errors = told.unknown.iter().chain(&told.refused).map(|id| format!("{id}?"));
                let all: Vec<String> = versions.chain(errors).collect();
                self.put_line(&format!("broadcasts {}", all.join(" ")));
            }
            Output::Probe => self.put_line("there?"),
            Output::Reply(never) => match never {},
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<Gibberish>>> {
        while !self.unwritten.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unwritten));
            let count = written.map_err(|_| End::For(CloseReason::Io))?;
            self.unwritten.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    async fn close(&mut self, why: End<Gibberish>) {
        self.put_line(&format!("bye {}", why.reason().as_str()));
        // One that has gone needs no goodbye.
        let _ = self.stream.write_all(&self.unwritten).await;
    }
}
