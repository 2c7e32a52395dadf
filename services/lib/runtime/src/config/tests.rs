//! Tested: layers, faults with their origins, secrets that are never shown, and the listings.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// A directory with a configuration file.
fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pushgrid.toml");
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn reader(toml: &str, environment: &[(&str, &str)], overrides: &[&str]) -> Reader {
    let (_directory, path) = file(toml);
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Reader::new(Layers::load(Some(&path), environment, &overrides).unwrap())
}

/// One line for each fault, without the directory of the file.
fn lines(faults: &Faults) -> Vec<String> {
    let line = |line: &str| match (line.rfind('('), line.rfind('/')) {
        (Some(open), Some(slash)) if slash > open => format!("{}{}", &line[..=open], &line[slash + 1..]),
        _ => line.to_owned(),
    };
    faults.to_string().lines().map(line).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_higher_layer_wins() {
    let toml = "[a]\nfile = 1\nvariable = 1\nflag = 1\n";
    let environment = [("PUSHGRID_A__VARIABLE", "2"), ("PUSHGRID_A__FLAG", "2")];
    let mut reader = reader(toml, &environment, &["a.flag=3", "a.flag=4"]);
    let mut count = |key: &'static str| reader.count(key, 0, 0..=9, "A number.");
    assert_eq!([count("a.none"), count("a.file"), count("a.variable"), count("a.flag")], [0, 1, 2, 4]);
    reader.finish().unwrap();
}

#[test]
fn every_kind_is_read_from_toml_and_from_text() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Colour {
        Red,
        Blue,
    }
    const COLOURS: &[(&str, Colour)] = &[("red", Colour::Red), ("blue", Colour::Blue)];
    let toml =
        "[x]\naddress = '[::1]:80'\ncount = 1_000\nswitch = true\nlist = ['a', 'b']\npart.time = '2m'\n";
    let environment =
        [("PUSHGRID_X__COLOUR", "blue"), ("PUSHGRID_X__ROOM", "2KiB"), ("PUSHGRID_X__EMPTY", "")];
    let mut reader = reader(toml, &environment, &["x.url=https://push.example/", "x.path=/tmp/a=b"]);
    assert_eq!(reader.address("x.address", "127.0.0.1:1", "").to_string(), "[::1]:80");
    assert_eq!(reader.count("x.count", 1, 0..=2000, ""), 1000);
    assert!(reader.switch("x.switch", false, ""));
    assert_eq!(reader.text("x.list", "", ""), "a,b");
    assert_eq!(reader.duration("x.part.time", "1s", SECOND..=SECOND * 120, ""), SECOND * 120);
    assert_eq!(reader.choice("x.colour", COLOURS, "red", ""), Colour::Blue);
    assert_eq!(reader.octets("x.room", "1", 1..=4096, ""), 2048);
    assert_eq!(reader.url("x.url", None, ""), Some("https://push.example".to_owned()));
    assert_eq!(reader.path("x.path", ".", ""), PathBuf::from("/tmp/a=b"));
    assert_eq!(reader.text("x.empty", "kept", ""), "kept");
    assert_eq!(reader.optional_text("x.nothing", ""), None);
    reader.finish().unwrap();
}

