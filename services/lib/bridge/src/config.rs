//! The settings of section `bridge`.

use pushgrid_runtime::config::Reader;
use pushgrid_types::BroadcastId;

/// Broadcasts that are mirrored at most: no more than one connection may ask for.
const MAX: usize = 8;

const UPSTREAM: &str = "bridge.upstream";
const BROADCASTS: &str = "bridge.broadcasts";

/// Settings of the bridge.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the upstream for user agents, `wss://…` or `ws://…`; `None` mirrors nothing.
    pub upstream: Option<String>,
    /// Broadcasts that are mirrored, 1 to 8.
    pub broadcasts: Vec<BroadcastId>,
}

impl Config {
    /// Reads the settings of section `bridge`.
    pub fn read(reader: &mut Reader) -> Self {
        let upstream = reader.optional_text(
            UPSTREAM,
            "Push service whose broadcasts are mirrored, as a wss:// address: wss://push.services.mozilla.com/ for Firefox. Unset: none. In a grid, all connection nodes need it, and one at a time does it.",
        );
        let broadcasts = reader.text(
            BROADCASTS,
            "remote-settings/monitor_changes",
            "Ids of the broadcasts that are mirrored, joined by commas, at most 8.",
        );
        if let Some(upstream) = &upstream
            && !["wss://", "ws://"].iter().any(|scheme| upstream.strip_prefix(scheme).is_some_and(is_host))
        {
            reader.fault(
                UPSTREAM,
                "give the address for user agents, such as wss://push.services.mozilla.com/",
            );
        }
        let ids: Result<Vec<BroadcastId>, _> = broadcasts.split(',').map(|id| id.trim().parse()).collect();
        let broadcasts = match ids {
            Ok(ids) if ids.len() <= MAX => ids,
            Ok(_) => {
                reader.fault(BROADCASTS, "name at most 8");
                Vec::new()
            }
            Err(invalid) => {
                reader.fault(BROADCASTS, invalid.to_string());
                Vec::new()
            }
        };
        Self { upstream, broadcasts }
    }
}

fn is_host(rest: &str) -> bool {
    !rest.is_empty() && !rest.starts_with('/')
}

#[cfg(test)]
mod tests {
    use pushgrid_runtime::config::Layers;

    use super::*;

    fn read(settings: &[&str]) -> Result<Config, String> {
        let settings: Vec<String> = settings.iter().map(|setting| format!("bridge.{setting}")).collect();
        let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &settings).unwrap());
        let config = Config::read(&mut reader);
        reader.finish().map(|_| config).map_err(|faults| faults.to_string())
    }

    #[test]
    fn it_is_off_unless_an_upstream_is_named() {
        let config = read(&[]).unwrap();
        assert_eq!(config.upstream, None);
        assert_eq!(config.broadcasts, ["remote-settings/monitor_changes".parse().unwrap()]);
        let config = read(&["upstream=wss://push.example", "broadcasts=a/b, c"]).unwrap();
        assert_eq!(config.upstream.as_deref(), Some("wss://push.example"));
        assert_eq!(config.broadcasts, ["a/b".parse().unwrap(), "c".parse().unwrap()]);
    }

    #[test]
    fn faults_say_what_to_write() {
        for bad in ["upstream=https://push.example", "upstream=push.example", "upstream=wss://", "upstream="]
        {
            assert!(read(&[bad]).unwrap_err().contains("wss://push.services.mozilla.com"), "{bad}");
        }
        assert!(read(&["broadcasts=a b"]).unwrap_err().contains("the id of a broadcast"));
        assert!(read(&["broadcasts="]).unwrap_err().contains("the id of a broadcast"));
        assert!(read(&["broadcasts=1,2,3,4,5,6,7,8,9"]).unwrap_err().contains("at most 8"));
    }
}
