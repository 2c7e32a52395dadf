//! Addresses of Redis, parsed from `redis.url`: one server, a master behind Sentinel, or a cluster. Invariant:
//! neither an address nor a parse error shows the text, which can hold a password.

use std::str::FromStr;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// Forms of an address, for messages.
pub(crate) const FORMS: &str = "redis://user:password@host:6379/0, redis+sentinel://host:26379,host:26379/master/0 or \
                                redis+cluster://host:6379,host:6379, or the same with rediss for TLS";

/// Bound on the number of servers: more than anybody names.
const SERVERS_MAX: usize = 64;

/// Address of Redis, without `Debug`: it can hold a password.
#[derive(Clone)]
pub(crate) enum Address {
    /// One server.
    One(ConnectionInfo),
    /// Master of that name, as the sentinels know it.
    Sentinel {
        sentinels: Vec<ConnectionAddr>,
        master: String,
        /// User, password and database of the servers; its address is the first sentinel's.
        servers: ConnectionInfo,
    },
    /// Cluster to which these servers belong.
    Cluster(Vec<ConnectionInfo>),
}

/// Errors of parsing an address. They show nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("it is not a URL of Redis")]
    Scheme,
    #[error("it names more than one server, which is for Sentinel and Cluster only")]
    Several,
    #[error("it names no server, or more than {SERVERS_MAX}")]
    Servers,
    #[error("it does not name the master that the sentinels know")]
    Master,
    #[error("a cluster has database 0 only")]
    Database,
    #[error("its path is not a database number")]
    Path,
    #[error("it has a query or a fragment")]
    Tail,
    #[error(
        "a user, password, host or port in it is not one; in a user or password write @ as %40, : as %3A, / as %2F"
    )]
    Part,
}

impl Default for Address {
    /// Stands in for an invalid address until the faults are reported.
    fn default() -> Self {
        Self::One(("127.0.0.1", 6379).into_connection_info().expect("it is an address"))
    }
}

impl Address {
    /// Word for logs.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::One(_) => "one server",
            Self::Sentinel { .. } => "sentinel",
            Self::Cluster(_) => "cluster",
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        let first = match self {
            Self::One(info) | Self::Sentinel { servers: info, .. } => Some(info),
            Self::Cluster(all) => all.first(),
        };
        first.is_some_and(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }))
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (scheme, rest) = text.split_once("://").ok_or(Invalid::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(Invalid::Tail);
        }
        let (tls, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        if !matches!(tls, "redis" | "rediss") {
            return Err(Invalid::Scheme);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A password may hold an unescaped @; a host cannot.
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let port = if kind == "sentinel" { 26379 } else { 6379 };
        let servers = |database: &str| -> Result<Vec<_>, Invalid> {
            hosts.split(',').map(|host| server(tls, user, &with_port(host, port), database)).collect()
        };
        if !(1..=SERVERS_MAX).contains(&hosts.split(',').count()) || hosts.is_empty() {
            return Err(Invalid::Servers);
        }
        match kind {
            "" => one(servers(path)?),
            "sentinel" => sentinel(path, servers),
            "cluster" if matches!(path, "" | "0") => Ok(Self::Cluster(servers("")?)),
            "cluster" => Err(Invalid::Database),
            _ => Err(Invalid::Scheme),
        }
    }
}

fn one(servers: Vec<ConnectionInfo>) -> Result<Address, Invalid> {
    match <[_; 1]>::try_from(servers) {
        Ok([server]) => Ok(Address::One(server)),
        Err(_) => Err(Invalid::Several),
    }
}

fn sentinel(
    path: &str,
    servers: impl Fn(&str) -> Result<Vec<ConnectionInfo>, Invalid>,
) -> Result<Address, Invalid> {
    let (master, database) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() {
        return Err(Invalid::Master);
    }
    let servers = servers(database)?;
    let sentinels = servers.iter().map(|server| server.addr().clone()).collect();
    let first = servers.into_iter().next().ok_or(Invalid::Servers)?;
    Ok(Address::Sentinel { sentinels, master: master.to_owned(), servers: first })
}

/// Adds `port` to a host without one.
fn with_port(host: &str, port: u16) -> String {
    let after_brackets = host.rsplit(']').next().unwrap_or(host);
    if after_brackets.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
}

