use redis::{Cmd, Script};

/// The scripts, each with the name under which a server keeps it.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) begin: Source,
    pub(crate) apply: Source,
    pub(crate) complete: Source,
    pub(crate) find: Source,
    pub(crate) alive: Source,
    pub(crate) count: Source,
    pub(crate) stored: Source,
    pub(crate) in_topic: Source,
    pub(crate) in_channel: Source,
    pub(crate) due: Source,
    pub(crate) page: Source,
    pub(crate) usage: Source,
    pub(crate) waiting: Source,
    pub(crate) look_up: Source,
    pub(crate) claim: Source,
    pub(crate) resume: Source,
    pub(crate) release: Source,
    pub(crate) renew: Source,
}

/// The text of a script, and its name.
#[derive(Debug)]
pub(crate) struct Source {
    text: &'static str,
    hash: String,
}

/// A script of parts in the folder `lua`.
macro_rules! script {
    ($($part:literal),+) => {
        Source::of(concat!($(include_str!(concat!("lua/", $part, ".lua")), "\n"),+))
    };
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            begin: script!("common", "begin"),
            apply: script!("common", "apply"),
            complete: script!("common", "footing", "complete"),
            find: script!("common", "footing", "find"),
            alive: script!("common", "footing", "alive"),
            count: script!("common", "footing", "count"),
            stored: script!("common", "footing", "stored"),
            in_topic: script!("common", "footing", "in_topic"),
            in_channel: script!("common", "footing", "in_channel"),
            due: script!("common", "footing", "due"),
            page: script!("common", "footing", "page"),
            usage: script!("common", "footing", "usage"),
            waiting: script!("common", "footing", "waiting"),
            look_up: script!("common", "look_up"),
            claim: script!("common", "claim"),
            resume: script!("common", "resume"),
            release: script!("common", "release"),
            renew: script!("common", "renew"),
        }
    }
}

impl Source {
    fn of(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }

    /// A call by name, which fails when the server does not have the script.
    pub(crate) fn by_name(&self, keys: &[&[u8]], arguments: impl FnOnce(&mut Cmd)) -> Cmd {
        Self::command("EVALSHA", &self.hash, keys, arguments)
    }

    /// A call that brings the script along; the server keeps it. Loading it first would take another round trip, and
    /// in a cluster a call of servers that are not concerned.
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
