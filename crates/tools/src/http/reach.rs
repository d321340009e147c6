//! Where a request may go: declared hosts, redirects one by one.
//! It does not know how a request is sent; names are resolved, and their addresses checked, in `address.rs`.

use super::address::{Private, Refused};
use fanout_plan::{HttpReach, HttpSpec};
use reqwest::{Method, StatusCode, Url};
use std::net::IpAddr;

/// Where the requests of one tool may go.
#[derive(Debug)]
pub(super) struct Reach {
    own: Url,
    /// Why its own address is refused, if it is.
    own_refused: Option<Refused>,
    declared: HttpReach,
    private: Private,
}

/// Why a request does not go somewhere.
#[derive(Debug, PartialEq)]
pub(super) enum No {
    /// Not by HTTP.
    Scheme,
    /// The host (and port) is not declared.
    Host(String),
    /// The address is neither public nor declared.
    Address(Refused),
    /// A redirect from https to http.
    Downgrade,
    /// A redirect to what is not a URL.
    Location,
}

/// What follows a redirect.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) url: Url,
    pub(super) method: Method,
    /// The body goes along.
    pub(super) with_body: bool,
    /// Credentials and headers of the caller go along.
    pub(super) same_origin: bool,
}

impl Reach {
    pub(super) fn new(spec: &HttpSpec, own: Url, private: Private) -> Reach {
        let own_refused = literal(&host(&own)).and_then(|address| private.check(&host(&own), address).err());
        Reach { own, own_refused, declared: (*spec.reach).clone(), private }
    }

    pub(super) fn redirects_max(&self) -> u32 {
        self.declared.redirects_max
    }

    /// # Errors
    /// When a request may not go there.
    pub(super) fn check(&self, url: &Url) -> Result<(), No> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(No::Scheme);
        }
        // By far the most requests go there, and nothing about them is new.
        if url.scheme() == self.own.scheme() && url.host() == self.own.host() && url.port() == self.own.port() {
            return self.own_refused.clone().map_or(Ok(()), |refused| Err(No::Address(refused)));
        }
        let host = host(url);
        let port = url.port_or_known_default();
        let standard = matches!((url.scheme(), port), ("http", Some(80)) | ("https", Some(443)));
        let own_standard = self.own.port().is_none();
        let is_own =
            host == self::host(&self.own) && (port == self.own.port_or_known_default() || standard && own_standard);
        let is_declared = || self.declared.hosts.iter().any(|pattern| matches(pattern, &host, port, standard));
        if !is_own && !is_declared() {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            return Err(No::Host(format!("{host}{port}")));
        }
        // The URL has been brought into its standard form, so that `0x7f.1` is `127.0.0.1` by now.
        match literal(&host) {
            Some(address) => self.private.check(&host, address).map_err(No::Address),
            None => Ok(()),
        }
    }

    /// What a redirect leads to, by RFC 9110, 15.4, and the Fetch standard.
    ///
    /// # Errors
    /// When it may not be followed.
    pub(super) fn redirect(
        &self,
        from: &Url,
        method: &Method,
        status: StatusCode,
        location: &[u8],
    ) -> Result<Next, No> {
        let location = std::str::from_utf8(location).map_err(|_| No::Location)?;
        let mut url = from.join(location).map_err(|_| No::Location)?;
        // What a server writes there is not ours to prove anything with.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(No::Location);
        }
        if url.fragment().is_some() {
            url.set_fragment(None);
        }
        if from.scheme() == "https" && url.scheme() == "http" {
            return Err(No::Downgrade);
        }
        self.check(&url)?;
        let to_get = match status.as_u16() {
            303 => !matches!(*method, Method::GET | Method::HEAD),
            301 | 302 => *method == Method::POST,
            _ => false,
        };
        let method = if to_get { Method::GET } else { method.clone() };
        let same_origin = url.origin() == from.origin();
        Ok(Next { url, method, with_body: !to_get, same_origin })
    }
}

/// Whether a status says that the answer is elsewhere.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The address that a host is, if it is one.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase()
}

