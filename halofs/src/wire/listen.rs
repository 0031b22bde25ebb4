//! Which addresses may be bound, their sockets, and how they are advertised.
//!
//! Until the native ports have TLS and tokens, an address that other machines reach needs `-insecure` (decision 27):
//! file contents would cross the network in clear.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};
use halofs_runtime::http::bind;
use tokio::net::TcpListener;

use super::address;
use crate::cli::ServerArgs;

/// Bound sockets.
pub(crate) struct Listeners {
    /// Main's, and its alias.
    pub(crate) main: Vec<TcpListener>,
    /// The volume server's.
    pub(crate) volume: TcpListener,
    /// The filer's.
    pub(crate) filer: TcpListener,
    /// S3's.
    pub(crate) s3: TcpListener,
    /// Their addresses.
    pub(crate) at: Addresses,
}

/// `host:port` of every service, as told to others.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) main: String,
    pub(crate) volume: String,
    pub(crate) volume_public: String,
    pub(crate) filer: String,
    pub(crate) s3: String,
    /// Every address is bound, and none is known that other machines could be told.
    pub(crate) unknown: bool,
}

/// Whether `-ip` may be bound at all.
pub(crate) fn allowed(args: &ServerArgs) -> anyhow::Result<IpAddr> {
    let ip = resolve(&args.ip)?;
    if !ip.is_loopback() && !args.insecure {
        bail!(
            "-ip={} is reachable from other machines, and the native ports have neither TLS nor tokens yet. Keep \
             -ip=127.0.0.1, or add -insecure if that network is trusted",
            args.ip
        );
    }
    Ok(ip)
}

impl Listeners {
    /// Binds all of them.
    pub(crate) fn bind(args: &ServerArgs, main_port_given: bool) -> anyhow::Result<Self> {
        let ip = allowed(args)?;
        let open = |flag: &str, port: u16| {
            let at = SocketAddr::new(ip, port);
            bind(at).with_context(|| format!("binding {at}; choose another port with -{flag}"))
        };
        let mut main = vec![open("main.port", args.main_port)?];
        let volume = open("volume.port", args.volume_port)?;
        let filer = open("filer.port", args.filer_port)?;
        let s3 = open("s3.port", args.s3_port)?;
        main.extend(alias(ip, args, main_port_given)?);
        let own = ip.is_unspecified().then(address::own).flatten();
        let host = own.map_or_else(|| host(&args.ip, ip), |v4| v4.to_string());
        let name =
            |l: &TcpListener, host: &str| anyhow::Ok(format!("{host}:{}", l.local_addr()?.port()));
        let first = main.first().context("main was just bound")?;
        let public = public_host(&args.public_host, &host);
        let volume_public = if args.public_host.contains(':') {
            args.public_host.clone()
        } else {
            name(&volume, &public)?
        };
        let at = Addresses {
            main: name(first, &host)?,
            volume: name(&volume, &host)?,
            volume_public,
            filer: name(&filer, &host)?,
            s3: name(&s3, &host)?,
            unknown: ip.is_unspecified() && own.is_none() && args.public_host.is_empty(),
        };
        Ok(Self {
            main,
            volume,
            filer,
            s3,
            at,
        })
    }
}

/// Main's second port, for README lines that name it. It never stops a start.
fn alias(
    ip: IpAddr,
    args: &ServerArgs,
    main_port_given: bool,
) -> anyhow::Result<Option<TcpListener>> {
    if main_port_given || args.main_alias.is_empty() {
        return Ok(None);
    }
    let port: u16 = args
        .main_alias
        .parse()
        .context("-main.port.alias is not a port")?;
    match bind(SocketAddr::new(ip, port)) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) => {
            tracing::warn!(port, %error, "main's second port is not bound");
            Ok(None)
        }
    }
}

fn resolve(host: &str) -> anyhow::Result<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut found = (bare, 0)
        .to_socket_addrs()
        .with_context(|| format!("-ip={host} is not an address"))?;
    found
        .next()
        .map(|a| a.ip())
        .with_context(|| format!("-ip={host} has no address"))
}

/// The host that others are told: the one given, brackets around IPv6, and loopback when every address is meant and
/// this machine has no other.
fn host(given: &str, ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(v6) if v6.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V6(_) if !given.starts_with('[') && given.contains(':') => format!("[{given}]"),
        IpAddr::V4(_) | IpAddr::V6(_) => given.to_owned(),
    }
}

/// `localhost` for the default address, as the README's answers show it.
fn public_host(given: &str, host: &str) -> String {
    match (given, host) {
        ("", "127.0.0.1") => "localhost".to_owned(),
        ("", host) => host.to_owned(),
        (given, _) => given.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_as_readers_expect() {
        let at = |given: &str| host(given, resolve(given).unwrap());
        assert_eq!(at("127.0.0.1"), "127.0.0.1");
        assert_eq!(at("0.0.0.0"), "127.0.0.1");
        assert_eq!(at("::1"), "[::1]");
        assert_eq!(at("[::1]"), "[::1]");
        assert_eq!(at("10.1.2.3"), "10.1.2.3");
        assert_eq!(public_host("", "127.0.0.1"), "localhost");
        assert_eq!(public_host("cdn.example", "127.0.0.1"), "cdn.example");
        assert!(resolve("not an address").is_err());
    }
}
