//! Conformance to the standards, row by row: a test that holds a row of `rows.tsv` has a mark, a row that no test holds
//! has a reason, and `CONFORMANCE.md` shows both.
//!
//! A mark is a line between the documentation of a test and its attributes, `Holds` with a colon and the rows; a long one
//! goes on in lines of the same form. A reason is one of [`Reason`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::{is_up_to_date, root, sources};

const ROWS: &str = "tests/conformance/rows.tsv";

const REFERENCE: &str = "tests/CONFORMANCE.md";

/// Environment variable that has the reference written instead of checked.
const WRITE: &str = "PUSHGRID_TEST_WRITE";

const HOW: &str =
    "run `PUSHGRID_TEST_WRITE=1 cargo test --workspace --locked --test it -- structure::conformance`";

const MARK: &str = "// Holds: ";

const PARTS: [(&str, &str); 7] = [
    ("A", "RFC 8030: generic event delivery using HTTP push"),
    ("B", "RFC 8188, RFC 8291 and the drafts of aesgcm: message encryption"),
    ("C", "RFC 8292: voluntary application server identification"),
    ("D", "W3C Push API: what it asks of a push service"),
    ("G", "UnifiedPush"),
    ("H", "The autopush protocol over WebSocket"),
    ("I", "The answers to a push, first match first"),
];

/// Reason that no test holds a row, or that no code quotes a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Binds the user agent or the application server, not the service.
    Client,
    /// Not built yet: the missing part.
    NotBuilt(String),
    /// Done otherwise, or left to others, on purpose: why. The only reason that may stand beside a test.
    Explained(String),
}

impl Reason {
    /// Reads the last column of a table; `None` when it is empty.
    pub(super) fn read(text: &str) -> Result<Option<Self>> {
        Ok(match text.split_once(": ") {
            None if text.is_empty() => None,
            None if text == "client" => Some(Self::Client),
            Some(("not built", what)) => Some(Self::NotBuilt(what.to_owned())),
            Some(("explained", why)) => Some(Self::Explained(why.to_owned())),
            _ => bail!("{text:?} is no reason: say `client`, `not built: <what>` or `explained: <why>`"),
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("binds the client"),
            Self::NotBuilt(what) => write!(f, "not built: {what}"),
            Self::Explained(why) => f.write_str(why),
        }
    }
}

/// Lines of a table without its head, as `N` columns.
pub(super) fn columns<'t, const N: usize>(table: &'t str, head: &[&str; N]) -> Result<Vec<[&'t str; N]>> {
    let split = |line: &'t str| -> Result<[&'t str; N]> {
        let columns: Vec<_> = line.split('\t').collect();
        columns.try_into().ok().with_context(|| format!("not {N} columns: {line}"))
    };
    let mut lines = table.lines().map(split);
    ensure!(lines.next().context("an empty table")?? == *head, "the columns are not {head:?}");
    lines.collect()
}

/// One requirement.
#[derive(Debug)]
struct Row {
    id: String,
    section: String,
    level: String,
    summary: String,
    reason: Option<Reason>,
}

fn rows(table: &str) -> Result<Vec<Row>> {
    let mut seen = BTreeSet::new();
    let lines = columns(table, &["id", "section", "level", "summary", "reason"])?;
    let row = |[id, section, level, summary, reason]: [&str; 5]| {
        ensure!(seen.insert(id.to_owned()), "{id} is there twice");
        ensure!(PARTS.iter().any(|(part, _)| id.split('-').next() == Some(*part)), "{id} is of no part");
        ensure!(
            !summary.is_empty() && !summary.contains('|'),
            "{id} has no summary, or one that breaks the table"
        );
        let [id, section, level, summary] = [id, section, level, summary].map(str::to_owned);
        let reason = Reason::read(reason).with_context(|| id.clone())?;
        Ok(Row { id, section, level, summary, reason })
    };
    lines.into_iter().map(row).collect()
}

/// Module path of a source, its crate first.
fn module(file: &Path) -> String {
    let path = file.strip_prefix(root()).unwrap_or(file).with_extension("");
    let mut parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let outside = parts.iter().take_while(|part| ["services", "lib", "tests"].contains(&&***part)).count();
    parts.drain(..outside);
    parts.retain(|part| part != "src");
    parts.pop_if(|part| *part == "lib");
    parts.join("::")
}

/// Name of the function that a line declares.
fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next()
}

