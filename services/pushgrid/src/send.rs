//! `pushgrid send`: an application server that sends one message.

use std::fs;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};
use pushgrid_client::{ApplicationServer, PushSubscription, Receipt, SendOptions, Setup};
use pushgrid_types::{Topic, Ttl, Urgency};

use crate::{say, vapid_file};

/// Octets read of standard input: more than any message may have, enough to be told that the message is too long.
const STDIN_MAX: u64 = 64 * 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The recipient: the JSON of a push subscription, or a file with one
    #[arg(long, value_name = "FILE|JSON")]
    subscription: String,
    /// Sign with this private key: a file written by openssl, web-push, `py_vapid` or `pushgrid keys vapid`
    #[arg(long, value_name = "KEYFILE")]
    vapid: Option<PathBuf>,
    /// Contact for questions about the messages: mailto:… or https:…, goes into the signature
    #[arg(long, requires = "vapid")]
    subject: Option<String>,
    /// Seconds that the message may wait for the user agent; 0 is now or never
    #[arg(long, default_value = "60")]
    ttl: Ttl,
    /// Replace the waiting message of this topic
    #[arg(long)]
    topic: Option<Topic>,
    /// very-low, low, normal or high
    #[arg(long, default_value = "normal", value_name = "URGENCY")]
    urgency: Urgency,
    /// The message; without it, standard input is read
    #[arg(long)]
    message: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Sends, and prints the answer of the push service. Any answer but 2xx is an error.
pub(crate) async fn run(args: Args) -> Result<()> {
    let to = subscription(&args.subscription)?;
    let key = args.vapid.as_deref().map(vapid_file::private_key).transpose()?;
    let payload = match args.message {
        Some(text) => text.into_bytes(),
        None => standard_input()?,
    };
    let server = ApplicationServer::with(Setup { key, subject: args.subject, ..Setup::default() });
    let options = SendOptions { ttl: args.ttl, topic: args.topic, urgency: Some(args.urgency) };
    let receipt = server.send(&to, &payload, &options).await?;
    say::line(&if args.json { json(&receipt) } else { text(&receipt) });
    Ok(())
}

fn subscription(given: &str) -> Result<PushSubscription> {
    let inline = given.trim_start().starts_with('{');
    if inline {
        return Ok(given.parse()?);
    }
    let text = fs::read_to_string(given).with_context(|| {
        format!("cannot read the subscription from {given}: pushgrid listen --subscription FILE writes one")
    })?;
    text.parse().with_context(|| format!("{given} holds no subscription"))
}

fn standard_input() -> Result<Vec<u8>> {
    let mut input = std::io::stdin();
    if input.is_terminal() {
        eprintln!("type the message, and end it with Ctrl-D");
    }
    let mut payload = Vec::new();
    Read::by_ref(&mut input)
        .take(STDIN_MAX)
        .read_to_end(&mut payload)
        .context("cannot read standard input")?;
    Ok(payload)
}

fn text(receipt: &Receipt) -> String {
    let ttl = receipt.ttl.map_or("not said".to_owned(), |ttl| format!("{} s", ttl.as_secs()));
    let location = receipt.location.as_deref().unwrap_or("not said");
    format!("status    {}\nlocation  {location}\nttl       {ttl}", receipt.status)
}

fn json(receipt: &Receipt) -> String {
    let (status, location) = (receipt.status, &receipt.location);
    serde_json::json!({"status": status, "location": location, "ttl": receipt.ttl.map(Ttl::as_secs)})
        .to_string()
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

    const JSON: &str = r#" {"endpoint":"http://h/x","keys":{"p256dh":"P","auth":"A"}}"#;

    #[test]
    fn the_subscription_is_read_from_the_argument_or_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("subscription.json");
        fs::write(&file, JSON).unwrap();
        let inline = subscription(JSON).unwrap();
        assert_eq!(subscription(file.to_str().unwrap()).unwrap(), inline);
        assert_eq!(inline.endpoint, "http://h/x");
        assert!(subscription("no-such-file").unwrap_err().to_string().contains("listen --subscription"));
        assert!(subscription("{}").is_err());
    }

    #[test]
    fn values_that_the_standard_does_not_have_are_refused_at_once() {
        let parse =
            |more: &[&str]| Command::try_parse_from([&["send", "--subscription", JSON], more].concat());
        let args = parse(&["--ttl", "0", "--topic", "upd", "--urgency", "HIGH"])
            .unwrap_or_else(|e| panic!("{e}"))
            .args;
        assert_eq!((args.ttl, args.urgency), (Ttl::ZERO, Urgency::High));
        assert_eq!(parse(&[]).unwrap_or_else(|e| panic!("{e}")).args.ttl, Ttl::from_secs(60));
        for bad in
            [["--ttl", "-1"], ["--ttl", "1h"], ["--topic", "a b"], ["--urgency", "soon"], ["--subject", "x"]]
        {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_was_answered_is_printed_in_both_forms() {
        let receipt = Receipt { status: 201, location: Some("http://h/m/1".into()), ttl: None };
        assert_eq!(text(&receipt), "status    201\nlocation  http://h/m/1\nttl       not said");
        assert_eq!(json(&receipt), r#"{"location":"http://h/m/1","status":201,"ttl":null}"#);
    }
}
