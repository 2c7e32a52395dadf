//! Firefox without a window, driven over `WebDriver BiDi`, with a fresh profile for each test.
//! Invariant: no process of the browser outlives the value.

mod bidi;

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::log::Log;
use crate::{eventually, programs};
use bidi::Session;

/// A start takes 4 seconds on an idle machine and was seen to take 18 on a busy one.
const START: Duration = Duration::from_secs(90);

/// A quit takes about a second.
const QUIT: Duration = Duration::from_secs(30);

/// File in the profile in which Firefox writes the address of its driver.
const DRIVER: &str = "WebDriverBiDiServer.json";

/// Preferences of every test, with reasons.
const PREFERENCES: [(&str, &str); 8] = [
    // Loopback without TLS.
    ("dom.push.testing.allowInsecureServerURL", "true"),
    // The default, but written down: being driven turns push off unless the profile says otherwise.
    ("dom.push.connection.enabled", "true"),
    // A prompt would wait for ever.
    ("permissions.default.desktop-notification", "1"),
    // There is no desktop that could show notifications; Firefox shows them itself.
    ("alerts.useSystemBackend", "false"),
    // Reconnects soon after the service was restarted, instead of after five seconds and more.
    ("dom.push.retryBaseInterval", "200"),
    ("dom.push.quotaUpdateDelay", "100"),
    ("browser.shell.checkDefaultBrowser", "false"),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
];

/// The user's answer to "may this site show notifications?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Yes.
    Granted,
    /// No, never.
    Denied,
}

/// A real Firefox without a window, with its own profile, driven over `WebDriver BiDi`.
#[derive(Debug)]
pub struct Firefox {
    running: Option<Running>,
    // Before the folder that holds its file: fields are dropped in this order.
    log: Log,
    profile: TempDir,
}

#[derive(Debug)]
struct Running {
    process: Group,
    session: Session,
    /// The only tab.
    tab: String,
}

/// Process group, killed on drop.
#[derive(Debug)]
struct Group(Child);

impl Firefox {
    /// Starts Firefox with the push service at `connection` (a `ws:` URL), and more preferences as `(name, value as in
    /// JavaScript)`.
    pub async fn start(connection: &str, preferences: &[(&str, &str)]) -> Result<Self> {
        let profile = TempDir::with_prefix("pushgrid-it-firefox-")?;
        let mut lines = format!("user_pref(\"dom.push.serverURL\", \"{connection}/\");\n");
        for (name, value) in PREFERENCES.iter().chain(preferences) {
            writeln!(lines, "user_pref(\"{name}\", {value});")?;
        }
        std::fs::write(profile.path().join("user.js"), lines)?;
        let log = Log::new("Firefox", profile.path().join("stdout-and-stderr"));
        let mut firefox = Self { running: None, log, profile };
        firefox.start_again().await?;
        Ok(firefox)
    }

    /// Starts Firefox again after [`Self::quit`], with the same profile.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "Firefox is still running");
        let driver = self.profile.path().join(DRIVER);
        match std::fs::remove_file(&driver) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => return Err(fault.into()),
            Ok(()) | Err(_) => {}
        }
        let program = programs::firefox();
        let mut command = Command::new(&program);
        command.args(["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"]);
        command.arg(self.profile.path()).arg("about:blank");
        command.env("HOME", self.profile.path()).env("MOZ_CRASHREPORTER_DISABLE", "1").process_group(0);
        command.stdin(Stdio::null()).stdout(self.log.sink()?).stderr(self.log.sink()?);
        let process =
            command.spawn().with_context(|| format!("start {}: is it installed?", program.display()))?;
        let process = Group(process);
        let address = eventually(START, "the driver of Firefox", async || {
            // The file exists before its content.
            let text = std::fs::read(&driver).unwrap_or_default();
            let Ok(file) = serde_json::from_slice::<Value>(&text) else { return Ok(None) };
            Ok(file["ws_port"].as_u64().map(|port| format!("ws://127.0.0.1:{port}/session")))
        })
        .await?;
        let mut session = Session::open(&address).await?;
        let tree = session.call("browsingContext.getTree", json!({})).await?;
        let tab = tree["contexts"][0]["context"].as_str().context("Firefox has no tab")?.to_owned();
        self.running = Some(Running { process, session, tab });
        Ok(())
    }

    /// Opens `url` in the only tab, and waits until loaded.
    pub async fn open(&mut self, url: &str) -> Result<()> {
        let running = self.running()?;
        let parameters = json!({"context": running.tab, "url": url, "wait": "complete"});
        running.session.call("browsingContext.navigate", parameters).await?;
        Ok(())
    }

    /// Closes the page: no tab shows the site any more.
    pub async fn close_page(&mut self) -> Result<()> {
        self.open("about:blank").await
    }

    /// Evaluates the JavaScript `expression` on the open page, awaiting a promise. A fault when the expression throws.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let running = self.running()?;
        let parameters = json!({
            "expression": format!("(async () => JSON.stringify(await ({expression})) ?? 'null')()"),
            "target": {"context": running.tab},
            "awaitPromise": true,
            "userActivation": true,
        });
        let answer = running.session.call("script.evaluate", parameters).await?;
        let value = answer["result"]["value"].as_str().with_context(|| {
            format!("{expression} threw: {}", answer["exceptionDetails"]["text"].as_str().unwrap_or("?"))
        })?;
        Ok(serde_json::from_str(value)?)
    }

    /// Sets or resets the permission of `origin` to show notifications.
    pub async fn set_permission(&mut self, origin: &str, to: Permission) -> Result<()> {
        let state = match to {
            Permission::Granted => "granted",
            Permission::Denied => "denied",
        };
        let parameters = json!({"descriptor": {"name": "notifications"}, "state": state, "origin": origin});
        self.running()?.session.call("permissions.setPermission", parameters).await?;
        Ok(())
    }

    /// Quits as a user does, and waits for the end of the process.
    pub async fn quit(&mut self) -> Result<()> {
        let mut running = self.running.take().context("Firefox is not running")?;
        running.session.call("browser.close", json!({})).await?;
        eventually(QUIT, "the end of Firefox", async || Ok(running.process.0.try_wait()?)).await?;
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().context("Firefox is not running")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // Fails when the group has ended already.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}
