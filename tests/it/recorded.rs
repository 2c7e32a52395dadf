//! Data of an earlier release, killed in the middle of its work, is served by this one: subscriptions, messages stored,
//! with a topic and in flight, and the account of ended ones.
//!
//! `recorded/` has the data of release d4a284a: the data directory of a standalone, and the Kafka records of a grid.
//! [`recording`] makes the data anew, in the place named by `PUSHGRID_TEST_RECORD`, as a part of the test of rolling
//! updates, which has a build of that release. The clock of that service was far ahead, so that nothing expires.

mod reading;
pub(crate) mod recording;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// File beside the data, with the expected content.
const LEFT: &str = "left.json";

/// Expected content of a service's data.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Left {
    agents: Vec<LeftAgent>,
    /// Endpoints of subscriptions that have ended.
    gone: Vec<String>,
    accepted: u64,
    ended: BTreeMap<String, u64>,
}

/// User agent with the messages owed to it.
#[derive(Debug, Serialize, Deserialize)]
struct LeftAgent {
    id: String,
    /// Endpoints by channel.
    channels: BTreeMap<String, String>,
    /// Bodies of the messages owed, in order.
    owed: Vec<String>,
}

impl Left {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(LEFT);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    }

    fn write(&self, folder: &Path) -> Result<()> {
        Ok(std::fs::write(folder.join(LEFT), serde_json::to_string_pretty(self)? + "\n")?)
    }
}

/// Recorded data of a form of the service.
fn kept(form: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/recorded/d4a284a")).join(form)
}
