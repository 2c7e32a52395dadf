//! Posts that must not go where they are sent.

use std::io;

use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

use super::*;
use crate::InvalidWebhook;
use crate::address::Judge;
use crate::resolver::Resolver;

/// Stands for the public internet, in tests on the loopback.
const PUBLIC: &str = "127.0.0.2";

const ONLY_PUBLIC: Judge = |address| address == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Literals of refused addresses, one a word.
const LITERALS: &str = "
    127.0.0.1 127.0.0.1. 127.1 127.0.1 127.1. 2130706433 0x7f.1 0X7F.0x1 0x7f000001 0177.1 017700000001
    0177.0.0.01 127.0x1 0 0.0 0x0 00 10.1 012.1 0xa9fea9fe 169.254.169.254 169.254.43518 192.168.257
    100.64.0.1 198.18.1 255.255.255.255 4294967295 [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1]
    [::ffff:7f00:1] [::127.0.0.1] [2002:7f00:1::] [64:ff9b::10.0.0.1] [fd00::1] [fe80::1] [ff02::1]
    [2001:db8::1]
";

/// Webhooks with a resolver that gives `answers` in turn, the last one for ever; and the number of its calls.
fn with_answers(answers: &'static [&'static [&'static str]]) -> (Webhooks, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let lookup = move |name: String| {
        assert_eq!(name, "app.example");
        let call = count.fetch_add(1, Ordering::SeqCst);
        let answer = answers.get(call).or(answers.last()).copied().unwrap_or_default();
        async move { Ok::<_, io::Error>(answer.iter().map(|text| (ip(text), 0).into()).collect()) }
    };
    let resolver = Resolver::new(lookup, ONLY_PUBLIC);
    (Webhooks::with_resolver(&strict(), &keys(), &Meter::new(), resolver).unwrap(), calls)
}

/// A server at [`PUBLIC`], and one at the same port of 127.0.0.1.
async fn two_servers(answer: &'static str) -> (Server, Server) {
    // The port of the first may be taken on the other address: try again then.
    loop {
        let public = Server::at((ip(PUBLIC), 0).into(), Some(answer)).await;
        let inner = SocketAddr::from((Ipv4Addr::LOCALHOST, public.address.port()));
        if TcpListener::bind(inner).await.is_ok() {
            return (public, Server::at(inner, Some(answer)).await);
        }
    }
}

fn named(server: &Server) -> String {
    format!("http://app.example:{}/", server.address.port())
}

#[tokio::test]
async fn the_address_that_was_judged_is_connected_to_whatever_the_name_resolves_to_later() {
    let closing = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (public, inner) = two_servers(closing).await;
    let (webhooks, calls) = with_answers(&[&[PUBLIC], &["127.0.0.1"]]);
    post(&webhooks, &named(&public)).await.unwrap();
    assert_eq!((calls.load(Ordering::SeqCst), public.connections()), (1, 1));
    // The second connection has a look-up of its own, which is judged too.
    assert_eq!(post(&webhooks, &named(&public)).await, Err(PostError::RefusedAddress));
    assert_eq!((calls.load(Ordering::SeqCst), public.connections(), inner.connections()), (2, 1, 0));
}

#[tokio::test]
async fn of_several_addresses_only_the_allowed_are_connected_to() {
    let (public, inner) = two_servers(OK).await;
    let (webhooks, _) = with_answers(&[&["127.0.0.1", "::1", PUBLIC, "10.0.0.1"]]);
    post(&webhooks, &named(&public)).await.unwrap();
    assert_eq!((public.connections(), inner.connections()), (1, 0));
}

#[tokio::test]
async fn a_name_without_an_address_is_not_reached() {
    let (webhooks, _) = with_answers(&[]);
    assert_eq!(post(&webhooks, "http://app.example/").await, Err(PostError::NotReached));
}

#[tokio::test]
async fn a_name_of_the_loopback_is_refused_unless_allowed() {
    let server = Server::start(Some(OK)).await;
    let url = format!("http://localhost:{}/", server.address.port());
    let refusing = webhooks(&strict());
    assert!(refusing.check(&url).is_ok(), "a name is judged when it is resolved");
    assert_eq!(post(&refusing, &url).await, Err(PostError::RefusedAddress));
    assert_eq!(server.connections(), 0);
    post(&webhooks(&lenient()), &url).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn each_form_of_a_refused_address_is_refused() {
    let (strict, lenient) = (webhooks(&Config { allow_http: false, ..strict() }), webhooks(&lenient()));
    for host in LITERALS.split_whitespace() {
        for url in [format!("https://{host}/"), format!("https://{host}:8443/a")] {
            assert_eq!(strict.check(&url), Err(InvalidWebhook::RefusedAddress), "{url}");
            assert!(lenient.check(&url).is_ok(), "{url}");
        }
    }
}

#[tokio::test]
async fn a_literal_from_a_database_is_judged_again() {
    let server = Server::start(Some(OK)).await;
    let port = server.address.port();
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{port}/");
        assert_eq!(webhooks(&strict()).check(&url), Err(InvalidWebhook::RefusedAddress), "{host}");
        assert_eq!(post(&webhooks(&strict()), &url).await, Err(PostError::RefusedAddress), "{host}");
        assert_eq!(server.connections(), 0, "{host}");
    }
    // The system's resolver takes odd forms, which is why they are judged.
    post(&webhooks(&lenient()), &format!("http://127.1:{port}/")).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_url_that_the_settings_no_longer_allow_is_refused() {
    let server = Server::start(Some(OK)).await;
    let https_only = webhooks(&Config { allow_http: false, ..lenient() });
    assert_eq!(post(&https_only, &server.url()).await, Err(PostError::RefusedUrl(InvalidWebhook::Scheme)));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_systems_resolver_is_judged_as_well() {
    let name: Name = "localhost".parse().unwrap();
    assert!(Resolver::system(crate::address::judge(false)).call(name.clone()).await.is_err());
    let allowed = Resolver::system(crate::address::judge(true)).call(name).await.unwrap();
    assert!(allowed.map(|address| address.ip()).all(|address| address.is_loopback()));
}
