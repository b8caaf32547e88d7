//! Whether a host answers at all, within seconds: the hub's client and the system's name
//! resolution know no timeout of their own.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Longest wait for a name to resolve and a connection to open.
const CONNECT: Duration = Duration::from_secs(5);

/// The proxy that the environment asks for.
pub(super) fn proxy() -> Option<String> {
    let names = [
        "ALL_PROXY",
        "all_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
    ];
    names
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .filter(|value| !value.is_empty())
}

/// Whether the host of an address can be connected to, within [`CONNECT`].
pub(super) fn reach(address: &str) -> Result<(), String> {
    let (host, port) = host_and_port(address).ok_or(format!("`{address}` is no address"))?;
    let (tell, told) = channel();
    let shown = host.clone();
    // Resolving a name knows no timeout; the thread is left behind when it takes too long.
    std::thread::spawn(move || {
        let connected = (host.as_str(), port)
            .to_socket_addrs()
            .and_then(|addresses| {
                let mut last = Err(std::io::Error::other("the name has no address"));
                for address in addresses {
                    last = TcpStream::connect_timeout(&address, CONNECT).map(drop);
                    if last.is_ok() {
                        break;
                    }
                }
                last
            });
        let _ = tell.send(connected);
    });
    match told.recv_timeout(CONNECT) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{shown} cannot be reached: {error}")),
        Err(_) => Err(format!(
            "{shown} cannot be reached: no answer within {} s",
            CONNECT.as_secs()
        )),
    }
}

/// Host and port of `scheme://user@host:port/path`; the scheme may be missing, the port is then
/// 80, or 443 for https.
fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let default = match scheme {
        "https" => 443,
        "socks4" | "socks5" | "socks" | "socks4a" | "socks5h" => 1080,
        _ => 80,
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let table = [
            ("https://hub.example/a/b?c", Some(("hub.example", 443))),
            ("http://hub.example", Some(("hub.example", 80))),
            ("https://hub.example:8443/x", Some(("hub.example", 8443))),
            ("http://user:secret@proxy:3128", Some(("proxy", 3128))),
            ("proxy:3128", Some(("proxy", 3128))),
            ("socks5://proxy", Some(("proxy", 1080))),
            ("http://[::1]:80/x", Some(("::1", 80))),
            ("http://[::1]", Some(("::1", 80))),
            ("https://", None),
            ("http://host:port", None),
        ];
        for (address, expected) in table {
            let expected = expected.map(|(host, port): (&str, u16)| (host.to_owned(), port));
            assert_eq!(host_and_port(address), expected, "{address}");
        }
    }

    #[test]
    fn a_closed_port_fails_fast() {
        let start = std::time::Instant::now();
        assert!(
            reach("http://127.0.0.1:1")
                .unwrap_err()
                .contains("cannot be reached")
        );
        assert!(start.elapsed() < CONNECT);
    }
}
