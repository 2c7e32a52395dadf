use pushgrid_runtime::config::Layers;

use super::*;

/// The keys that are at fault.
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
