//! Modules of a crate that use each other, directly or by way of others. Those beside each other do not; a parent and its
//! child may.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, ensure};

use super::{metadata, written};

/// Name of a module: its path in the crate, empty for the root.
type Module = Vec<String>;

/// Modules of a crate, each with the paths that it names and those under which it shows others' items.
#[derive(Debug, Default)]
struct Crate {
    names: BTreeMap<Module, Vec<Module>>,
    shows: BTreeMap<Module, Vec<Module>>,
}

/// Words and signs of a source without its comments and inline tests.
fn tokens(code: &str) -> Vec<String> {
    let code = code.split("\nmod tests {").next().unwrap_or_default();
    let mut tokens: Vec<String> = Vec::new();
    for line in code.lines() {
        let mut inside = false;
        for letter in line.split("//").next().unwrap_or_default().chars() {
            let continues = letter.is_alphanumeric() || letter == '_' || letter == ':';
            match tokens.last_mut() {
                Some(last) if inside && continues => last.push(letter),
                _ if letter.is_whitespace() => {}
                _ => tokens.push(letter.to_string()),
            }
            inside = continues;
        }
    }
    tokens
}

/// Paths of the use tree that begins at the first of `tokens`, below `before`.
fn tree(tokens: &mut std::slice::Iter<'_, String>, before: &[String], into: &mut Vec<Module>) {
    let mut path = before.to_vec();
    while let Some(token) = tokens.as_slice().first() {
        if token == "{" && tokens.as_slice().get(1).is_some() && path.last().is_none_or(String::is_empty) {
            path.retain(|part| !part.is_empty());
            tokens.next();
            while tokens.as_slice().first().is_some_and(|token| token != "}") {
                let left = tokens.len();
                tree(tokens, &path, into);
                if tokens.as_slice().first().is_some_and(|token| token == ",") || tokens.len() == left {
                    tokens.next();
                }
            }
            tokens.next();
            return;
        }
        if !token.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_') {
            break;
        }
        path.extend(token.split("::").map(str::to_owned));
        tokens.next();
        if !token.ends_with("::") {
            if tokens.as_slice().first().is_some_and(|token| token == "as") {
                tokens.next();
                tokens.next();
            }
            break;
        }
    }
    path.retain(|part| !part.is_empty());
    into.push(path);
}

impl Crate {
    fn read(folder: &Path) -> Result<Self> {
        let (mut all, mut files) = (Self::default(), Vec::new());
        written(folder, &mut files)?;
        for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
            let name = file.strip_prefix(folder)?.with_extension("");
            let mut module: Module = name.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.iter().any(|part| part.starts_with("test")) {
                continue;
            }
            module.retain(|part| part != "lib" && part != "main");
            let tokens = tokens(&std::fs::read_to_string(file)?);
            let (mut names, mut shows) = (Vec::new(), Vec::new());
            let mut at = tokens.iter();
            let mut is_public = false;
            while let Some(token) = at.as_slice().first() {
                let is_ours = ["crate::", "super::", "self::"].iter().any(|root| token.starts_with(root));
                if is_ours {
                    tree(&mut at, &[], &mut names);
                    continue;
                }
                at.next();
                match token.as_str() {
                    "pub" => is_public = true,
                    "use" if is_public => tree(&mut at, &[], &mut shows),
                    "(" | ")" | "crate" | "super" | "in" => {}
                    _ => is_public = false,
                }
            }
            all.names.insert(module.clone(), names);
            all.shows.insert(module, shows);
        }
        Ok(all)
    }

    /// The module that has the item `path`, as `from` names it.
    fn home(&self, from: &[String], path: &[String], depth: u32) -> Option<Module> {
        let mut module = from.to_vec();
        let mut rest = path;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => module.clear(),
                "super" => drop(module.pop()),
                "self" => {}
                name => {
                    let child = [&module[..], &[name.to_owned()]].concat();
                    if !self.names.contains_key(&child) {
                        break;
                    }
                    module = child;
                }
            }
            rest = after;
        }
        let shown = rest.first().and_then(|item| {
            self.shows.get(&module)?.iter().find(|shown| shown.len() > 1 && shown.last() == Some(item))
        });
        match shown {
            Some(shown) if depth > 0 => self.home(&module, shown, depth - 1),
            _ => Some(module),
        }
    }

    /// Siblings that use each other, directly or not.
    fn circles(&self) -> Vec<(Module, Module)> {
        let mut uses: BTreeSet<(Module, Module)> = BTreeSet::new();
        for (from, names) in &self.names {
            for to in names.iter().filter_map(|path| self.home(from, path, 4)) {
                let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
                if common < from.len().min(to.len()) {
                    uses.insert((from[..=common].to_vec(), to[..=common].to_vec()));
                }
            }
        }
        loop {
            let further = uses.iter().flat_map(|(from, over)| {
                uses.iter().filter(move |(at, _)| at == over).map(move |(_, to)| (from.clone(), to.clone()))
            });
            let all: BTreeSet<_> = further.chain(uses.iter().cloned()).collect();
            if all.len() == uses.len() {
                break;
            }
            uses = all;
        }
        uses.iter()
            .filter(|(from, to)| from < to && uses.contains(&(to.clone(), from.clone())))
            .cloned()
            .collect()
    }
}

#[test]
fn a_circle_is_found_through_use_trees_and_shown_items() {
    let code = |names: &[&str], shows: &[&str]| {
        let paths = |paths: &[&str]| {
            let mut all = Vec::new();
            for path in paths {
                tree(&mut tokens(path).iter(), &[], &mut all);
            }
            all
        };
        (paths(names), paths(shows))
    };
    let modules = [
        ("", code(&["crate::a"], &["b::{c::Held, Shown as Renamed}"])),
        ("a", code(&["crate::{b::{self, c}, d}"], &[])),
        ("b", code(&["self::c::Held", "super::d::*"], &["c::Held"])),
        ("b::c", code(&["super::B"], &[])),
        ("d", code(&["super::Held"], &[])),
    ];
    let mut all = Crate::default();
    for (name, (names, shows)) in modules {
        let name: Module = name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        all.names.insert(name.clone(), names);
        all.shows.insert(name, shows);
    }
    assert_eq!(all.circles(), [(vec!["b".to_owned()], vec!["d".to_owned()])]);
}

#[test]
fn modules_do_not_use_each_other() -> Result<()> {
    let (mut circles, mut modules) = (Vec::new(), 0);
    for package in metadata()?.workspace_packages() {
        let folder = package.manifest_path.parent().map(|folder| folder.join("src"));
        let Some(folder) = folder.filter(|folder| folder.is_dir()) else { continue };
        let code = Crate::read(folder.as_std_path())?;
        modules += code.names.len();
        let name = &package.name;
        let found = code.circles();
        circles.extend(
            found.iter().map(|(one, other)| format!("{name}: {} and {}", one.join("::"), other.join("::"))),
        );
    }
    ensure!(modules > 300, "only {modules} modules were found");
    ensure!(circles.is_empty(), "modules use each other: {circles:#?}");
    Ok(())
}
