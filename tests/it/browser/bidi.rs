use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::within;

/// Deadline of one command: a page that subscribes, on a busy machine.
const COMMAND: Duration = Duration::from_mins(1);

/// Session of the W3C protocol `WebDriver BiDi`: one command at a time, no events.
#[derive(Debug)]
pub(super) struct Session {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last: u64,
}

impl Session {
    pub(super) async fn open(address: &str) -> Result<Self> {
        let (socket, _) = within(COMMAND, "the driver's socket", Box::pin(connect_async(address))).await??;
        let mut session = Self { socket, last: 0 };
        session.call("session.new", json!({"capabilities": {}})).await?;
        Ok(session)
    }

    /// Sends one command, and returns its result.
    pub(super) async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        within(COMMAND, method, self.exchange(method, params)).await?.with_context(|| method.to_owned())
    }

    async fn exchange(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last += 1;
        let command = json!({"id": self.last, "method": method, "params": params});
        self.socket.send(Message::text(command.to_string())).await?;
        loop {
            let message = self.socket.next().await.context("the driver closed the socket")??;
            let Message::Text(text) = message else { continue };
            let mut answer: Value = serde_json::from_str(&text)?;
            if answer["id"] != self.last {
                // Answer to an abandoned command, or an event.
                continue;
            }
            if answer["type"] == "error" {
                bail!("{}: {}", answer["error"], answer["message"]);
            }
            ensure!(answer["type"] == "success", "not an answer: {answer}");
            return Ok(answer["result"].take());
        }
    }
}
