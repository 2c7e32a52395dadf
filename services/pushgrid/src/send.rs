//! `pushgrid send`: an application server that sends one message.

use std::fs;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pushgrid_client::{
    Accepted, ApplicationServer, PushSubscription, Receipt, ReceiptEvent, ReceiptWish, Receipts, SendOptions,
    Setup, Transport,
};
use pushgrid_types::{Topic, Ttl, Urgency};
use tokio::time::{Instant, timeout};

use crate::{say, vapid_file};

/// Octets read of standard input: more than any message may have, enough to be told that the message is too long.
const STDIN_MAX: u64 = 64 * 1024;

/// Time for the receipt of a message that has expired.
const GRACE: Duration = Duration::from_mins(1);

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
    /// Wait until the user agent has acknowledged the message, or it was given up
    #[arg(long)]
    receipt: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Sends, and prints the answer of the push service, and the receipt if one is wanted. Any answer but 2xx is an error, and
/// so is the receipt of a message that was given up.
pub(crate) async fn run(args: Args) -> Result<()> {
    let to = subscription(&args.subscription)?;
    let key = args.vapid.as_deref().map(vapid_file::private_key).transpose()?;
    let payload = match args.message {
        Some(text) => text.into_bytes(),
        None => standard_input()?,
    };
    let server = ApplicationServer::with(Setup { key, subject: args.subject, ..Setup::default() });
    let wish = if args.receipt { ReceiptWish::New } else { ReceiptWish::Unwanted };
    let options =
        SendOptions { ttl: args.ttl, topic: args.topic, urgency: Some(args.urgency), receipt: wish };
    let accepted = server.send(&to, &payload, &options).await?;
    if !args.receipt {
        say::line(&if args.json { json(&accepted, None) } else { text(&accepted) });
        return Ok(());
    }
    if !args.json {
        say::line(&text(&accepted));
    }
    let began = Instant::now();
    let receipt = wait(&accepted, args.ttl).await?;
    let seconds = began.elapsed().as_secs_f64();
    say::line(&if args.json {
        json(&accepted, Some((&receipt, seconds)))
    } else {
        format!("receipt   {} after {seconds:.3} s", receipt.status)
    });
    ensure!(receipt.status == 204, "the message was given up: no user agent has acknowledged it");
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

/// Waits for the receipt of a message. The receipt subscription was made for it, and ends with it.
async fn wait(accepted: &Accepted, ttl: Ttl) -> Result<Receipt> {
    let url = accepted.receipts.as_deref().context("the push service gives no receipts")?;
    let location = accepted.location.as_deref().context("the push service has not named the message")?;
    let waiting = async {
        let mut receipts = Receipts::open(url, Transport::Events).await?;
        loop {
            match receipts.next().await? {
                ReceiptEvent::Receipt(receipt) if location.ends_with(&receipt.message) => {
                    receipts.end().await?;
                    return Ok(receipt);
                }
                ReceiptEvent::Receipt(_) | ReceiptEvent::Alive => {}
                ReceiptEvent::Ended(_) => receipts = Receipts::open(url, Transport::Events).await?,
                ReceiptEvent::Gone => bail!("the receipt subscription has ended"),
            }
        }
    };
    let limit = ttl.duration() + GRACE;
    let late = || format!("no receipt came within {} s", limit.as_secs());
    timeout(limit, waiting).await.with_context(late)?
}

fn text(receipt: &Accepted) -> String {
    let ttl = receipt.ttl.map_or("not said".to_owned(), |ttl| format!("{} s", ttl.as_secs()));
    let location = receipt.location.as_deref().unwrap_or("not said");
    format!("status    {}\nlocation  {location}\nttl       {ttl}", receipt.status)
}

fn json(accepted: &Accepted, receipt: Option<(&Receipt, f64)>) -> String {
    let Accepted { status, location, ttl, .. } = accepted;
    let mut object =
        serde_json::json!({"status": status, "location": location, "ttl": ttl.map(Ttl::as_secs)});
    if let Some((receipt, seconds)) = receipt {
        object["receipt"] = serde_json::json!({"status": receipt.status, "seconds": seconds});
    }
    object.to_string()
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
        let accepted =
            Accepted { status: 201, location: Some("http://h/m/1".into()), ttl: None, receipts: None };
        assert_eq!(text(&accepted), "status    201\nlocation  http://h/m/1\nttl       not said");
        assert_eq!(json(&accepted, None), r#"{"location":"http://h/m/1","status":201,"ttl":null}"#);
        let receipt = Receipt { message: "/m/1".into(), status: 204, acknowledge: None };
        let said = json(&accepted, Some((&receipt, 0.5)));
        assert!(said.contains(r#""receipt":{"seconds":0.5,"status":204}"#), "{said}");
    }
}
