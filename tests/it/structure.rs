//! The shape of the repository: dependencies, the homes of drivers, sizes of files, the top level, and generated
//! references that match the code.

mod circles;
mod conformance;
mod map;
mod prose;
mod quotes;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Allowed dependencies between crates of the project: from the types, over the seams, to adapters and services.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("crypto", &["types"]),
    ("store", &["types"]),
    // The rule of the mailbox: pure.
    ("mailbox", &["types", "store"]),
    // For tests alone: see `the_models_are_for_tests`.
    ("store-model", &["types", "store", "mailbox"]),
    ("session", &["types", "crypto"]),
    ("proto", &["types", "store"]),
    ("client", &["types", "crypto"]),
    ("runtime", &["types"]),
    // Posts to servers of others.
    ("webhook", &["types", "crypto", "runtime"]),
    // Speaks to another push service, as a user agent of it.
    ("bridge", &["types", "store", "store-model", "client", "runtime"]),
    // Adapters: never each other.
    ("store-embedded", &["types", "store", "store-model", "mailbox", "runtime"]),
    ("store-changelog", &["types", "store", "store-model", "mailbox", "runtime"]),
    ("store-redis", REMOTE),
    ("log-kafka", REMOTE),
    ("link-grpc", REMOTE),
    // Services: never each other, never an adapter.
    ("ingress", SEAMS),
    ("router", SEAMS),
    ("connection", SEAMS),
    (
        "wiring",
        &[
            "types",
            "crypto",
            "store",
            "store-model",
            "session",
            "runtime",
            "proto",
            "bridge",
            "webhook",
            "store-embedded",
            "store-changelog",
            "store-redis",
            "log-kafka",
            "link-grpc",
            "ingress",
            "router",
            "connection",
        ],
    ),
    // The bench sees a service from outside, and its Redis.
    ("bench", &["types", "crypto", "client", "runtime", "store-redis"]),
    // The command: services are wired for it.
    ("", &["types", "crypto", "store", "runtime", "client", "bench", "wiring"]),
    // Tests see the program from outside.
    ("it", &["types", "crypto", "client"]),
];

/// Crates for an adapter of a remote server.
const REMOTE: &[&str] = &["types", "store", "store-model", "proto", "runtime"];

/// Crates for a service; the client is for tests.
const SEAMS: &[&str] = &["types", "crypto", "store", "store-model", "session", "runtime", "webhook"];

/// Crates that may name each driver: one, except for gRPC, whose code is generated where its messages are.
const DRIVERS: &[(&str, &[&str])] = &[
    ("rusqlite", &["store-embedded"]),
    ("redis", &["store-redis"]),
    ("rdkafka", &["log-kafka"]),
    ("tonic", &["link-grpc", "proto"]),
];

const TOP_LEVEL: &[&str] =
    &["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "deploy", "helm", "proto", "services", "tests"];

/// Names made by builds and not kept.
const MADE: &[&str] = &["target", "node_modules", "__pycache__"];

/// Most lines of a file. Half of that is a question already.
const LARGEST_FILE: usize = 800;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn metadata() -> Result<Metadata> {
    let options = ["--offline".to_owned(), "--locked".to_owned()];
    Ok(MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(options)
        .exec()?)
}

/// Package name without the prefix; empty for the command.
fn short(package: &str) -> Option<&str> {
    match package.strip_prefix("pushgrid") {
        Some("") => Some(""),
        Some(rest) => rest.strip_prefix('-'),
        None => None,
    }
}

/// Files below `folder` written by hand.
fn written(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if hidden || MADE.iter().any(|made| *made == name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            written(&entry.path(), into)?;
        } else {
            into.push(entry.path());
        }
    }
    Ok(())
}

fn sources() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in ["services", "tests"] {
        written(&root().join(folder), &mut files)?;
    }
    let kinds = ["rs", "proto", "js", "mjs", "py", "sh", "html"];
    files.retain(|file| file.extension().and_then(OsStr::to_str).is_some_and(|kind| kinds.contains(&kind)));
    ensure!(files.len() > 100, "only {} sources were found", files.len());
    Ok(files)
}

