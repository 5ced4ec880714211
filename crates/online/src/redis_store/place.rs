//! Addresses of servers: one, those behind sentinels, those of a cluster.

use icecore_core::{Error, Result};
use redis::{ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};
use redis::{RedisError, TlsCertificates};

const FORM: &str = "write `redis://[USER][:PASSWORD@]HOST[:PORT][/DB]`, \
     `redis+cluster://…HOST[:PORT][,HOST…]` or `redis+sentinel://…HOST[:PORT][,HOST…]/MASTER[/DB]`; \
     `rediss` instead of `redis` for tls";

/// How long sent bytes may stay unacknowledged before a connection counts as broken.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// What an address means.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) kind: Kind,
    /// The servers that the address names, each with everything that a connection needs.
    pub(super) seeds: Vec<ConnectionInfo>,
    pub(super) certificates: Option<TlsCertificates>,
    /// The address without secrets.
    pub(super) location: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Single,
    Cluster,
    Sentinel { master: String },
}

impl Place {
    /// Reads an address. No message repeats it: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            Error::invalid("that is not the address of a redis server").with_help(FORM)
        })?;
        let (scheme, mode) = scheme.split_once('+').unwrap_or((scheme, ""));
        if !matches!(scheme, "redis" | "rediss") {
            return Err(Error::invalid("that is not the address of a redis server").with_help(FORM));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let certificates = certificates(scheme, query)?;
        let (authority, mut path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        let kind = match mode {
            "" => Kind::Single,
            "cluster" => Kind::Cluster,
            "sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, ""));
                path = db;
                if master.is_empty() {
                    return Err(Error::invalid("the address names no master of the sentinels")
                        .with_help(FORM));
                }
                Kind::Sentinel { master: master.to_owned() }
            }
            _ => return Err(Error::invalid("that is no kind of redis server").with_help(FORM)),
        };
        if kind == Kind::Single && hosts.contains(',') {
            return Err(Error::invalid("the address names several servers").with_help(FORM));
        }
        let port = if matches!(kind, Kind::Sentinel { .. }) { ":26379" } else { "" };
        let mut seeds = Vec::new();
        for host in hosts.split(',') {
            let is_bare = host.rsplit_once(':').is_none_or(|(_, port)| port.contains(']'));
            let port = if is_bare { port } else { "" };
            seeds.push(server(&format!("{scheme}://{login}{host}{port}/{path}"))?);
        }
        let location = location(scheme, mode, &kind, &seeds)?;
        Ok(Self { kind, seeds, certificates, location })
    }
}

fn server(url: &str) -> Result<ConnectionInfo> {
    let info: ConnectionInfo = url.into_connection_info().map_err(|_: RedisError| {
        Error::invalid("the address of the redis server cannot be read")
            .with_help(FORM)
            .with_note("write reserved characters of a password as `%XX`")
    })?;
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    // Callers with a deadline of their own give up before the response time is over, so only the
    // kernel notices a server whose machine is gone.
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(UNACKNOWLEDGED_MAX);
    Ok(info.set_tcp_settings(tcp))
}

/// The files that `?ca=FILE&cert=FILE&key=FILE` names.
fn certificates(scheme: &str, query: &str) -> Result<Option<TlsCertificates>> {
    if query.is_empty() {
        return Ok(None);
    }
    if scheme != "rediss" {
        return Err(Error::invalid("certificates are for `rediss://` addresses"));
    }
    let (mut ca, mut cert, mut key) = (None, None, None);
    for option in query.split('&') {
        let (name, path) = option.split_once('=').unwrap_or((option, ""));
        let slot = match name {
            "ca" => &mut ca,
            "cert" => &mut cert,
            "key" => &mut key,
            _ => {
                return Err(Error::invalid("the address has an option that there is not")
                    .with_note("options: `ca=FILE`, `cert=FILE`, `key=FILE`"));
            }
        };
        *slot = Some(std::fs::read(path).map_err(|error| {
            Error::not_found(format!("cannot read the file of option `{name}`")).with_source(error)
        })?);
    }
    let client_tls = match (cert, key) {
        (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig { client_cert, client_key }),
        (None, None) => None,
        _ => return Err(Error::invalid("`cert` and `key` go together")),
    };
    Ok(Some(TlsCertificates { client_tls, root_cert: ca }))
}

fn location(scheme: &str, mode: &str, kind: &Kind, seeds: &[ConnectionInfo]) -> Result<String> {
    let mut hosts = Vec::with_capacity(seeds.len());
    for seed in seeds {
        let (host, port) = host_port(seed.addr())
            .ok_or_else(|| Error::unsupported("redis is reached over tcp only"))?;
        hosts.push(match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        });
    }
    let db = seeds.first().map_or(0, |seed| seed.redis_settings().db());
    let scheme = if mode.is_empty() { scheme.to_owned() } else { format!("{scheme}+{mode}") };
    let master = match kind {
        Kind::Sentinel { master } => format!("{master}/"),
        Kind::Single | Kind::Cluster => String::new(),
    };
    Ok(format!("{scheme}://{}/{master}{db}", hosts.join(",")))
}

/// The host and port of an address.
pub(super) fn host_port(address: &ConnectionAddr) -> Option<(&str, u16)> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host, *port))
        }
        _ => None,
    }
}

/// The same way of connecting, to another server.
pub(super) fn at(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let address = match info.addr().clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    };
    info.clone().set_addr(address)
}