/// `example.com` (at the standard ports), `example.com:8443`, `*.example.com` (not `example.com` itself).
fn matches(pattern: &str, host: &str, port: Option<u16>, standard: bool) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    // A colon inside brackets belongs to the address.
    let (name, wanted) = match pattern.rsplit_once(':') {
        Some((name, number)) if !number.contains(']') => (name, number.parse::<u16>().ok()),
        _ => (pattern.as_str(), None),
    };
    let port_fits = match wanted {
        Some(wanted) => port == Some(wanted),
        None => standard,
    };
    port_fits
        && match name.strip_prefix("*.") {
            Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            None => host == name,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(own: &str, hosts: &[&str], private: &[&str]) -> Reach {
        let texts = |list: &[&str]| list.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let mut spec = HttpSpec::new("GET", own);
        let declared = HttpReach { hosts: texts(hosts), ..HttpReach::default() };
        spec.reach = declared.into();
        Reach::new(&spec, own.parse().unwrap(), Private::read(&texts(private)).unwrap())
    }

    #[test]
    fn only_declared_hosts() {
        let reach = reach("https://api.example.com", &["*.cdn.example", "other.example:8443", "plain.example"], &[]);
        for (url, allowed) in [
            ("https://api.example.com/x", true),
            ("https://API.example.com./x", true),
            ("http://api.example.com/x", true),
            ("https://api.example.com:8443/x", false),
            ("https://api.example.com.evil.test/", false),
            ("https://evil.test/api.example.com", false),
            ("https://a.cdn.example/", true),
            ("https://a.b.cdn.example/", true),
            ("https://cdn.example/", false),
            ("https://evilcdn.example/", false),
            ("https://other.example:8443/", true),
            ("https://other.example/", false),
            ("http://plain.example/", true),
            ("ftp://plain.example/", false),
        ] {
            assert_eq!(reach.check(&url.parse().unwrap()).is_ok(), allowed, "{url}");
        }
    }

    #[test]
    fn addresses_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "169.254.169.254",
            "[64:ff9b::a9fe:a9fe]",
        ] {
            let own = format!("http://{host}/");
            let no = reach(&own, &[], &[]).check(&own.parse().unwrap()).unwrap_err();
            assert!(matches!(no, No::Address(_)), "{host}: {no:?}");
        }
        let own = "http://127.0.0.1:8080";
        assert_eq!(reach(own, &[], &["127.0.0.0/8"]).check(&own.parse().unwrap()), Ok(()));
    }

    #[test]
    fn redirects_by_the_standard() {
        let reach = reach("https://a.example", &["b.example"], &[]);
        let from = "https://a.example/x/y".parse().unwrap();
        let mut shown = String::new();
        for (method, status, location) in [
            ("POST", 301, "/z"),
            ("POST", 302, "z"),
            ("PUT", 302, "z"),
            ("POST", 303, "z"),
            ("DELETE", 303, "z"),
            ("HEAD", 303, "z"),
            ("POST", 307, "z#part"),
            ("POST", 308, "https://b.example/z"),
            ("GET", 302, "http://a.example/z"),
            ("GET", 302, "https://c.example/z"),
            ("GET", 302, "https://user:word@a.example/z"),
            ("GET", 302, "//b.example/z"),
            ("GET", 302, "file:///etc/passwd"),
            ("GET", 302, "https://"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            let next = reach.redirect(&from, &method, status, location.as_bytes());
            shown += &match next {
                Ok(next) => format!(
                    "{method} {} {location}: {} {}, body {}, same origin {}\n",
                    status.as_u16(),
                    next.method,
                    next.url,
                    next.with_body,
                    next.same_origin
                ),
                Err(no) => format!("{method} {} {location}: {no:?}\n", status.as_u16()),
            };
        }
        expect_test::expect![[r#"
            POST 301 /z: GET https://a.example/z, body false, same origin true
            POST 302 z: GET https://a.example/x/z, body false, same origin true
            PUT 302 z: PUT https://a.example/x/z, body true, same origin true
            POST 303 z: GET https://a.example/x/z, body false, same origin true
            DELETE 303 z: GET https://a.example/x/z, body false, same origin true
            HEAD 303 z: HEAD https://a.example/x/z, body true, same origin true
            POST 307 z#part: POST https://a.example/x/z, body true, same origin true
            POST 308 https://b.example/z: POST https://b.example/z, body true, same origin false
            GET 302 http://a.example/z: Downgrade
            GET 302 https://c.example/z: Host("c.example")
            GET 302 https://user:word@a.example/z: Location
            GET 302 //b.example/z: GET https://b.example/z, body true, same origin false
            GET 302 file:///etc/passwd: Scheme
            GET 302 https://: Location
        "#]]
        .assert_eq(&shown);
    }
}