#[test]
fn dependencies_point_in_one_direction() -> Result<()> {
    let allowed: BTreeMap<&str, &[&str]> = MAY_DEPEND_ON.iter().copied().collect();
    let metadata = metadata()?;
    let packages = metadata.workspace_packages();
    ensure!(packages.len() > 10, "only {} packages were found", packages.len());
    for package in packages {
        let name = package.name.as_str();
        let short_name = short(name).with_context(|| format!("{name} is not called pushgrid-something"))?;
        let may =
            allowed.get(short_name).with_context(|| format!("say in this test what {name} may depend on"))?;
        for dependency in &package.dependencies {
            let Some(on) = short(&dependency.name) else { continue };
            ensure!(may.contains(&on), "{name} must not depend on {}", dependency.name);
        }
    }
    Ok(())
}

#[test]
fn the_models_are_for_tests() -> Result<()> {
    for package in metadata()?.workspace_packages() {
        let models = package.dependencies.iter().filter(|it| it.name == "pushgrid-store-model");
        for dependency in models {
            let kind = dependency.kind;
            ensure!(kind == DependencyKind::Development, "{} is built with the models", package.name);
        }
    }
    Ok(())
}

#[test]
fn the_table_of_dependencies_has_no_circle() -> Result<()> {
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    loop {
        let ready = |(name, may): &&(&'static str, &[&str])| {
            !settled.contains(name) && may.iter().all(|on| settled.contains(on))
        };
        let next: Vec<&str> = MAY_DEPEND_ON.iter().filter(ready).map(|(name, _)| *name).collect();
        if next.is_empty() {
            break;
        }
        settled.extend(next);
    }
    ensure!(settled.len() == MAY_DEPEND_ON.len(), "only {settled:?} come in an order");
    Ok(())
}

#[test]
fn each_driver_is_named_where_it_belongs() -> Result<()> {
    let metadata = metadata()?;
    let names = |package: &Package, driver: &str| {
        let of_family = |name: &str| name == driver || name.starts_with(&format!("{driver}-"));
        package.dependencies.iter().any(|dependency| of_family(&dependency.name))
    };
    for (driver, homes) in DRIVERS {
        let users = metadata.workspace_packages().into_iter().filter(|package| names(package, driver));
        for package in users {
            let name = package.name.as_str();
            let at_home = short(name).is_some_and(|short| homes.contains(&short));
            ensure!(at_home, "{driver} belongs to {homes:?} alone, but {name} names it");
        }
    }
    for package in metadata.workspace_packages() {
        let count = DRIVERS.iter().filter(|(driver, _)| names(package, driver)).count();
        ensure!(count <= 1, "{} names {count} drivers", package.name);
    }
    Ok(())
}

/// Acceptance in the ingress is the same for all dialects, so it names none, and nothing of HTTP.
#[test]
fn acceptance_knows_no_dialect_and_no_http() -> Result<()> {
    let mut files: Vec<_> = sources()?;
    let ingress = root().join("services/ingress/src");
    files.retain(|file| file.starts_with(ingress.join("accept")) || *file == ingress.join("accept.rs"));
    ensure!(files.len() > 3, "only {files:?} are of acceptance");
    for file in files {
        let code = std::fs::read_to_string(&file)?;
        for foreign in ["http::", "http_body", "hyper", "axum", "tower", "webpush", "crate::request"] {
            ensure!(!code.contains(foreign), "{} names {foreign}", file.display());
        }
    }
    Ok(())
}

/// The rule of the mailbox says which outcome a stored message gets. Adapters report what they are told, and what they
/// have lost.
#[test]
fn no_adapter_decides_an_outcome() -> Result<()> {
    let mut files: Vec<_> = sources()?;
    let adapters = ["store-embedded/src", "store-changelog/src", "store-redis/src", "store-model/src/memory"]
        .map(|folder| root().join("services/lib").join(folder));
    files.retain(|file| adapters.iter().any(|folder| file.starts_with(folder)));
    let is_test = |file: &Path| {
        file.strip_prefix(root()).is_ok_and(|file| {
            file.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"tests"))
        })
    };
    files.retain(|file| !is_test(file));
    ensure!(files.len() > 50, "only {files:?} are of adapters");
    for file in files {
        let code = std::fs::read_to_string(&file)?;
        let production = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for outcome in ["Replaced", "Unsubscribed", "Expired", "Cancelled", "Undecryptable"] {
            ensure!(
                !production.contains(&format!("Outcome::{outcome}")),
                "{} ends something as {outcome}",
                file.display()
            );
        }
    }
    Ok(())
}

