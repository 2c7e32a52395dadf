//! README's lines for nginx, Node.js and Python, run as written but for addresses and files.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_it::{Library, Port, npm_web_push, pywebpush, within};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::{ARRIVAL, Scene};
use crate::readme;
use crate::wire::party::Application;
use crate::wire::sse::Subscription;

/// URL without its scheme.
fn address(url: &str) -> Result<&str> {
    let (_, rest) = url.split_once("://").context("it is no URL")?;
    Ok(rest.trim_end_matches('/'))
}

async fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().await?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A real nginx with README's lines, in its own folder, with a certificate made as README says.
struct Proxy {
    _nginx: Child,
    folder: TempDir,
    /// Listener without TLS, for requests that no client sends.
    plain: Port,
    _tls: Port,
}

impl Proxy {
    async fn start([tls, plain]: [Port; 2], scene: &Scene) -> Result<Self> {
        let folder = TempDir::with_prefix("pushgrid-it-")?;
        let text = readme::text()?;
        let made =
            text.split('`').find(|code| code.starts_with("openssl req")).context("README makes none")?;
        run(Command::new("sh").args(["-c", made]).current_dir(&folder)).await?;
        fs::write(folder.path().join("nginx.conf"), Self::config(folder.path(), &tls, &plain, scene)?)?;
        let mut nginx = Command::new("nginx");
        nginx.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH")?)).args(["-c", "nginx.conf", "-p"]);
        nginx.arg(folder.path()).arg("-e").arg(folder.path().join("error.log")).kill_on_drop(true);
        let nginx = nginx.spawn().context("start nginx: `tests/run setup` installs it")?;
        let proxy = Self { _nginx: nginx, folder, plain, _tls: tls };
        let serving = async {
            while proxy.open().await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        within(ARRIVAL, "an nginx that serves", serving).await.with_context(|| proxy.log("error.log"))?;
        Ok(proxy)
    }

    fn config(folder: &Path, tls: &Port, plain: &Port, scene: &Scene) -> Result<String> {
        let path = folder.display();
        let mut lines = readme::code("nginx")?;
        for (from, to) in [
            ("listen 443 ssl;", format!("listen {} ssl; listen {};", tls.address(), plain.address())),
            ("push.pem", format!("{path}/push.pem")),
            ("push.key", format!("{path}/push.key")),
            ("/var/log/nginx/push.log", format!("{path}/access.log")),
            ("127.0.0.1:8081", address(scene.server.connection())?.to_owned()),
            ("127.0.0.1:8080", address(scene.server.ingress())?.to_owned()),
        ] {
            ensure!(lines.contains(from), "README has no {from:?}");
            lines = lines.replace(from, &to);
        }
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = kinds.map(|kind| format!("{kind}_temp_path {path}/{kind};")).join("\n");
        let user = if rustix::process::geteuid().is_root() { "user root root;" } else { "" };
        Ok(format!(
            "{user} daemon off; master_process off; pid {path}/pid; error_log {path}/error.log info; events {{}}\n\
             http {{ access_log {path}/other.log;\n{temporary}{lines}}}"
        ))
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    async fn open(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect(self.plain.address()).await?)
    }

    /// Sends octets, and returns the status.
    async fn ask(&self, request: &str) -> Result<String> {
        let mut socket = self.open().await?;
        socket.write_all(request.as_bytes()).await?;
        let mut answer = [0; 12];
        within(ARRIVAL, "an answer of nginx", socket.read_exact(&mut answer)).await??;
        Ok(String::from_utf8_lossy(&answer[9..]).into_owned())
    }

    /// Waits until nginx has logged this many requests.
    async fn logged(&self, requests: usize) -> Result<()> {
        let logged = async {
            while self.log("access.log").lines().count() < requests {
                sleep(Duration::from_millis(20)).await;
            }
        };
        within(ARRIVAL, "the log of nginx", logged).await.with_context(|| self.log("access.log"))
    }

    /// Checks that no file written by nginx names an endpoint or a message.
    fn keeps(&self, token: &str) -> Result<()> {
        for file in fs::read_dir(self.folder.path())? {
            let file = file?.path();
            if file.is_file() {
                let text = String::from_utf8_lossy(&fs::read(&file)?).into_owned();
                ensure!(!text.contains(token), "{} names an endpoint: {text}", file.display());
            }
        }
        Ok(())
    }
}

/// Runs README's lines for Node.js.
async fn node(subscription: &str, key: &KeyPair, certificate: &Path) -> Result<()> {
    let [node, sender] = npm_web_push()?;
    let lines = readme::code("js")?;
    let (import, rest) = lines.split_once('\n').context("it has two lines")?;
    let (public, private) = (key.public().to_text(), key.to_text());
    let script = format!(
        "{import}\nconst subscription = {subscription}, publicKey = '{public}', privateKey = '{private}';\n{rest}"
    );
    let mut command = Command::new(node);
    command.args(["--input-type=module", "--eval", &script]).env("NODE_EXTRA_CA_CERTS", certificate);
    run(command.current_dir(sender.parent().context("the sender is in its package")?)).await
}

// Holds, D-21.
#[tokio::test]
async fn the_lines_of_the_readme_bring_a_message_of_node_and_log_no_endpoint() -> Result<()> {
    let ports = [Port::reserve()?, Port::reserve()?];
    let public_url = ports[0].address().replace("127.0.0.1", "https://localhost");
    let mut scene = Scene::start_at(&public_url).await?;
    let proxy = Proxy::start(ports, &scene).await?;
    let subscription = scene.restricted().await?;
    let to = subscription.push_subscription();
    let path = to.endpoint.strip_prefix(&public_url).context("endpoints do not begin with the public URL")?;
    node(&to.to_json(), &scene.key, &proxy.folder.path().join("push.pem")).await?;
    let notification = scene.notification().await?;
    ensure!(subscription.decrypt(&notification)? == b"Hello", "the user agent reads something else");
    proxy.logged(1).await?;

    // Faults before and after nginx knows the target of a request.
    let host = "Host: push.example.com\r\n";
    for (status, rest) in [
        ("401", format!("{host}TTL: 60\r\nContent-Length: 0\r\n\r\n")),
        ("413", format!("{host}TTL: 60\r\nContent-Length: 99999999\r\n\r\n")),
        ("400", "TTL: 60\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("400", format!("{host}Cookie: {}\r\n\r\n", "x".repeat(40_000))),
        ("400", format!("{host}Transfer-Encoding: chunked\r\n\r\nno chunk\r\n\r\n")),
    ] {
        let answered = proxy.ask(&format!("POST {path} HTTP/1.1\r\n{rest}")).await?;
        ensure!(answered == status, "answered {answered}, not {status}");
    }
    let mut cut = proxy.open().await?;
    cut.write_all(format!("POST {path} HTTP/1.1\r\n{host}Content-Length: 900\r\n\r\nhalf").as_bytes())
        .await?;
    drop(cut);
    scene.server.kill().await?;
    let request = format!("POST {path} HTTP/1.1\r\n{host}TTL: 60\r\nContent-Length: 0\r\n\r\n");
    ensure!(proxy.ask(&request).await? == "502", "it is not told that the service is down");
    proxy.logged(8).await?;
    proxy.keeps(path.rsplit('/').next().context("it has a token")?)?;
    let log = proxy.log("access.log");
    ensure!(log.contains(" POST 201 201 ") && log.contains(" POST 502 502 "), "it says too little: {log}");
    Ok(())
}

#[tokio::test]
async fn the_lines_of_the_readme_bring_events_to_a_client_without_a_websocket() -> Result<()> {
    let ports = [Port::reserve()?, Port::reserve()?];
    let plain = format!("http://{}", ports[1].address());
    let scene = Scene::start_at(&plain).await?;
    let proxy = Proxy::start(ports, &scene).await?;
    let to = Subscription::new(&plain).await?;
    ensure!(to.endpoint.starts_with(&plain), "the endpoint is not at the proxy");
    let mut reader = to.read().await?;
    // Nothing is kept back until there is more.
    for body in ["one", "two"] {
        Application::new().send(&to.endpoint, body).await?;
        let event = reader.next().await?;
        ensure!(to.ack(&event).await? == 204);
        proxy.keeps(event.data["message"].as_str().context("it has an address")?)?;
    }
    ensure!(to.end().await? == 204);
    ensure!(reader.ending().await? == "superseded");
    proxy.logged(7).await?;
    proxy.keeps(&to.path)
}

#[tokio::test]
async fn the_lines_of_the_readme_bring_a_message_of_python() -> Result<()> {
    let mut scene = Scene::start(Library::PyWebPush).await?;
    let subscription = scene.restricted().await?;
    let folder = TempDir::with_prefix("pushgrid-it-")?;
    fs::write(folder.path().join("app.pem"), scene.key.to_pem())?;
    let lines = readme::code("python")?;
    let (import, rest) = lines.split_once('\n').context("it has two lines")?;
    let script = format!(
        "import json\n{import}\nsubscription_info = json.loads('{}')\n{rest}",
        subscription.push_subscription().to_json()
    );
    let [python, _] = pywebpush()?;
    run(Command::new(python).args(["-c", &script]).current_dir(&folder)).await?;
    let notification = scene.notification().await?;
    ensure!(subscription.decrypt(&notification)? == b"Hello", "the user agent reads something else");
    Ok(())
}
