//! README's walk over a grid, run as written but for ports and folders.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Port, eventually, within};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::TURN;
use crate::readme;

/// Deadline of a line: the servers and seven processes start, on a busy machine.
const LINE: Duration = Duration::from_mins(3);

/// Deadline of a message, a take-over included.
const ARRIVAL: Duration = Duration::from_mins(1);

/// First port of each role and its admin listener, and what an instance of each role has beside it.
const PORTS: [u16; 7] = [8080, 8081, 8083, 8084, 9090, 9091, 9092];

/// Folder of a checkout with servers and processes of its own, as far as `deploy/local` goes.
struct Checkout {
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
    offset: u16,
    /// User agents of the walk.
    listening: Vec<(Child, Lines<BufReader<ChildStdout>>)>,
    _ports: Vec<Port>,
}

impl Checkout {
    fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("pushgrid-walk-")?;
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize()?;
        std::os::unix::fs::symlink(root.join("deploy"), folder.path().join("deploy"))?;
        let of_roles = (0..3).flat_map(|instance| PORTS.map(|port| port - PORTS[0] + 100 * instance));
        let mut ports = Port::reserve_at(&of_roles.skip(1).collect::<Vec<_>>())?;
        let offset = ports[0].number() - PORTS[0];
        let kafka = Port::reserve_at(&[1])?;
        let redis = Port::reserve()?;
        let program = pushgrid_it::pushgrid()?;
        let binary = Path::new(program.as_std().get_program()).canonicalize()?;
        let installed = std::env::var("PUSHGRID_LOCAL_KAFKA").context("PUSHGRID_LOCAL_KAFKA is not set")?;
        let bin = binary.parent().context("the program is in a folder")?.display().to_string();
        let environment = vec![
            ("PATH", format!("{bin}:{}", std::env::var("PATH")?)),
            ("PUSHGRID_LOCAL_DIR", folder.path().join(".local").display().to_string()),
            ("PUSHGRID_LOCAL_KAFKA", root.join(installed).display().to_string()),
            ("PUSHGRID_LOCAL_KAFKA_PORT", kafka[0].number().to_string()),
            ("PUSHGRID_LOCAL_REDIS_PORT", redis.number().to_string()),
            ("PUSHGRID_LOCAL_GRID_OFFSET", offset.to_string()),
            ("PUSHGRID_BINARY", binary.display().to_string()),
        ];
        ports.extend(kafka);
        ports.push(redis);
        Ok(Self { folder, environment, offset, listening: Vec::new(), _ports: ports })
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-ec", line]).current_dir(self.folder.path()).kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PUSHGRID_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    async fn run(&self, line: &str) -> Result<String> {
        // Processes that go on have its output as well, and would hold a pipe open.
        let file = self.folder.path().join("output");
        let output = std::fs::File::create(&file)?;
        let status =
            self.shell(line).stdout(output.try_clone()?).stderr(output).stdin(Stdio::null()).status();
        let status = within(LINE, line, status).await??;
        let text = std::fs::read_to_string(&file)?;
        ensure!(status.success(), "{line}: {status}: {text}");
        Ok(text)
    }

    /// Runs a listener until the end of the walk.
    async fn listen(&mut self, line: &str) -> Result<()> {
        let port = 8181 + self.offset;
        let line = line.replace("ws://localhost:8181", &format!("ws://localhost:{port}"));
        ensure!(line.contains(&port.to_string()), "it does not name the second node: {line}");
        let mut command = self.shell(&format!("exec {line}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("it is a pipe")?).lines();
        self.listening.push((child, lines));
        let file = self.folder.path().join("subscription.json");
        eventually(ARRIVAL, "the subscription is written", async || Ok(file.exists().then_some(()))).await
    }

    async fn send(&mut self, line: &str) -> Result<()> {
        self.run(line).await?;
        let (_, lines) = self.listening.last_mut().context("nobody listens")?;
        let hear = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains("across the grid") {
                    return anyhow::Ok(true);
                }
            }
            Ok(false)
        };
        ensure!(within(ARRIVAL, "the message", hear).await??, "the message did not come");
        Ok(())
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        for (name, value) in &self.environment {
            if *name == "PUSHGRID_LOCAL_DIR" && Path::new(value).exists() {
                let mut command = self.shell("deploy/local/grid down --servers");
                let _ = command.as_std_mut().stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
        }
    }
}

#[tokio::test]
async fn the_walk_of_the_readme_over_a_grid_does_what_it_says() -> Result<()> {
    let _turn = TURN.lock().await;
    let lines = readme::shell()?;
    let begin = lines.iter().position(|line| line == "deploy/local/grid up").context("the walk is gone")?;
    let end =
        lines.iter().position(|line| line == "deploy/local/grid down --servers").context("its end, too")?;
    let mut checkout = Checkout::new()?;
    let mut sends = None;
    for line in &lines[begin..=end] {
        let line = line.as_str();
        match line.split_once(' ').context("a line has words")? {
            ("pushgrid", words) if words.starts_with("listen ") => checkout.listen(line).await?,
            ("pushgrid", words) if words.starts_with("send ") => {
                checkout.send(line).await?;
                sends = Some(line);
            }
            ("deploy/local/grid", "status") => {
                // Nobody had to connect again, and the router that was killed is back.
                checkout.send(sends.context("nothing was sent before")?).await?;
                let status = async || Ok(checkout.run(line).await.ok());
                let text = eventually(LINE, "all are ready", status).await?;
                ensure!(
                    ["ingress-1", "router-1", "connection-2"].iter().all(|it| text.contains(it)),
                    "{text}"
                );
            }
            ("kill", _) => {
                checkout.run(line).await?;
                checkout.send(sends.context("nothing was sent before")?).await?;
            }
            ("deploy/local/grid", "up" | "down --servers") => drop(checkout.run(line).await?),
            _ => anyhow::bail!("say in this test how it is run: {line}"),
        }
    }
    Ok(())
}
