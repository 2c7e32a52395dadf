//! Where the programs are that the tests start. `tests/run` says, by the environment; what it leaves out has the
//! place that `tests/run setup` gives it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A file that the setup made. A relative path counts from the root.
fn made(variable: &str, default: &str) -> Result<PathBuf> {
    let path = root().join(env::var_os(variable).unwrap_or_else(|| default.into()));
    ensure!(path.exists(), "{} is missing: run `tests/run setup`, or set {variable}", path.display());
    Ok(path)
}

/// A command of the program under test, without arguments. What this machine's user has set for a service of their
/// own does not reach it.
pub fn pushgrid() -> Result<Command> {
    let path = env::var_os("PUSHGRID_TEST_BINARY")
        .context("PUSHGRID_TEST_BINARY is not set: use `tests/run`, or set it to the built `pushgrid`")?;
    let path = root().join(path);
    ensure!(path.exists(), "{} is missing: build it with `cargo build -p pushgrid`", path.display());
    let mut command = Command::new(path);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PUSHGRID_") {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true);
    Ok(command)
}

/// Which form of the service is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// One process on the embedded store.
    Standalone,
    /// A process for each role, over Kafka and Redis.
    Grid,
}

/// What the switch says.
pub(crate) fn target() -> Result<Target> {
    match env::var("PUSHGRID_TEST_TARGET").as_deref() {
        Ok("standalone") | Err(_) => Ok(Target::Standalone),
        Ok("grid") => Ok(Target::Grid),
        Ok(unknown) => bail!("PUSHGRID_TEST_TARGET names no target: {unknown:?}"),
    }
}

/// The script that starts a real Kafka and a real Redis, and where it finds what is installed once for all.
pub(crate) fn servers() -> Result<(PathBuf, PathBuf)> {
    let script = root().join("deploy/local/servers");
    ensure!(script.exists(), "{} is missing", script.display());
    let installed = env::var_os("PUSHGRID_LOCAL_KAFKA").map(PathBuf::from);
    let local = || PathBuf::from(env::var_os("PUSHGRID_LOCAL_DIR").unwrap_or_else(|| ".local".into()));
    Ok((script, root().join(installed.unwrap_or_else(|| local().join("kafka")))))
}

/// A Python that has pywebpush, and the sender for it.
pub(crate) fn pywebpush() -> Result<[PathBuf; 2]> {
    let local = env::var("PUSHGRID_LOCAL_DIR").unwrap_or_else(|_| ".local".into());
    let python = made("PUSHGRID_TEST_PYTHON", &format!("{local}/tests/venv/bin/python"))?;
    Ok([python, root().join("tests/clients/pywebpush/send.py")])
}

/// Node.js, and the sender for it.
pub(crate) fn npm_web_push() -> Result<[PathBuf; 2]> {
    let package = root().join("tests/clients/npm-web-push");
    ensure!(package.join("node_modules/web-push").exists(), "web-push is missing: run `tests/run setup`");
    Ok([env::var_os("PUSHGRID_TEST_NODE").unwrap_or_else(|| "node".into()).into(), package.join("send.mjs")])
}

/// The sender around the Rust crate.
pub(crate) fn rust_web_push() -> Result<PathBuf> {
    made("PUSHGRID_TEST_RUST_SENDER", "target/clients/debug/rust-web-push-sender")
}

/// Firefox, found on the path unless told otherwise.
pub(crate) fn firefox() -> PathBuf {
    env::var_os("PUSHGRID_TEST_FIREFOX").unwrap_or_else(|| "firefox-esr".into()).into()
}
