//! `pushgrid broadcast`: an operator's requests to the admin listener of a running process.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Subcommand;
use http::header::AUTHORIZATION;
use http::{Method, Request};
use pushgrid_client::{ApplicationServer, Response};
use pushgrid_types::{BroadcastId, BroadcastVersion};

use crate::say;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Admin listener of a standalone, or of any connection node of a grid
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090", global = true)]
    admin: String,
    /// A file with the service's admin.token, which an admin listener for other machines asks for
    #[arg(long, value_name = "FILE", global = true)]
    token: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Set a version, and send it to all user agents that ask for it
    Set {
        /// Such as remote-settings/monitor_changes
        id: BroadcastId,
        /// Any printable text; the versions of Firefox have double quotes around them
        version: BroadcastVersion,
    },
    /// Remove a broadcast
    Remove {
        /// Its id
        id: BroadcastId,
    },
    /// Print all ids with their versions
    List,
}

/// Asks, and prints the answer to `list`. Any answer but 2xx is an error.
pub(crate) async fn run(args: Args) -> Result<()> {
    let token = args.token.as_deref().map(std::fs::read_to_string).transpose();
    let token = token.context("cannot read the file with the token")?;
    let (method, path, body) = match args.what {
        What::Set { id, version } => (Method::PUT, format!("/broadcasts/{id}"), version.to_string()),
        What::Remove { id } => (Method::DELETE, format!("/broadcasts/{id}"), String::new()),
        What::List => (Method::GET, "/broadcasts".to_owned(), String::new()),
    };
    let mut request =
        Request::builder().method(&method).uri(format!("{}{path}", args.admin.trim_end_matches('/')));
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim()));
    }
    let request =
        request.body(Bytes::from(body)).context("--admin is no address, such as http://127.0.0.1:9090")?;
    let asked = ApplicationServer::new(None).request(request).await;
    let answer = asked.with_context(|| format!("no answer of the admin listener at {}", args.admin))?;
    let text = String::from_utf8_lossy(&answer.body);
    if !(200..300).contains(&answer.status) {
        bail!("{}", refusal(&answer, text.trim()));
    }
    if method == Method::GET {
        let versions = lines(&text).context("this is not the answer of an admin listener")?;
        for line in &versions {
            say::line(line);
        }
    }
    Ok(())
}

fn refusal(answer: &Response, text: &str) -> String {
    match (answer.status, text) {
        (404, "") => {
            "this process has no broadcasts: ask a standalone, or a connection node with kafka.brokers"
                .to_owned()
        }
        (status, "") => format!("the answer was {status}"),
        (status, text) => format!("{text} ({status})"),
    }
}

/// Each id with its version, from the JSON of a list.
fn lines(text: &str) -> Option<Vec<String>> {
    let all: serde_json::Value = serde_json::from_str(text).ok()?;
    let all = all.get("broadcasts")?.as_object()?;
    Some(all.iter().map(|(id, version)| format!("{id}  {}", version.as_str().unwrap_or_default())).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn ids_and_versions_are_checked_before_anything_is_sent() {
        let parse = |more: &[&str]| Command::try_parse_from([&["broadcast"], more].concat());
        let args =
            parse(&["set", "a/b", "\"1\"", "--admin", "http://h:1"]).unwrap_or_else(|e| panic!("{e}")).args;
        assert_eq!(args.admin, "http://h:1");
        assert!(
            matches!(args.what, What::Set { id, version } if id.as_str() == "a/b" && version.as_str() == "\"1\"")
        );
        for bad in [&["set", "a b", "1"][..], &["set", "a", ""], &["set", "a"], &["remove", "../x"], &[]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_list_is_read_line_by_line() {
        let text = r#"{"broadcasts":{"a":"1","b/c":"\"2\""}}"#;
        assert_eq!(lines(text).unwrap(), ["a  1", "b/c  \"2\""]);
        assert!(lines("ready").is_none());
    }
}