#[test]
fn all_faults_are_reported_at_once_with_their_origins() {
    let toml = "[ingress]\nlisten = 'localhost:80'\nretires = 3\n\n[ingres]\n\n[router]\nbad = [1]\n";
    let environment = [
        ("PUSHGRID_INGRESS__TIMEOUT", "5"),
        ("PUSHGRID_INGRESS__LISEN", "x"),
        ("PUSHGRID_LISTEN", "x"),
        ("PUSHGRID_ingress__listen", "x"),
        ("HOME", "/root"),
    ];
    let mut reader = reader(toml, &environment, &["ingress.retries=11", "kafka.servers=a"]);
    let listen = reader.address("ingress.listen", "127.0.0.1:8080", "Where to listen.");
    reader.duration("ingress.timeout", "10s", SECOND..=SECOND * 60, "How long.");
    reader.count("ingress.retries", 2, 0..=10, "How often.");
    reader.text("router.bad", "", "A text.");
    reader.fault("kafka.brokers", "the ingress needs them");
    let faults = reader.finish().unwrap_err();
    assert_eq!(listen.to_string(), "127.0.0.1:8080");
    assert_eq!(
        lines(&faults),
        [
            "ingress.listen: \"localhost:80\" is not an address: write an IP address and a port, such as \
             127.0.0.1:8080 or [::]:8080 (pushgrid.toml line 2)",
            "ingress.timeout: \"5\" is not a length of time: write a whole number and a unit, such as 250ms, 10s, \
             5m, 12h or 30d (environment variable PUSHGRID_INGRESS__TIMEOUT)",
            "ingress.retries: 11 is out of range: write a value from 0 to 10 (--set)",
            "router.bad: it is a list of something other than texts: write one value (pushgrid.toml line 8)",
            "kafka.brokers: the ingress needs them (not set: set PUSHGRID_KAFKA__BROKERS, or kafka.brokers in the \
             configuration file)",
            "ingres: there is no such setting: remove it, or see `pushgrid config defaults` for all settings \
             (pushgrid.toml line 5)",
            "ingress.retires: there is no such setting: did you mean ingress.retries? (pushgrid.toml line 3)",
            "PUSHGRID_ingress__listen: there is no such setting: did you mean PUSHGRID_INGRESS__LISTEN? \
             (environment variable PUSHGRID_ingress__listen)",
            "PUSHGRID_INGRESS__LISEN: there is no such setting: did you mean PUSHGRID_INGRESS__LISTEN? \
             (environment variable PUSHGRID_INGRESS__LISEN)",
            "PUSHGRID_LISTEN: there is no such setting: did you mean PUSHGRID_INGRESS__LISTEN? \
             (environment variable PUSHGRID_LISTEN)",
            "kafka.servers: there is no such setting: remove it, or see `pushgrid config defaults` for all settings \
             (--set)",
        ]
    );
    assert_eq!(faults.iter().len(), 11);
}

#[test]
fn variables_of_scripts_and_of_kubernetes_are_passed_over() {
    let links = [
        ("PUSHGRID_LOCAL_DIR", "/tmp/grid"),
        ("PUSHGRID_SERVICE_HOST", "10.0.0.1"),
        ("PUSHGRID_INGRESS_SERVICE_PORT", "8080"),
        ("PUSHGRID_INGRESS_SERVICE_PORT_HTTP", "8080"),
        ("PUSHGRID_PORT", "tcp://10.0.0.1:8080"),
        ("PUSHGRID_ROUTER_PORT_8083_TCP", "tcp://10.0.0.1:8083"),
        ("PUSHGRID_ROUTER_PORT_8083_TCP_ADDR", "10.0.0.1"),
        ("PUSHGRID_ROUTER_PORT_8083_TCP_PROTO", "tcp"),
    ];
    reader("", &links, &[]).finish().unwrap();
    let faults = reader("", &[("PUSHGRID_PORT", "8080")], &[]).finish().unwrap_err();
    assert_eq!(faults.iter().len(), 1);
}

#[test]
fn faults_of_form_are_reported_at_once_and_show_no_value() {
    let (_directory, path) = file("[endpoint]\nkeys = hunter2\n\n[a\n");
    let overrides =
        ["endpoint.keys:hunter2".to_owned(), "a.b=c".to_owned(), "endpoint.keys hunter2=x".to_owned()];
    let faults = Layers::load(Some(&path), std::iter::empty(), &overrides).unwrap_err();
    let text = faults.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("pushgrid.toml line 2") && text.contains("pushgrid.toml line 4"), "{text}");
    assert!(text.contains("--set number 1 ") && text.contains("--set number 3 "), "{text}");
    assert!(!text.contains("--set number 2 "), "{text}");

    let missing = path.with_file_name("missing.toml");
    let text = Layers::load(Some(&missing), std::iter::empty(), &[]).unwrap_err().to_string();
    assert!(text.contains("missing.toml") && text.contains("cannot be read"), "{text}");
}

#[test]
fn a_secret_comes_from_its_value_or_its_file_whichever_is_higher() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    fs::write(&path, "from-file\n").unwrap();
    let path = path.to_str().unwrap();

    let expose = |mut reader: Reader| {
        let secret = reader.secret("endpoint.keys", "Keys.");
        reader.finish().map(|_| secret.map(|secret| secret.expose().to_owned()))
    };
    let in_toml = "[endpoint]\nkeys = ' from-toml '\n";
    let as_file = [("PUSHGRID_ENDPOINT__KEYS_FILE", path)];
    assert_eq!(expose(reader("", &[], &[])), Ok(None));
    assert_eq!(expose(reader(in_toml, &[], &[])), Ok(Some("from-toml".to_owned())));
    assert_eq!(expose(reader(in_toml, &as_file, &[])), Ok(Some("from-file".to_owned())));
    assert_eq!(expose(reader("", &as_file, &["endpoint.keys=from-flag"])), Ok(Some("from-flag".to_owned())));

    let both = [as_file[0], ("PUSHGRID_ENDPOINT__KEYS", "from-variable")];
    let text = expose(reader("", &both, &[])).unwrap_err().to_string();
    assert!(text.contains("set twice") && text.contains("PUSHGRID_ENDPOINT__KEYS"), "{text}");
}

