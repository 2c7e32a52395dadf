//! Every command of README, run as written.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Server, eventually, within};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{House, pushgrid, succeeds};
use crate::readme;
use crate::wire::party::SOON;

/// Commands that one process cannot run, and the test that covers each.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cargo run --release -- demo", "the recipe `demo`; the service behind it is that of every test"),
    ("tests/run", "continuous integration"),
    ("deploy/local/grid", "tests/it/grid/readme.rs"),
    ("kill -9 $(cat .local/router-0.pid)", "tests/it/grid/readme.rs"),
    ("pushgrid listen --url ws://localhost:8181 --subscription subscription.json", "tests/it/grid/readme.rs"),
    ("pushgrid listen --transport", "tests/it/senders/listening.rs"),
    ("pushgrid send --subscription subscription.json --message 'across the grid'", "tests/it/grid/readme.rs"),
    ("export PUSHGRID_", "tests/it/server/grid.rs sets them"),
    ("pushgrid ingress", "tests/it/server/grid.rs"),
    ("pushgrid router", "tests/it/server/grid.rs"),
    ("pushgrid connection", "tests/it/server/grid.rs"),
];

/// Service of the walk, with its user agent and application server.
struct Walk {
    server: Server,
    folder: TempDir,
    house: House,
    listening: Option<(Child, tokio::io::Lines<BufReader<tokio::process::ChildStdout>>)>,
    public_key: String,
    /// Placeholders of README, and what the service has answered in their places.
    answered: Vec<(&'static str, String)>,
}

impl Walk {
    async fn begin() -> Result<Self> {
        Ok(Self {
            server: Server::standalone_with(&[]).await?,
            folder: TempDir::with_prefix("pushgrid-readme-")?,
            house: House::start().await?,
            listening: None,
            public_key: String::new(),
            answered: Vec::new(),
        })
    }