/// Parses one server through the driver, which undoes the escapes.
fn server(tls: &str, user: &str, host: &str, database: &str) -> Result<ConnectionInfo, Invalid> {
    if !database.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(Invalid::Path);
    }
    let at = if user.is_empty() { "" } else { "@" };
    let url = format!("{tls}://{user}{at}{host}/{database}");
    let info = redis::parse_redis_url(&url).ok_or(Invalid::Part)?;
    // The driver would fill in its own port and host.
    let named = info.host_str().is_some_and(|name| !name.is_empty());
    if !named || host.ends_with(':') {
        return Err(Invalid::Part);
    }
    info.into_connection_info().map_err(|_| Invalid::Part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(info: &ConnectionInfo) -> String {
        let redis = info.redis_settings();
        format!("{} {} {:?} {:?}", info.addr(), redis.db(), redis.username(), redis.password())
    }

    fn one(text: &str) -> String {
        match text.parse() {
            Ok(Address::One(info)) => shown(&info),
            Ok(_) => panic!("{text} is one server"),
            Err(fault) => panic!("{text}: {fault}"),
        }
    }

    #[test]
    fn one_server_is_read_with_user_password_and_database() {
        assert_eq!(one("redis://localhost"), "localhost:6379 0 None None");
        assert_eq!(one("redis://[::1]:7000/3"), "::1:7000 3 None None");
        assert_eq!(one("redis://u%40x:p%2Fw@h:1"), r#"h:1 0 Some("u@x") Some("p/w")"#);
        assert_eq!(one("redis://:word@h"), r#"h:6379 0 None Some("word")"#);
        assert!("rediss://h:1".parse::<Address>().is_ok_and(|address| address.is_tls()));
        assert!("redis://h:1".parse::<Address>().is_ok_and(|address| !address.is_tls()));
    }

    #[test]
    fn sentinels_are_read_with_their_master() {
        let Ok(Address::Sentinel { sentinels, master, servers }) =
            "redis+sentinel://u:p@a:1,[::1]:2,c/the-master/4".parse()
        else {
            panic!("it is of sentinels");
        };
        let names: Vec<_> = sentinels.iter().map(ToString::to_string).collect();
        assert_eq!(
            (names, master.as_str()),
            (["a:1", "::1:2", "c:26379"].map(str::to_owned).to_vec(), "the-master")
        );
        assert_eq!(shown(&servers), r#"a:1 4 Some("u") Some("p")"#);
    }

    #[test]
    fn a_cluster_is_read_with_its_first_servers() {
        let Ok(Address::Cluster(servers)) = "rediss+cluster://u:p@a:1,b:2".parse() else {
            panic!("it is a cluster");
        };
        let names: Vec<_> = servers.iter().map(shown).collect();
        assert_eq!(names, [r#"a:1 0 Some("u") Some("p")"#, r#"b:2 0 Some("u") Some("p")"#]);
        assert!(Address::Cluster(servers).is_tls());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("", Invalid::Scheme),
            ("localhost:6379", Invalid::Scheme),
            ("http://localhost", Invalid::Scheme),
            ("redis+other://localhost", Invalid::Scheme),
            ("unix:///tmp/socket", Invalid::Scheme),
            ("redis://", Invalid::Servers),
            ("redis://u:p@", Invalid::Servers),
            ("redis://a:1,b:2", Invalid::Several),
            ("redis://a:1/none", Invalid::Path),
            ("redis://a:1/1/2", Invalid::Path),
            ("redis://a:1?protocol=resp3", Invalid::Tail),
            ("rediss://a:1/0#insecure", Invalid::Tail),
            ("redis://a:99999", Invalid::Part),
            ("redis://a:", Invalid::Part),
            ("redis+cluster://a:1,", Invalid::Part),
            ("redis+cluster://a:1/2", Invalid::Database),
            ("redis+sentinel://a:1", Invalid::Master),
            ("redis+sentinel://a:1/m/x", Invalid::Path),
        ] {
            assert_eq!(text.parse::<Address>().err(), Some(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(redis|rediss|redis\\+cluster|redis\\+sentinel)://[a-z@:/,%#?0-9\\[\\].]{0,20}") {
            let _ = text.parse::<Address>();
        }
    }
}
