//! Users, passwords and TLS.

use std::path::Path;
use std::process::Command;

use pushgrid_runtime::metrics::Meter;
use pushgrid_store_model::conformance;
use pushgrid_store_redis::{ConnectError, RedisView};
use tempfile::TempDir;

use crate::servers::{Server, free_port};
use crate::support::{Fresh, barrier, config, subscribed, subscription, tell, try_connect};

/// ACL rules of a role: its keys, its scripts and nothing else.
const RULES: [&str; 9] =
    ["on", ">se@me:/%", "~test-*", "~pushgrid:*", "+@read", "+@write", "+eval", "+evalsha", "+time"];

#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    let server = Server::start(&[]);
    server.say::<()>(&[&["ACL", "SETUSER", "push"], &RULES[..]].concat());
    server.say::<()>(&["ACL", "SETUSER", "default", "off"]);
    let url = format!("redis://push:se%40me%3A%2F%25@127.0.0.1:{}", server.port);
    let fresh = Fresh::at(&url);
    conformance::view::run(async || fresh.view().await).await;
    let view = RedisView::new(try_connect(&url).await.unwrap());
    tell(&view, 1, 0, &[subscribed(subscription(1, 1))]).await;
}

#[tokio::test]
async fn a_wrong_password_is_said_at_once_and_not_shown() {
    let server = Server::start(&["--requirepass", "sesame"]);
    for url in ["redis://:mesame@127.0.0.1:", "redis://nobody:mesame@127.0.0.1:", "redis://127.0.0.1:"] {
        let refused = try_connect(&format!("{url}{}", server.port)).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Rejected { .. }), "{refused:?}");
        assert!(!format!("{refused:?}").contains("mesame"), "{refused:?}");
    }
    try_connect(&format!("redis://:sesame@127.0.0.1:{}", server.port)).await.unwrap();
    let refused = try_connect(&format!("redis://:sesame@127.0.0.1:{}/99", server.port)).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Rejected { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_database_has_its_own_keys() {
    let server = Server::start(&[]);
    let url = format!("redis://127.0.0.1:{}/5", server.port);
    let view = RedisView::new(try_connect(&url).await.unwrap());
    tell(&view, 1, 0, &[subscribed(subscription(1, 1))]).await;
    assert_eq!(server.say::<u64>(&["DBSIZE"]), 0, "nothing is in database 0");
}

/// Writes an authority, and its certificate for 127.0.0.1.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let done = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .expect("openssl is installed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    std::fs::write(folder.join("san"), "subjectAltName=IP:127.0.0.1").expect("it can be written");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=server"));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.pem",
    );
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_whose_certificate_leads_to_the_authority() {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let port = free_port();
    let _server = Server::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("server.pem"),
        "--tls-key-file",
        &path("server.key"),
        "--tls-ca-cert-file",
        &path("ca.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{port}");
    let ca = format!("redis.ca_file={}", path("ca.pem"));
    let fresh = Fresh::at(&url).with(ca);
    let view = RedisView::new(fresh.make().await);
    let position = tell(&view, 1, 0, &[subscribed(subscription(1, 1))]).await;
    let alive = pushgrid_store::View::alive(&view, barrier(1, position), &[subscription(1, 1)]).await;
    assert_eq!(alive.unwrap(), [true]);

    let config = config(&[format!("redis.url={url}"), "redis.start_timeout=100ms".to_owned()]);
    let refused = pushgrid_store_redis::Redis::connect(&config, &Meter::new()).await.unwrap_err();
    let text = format!("{refused:?}");
    assert!(text.contains("UnknownIssuer"), "no public authority has signed it: {text}");
}
