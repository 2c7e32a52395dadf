//! One connection to a Redis, for faults and measurements of tests.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::within;

/// Deadline of an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Connection to a Redis, for faults and measurements.
#[derive(Debug)]
pub struct Redis(BufReader<TcpStream>);

impl Redis {
    /// Connects to `redis://host:port`.
    pub async fn connect(url: &str) -> Result<Self> {
        let address = url.strip_prefix("redis://").with_context(|| format!("not a plain Redis: {url}"))?;
        let address = address.split('/').next().unwrap_or_default();
        let stream = within(ANSWER, "a connection to Redis", TcpStream::connect(address)).await??;
        Ok(Self(BufReader::new(stream)))
    }

    /// Deletes all keys.
    pub async fn flush_all(&mut self) -> Result<()> {
        let answer = self.ask(&["FLUSHALL"]).await?;
        ensure!(answer == "OK", "FLUSHALL was answered {answer:?}");
        Ok(())
    }

    /// Makes Redis refuse writes, as without memory left, or accept them again.
    pub async fn refuse_writes(&mut self, refuse: bool) -> Result<()> {
        let most = if refuse { "1" } else { "0" };
        let answer = self.ask(&["CONFIG", "SET", "maxmemory", most]).await?;
        ensure!(answer == "OK", "CONFIG SET was answered {answer:?}");
        Ok(())
    }

    /// Scripts run by clients since the start, which all calls of the service are, and octets received in all.
    pub async fn asked(&mut self) -> Result<(u64, u64)> {
        let scripts = self.ask(&["INFO", "commandstats"]).await?;
        let scripts = scripts.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let scripts = scripts.and_then(|rest| rest.split(',').next()).context("no script was called")?;
        let octets = self.ask(&["INFO", "stats"]).await?;
        let octets = octets.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:"));
        Ok((scripts.parse()?, octets.context("no count of octets")?.parse()?))
    }

    /// Overwrites the service's keys of one kind of a user agent with foreign data. Returns their number.
    pub async fn spoil(&mut self, kind: &str, user_agent: &[u8]) -> Result<u64> {
        // Keys are octets, while arguments here are text.
        let script = r"
            local who = string.gsub(ARGV[2], '..', function(digits) return string.char(tonumber(digits, 16)) end)
            local ending, spoilt = ':' .. ARGV[1] .. who, 0
            for _, key in ipairs(redis.call('KEYS', '*')) do
              if string.sub(key, -#ending) == ending then
                redis.call('SET', key, 'not ours')
                spoilt = spoilt + 1
              end
            end
            return spoilt";
        let digits = user_agent.iter().fold(String::new(), |digits, octet| digits + &format!("{octet:02x}"));
        Ok(self.ask(&["EVAL", script, "0", kind, &digits]).await?.parse()?)
    }

    /// Sends one command, and returns the answer as text.
    async fn ask(&mut self, words: &[&str]) -> Result<String> {
        let words_on_the_wire = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let request = format!("*{}\r\n{}", words.len(), words_on_the_wire.collect::<String>());
        let answer = async {
            self.0.get_mut().write_all(request.as_bytes()).await?;
            self.answer().await
        };
        within(ANSWER, words[0], answer).await?
    }

    async fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let line = line.trim_end();
        match line.split_at_checked(1).context("Redis has closed the connection")? {
            ("+" | ":", text) => Ok(text.to_owned()),
            ("$", length) => {
                let mut octets = vec![0; length.parse::<usize>().context("a text")? + 2];
                self.0.read_exact(&mut octets).await?;
                octets.truncate(octets.len() - 2);
                Ok(String::from_utf8(octets)?)
            }
            _ => bail!("Redis answered {line:?}"),
        }
    }
}
