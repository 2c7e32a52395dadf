use std::io::Write;

use pushgrid_runtime::config::Layers;

use super::*;

/// Settings, or the text of all their faults.
fn read(set: &[&str]) -> Result<Config, String> {
    let set: Vec<_> = set.iter().map(|it| (*it).to_owned()).collect();
    let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &set).unwrap());
    let config = Config::read(&mut reader);
    config.require(&mut reader);
    reader.finish().map(|_| config).map_err(|faults| faults.to_string())
}

#[test]
fn only_the_address_has_to_be_set() {
    let fault = read(&[]).unwrap_err();
    assert!(fault.starts_with("redis.url: this role needs Redis: write redis://"), "{fault}");
    assert!(fault.contains("PUSHGRID_REDIS__URL"), "{fault}");
    let config = read(&["redis.url=redis://localhost"]).unwrap();
    assert_eq!(config.prefix, "pushgrid");
    assert_eq!(config.timeout, Duration::from_secs(2));
}

#[test]
fn no_fault_and_no_debug_shows_the_address() {
    let fault = read(&["redis.url=redis://anna:sesame@secret.example:99999"]).unwrap_err();
    let config = read(&["redis.url=redis://anna:sesame@secret.example:6379"]).unwrap();
    for text in [fault, format!("{config:?}")] {
        for hidden in ["anna", "sesame", "secret.example"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
}

#[test]
fn a_prefix_cannot_hold_a_hash_tag() {
    let url = "redis.url=redis://localhost";
    for bad in ["", "a{b}", "a b", "ä", &"x".repeat(33)] {
        let fault = read(&[url, &format!("redis.prefix={bad}")]).unwrap_err();
        assert!(fault.contains("redis.prefix: write 1 to 32"), "{fault}");
    }
    assert!(read(&[url, "redis.prefix=push.example-1:a_b"]).is_ok());
}

#[test]
fn a_file_of_authorities_is_read_and_checked() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    let ca = format!("redis.ca_file={}", file.path().display());
    let fault = read(&["redis.url=rediss://localhost", &ca]).unwrap_err();
    assert!(fault.contains("holds no certificates"), "{fault}");
    let fault = read(&["redis.url=redis://localhost", &ca]).unwrap_err();
    assert!(fault.contains("of no use without TLS"), "{fault}");
    let fault = read(&["redis.url=rediss://localhost", "redis.ca_file=/nowhere/ca.pem"]).unwrap_err();
    assert!(fault.contains("cannot be read"), "{fault}");
}
