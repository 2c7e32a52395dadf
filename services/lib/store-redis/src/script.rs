//! The Lua scripts, assembled from `lua/`, and their calls by name or by text. A script runs atomically, on keys of
//! one partition or of the members. Not here: their arguments and answers.

use redis::{Cmd, Script};

/// Scripts, each with the hash under which a server keeps it.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) begin: Source,
    pub(crate) stamp: Source,
    pub(crate) sign: Source,
    pub(crate) discard: Source,
    pub(crate) apply: Source,
    pub(crate) set_aside: Source,
    pub(crate) restore: Source,
    pub(crate) complete: Source,
    pub(crate) find: Source,
    pub(crate) alive: Source,
    pub(crate) count: Source,
    pub(crate) all: Source,
    pub(crate) sweep: Source,
    pub(crate) webhooks: Source,
    pub(crate) stored: Source,
    pub(crate) in_topic: Source,
    pub(crate) in_channel: Source,
    pub(crate) due: Source,
    pub(crate) page: Source,
    pub(crate) message: Source,
    pub(crate) usage: Source,
    pub(crate) waiting: Source,
    pub(crate) look_up: Source,
    pub(crate) claim: Source,
    pub(crate) resume: Source,
    pub(crate) release: Source,
    pub(crate) renew: Source,
}

/// Text of a script, and its hash.
#[derive(Debug)]
pub(crate) struct Source {
    text: &'static str,
    hash: String,
}

/// Concatenates parts in the folder `lua` to a script.
macro_rules! script {
    ($($part:literal),+) => {
        Source::of(concat!($(include_str!(concat!("lua/", $part, ".lua")), "\n"),+))
    };
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            begin: script!("common", "life", "standing", "begin"),
            stamp: script!("common", "standing", "stamp"),
            sign: script!("common", "standing", "sign"),
            discard: script!("common", "standing", "discard"),
            apply: script!("common", "standing", "aside", "changes", "apply"),
            set_aside: script!("common", "standing", "aside", "barrier", "set_aside"),
            restore: script!("common", "standing", "aside", "barrier", "changes", "restore"),
            complete: script!("common", "life", "standing", "aside", "barrier", "complete"),
            find: script!("common", "standing", "aside", "barrier", "find"),
            alive: script!("common", "standing", "aside", "barrier", "alive"),
            count: script!("common", "standing", "aside", "barrier", "count"),
            all: script!("common", "standing", "aside", "barrier", "all"),
            sweep: script!("common", "standing", "aside", "barrier", "sweep"),
            webhooks: script!("common", "standing", "aside", "barrier", "webhooks"),
            stored: script!("common", "standing", "aside", "barrier", "messages", "stored"),
            in_topic: script!("common", "standing", "aside", "barrier", "messages", "in_topic"),
            in_channel: script!("common", "standing", "aside", "barrier", "messages", "in_channel"),
            due: script!("common", "life", "standing", "aside", "barrier", "messages", "due"),
            page: script!("common", "standing", "aside", "barrier", "messages", "page"),
            message: script!("common", "standing", "aside", "barrier", "message"),
            usage: script!("common", "standing", "aside", "barrier", "messages", "usage"),
            waiting: script!("common", "standing", "aside", "barrier", "waiting"),
            look_up: script!("common", "life", "look_up"),
            claim: script!("common", "standing", "claims", "claim"),
            resume: script!("common", "standing", "claims", "resume"),
            release: script!("common", "claims", "release"),
            renew: script!("common", "renew"),
        }
    }
}

impl Source {
    fn of(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }

    /// Builds a call by hash, which fails if the server does not have the script.
    pub(crate) fn by_name(&self, keys: &[&[u8]], arguments: impl FnOnce(&mut Cmd)) -> Cmd {
        Self::command("EVALSHA", &self.hash, keys, arguments)
    }

    /// Builds a call with the text, which the server then keeps. Loading the script first would take another round
    /// trip, and in a cluster a call to servers that are not concerned.
    pub(crate) fn by_text(&self, keys: &[&[u8]], arguments: impl FnOnce(&mut Cmd)) -> Cmd {
        Self::command("EVAL", self.text, keys, arguments)
    }

    fn command(verb: &str, script: &str, keys: &[&[u8]], arguments: impl FnOnce(&mut Cmd)) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(script).arg(keys.len());
        for key in keys {
            command.arg(*key);
        }
        arguments(&mut command);
        command
    }
}
