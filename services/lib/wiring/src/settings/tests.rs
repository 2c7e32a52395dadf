//! Faults and defaults of the settings of each role.

use pushgrid_runtime::config::Layers;

use super::*;

/// Keys of the settings at fault.
fn faults(role: Role, set: &[&str]) -> Vec<&'static str> {
    let set: Vec<_> = set.iter().map(|it| (*it).to_owned()).collect();
    let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &set).unwrap());
    Settings::read(&mut reader, role);
    let said = reader.finish().err().map(|faults| faults.to_string()).unwrap_or_default();
    let keys = ["endpoint.keys", "kafka.brokers", "redis.url", "router.advertise", "connection.advertise"];
    keys.into_iter().filter(|key| said.contains(key)).collect()
}

const KAFKA: &str = "kafka.brokers=127.0.0.1:9092";
const REDIS: &str = "redis.url=redis://127.0.0.1";
const KEYS: &str = "endpoint.keys=any";

#[test]
fn each_role_says_all_that_it_cannot_do_without() {
    assert!(faults(Role::Standalone, &[]).is_empty());
    assert_eq!(faults(Role::Ingress, &[]), ["endpoint.keys", "kafka.brokers", "redis.url"]);
    assert_eq!(faults(Role::Router, &[]), ["endpoint.keys", "kafka.brokers", "redis.url"]);
    assert_eq!(faults(Role::Connection, &[]), ["redis.url"]);
    for role in [Role::Ingress, Role::Router, Role::Connection] {
        assert!(faults(role, &[KAFKA, REDIS, KEYS]).is_empty(), "{}", role.as_str());
    }
}

#[test]
fn whoever_listens_at_every_address_says_how_it_is_reached() {
    let everywhere = ["router.listen=0.0.0.0:8083", "connection.grpc_listen=[::]:8084", KAFKA, REDIS, KEYS];
    assert_eq!(faults(Role::Router, &everywhere), ["router.advertise"]);
    assert_eq!(faults(Role::Connection, &everywhere), ["connection.advertise"]);
    assert!(faults(Role::Ingress, &everywhere).is_empty());
    let told = [&everywhere[..], &["router.advertise=router-0:8083"]].concat();
    assert!(faults(Role::Router, &told).is_empty());
}

#[test]
fn endpoints_that_only_this_machine_reaches_are_no_surprise() {
    let listens = |role, set: &[&str]| {
        let set: Vec<_> = [KAFKA, REDIS, KEYS].iter().chain(set).map(|it| (*it).to_owned()).collect();
        let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &set).unwrap());
        let settings = Settings::read(&mut reader, role);
        reader.finish().unwrap();
        settings.listens_without_public_url().map(|listen| listen.to_string())
    };
    for role in [Role::Standalone, Role::Ingress, Role::Router] {
        assert_eq!(listens(role, &[]), None);
        assert_eq!(listens(role, &["ingress.listen=[::1]:80"]), None);
        assert_eq!(listens(role, &["ingress.listen=[::ffff:127.0.0.1]:80"]), None);
        for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80"] {
            let listen = format!("ingress.listen={address}");
            assert_eq!(listens(role, &[&listen]).as_deref(), Some(address));
            assert_eq!(listens(role, &[&listen, "ingress.public_url=https://push.example.com"]), None);
        }
    }
    let router = ["router.listen=0.0.0.0:8083", "router.advertise=router-0:8083"];
    assert_eq!(listens(Role::Router, &router).as_deref(), Some("0.0.0.0:8083"));
    assert_eq!(listens(Role::Ingress, &router), None, "it does not listen there");
}
