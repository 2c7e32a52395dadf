//! Services of another release, and their data.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use super::grid::prefix;
use super::{Backing, Grid, Kind, Process, Role, Server, Shape, Standalone};
use crate::programs::{self, Target};
use crate::{eventually, within};

const PREFIX: &str = "PUSHGRID_KAFKA__TOPIC_PREFIX";
const BROKERS: &str = "PUSHGRID_KAFKA__BROKERS";
const PARTITIONS: &str = "PUSHGRID_KAFKA__PARTITIONS";
const KEYS: &str = "PUSHGRID_ENDPOINT__KEYS_FILE";

/// Number of partitions, as in grids of these tests.
const COUNT: &str = "3";

/// Deadline for a few records.
const RECORDS: Duration = Duration::from_mins(1);

impl Server {
    /// Starts another build of the command in this form.
    pub async fn start_of(build: &Path, target: Target, settings: &[(&str, &str)]) -> Result<Self> {
        match target {
            Target::Standalone => {
                Self::standalone_of(Some(build), TempDir::with_prefix("pushgrid-it-")?, settings).await
            }
            Target::Grid => {
                let grid =
                    Grid::start_of(Some(build), Shape::SMALLEST, &Backing::shared()?, settings).await?;
                Ok(Self(Kind::Grid(Box::new(grid))))
            }
        }
    }

    /// Starts standalone on a copy of this data directory.
    pub async fn standalone_on(data: &Path) -> Result<Self> {
        let folder = TempDir::with_prefix("pushgrid-it-")?;
        copy(data, &folder.path().join("data"))?;
        gzip(&folder.path().join("data"), Way::Unpack).await?;
        Self::standalone_of(None, folder, &[]).await
    }

    async fn standalone_of(build: Option<&Path>, folder: TempDir, settings: &[(&str, &str)]) -> Result<Self> {
        let data = folder.path().join("data").display().to_string();
        let mut all = vec![("PUSHGRID_STANDALONE__DATA_DIR".to_owned(), data)];
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut process = Process::new(Role::Standalone, "standalone", folder.path(), &all)?;
        process.update(build);
        process.start().await?;
        Ok(Self(Kind::Standalone(Box::new(Standalone { process, folder }))))
    }

    /// Starts a grid on topics with the records of a file and these endpoint keys, over an empty Redis.
    pub async fn grid_on(records: &Path, keys: &Path) -> Result<Self> {
        let (backing, prefix) = (Backing::shared()?, prefix());
        let text = std::fs::read(records).with_context(|| records.display().to_string())?;
        run_records("load", [(BROKERS, &*backing.brokers), (PREFIX, &prefix), (PARTITIONS, COUNT)], &text)
            .await?;
        let keys = keys.display().to_string();
        let settings = [(PREFIX, prefix.as_str()), (PARTITIONS, COUNT), (KEYS, &keys)];
        Ok(Self(Kind::Grid(Box::new(Grid::start(Shape::SMALLEST, &backing, &settings).await?))))
    }

    /// Saves the data in `folder`, for [`Self::standalone_on`] or [`Self::grid_on`]. The service must have ended.
    pub async fn save(&self, folder: &Path) -> Result<()> {
        match &self.0 {
            Kind::Standalone(one) => {
                copy(&one.folder.path().join("data"), &folder.join("data"))?;
                gzip(&folder.join("data"), Way::Pack).await
            }
            Kind::Grid(grid) => {
                std::fs::write(folder.join("records"), saved(grid).await?)?;
                std::fs::copy(grid.setting(KEYS)?, folder.join("endpoint-keys"))?;
                Ok(())
            }
        }
    }

    /// Waits until the routers have committed everything.
    pub async fn committed(&self) -> Result<()> {
        let Kind::Grid(grid) = &self.0 else { return Ok(()) };
        let last = Mutex::new(Vec::new());
        eventually(RECORDS, "all is committed", async || {
            let now = saved(grid).await?;
            let before = std::mem::replace(&mut *last.lock().await, now.clone());
            Ok((before == now).then_some(()))
        })
        .await
    }

    /// Kills the routers, so that further messages stay in the log. `false` in standalone, which has no such process.
    pub async fn kill_before_it_routes(&mut self) -> Result<bool> {
        match &mut self.0 {
            Kind::Standalone(_) => Ok(false),
            Kind::Grid(grid) => {
                for router in &mut grid.router {
                    router.kill().await?;
                }
                Ok(true)
            }
        }
    }
}

async fn saved(grid: &Grid) -> Result<Vec<u8>> {
    let named = [(BROKERS, grid.setting(BROKERS)?), (PREFIX, grid.setting(PREFIX)?), (PARTITIONS, COUNT)];
    run_records("save", named, &[]).await
}

async fn run_records(what: &str, settings: [(&str, &str); 3], input: &[u8]) -> Result<Vec<u8>> {
    let mut command = tokio::process::Command::new(programs::records()?);
    command.arg(what).envs(settings).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("it is a pipe")?;
    stdin.write_all(input).await?;
    drop(stdin);
    let output = within(RECORDS, "the records of a grid", child.wait_with_output()).await??;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// Copies the files of a data directory, without those made anew in each life.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if !name.ends_with("-shm") && name != "lock" {
            std::fs::copy(file.path(), to.join(name))?;
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Pack,
    Unpack,
}

/// Compresses the write-ahead log of a database, mostly repeated pages, or decompresses it.
async fn gzip(data: &Path, way: Way) -> Result<()> {
    let log = data.join("pushgrid.sqlite-wal");
    let mut command = tokio::process::Command::new("gzip");
    match way {
        Way::Pack => command.args(["--best", "--no-name", "--force"]).arg(log),
        Way::Unpack => command.arg("--decompress").arg(log.with_extension("sqlite-wal.gz")),
    };
    let output = command.kill_on_drop(true).output().await.context("gzip is missing")?;
    ensure!(output.status.success(), "gzip: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
