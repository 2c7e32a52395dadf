//! The settings of section `webhook`.

use std::path::PathBuf;
use std::time::Duration;

use pushgrid_runtime::config::Reader;

/// Settings of the webhooks.
#[derive(Debug, Clone)]
pub struct Config {
    /// Lets posts go to addresses of refused ranges: loopback, private networks, and the like.
    pub allow_private: bool,
    /// Takes `http` URLs beside `https`.
    pub allow_http: bool,
    /// Longest time of one attempt, from the look-up of the name to the head of the answer.
    pub timeout: Duration,
    /// Pause after the first failed attempt; it doubles with each further one.
    pub first_pause: Duration,
    /// Certificates (PEM) of authorities that are trusted beside the built-in ones.
    pub ca_file: Option<PathBuf>,
}

impl Config {
    /// Reads the settings of section `webhook`. The file of `webhook.ca_file` is read by
    /// [`Webhooks::new`](crate::Webhooks::new).
    pub fn read(reader: &mut Reader) -> Self {
        let allow_private = reader.switch(
            "webhook.allow_private",
            false,
            "Post to webhooks at loopback, private and other special addresses too. An application \
             server can then reach what this process can reach: only for application servers of one's own.",
        );
        let allow_http = reader.switch(
            "webhook.allow_http",
            false,
            "Take http:// URLs of webhooks beside https://. Everybody on the way can then read and change \
             what is posted to them.",
        );
        let timeout = reader.duration(
            "webhook.timeout",
            "10s",
            Duration::from_millis(100)..=Duration::from_mins(1),
            "Longest time of one attempt to post to a webhook, connecting included.",
        );
        let first_pause = reader.duration(
            "webhook.first_pause",
            "5s",
            Duration::from_millis(10)..=Duration::from_hours(1),
            "Pause after the first failed attempt to post to a webhook. It doubles with each further one, up to an hour.",
        );
        let ca_file = reader.text(
            "webhook.ca_file",
            "",
            "A file of certificates (PEM) of authorities that webhooks may have their certificates from, beside \
             the public ones. Empty: none.",
        );
        let ca_file = (!ca_file.is_empty()).then(|| PathBuf::from(ca_file));
        Self { allow_private, allow_http, timeout, first_pause, ca_file }
    }
}

#[cfg(test)]
mod tests {
    use pushgrid_runtime::config::Layers;

    use super::*;

    fn read(settings: &[&str]) -> Result<Config, String> {
        let settings: Vec<String> = settings.iter().map(|setting| format!("webhook.{setting}")).collect();
        let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &settings).unwrap());
        let config = Config::read(&mut reader);
        reader.finish().map(|_| config).map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_defaults_are_strict_and_each_setting_is_read() {
        let config = read(&[]).unwrap();
        assert!(!config.allow_private && !config.allow_http);
        assert_eq!((config.timeout, config.first_pause), (Duration::from_secs(10), Duration::from_secs(5)));
        assert_eq!(config.ca_file, None);
        let config =
            read(&["allow_private=true", "allow_http=true", "timeout=2s", "ca_file=/a/ca.pem"]).unwrap();
        assert!(config.allow_private && config.allow_http);
        assert_eq!((config.timeout, config.ca_file), (Duration::from_secs(2), Some("/a/ca.pem".into())));
        assert!(read(&["timeout=0s"]).unwrap_err().contains("webhook.timeout"));
    }
}
