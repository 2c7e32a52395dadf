//! Defaults, faults and client settings of the section `kafka`.

use pushgrid_runtime::config::Layers;

use super::*;

fn read(overrides: &[&str]) -> (Config, Result<(), String>) {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &overrides).unwrap());
    let config = Config::read(&mut reader);
    config.require(&mut reader);
    (config, reader.finish().map(drop).map_err(|faults| faults.to_string()))
}

#[test]
fn brokers_are_all_that_has_to_be_set() {
    let (config, finished) = read(&["kafka.brokers=127.0.0.1:9092"]);
    assert_eq!(finished, Ok(()));
    assert_eq!(
        (config.accepted().as_str(), config.group().as_str()),
        ("pushgrid.accepted", "pushgrid.router")
    );
    let (_, finished) = read(&[]);
    assert!(finished.unwrap_err().contains("PUSHGRID_KAFKA__BROKERS"));
}

#[test]
fn sasl_wants_a_user_and_a_password_and_nothing_shows_it() {
    let (_, finished) = read(&["kafka.brokers=b:1", "kafka.security=sasl_tls"]);
    let faults = finished.unwrap_err();
    assert!(faults.contains("kafka.sasl_username") && faults.contains("kafka.sasl_password"), "{faults}");

    let set = [
        "kafka.brokers=b:1",
        "kafka.security=sasl_tls",
        "kafka.sasl_username=u",
        "kafka.sasl_password=hunter2",
    ];
    let (config, finished) = read(&set);
    assert_eq!(finished, Ok(()));
    let client = config.client();
    assert_eq!(client.get("security.protocol"), Some("sasl_ssl"));
    assert_eq!(client.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
    assert_eq!(client.get("sasl.password"), Some("hunter2"));
    assert!(!format!("{config:?} {client:?}").contains("hunter2"));
}

#[test]
fn what_can_never_work_is_a_fault() {
    for (set, key) in [
        (["kafka.replication=2", "kafka.min_insync=3"], "kafka.min_insync"),
        (["kafka.topic_prefix=a b", "kafka.partitions=1"], "kafka.topic_prefix"),
        (["kafka.topic_prefix=a", "kafka.partitions=0"], "kafka.partitions"),
    ] {
        let (_, finished) = read(&["kafka.brokers=b:1", set[0], set[1]]);
        assert!(finished.unwrap_err().starts_with(key), "{key}");
    }
}

#[test]
fn every_client_can_be_made_of_its_settings() {
    let set = [
        "kafka.brokers=127.0.0.1:1",
        "kafka.security=sasl_tls",
        "kafka.sasl_username=u",
        "kafka.sasl_password=p",
    ];
    let (config, _) = read(&set);
    for client in [config.client(), config.producer(), config.member(), config.reading()] {
        client.create_native_config().unwrap();
    }
}

#[test]
fn only_addresses_of_ipv4_are_known_to_be_of_ipv4() {
    for (brokers, family) in
        [("127.0.0.1:1,10.0.0.1:2", "v4"), ("127.0.0.1:1,host:2", "any"), ("[::1]:1", "any")]
    {
        let (config, _) = read(&[&format!("kafka.brokers={brokers}")]);
        assert_eq!(config.client().get("broker.address.family"), Some(family), "{brokers}");
    }
}
