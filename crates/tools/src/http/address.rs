//! Which addresses may be connected to: public ones, and those that are declared.
//! It does not know URLs or requests.

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Addresses beside the public ones that may be connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Private(Vec<IpNet>);

/// An address that may not be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The host as it was asked for.
    pub(super) host: String,
    /// Where that leads.
    pub(super) address: IpAddr,
    /// What is special about it.
    pub(super) kind: &'static str,
}

impl Private {
    /// Reads declared addresses, networks, and `localhost`.
    ///
    /// # Errors
    /// The first that is none of these.
    pub(super) fn read(declared: &[String]) -> Result<Private, String> {
        let mut nets = Vec::with_capacity(declared.len());
        for text in declared {
            match (text.as_str(), text.parse::<IpNet>(), text.parse::<IpAddr>()) {
                ("localhost", ..) => nets.extend([loopback_v4(), IpAddr::V6(Ipv6Addr::LOCALHOST).into()]),
                (_, Ok(net), _) => nets.push(net.trunc()),
                (_, _, Ok(address)) => nets.push(address.into()),
                _ => return Err(text.clone()),
            }
        }
        Ok(Private(nets))
    }

    /// # Errors
    /// When the address is neither public nor declared.
    pub(super) fn check(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let Some(kind) = special(address) else { return Ok(()) };
        // `127.0.0.1` declares `::ffff:127.0.0.1` too: they are one place.
        let canonical = address.to_canonical();
        if self.0.iter().any(|net| net.contains(&address) || net.contains(&canonical)) {
            return Ok(());
        }
        Err(Refused { host: host.to_owned(), address, kind })
    }
}

fn loopback_v4() -> IpNet {
    // Eight bits is a length every address of this kind has.
    IpNet::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8).map_or(IpAddr::V4(Ipv4Addr::LOCALHOST).into(), |net| net.trunc())
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused { host, address, kind } = self;
        write!(f, "`{host}` leads to {address}, which is {kind}; declare it: private = [\"{address}\"]")
    }
}

impl std::error::Error for Refused {}

/// What is special about an address that is not a public one; `None` for public ones. By the registries of IANA
/// (RFC 6890) and what is embedded in IPv6 addresses.
pub(super) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("this host"),
        [127, ..] => Some("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private address"),
        [100, 64..=127, ..] => Some("an address shared behind a carrier's NAT"),
        [169, 254, ..] => Some("a link-local address"),
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Some("a reserved address")
        }
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        special_v4(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        _ if address.is_unspecified() => Some("this host"),
        _ if address.is_loopback() => Some("a loopback address"),
        // Mapped (and the older compatible) IPv4, IPv4 through NAT64: what counts is the IPv4 address.
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => embedded(g, h),
        [0, 0, 0, 0, 0xffff, 0] | [0, 0, 0, 0, 0, 0] => Some("a reserved address"),
        [0x2002, high, low, ..] => embedded(high, low),
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        // Teredo, documentation and others of IETF's own.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("a reserved address"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("a reserved address"),
    }
}

/// Resolves names as the system does, and gives only addresses that may be connected to.
pub(super) struct Resolver {
    private: Private,
    /// Names of proxies: they are the environment's choice, and may be anywhere.
    proxies: Arc<HashSet<String>>,
}

impl Resolver {
    pub(super) fn new(private: Private, proxies: HashSet<String>) -> Resolver {
        Resolver { private, proxies: Arc::new(proxies) }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private.clone();
        let is_proxy = self.proxies.contains(&name.as_str().to_ascii_lowercase());
        Box::pin(async move {
            let name = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            let mut refused = None;
            let mut allowed = Vec::with_capacity(found.len());
            for address in found {
                match private.check(name, address.ip()) {
                    Err(no) if !is_proxy => refused = Some(no),
                    _ => allowed.push(address),
                }
            }
            match refused {
                Some(no) if allowed.is_empty() => Err(no.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        for (address, public) in [
            ("1.1.1.1", true),
            ("8.8.8.8", true),
            ("100.63.255.255", true),
            ("172.32.0.1", true),
            ("2606:4700:4700::1111", true),
            ("::ffff:1.1.1.1", true),
            ("64:ff9b::1.1.1.1", true),
            ("2002:101:101::1", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("169.254.169.254", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("240.0.0.1", false),
            ("192.0.2.1", false),
            ("198.18.0.1", false),
            ("::", false),
            ("::1", false),
            ("::127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:0:127.0.0.1", false),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b::169.254.169.254", false),
            ("64:ff9b:1::1", false),
            ("2002:7f00:1::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("fc00::1", false),
            ("fd12::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("100::1", false),
            ("4000::1", false),
        ] {
            assert_eq!(special(address.parse().unwrap()).is_none(), public, "{address}");
        }
    }

    #[test]
    fn declared_addresses_are_let_through() {
        let private = Private::read(&["10.0.0.0/8".into(), "localhost".into(), "fd00::/8".into()]).unwrap();
        for (address, allowed) in [
            ("10.9.8.7", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:10.0.0.1", true),
            ("fd00::1", true),
            ("192.168.0.1", false),
            ("169.254.169.254", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
            ("64:ff9b::10.0.0.1", false),
        ] {
            assert_eq!(private.check("x", address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
        assert_eq!(Private::read(&["example.com".into()]), Err("example.com".to_owned()));
    }
}
