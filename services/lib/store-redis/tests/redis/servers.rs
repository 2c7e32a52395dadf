//! Processes that end with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Process of Redis.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    child: Child,
}

/// Finds a free port.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

impl Server {
    /// Starts a server with further arguments, and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let port = free_port();
        let port_text = port.to_string();
        let mut all = vec!["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        all.extend(arguments);
        Self::of(port, all.iter().map(|it| (*it).to_owned()).collect(), "Ready to accept connections")
    }

    /// Starts a sentinel with a configuration, and waits until it watches.
    pub(crate) fn sentinel(port: u16, configuration: &str) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let path = folder.path().join("sentinel.conf");
        std::fs::write(&path, configuration).expect("it can be written");
        let arguments = vec![path.display().to_string(), "--sentinel".to_owned()];
        let child = launch(folder.path(), &arguments, "+slave slave");
        Self { port, folder, arguments, child }
    }

    fn of(port: u16, arguments: Vec<String>, ready: &str) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let child = launch(folder.path(), &arguments, ready);
        Self { port, folder, arguments, child }
    }

    /// Kills the server with `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// Restarts the server at the same port, empty.
    pub(crate) fn restart(&mut self) {
        self.child = launch(self.folder.path(), &self.arguments, "Ready to accept connections");
    }

    /// Stops the process silently, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let signal = if frozen { rustix::process::Signal::STOP } else { rustix::process::Signal::CONT };
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Opens a connection of the test's own.
    pub(crate) fn direct(&self) -> redis::Connection {
        let url = format!("redis://127.0.0.1:{}", self.port);
        redis::Client::open(url).and_then(|client| client.get_connection()).expect("it listens")
    }

    /// Sends a command, and returns the answer.
    pub(crate) fn say<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        command.query(&mut self.direct()).expect("it answers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a process, and waits for `ready` in its output.
fn launch(folder: &Path, arguments: &[String], ready: &str) -> Child {
    let mut child = Command::new("redis-server")
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-server is installed (Debian: apt-get install redis-server)");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut said = Vec::new();
    loop {
        match lines.next() {
            Some(Ok(line)) if line.contains(ready) => break,
            Some(Ok(line)) => said.push(line),
            _ => panic!("redis-server did not start: {said:#?}"),
        }
    }
    // What it says after that has to go somewhere, or it would wait for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    child
}