/// Tests with marks: the path of each within the module, and the rows of the marks.
fn marks(source: &str) -> Result<Vec<(String, Vec<String>)>> {
    let mut found = Vec::new();
    let (mut inner, mut rows, mut attributes) = ("", Vec::new(), Vec::new());
    for line in source.lines() {
        let text = line.trim_start();
        match line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            Some(name) => inner = name,
            None if line == "}" => inner = "",
            None => {}
        }
        if let Some(list) = text.strip_prefix(MARK) {
            ensure!(attributes.is_empty(), "a mark stands below an attribute: {text}");
            let list = list.strip_suffix('.').with_context(|| format!("no full stop: {text}"))?;
            rows.extend(list.split(", ").map(str::to_owned));
        } else if !rows.is_empty() && text.starts_with("#[") {
            attributes.push(text);
        } else if !rows.is_empty() {
            let is_test =
                attributes.iter().any(|it| it.starts_with("#[test") || it.starts_with("#[tokio::test"));
            let name = function(text).filter(|_| is_test);
            let name = name.with_context(|| format!("a mark stands above no test, but above {text}"))?;
            let path = [inner, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
            found.push((path.join("::"), std::mem::take(&mut rows)));
            attributes.clear();
        }
    }
    ensure!(rows.is_empty(), "a mark stands above nothing");
    Ok(found)
}

/// Rows, and the tests that hold them.
struct Table {
    rows: Vec<Row>,
    held: BTreeMap<String, BTreeSet<String>>,
}

impl Table {
    fn read() -> Result<Self> {
        let rows = rows(&std::fs::read_to_string(root().join(ROWS))?).context(ROWS)?;
        let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in sources()?.into_iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
            let source = std::fs::read_to_string(&file)?;
            for (test, rows) in marks(&source).with_context(|| file.display().to_string())? {
                let test = format!("{}::{test}", module(&file));
                for row in rows {
                    ensure!(
                        held.entry(row.clone()).or_default().insert(test.clone()),
                        "{test} holds {row} twice"
                    );
                }
            }
        }
        Ok(Self { rows, held })
    }

    /// Contradictions between rows and marks.
    fn faults(&self) -> Vec<String> {
        let known: BTreeSet<&String> = self.rows.iter().map(|row| &row.id).collect();
        let unknown = self.held.iter().filter(|(row, _)| !known.contains(row));
        let unknown = unknown.map(|(row, tests)| format!("{row} is no row, and is held by {tests:?}"));
        let of_rows = self.rows.iter().filter_map(|row| {
            let Row { id, reason, .. } = row;
            match (self.held.get(id), reason) {
                (None, None) => Some(format!("{id} has neither a test nor a reason")),
                (Some(tests), Some(reason @ (Reason::Client | Reason::NotBuilt(_)))) => {
                    Some(format!("{id} is held by {tests:?}, and yet: {reason}"))
                }
                (Some(_), None | Some(Reason::Explained(_))) | (None, Some(_)) => None,
            }
        });
        unknown.chain(of_rows).collect()
    }

    /// Rows of a part.
    fn part(&self, part: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.id.split('-').next() == Some(part))
    }

    /// Numbers of the rows of a part: all, held by tests, explained alone, not built, the client's.
    fn counts(&self, part: &str) -> [usize; 5] {
        let mut counts = [0; 5];
        for row in self.part(part) {
            counts[0] += 1;
            counts[match &row.reason {
                _ if self.held.contains_key(&row.id) => 1,
                Some(Reason::Explained(_)) | None => 2,
                Some(Reason::NotBuilt(_)) => 3,
                Some(Reason::Client) => 4,
            }] += 1;
        }
        counts
    }

    fn reference(&self) -> Result<String> {
        let mut text = INTRODUCTION.to_owned();
        let mut all = [0; 5];
        for (part, about) in PARTS {
            let counts = self.counts(part);
            all.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            writeln!(text, "| {part}. {about} | {} |", counts.map(|it| it.to_string()).join(" | "))?;
        }
        writeln!(text, "| all | {} |", all.map(|it| it.to_string()).join(" | "))?;
        for (part, about) in PARTS {
            write!(text, "\n## {part}. {about}\n\n| row | section | level | what | held by, or why not |\n")?;
            text.push_str("|---|---|---|---|---|\n");
            for row in self.part(part) {
                let tests = self.held.get(&row.id).into_iter().flatten().map(|test| format!("`{test}`"));
                let why = row.reason.iter().map(ToString::to_string);
                let why = why.chain(tests).collect::<Vec<_>>().join("<br>");
                let Row { id, section, level, summary, .. } = row;
                writeln!(text, "| {id} | {section} | {level} | {summary} | {why} |")?;
            }
        }
        Ok(text)
    }
}

const INTRODUCTION: &str = "# Conformance

