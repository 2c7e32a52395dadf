//! A real nginx as reverse proxy before the service, with pooled upstream connections.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::log::Log;
use crate::ports::Port;
use crate::{eventually, programs};

/// Deadline for a start on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A real nginx that pools its connections to one service, and forwards a request once.
#[derive(Debug)]
pub struct Nginx {
    url: String,
    _process: Child,
    _port: Port,
    // Before the folder that holds its file: fields are dropped in this order.
    _log: Log,
    _folder: TempDir,
}

impl Nginx {
    /// Starts nginx before `service`, an `http://` URL.
    pub async fn before(service: &str) -> Result<Self> {
        let upstream = service.strip_prefix("http://").context("it speaks HTTP")?;
        let (port, folder) = (Port::reserve()?, TempDir::with_prefix("pushgrid-it-")?);
        let at = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {at}/{of};\n"))
            .concat();
        let listen = port.address();
        let configuration = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr warn;
             events {{ worker_connections 64; }}
             http {{
               access_log off;
               {temporary}
               upstream service {{ server {upstream}; keepalive 8; keepalive_timeout 600s; }}
               server {{
                 listen {listen};
                 keepalive_timeout 600s;
                 location / {{
                   proxy_pass http://service;
                   proxy_http_version 1.1;
                   proxy_set_header Connection \"\";
                   proxy_next_upstream off;
                 }}
               }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let log = Log::new("nginx", folder.path().join("log"));
        let mut process = Command::new(programs::nginx()?)
            .arg("-e")
            .arg("stderr")
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.sink()?)
            .kill_on_drop(true)
            .spawn()
            .context("start nginx")?;
        eventually(START, "nginx listens", async || {
            if let Some(status) = process.try_wait()? {
                bail!("it has ended: {status}\n{}", log.tail());
            }
            TcpStream::connect(&listen).await?;
            Ok(Some(()))
        })
        .await?;
        let url = format!("http://{listen}");
        Ok(Self { url, _process: process, _port: port, _log: log, _folder: folder })
    }

    /// URL of the listener: `http://127.0.0.1:…`.
    pub fn url(&self) -> &str {
        &self.url
    }
}