#[test]
fn a_secret_is_never_shown() {
    let secret = "hunter2".repeat(3);
    let attempts = [
        // A secret in the place of the name of its file.
        ("PUSHGRID_ENDPOINT__KEYS_FILE", secret.as_str()),
        ("PUSHGRID_INGRESS__PUBLIC_URL", "https://user:hunter2@push.example"),
        ("PUSHGRID_INGRES__SECRET", &secret),
    ];
    let mut reader = reader("[endpoint.keys]\na = 'hunter2'\n", &attempts, &[]);
    assert!(reader.secret("endpoint.keys", "Keys.").is_none());
    assert!(reader.url("ingress.public_url", None, "Where.").is_none());
    assert!(!format!("{reader:?}").contains("hunter2"));
    let faults = reader.finish().unwrap_err();
    assert_eq!(faults.iter().len(), 4);
    assert!(!format!("{faults} {faults:?}").contains("hunter2"), "{faults}");
    assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(..)");
}

#[test]
fn an_empty_or_huge_secret_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (name, contents, word) in
        [("empty", String::from(" \n"), "empty"), ("huge", "x".repeat(70_000), "larger")]
    {
        let path = directory.path().join(name);
        fs::write(&path, contents).unwrap();
        let mut reader = reader("", &[("PUSHGRID_A__KEY_FILE", path.to_str().unwrap())], &[]);
        assert!(reader.secret("a.key", "").is_none());
        let text = reader.finish().unwrap_err().to_string();
        assert!(text.contains(word), "{text}");
    }
}

fn ask(reader: &mut Reader) -> (SocketAddr, String, u64, bool, Duration) {
    reader.secret("endpoint.keys", "Keys, newest first.");
    (
        reader.address("ingress.listen", "127.0.0.1:8080", "Where to listen."),
        reader.text("ingress.name", "a \"b\" \\ |\u{7}", "A name, or | a pipe."),
        reader.count("ingress.retries", 2, 0..=10, "How often."),
        reader.switch("ingress.open", true, "Whether."),
        reader.duration("ingress.timeout", "10s", SECOND..=SECOND * 60, "How long."),
    )
}

#[test]
fn the_listing_is_a_file_that_changes_nothing() {
    let mut first = Reader::new(Layers::none());
    let asked = ask(&mut first);
    // Another role asks for the same.
    assert_eq!(ask(&mut first), asked);
    let listing = first.finish().unwrap();
    let toml = listing.to_toml();

    let mut second = reader(&toml, &[], &[]);
    assert_eq!(ask(&mut second), asked);
    assert_eq!(second.finish().unwrap().to_toml(), toml);
    assert_eq!(toml.matches("\nlisten = \"127.0.0.1:8080\"\n").count(), 1);
    assert!(
        toml.contains("# How long. From 1s to 1m. [PUSHGRID_INGRESS__TIMEOUT]\ntimeout = \"10s\"\n"),
        "{toml}"
    );
    assert!(toml.contains("\n# keys = \"\"\n") && toml.contains("\n# keys_file = \"\"\n"), "{toml}");
}

#[test]
fn the_table_has_a_row_for_every_variable() {
    let mut reader = Reader::new(Layers::none());
    ask(&mut reader);
    let table = reader.finish().unwrap().to_env();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 2 + 7);
    assert_eq!(rows[2], "| `endpoint.keys` | `PUSHGRID_ENDPOINT__KEYS` | none | Keys, newest first. |");
    assert_eq!(
        rows[4],
        "| `ingress.listen` | `PUSHGRID_INGRESS__LISTEN` | `127.0.0.1:8080` | Where to listen. |"
    );
    assert!(rows[5].ends_with("| A name, or \\| a pipe. |"), "{}", rows[5]);
    assert!(rows[6].ends_with("| `2` | How often. From 0 to 10. |"), "{}", rows[6]);
}