What the standards and the deployed clients ask of a push service, row by row, with the tests that hold each row. Made
from `tests/conformance/rows.tsv` and the marks of the tests (`// Holds: A-19, C-37.`) by
`tests/it/structure/conformance.rs`: do not edit it.

Sections are those of the standard in the heading, unless they name another. Levels are the words of the standard; IMPL:
the standard is silent, and deployed software needs it; CONTESTED: standards or deployments disagree; a dash: a fact, or
a form that deployed software has fixed. A reason beside tests says why a row is held in this way. Sentences of the RFCs
with a MUST are in `tests/conformance/sentences.tsv`, and are quoted at the lines of the code that fulfil them.

| part | rows | held by tests | explained | not built | the client's |
|---|---|---|---|---|---|
";

#[test]
fn every_row_is_held_by_a_test_or_has_a_reason_and_every_mark_names_a_row() -> Result<()> {
    let table = Table::read()?;
    ensure!(table.rows.len() > 300 && table.held.len() > 200, "only {} rows were found", table.rows.len());
    let faults = table.faults();
    ensure!(faults.is_empty(), "{faults:#?}");
    Ok(())
}

#[test]
fn the_reference_of_conformance_is_up_to_date() -> Result<()> {
    let reference = Table::read()?.reference()?;
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(root().join(REFERENCE), &reference)?;
    }
    is_up_to_date(REFERENCE, &reference, HOW)
}

/// A table of these rows and of a source of the crate `it`.
fn small(lines: &str, source: &str) -> Result<Table> {
    let rows = rows(&format!("id\tsection\tlevel\tsummary\treason\n{lines}"))?;
    let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (test, rows) in marks(source)? {
        for row in rows {
            held.entry(row).or_default().insert(test.clone());
        }
    }
    Ok(Table { rows, held })
}

#[test]
fn contradictions_between_rows_and_marks_are_found() -> Result<()> {
    let lines = "A-1\t5\tMUST\ta\t\nA-2\t5\tMUST\tb\tnot built: b\nA-3\t5\tMAY\tc\texplained: c\nA-4\t5\t-\td\tclient";
    let test = |rows: &str| {
        format!("/// About.\n{MARK}{rows}\n#[tokio::test(flavor = \"x\")]\nasync fn t() {{\n}}\n")
    };
    assert_eq!(small(lines, &test("A-1."))?.faults(), Vec::<String>::new());
    assert_eq!(small(lines, &test("A-1, A-3."))?.faults(), Vec::<String>::new());
    for (rows, fault) in [
        ("A-3.", "A-1 has neither"),
        ("A-1, A-2.", "A-2 is held by {\"t\"}, and yet: not built: b"),
        ("A-1, A-4.", "A-4 is held by"),
        ("A-1, A-5.", "A-5 is no row"),
    ] {
        let faults = small(lines, &test(rows))?.faults();
        assert!(faults.len() == 1 && faults[0].starts_with(fault), "{rows} {faults:?}");
    }
    for wrong in
        ["A-1\t5\tMUST\ta", "X-1\t5\tMUST\ta\t", "A-1\t5\tMUST\ta\tlater", &format!("{lines}\n{lines}")]
    {
        assert!(small(wrong, "").is_err(), "{wrong}");
    }
    Ok(())
}

#[test]
fn a_mark_belongs_to_the_test_below_it() -> Result<()> {
    let inline =
        format!("mod tests {{\n    {MARK}A-1.\n    {MARK}A-2.\n    #[test]\n    fn one() {{\n    }}\n}}\n");
    let found = marks(&inline)?;
    assert_eq!(found, [("tests::one".to_owned(), vec!["A-1".to_owned(), "A-2".to_owned()])]);
    for wrong in [
        format!("{MARK}A-1\n#[test]\nfn one() {{\n"),
        format!("{MARK}A-1.\nfn one() {{\n"),
        format!("{MARK}A-1.\n#[cfg(test)]\nfn one() {{\n"),
        format!("#[test]\n{MARK}A-1.\nfn one() {{\n"),
        format!("{MARK}A-1.\n\n#[test]\nfn one() {{\n"),
        format!("{MARK}A-1."),
    ] {
        assert!(marks(&wrong).is_err(), "{wrong}");
    }
    for (file, path) in [
        ("services/lib/crypto/src/vapid/tests/keys.rs", "crypto::vapid::tests::keys"),
        ("services/ingress/src/lib.rs", "ingress"),
        ("tests/it/wire/ttl.rs", "it::wire::ttl"),
    ] {
        assert_eq!(module(&root().join(file)), path);
    }
    Ok(())
}