    /// Command for a shell line, with this service's settings as defaults.
    fn shell(&self, line: &str) -> Result<Command> {
        let program = pushgrid_it::pushgrid()?;
        let program = Path::new(program.as_std().get_program());
        let folder = program.parent().context("the program is in a folder")?;
        let mut command = Command::new("bash");
        let mut line = line.replace("PUBLIC_KEY", &self.public_key);
        for (placeholder, answered) in &self.answered {
            line = line.replace(placeholder, answered);
        }
        let path = format!("{}:{}", folder.display(), std::env::var("PATH")?);
        command.args(["-ec", &line]).env("PATH", path).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PUSHGRID_") {
                command.env_remove(name);
            }
        }
        command.kill_on_drop(true);
        Ok(command)
    }

    async fn run(&self, line: &str) -> Result<String> {
        let output = within(SOON, line, self.shell(line)?.output()).await??;
        let fault = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line}: {}: {fault}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs one line; `false` for an unknown one.
    async fn step(&mut self, line: &str) -> Result<bool> {
        if ELSEWHERE.iter().any(|(begin, _)| line.starts_with(begin)) {
            return Ok(true);
        }
        match line {
            // Running already, with ports of its own.
            "pushgrid standalone" => {}
            "pushgrid keys vapid --out app.pem" => {
                let public = self.run(line).await?;
                public.trim().clone_into(&mut self.public_key);
            }
            "pushgrid listen --key PUBLIC_KEY --subscription subscription.json" => self.listen(line).await?,
            "pushgrid send --subscription subscription.json --vapid app.pem --message 'It works'" => {
                self.run(line).await?;
                drop(self.hears("It works").await?);
            }
            _ if line.contains(" --receipt ") => {
                let said = self.run(line).await?;
                ensure!(said.contains("receipt   204 after"), "{said}");
            }
            _ if line.starts_with("pushgrid broadcast ") => {
                drop(self.run(&format!("{line} --admin {}", self.server.operator())).await?);
            }
            _ if line.starts_with("curl ") => self.over_http(line).await?,
            "pushgrid backup backup-1" | "pushgrid restore backup-1" => self.of_data(line).await?,
            "pushgrid keys endpoint --out endpoint-keys" => drop(self.run(line).await?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Runs a listener until the end of the test, at this service's port.
    async fn listen(&mut self, line: &str) -> Result<()> {
        let line = format!("exec {line} --url {}", self.server.connection());
        let mut child = self.shell(&line)?.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("it is a pipe")?).lines();
        self.listening = Some((child, lines));
        let file = self.folder.path().join("subscription.json");
        eventually(SOON, "the subscription is written", async || Ok(file.exists().then_some(()))).await
    }

    /// Runs a line of a user agent without a WebSocket.
    async fn over_http(&mut self, line: &str) -> Result<()> {
        let service = self.server.connection().replacen("ws://", "http://", 1);
        let mut filled = line.replace("http://localhost:8081", service.trim_end_matches('/'));
        for (placeholder, answered) in &self.answered {
            filled = filled.replace(placeholder, answered);
        }
        if line.contains("text/event-stream") {
            let mut child = self.shell(&format!("exec {filled}"))?.stdout(Stdio::piped()).spawn()?;
            let lines = BufReader::new(child.stdout.take().context("it is a pipe")?).lines();
            self.listening = Some((child, lines));
            if line.contains("RECEIPTS") {
                let event = self.hears("data: ").await?;
                ensure!(event.contains("\"status\":410"), "{event}");
            }
            return Ok(());
        }
        let answer = self.run(&filled.replacen("curl ", "curl --fail --silent --show-error ", 1)).await?;
        if line.contains("Link: ") {
            ensure!(answer.is_empty(), "it is not shown: {answer}");
        } else if line.ends_with("/subscribe") {
            let part = |begin: &str, end: char| {
                let (_, rest) = answer.split_once(begin)?;
                Some(rest.split(end).next().unwrap_or_default().to_owned())
            };
            self.answered.clear();
            self.answered.push(("SUBSCRIPTION", part("location: /s/", '\r').context("no Location")?));
            self.answered.push(("ENDPOINT", part("link: <", '>').context("no Link")?));
            self.answered.push(("SET", part("link: </set/", '>').context("no set")?));
        } else if line.ends_with("/receipts") {
            let (_, rest) = answer.split_once("location: ").context("no Location")?;
            self.answered.push(("RECEIPTS", rest.split('\r').next().unwrap_or_default().to_owned()));
        } else if line.contains("ENDPOINT") {
            let event = self.hears("data: ").await?;
            let (_, rest) = event.split_once("/r/").context("no address of the message")?;
            self.answered.push(("MESSAGE", rest.split('"').next().unwrap_or_default().to_owned()));
        }
        Ok(())
    }

    /// The first line with this text.
    async fn hears(&mut self, text: &str) -> Result<String> {
        let (_, lines) = self.listening.as_mut().context("nobody listens")?;
        let hear = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains(text) {
                    return Ok(line);
                }
            }
            anyhow::bail!("{text:?} did not come")
        };
        within(SOON, "the message", hear).await?
    }

    /// Runs a line about the data directory.
    async fn of_data(&mut self, line: &str) -> Result<()> {
        let data = self.folder.path().join("pushgrid-data");
        if line.contains("restore") {
            std::fs::remove_file(&data)?;
            self.run(line).await?;
            ensure!(data.join("pushgrid.sqlite").exists() && data.join("endpoint-keys").exists());
            return Ok(());
        }
        std::os::unix::fs::symlink(self.house.data(), &data)?;
        ensure!(self.run(line).await?.contains("subscriptions"));
        Ok(())
    }
}

#[tokio::test]
async fn every_line_of_a_shell_is_run_here_or_by_another_test() -> Result<()> {
    let lines = readme::shell()?;
    ensure!(lines.len() > 15, "only {} lines were found", lines.len());
    let mut walk = Walk::begin().await?;
    let mut unknown = BTreeSet::new();
    for line in &lines {
        if !walk.step(line).await.with_context(|| line.clone())? {
            unknown.insert(line.as_str());
        }
    }
    ensure!(unknown.is_empty(), "say in this test how these are run: {unknown:#?}");
    for (begin, _) in ELSEWHERE {
        ensure!(lines.iter().any(|line| line.starts_with(begin)), "README has no line {begin:?} any more");
    }
    Ok(())
}

