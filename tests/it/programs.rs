//! Paths of the programs that the tests start: from the environment, as set by `tests/run`, or else the place that
//! `tests/run setup` uses.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

/// Root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// File made by the setup. A relative path counts from the root.
fn made(variable: &str, default: &str) -> Result<PathBuf> {
    let path = root().join(env::var_os(variable).unwrap_or_else(|| default.into()));
    ensure!(path.exists(), "{} is missing: run `tests/run setup`, or set {variable}", path.display());
    Ok(path)
}

/// Command of the program under test, without arguments. Settings of this machine's user for a service of their own are
/// removed.
pub fn pushgrid() -> Result<Command> {
    Ok(ours(Command::new(binary()?)))
}

/// Command of another build, which is an earlier release.
pub(crate) fn pushgrid_of(build: &Path) -> Command {
    ours(Command::new(build))
}

/// Path of the command of the release that a rolling update begins with.
pub fn earlier_release() -> Result<PathBuf> {
    let path = env::var_os("PUSHGRID_TEST_EARLIER").map(PathBuf::from).context(
        "PUSHGRID_TEST_EARLIER is not set: `tests/run rolling` builds the earlier release from the repository's history",
    )?;
    ensure!(path.exists(), "{} is missing: `tests/run rolling` builds it", path.display());
    Ok(path)
}

/// Command of the program under test, with a disk of `size` (as `mount` takes it) at `path`, private to the process.
pub(crate) fn pushgrid_on_a_disk(path: &Path, size: &str) -> Result<Command> {
    const MOUNT: &str = r#"mount -t tmpfs -o "size=$1,mode=700" none "$2" && shift 2 && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", size]).arg(path).arg(binary()?);
    Ok(ours(command))
}

fn binary() -> Result<PathBuf> {
    let path = env::var_os("PUSHGRID_TEST_BINARY")
        .context("PUSHGRID_TEST_BINARY is not set: use `tests/run`, or set it to the built `pushgrid`")?;
    let path = root().join(path);
    ensure!(path.exists(), "{} is missing: build it with `cargo build -p pushgrid`", path.display());
    Ok(path)
}

fn ours(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PUSHGRID_") {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true);
    command
}

/// Form of the service under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One process on the embedded store.
    Standalone,
    /// A process for each role, over Kafka and Redis.
    Grid,
}

/// Form of the service as chosen by the environment.
pub fn target() -> Result<Target> {
    match env::var("PUSHGRID_TEST_TARGET").as_deref() {
        Ok("standalone") | Err(_) => Ok(Target::Standalone),
        Ok("grid") => Ok(Target::Grid),
        Ok(unknown) => bail!("PUSHGRID_TEST_TARGET names no target: {unknown:?}"),
    }
}

/// Script that starts a real Kafka and Redis, and the shared installation of Kafka.
pub(crate) fn servers() -> Result<(PathBuf, PathBuf)> {
    let script = root().join("deploy/local/servers");
    ensure!(script.exists(), "{} is missing", script.display());
    let installed = env::var_os("PUSHGRID_LOCAL_KAFKA").map(PathBuf::from);
    let local = || PathBuf::from(env::var_os("PUSHGRID_LOCAL_DIR").unwrap_or_else(|| ".local".into()));
    Ok((script, root().join(installed.unwrap_or_else(|| local().join("kafka")))))
}

/// Program that damages the topics of a grid: an example of the crate `log-kafka`, built beside the program under test.
pub(crate) fn tamper() -> Result<PathBuf> {
    example("tamper")
}

/// Program that saves and loads the records of a grid as a text: another example.
pub(crate) fn records() -> Result<PathBuf> {
    example("records")
}

fn example(name: &str) -> Result<PathBuf> {
    let service =
        env::var_os("PUSHGRID_TEST_BINARY").context("PUSHGRID_TEST_BINARY is not set: use `tests/run`")?;
    let example = root().join(service).with_file_name("examples").join(name);
    ensure!(
        example.exists(),
        "{} is missing: `cargo build -p pushgrid-log-kafka --examples`",
        example.display()
    );
    Ok(example)
}

/// Python with pywebpush, and its sender.
pub fn pywebpush() -> Result<[PathBuf; 2]> {
    let local = env::var("PUSHGRID_LOCAL_DIR").unwrap_or_else(|_| ".local".into());
    let python = made("PUSHGRID_TEST_PYTHON", &format!("{local}/tests/venv/bin/python"))?;
    Ok([python, root().join("tests/clients/pywebpush/send.py")])
}

/// Python with h2, and the user agent that takes server push.
pub(crate) fn push_agent() -> Result<[PathBuf; 2]> {
    let [python, _] = pywebpush()?;
    Ok([python, root().join("tests/clients/h2/agent.py")])
}

/// Python with standardwebhooks, and the receiver of posts.
pub(crate) fn webhook_receiver() -> Result<[PathBuf; 2]> {
    let [python, _] = pywebpush()?;
    Ok([python, root().join("tests/clients/webhook/receive.py")])
}

/// Node.js, and its sender.
pub fn npm_web_push() -> Result<[PathBuf; 2]> {
    let package = root().join("tests/clients/npm-web-push");
    ensure!(package.join("node_modules/web-push").exists(), "web-push is missing: run `tests/run setup`");
    Ok([env::var_os("PUSHGRID_TEST_NODE").unwrap_or_else(|| "node".into()).into(), package.join("send.mjs")])
}

/// Sender around the Rust crate.
pub(crate) fn rust_web_push() -> Result<PathBuf> {
    made("PUSHGRID_TEST_RUST_SENDER", "target/clients/debug/rust-web-push-sender")
}

/// Library of a sender with pooled connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooled {
    /// Go's net/http.
    Go,
    /// Python's requests.
    Requests,
    /// Python's httpx.
    Httpx,
}

impl Pooled {
    /// All libraries.
    pub const ALL: [Self; 3] = [Self::Go, Self::Requests, Self::Httpx];
}

/// Command of a sender of refused and valid messages in turn. The error names a missing installation.
pub fn pooled(library: Pooled) -> Result<Command> {
    let local = env::var("PUSHGRID_LOCAL_DIR").unwrap_or_else(|_| ".local".into());
    let python = |library| {
        let [python, _] = pywebpush()?;
        let mut command = Command::new(python);
        command.arg(root().join("tests/clients/pooled/pooled.py")).arg(library);
        anyhow::Ok(command)
    };
    let mut command = match library {
        Pooled::Go => Command::new(made("PUSHGRID_TEST_GO_SENDER", &format!("{local}/tests/go/pooled"))?),
        Pooled::Requests => python("requests")?,
        Pooled::Httpx => python("httpx")?,
    };
    command.kill_on_drop(true);
    Ok(command)
}

/// Path of nginx, by default as in Debian.
pub(crate) fn nginx() -> Result<PathBuf> {
    made("PUSHGRID_TEST_NGINX", "/usr/sbin/nginx")
}

/// Path of Firefox, by default found on `PATH`.
pub(crate) fn firefox() -> PathBuf {
    env::var_os("PUSHGRID_TEST_FIREFOX").unwrap_or_else(|| "firefox-esr".into()).into()
}
