//! Answers of webhooks, as the caller and the operator see them.

use http::StatusCode;

use super::*;

const GONE: &str = "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n";
const LATER: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n";
const FAULT: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

/// A success whose body never ends.
const ENDLESS: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\nbegin";

#[tokio::test]
async fn an_answer_says_if_and_when_to_try_again() {
    let webhooks = webhooks(&lenient());
    for (answer, expected, pause) in [
        (GONE, PostError::Gone, None),
        (
            LATER,
            PostError::Later(StatusCode::TOO_MANY_REQUESTS, Duration::from_mins(2)),
            Some(Duration::from_mins(2)),
        ),
        (FAULT, PostError::Status(StatusCode::INTERNAL_SERVER_ERROR), None),
    ] {
        let server = Server::start(Some(answer)).await;
        let error = post(&webhooks, &server.url()).await.unwrap_err();
        assert_eq!(error, expected);
        assert_eq!((error.is_final(), error.retry_after()), (error == PostError::Gone, pause));
        assert_eq!(server.connections(), 1, "one attempt is one post");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::start(Some(OK)).await;
    for status in [301, 302, 303, 307, 308] {
        let answer =
            format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url());
        let server = Server::start(Some(answer.leak())).await;
        let error = post(&webhooks(&lenient()), &server.url()).await.unwrap_err();
        assert_eq!(error, PostError::Status(StatusCode::from_u16(status).unwrap()));
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn the_body_of_an_answer_is_not_waited_for() {
    let server = Server::start(Some(ENDLESS)).await;
    post(&webhooks(&lenient()), &server.url()).await.unwrap();
}

#[tokio::test]
async fn no_server_and_no_answer_are_not_reached() {
    let webhooks = webhooks(&lenient());
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    assert_eq!(post(&webhooks, &format!("http://{closed}/")).await, Err(PostError::NotReached));
    let server = Server::start(Some("nonsense, and close")).await;
    assert_eq!(post(&webhooks, &server.url()).await, Err(PostError::NotReached));
}

#[tokio::test]
async fn each_result_is_counted_and_nothing_shows_the_url() {
    let meter = Meter::new();
    let of = |config: &Config| Webhooks::new(config, &keys(), &meter).unwrap();
    let (lenient, strict) = (of(&Config { timeout: Duration::from_millis(200), ..lenient() }), of(&strict()));
    let (ok, gone) = (Server::start(Some(OK)).await, Server::start(Some(GONE)).await);
    let (fault, silent) = (Server::start(Some(FAULT)).await, Server::start(None).await);
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let closed = format!("http://{closed}/receipts");
    for (webhooks, url, result) in [
        (&lenient, ok.url(), "delivered"),
        (&lenient, gone.url(), "gone"),
        (&lenient, fault.url(), "refused_status"),
        (&strict, ok.url(), "refused_address"),
        (&lenient, closed, "unreachable"),
        (&lenient, silent.url(), "timed_out"),
    ] {
        let series = format!("pushgrid_webhook_posts_total{{result=\"{result}\"}}");
        assert!(meter.render().contains(&format!("{series} 0\n")), "{series}");
        let posted = post(webhooks, &url).await;
        assert!(meter.render().contains(&format!("{series} 1\n")), "{series} {posted:?}");
        let shown =
            format!("{posted:?} {webhooks:?} {}", posted.map_or_else(|e| e.to_string(), |()| String::new()));
        for secret in ["127.0.0.1", "receipts?", "whsec", "http:"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