/// Commands within sentences of README are as tested here.
#[tokio::test]
async fn the_commands_in_its_sentences_do_what_they_say() -> Result<()> {
    let readme = readme::text()?;
    let says = |text: &str| {
        let found = readme.contains(text);
        ensure!(found, "README does not say {text:?} any more: this test is out of date");
        anyhow::Ok(())
    };
    let folder = TempDir::with_prefix("pushgrid-readme-")?;
    let folder = folder.path();
    says("`pushgrid config defaults` prints a file to start from")?;
    std::fs::write(folder.join("pushgrid.toml"), succeeds(folder, &["config", "defaults"]).await?)?;
    says("`pushgrid config check` says what is wrong with yours")?;
    succeeds(folder, &["config", "check", "--config", "pushgrid.toml"]).await?;
    std::fs::write(folder.join("wrong.toml"), "[ingress]\nlisten = 7\n")?;
    let wrong = pushgrid(folder, &["config", "check", "--config", "wrong.toml"]).await?;
    says("64 means wrong\n  settings")?;
    ensure!(wrong.status.code() == Some(64), "{}", wrong.status);
    ensure!(String::from_utf8_lossy(&wrong.stderr).contains("ingress.listen"));
    says("`pushgrid keys vapid --text` makes one")?;
    let private = succeeds(folder, &["keys", "vapid", "--text"]).await?;
    ensure!(private.trim().len() == 43, "32 octets as base64url");
    for help in ["listen", "send"] {
        says(&format!("`pushgrid {help} --help`"))?;
        succeeds(folder, &[help, "--help"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_ends_of_a_process_have_the_codes_that_it_says() -> Result<()> {
    let mut house = House::start().await?;
    for (path, text) in
        [("/healthz", "ok"), ("/readyz", "ready"), ("/metrics", "pushgrid_messages_accepted_total")]
    {
        let (status, body) = house.server.admin_get(path).await?;
        ensure!(status == 200 && body.contains(text), "{path}: {status}: {body}");
    }
    // The data directory is in use: a failed start.
    house.refuses_to_start(1, &[]).await?;
    house.refuses_to_start(64, &["ingress.max_body=much"]).await?;
    house.refuses_to_start(64, &["no.such=setting"]).await?;
    // `stop` is SIGTERM, and wants 0.
    within(Duration::from_secs(30), "the stop", house.server.stop()).await??;
    house.server.start_again().await?;
    house.server.kill().await?;
    house.server.start_again().await
}

/// Every row of "Limits" names the default of its setting.
#[tokio::test]
async fn the_table_of_limits_has_the_defaults() -> Result<()> {
    const ROWS: &[(&str, &str, &str)] = &[
        ("ingress.max_body", "5630", "5,630 octets"),
        ("ingress.max_ttl", "30d", "30 days"),
        ("standalone.max_size", "64GiB", "64 GiB on disk"),
        ("ingress.max_waiting_messages", "10000", "10,000 messages"),
        ("ingress.max_waiting_octets", "64MiB", "64 MiB"),
        ("ingress.rate", "1000", "1,000 a second"),
        ("ingress.burst", "10000", "10,000 at once"),
        ("router.window", "128", "| 128;"),
        ("router.max_subscriptions", "1000", "| 1,000 |"),
    ];
    let text = readme::text()?;
    let (_, table) = text.split_once("## Limits").context("README has no limits")?;
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect::<Vec<_>>();
    let defaults = succeeds(TempDir::new()?.path(), &["config", "env"]).await?;
    let mut named = BTreeSet::new();
    for (setting, default, says) in ROWS {
        ensure!(
            defaults.lines().any(|line| line.starts_with(&format!("| `{setting}` "))
                && line.contains(&format!("| `{default}` |"))),
            "{setting} has another default than {default}"
        );
        let (section, key) = setting.split_once('.').context("a setting has a section")?;
        let short = format!("…_{}", key.rsplit('_').next().unwrap_or(key));
        let found = rows.iter().position(|row| {
            row.contains(says) && (row.contains(&format!("`{setting}`")) || row.contains(&short))
        });
        named.insert(found.with_context(|| format!("README says nothing of {section}.{key}: {says}"))?);
    }
    ensure!(named.len() == rows.len(), "README has limits that this test does not know");
    Ok(())
}
