//! The sentences of the RFCs that bind a push service, quoted word for word at the lines of the code that fulfil them.
//!
//! A quote is a comment: a line that begins with [`PLACE`] names the document and the section, and up to three that begin
//! with [`TEXT`] have the sentence. `sentences.tsv` lists the sentences; one that is quoted nowhere has a reason.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

use super::conformance::{Reason, columns};
use super::{root, sources};

const SENTENCES: &str = "tests/conformance/sentences.tsv";

const PLACE: &str = "//= ";

const TEXT: &str = "//# ";

/// Most lines of a quoted sentence.
const LONGEST: usize = 3;

/// Document and section, and the sentence.
type Sentence = (String, String);

fn sentences(table: &str) -> Result<BTreeMap<Sentence, Option<Reason>>> {
    let mut all = BTreeMap::new();
    for [document, section, text, reason] in columns(table, &["document", "section", "sentence", "reason"])? {
        ensure!(text.contains("MUST") && text.ends_with('.'), "not a sentence with a MUST: {text}");
        let sentence = (format!("{document} section {section}"), text.to_owned());
        let before = all.insert(sentence, Reason::read(reason)?);
        ensure!(before.is_none(), "it is there twice: {text}");
    }
    Ok(all)
}

fn quotes(source: &str) -> Result<Vec<Sentence>> {
    let mut all: Vec<(String, Vec<&str>)> = Vec::new();
    let mut open = false;
    for line in source.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix(PLACE) {
            all.push((place.to_owned(), Vec::new()));
            open = true;
        } else if let Some(text) = line.strip_prefix(TEXT) {
            let (_, lines) =
                all.last_mut().filter(|_| open).with_context(|| format!("of which document? {text}"))?;
            lines.push(text);
            ensure!(lines.len() <= LONGEST, "too long to be read beside the code: {text}");
        } else {
            open = false;
        }
    }
    Ok(all.into_iter().map(|(place, lines)| (place, lines.join(" "))).collect())
}

/// Contradictions between the list and the quotes.
fn faults(listed: &BTreeMap<Sentence, Option<Reason>>, quoted: &BTreeSet<Sentence>) -> Vec<String> {
    let foreign = quoted.iter().filter(|quote| !listed.contains_key(quote));
    let foreign = foreign.map(|(place, text)| format!("not in the list word for word: {place}: {text}"));
    let missing = listed.iter().filter_map(|(sentence, reason)| {
        let (place, text) = sentence;
        match (reason, quoted.contains(sentence)) {
            (None, false) => Some(format!("neither quoted nor with a reason: {place}: {text}")),
            (Some(reason), true) => Some(format!("quoted, and yet {reason}: {place}: {text}")),
            (None, true) | (Some(_), false) => None,
        }
    });
    foreign.chain(missing).collect()
}

#[test]
fn every_sentence_is_quoted_where_it_is_fulfilled_or_has_a_reason() -> Result<()> {
    let listed = sentences(&std::fs::read_to_string(root().join(SENTENCES))?).context(SENTENCES)?;
    let mut quoted = BTreeSet::new();
    for file in sources()?.into_iter().filter(|file| file.starts_with(root().join("services"))) {
        let name = file.display().to_string();
        quoted.extend(quotes(&std::fs::read_to_string(&file)?).context(name)?);
    }
    ensure!(quoted.len() > 20, "only {} quotes were found", quoted.len());
    let faults = faults(&listed, &quoted);
    ensure!(faults.is_empty(), "{faults:#?}");
    Ok(())
}

#[test]
fn contradictions_between_sentences_and_quotes_are_found() -> Result<()> {
    let head = "document\tsection\tsentence\treason\n";
    let listed = sentences(&format!(
        "{head}RFC 1\t2\tIt MUST be so.\t\nRFC 1\t3\tThey MUST.\tclient\nRFC 1\t4\tIt MUST NOT.\tnot built: it"
    ))?;
    let quote = |place: &str, lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| format!("        {TEXT}{line}\n")).collect();
        format!("    {PLACE}{place}\n{}    let it = 1;\n", lines.concat())
    };
    let good = quote("RFC 1 section 2", &["It MUST", "be so."]);
    let of = |source: &str| Ok::<_, anyhow::Error>(faults(&listed, &quotes(source)?.into_iter().collect()));
    assert_eq!(of(&good)?, Vec::<String>::new());
    for (more, fault) in [
        (quote("RFC 1 section 2", &["It MUST not be so."]), "not in the list"),
        (quote("RFC 1 section 5", &["It MUST be so."]), "not in the list"),
        (quote("RFC 1 section 3", &["They MUST."]), "quoted, and yet binds the client"),
        (quote("RFC 1 section 4", &["It MUST NOT."]), "quoted, and yet not built: it"),
    ] {
        let found = of(&format!("{good}{more}"))?;
        assert!(found.len() == 1 && found[0].starts_with(fault), "{found:?}");
    }
    assert!(of("")?[0].starts_with("neither quoted"));
    let wrong = [
        format!("{TEXT}It MUST be so.\n"),
        format!("{good}{TEXT}It MUST be so.\n"),
        quote("RFC 1 section 2", &["It", "MUST", "be", "so."]),
    ];
    for source in wrong {
        if let Ok(found) = quotes(&source) {
            bail!("{source} was read as {found:?}");
        }
    }
    for table in
        ["RFC 1\t2\tIt should be so.\t", "RFC 1\t2\tIt MUST be so.\t\nRFC 1\t2\tIt MUST be so.\tclient"]
    {
        assert!(sentences(&format!("{head}{table}")).is_err(), "{table}");
    }
    Ok(())
}