#[test]
fn no_feature_chooses_what_is_built() -> Result<()> {
    for package in metadata()?.workspace_packages() {
        ensure!(package.features.is_empty(), "{} has features: {:?}", package.name, package.features.keys());
    }
    Ok(())
}

#[test]
fn no_crate_has_a_name_that_says_nothing() -> Result<()> {
    for package in metadata()?.workspace_packages() {
        for part in package.name.split('-') {
            let says_nothing = ["common", "util", "utils", "helper", "helpers", "core", "misc", "shared"];
            ensure!(!says_nothing.contains(&part), "what is {} about?", package.name);
        }
    }
    Ok(())
}

#[test]
fn every_library_begins_with_what_it_is() -> Result<()> {
    let mut libraries = 0;
    for package in metadata()?.workspace_packages() {
        for target in package.targets.iter().filter(|target| target.is_lib()) {
            libraries += 1;
            let source = std::fs::read_to_string(&target.src_path)?;
            ensure!(source.starts_with("//! "), "{} does not begin with //!", target.src_path);
        }
    }
    ensure!(libraries > 10, "only {libraries} libraries were found");
    Ok(())
}

#[test]
fn no_source_is_too_large_to_be_read() -> Result<()> {
    let mut too_large = Vec::new();
    for file in sources()? {
        let lines = std::fs::read_to_string(&file)?.lines().count();
        if lines > LARGEST_FILE {
            too_large.push(format!("{}: {lines} lines", file.display()));
        }
    }
    ensure!(too_large.is_empty(), "more than {LARGEST_FILE} lines: {too_large:#?}");
    Ok(())
}

#[test]
fn modules_stand_beside_their_folders() -> Result<()> {
    let old: Vec<_> = sources()?.into_iter().filter(|file| file.ends_with("mod.rs")).collect();
    ensure!(old.is_empty(), "call it foo.rs, beside foo/: {old:?}");
    Ok(())
}

#[test]
fn the_top_level_holds_only_the_fixed_names() -> Result<()> {
    for entry in std::fs::read_dir(root())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let known =
            name.starts_with('.') || TOP_LEVEL.contains(&name.as_str()) || MADE.contains(&name.as_str());
        ensure!(known, "{name} has no place at the top level");
    }
    Ok(())
}

/// Checks a generated file. The error shows the first line that differs, and the command to regenerate the file.
fn is_up_to_date(file: &str, expected: &str, how: &str) -> Result<()> {
    let path = root().join(file);
    let written = std::fs::read_to_string(&path).with_context(|| format!("{file} is missing: {how}"))?;
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (written, expected) = (lines(&written), lines(expected));
    let differs =
        (0..written.len().max(expected.len())).find(|&line| written.get(line) != expected.get(line));
    let Some(line) = differs else { return Ok(()) };
    let show = |lines: &[String]| lines.get(line).cloned().unwrap_or_else(|| "(end)".to_owned());
    let (has, should) = (show(&written), show(&expected));
    anyhow::bail!("{file} is out of date: {how}\nline {}: {has}\nshould be: {should}", line + 1)
}

/// Checks a reference against the output of the program.
async fn is_what_the_program_says(file: &str, what: &str) -> Result<()> {
    let output = pushgrid_it::pushgrid()?.args(["config", what]).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    is_up_to_date(file, &String::from_utf8(output.stdout)?, &format!("run `pushgrid config {what} > {file}`"))
}

#[tokio::test]
async fn the_reference_of_the_configuration_is_up_to_date() -> Result<()> {
    is_what_the_program_says("services/CONFIGURATION.md", "env").await
}

#[tokio::test]
async fn the_reference_of_the_metrics_is_up_to_date() -> Result<()> {
    is_what_the_program_says("services/METRICS.md", "metrics").await
}
