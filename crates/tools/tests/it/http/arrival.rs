//! Sent or not sent: what is proven of each failure, by HTTP/1, TLS and HTTP/2.
//! It does not know how it is proven.

use super::hostile::abort_after_start;
use super::server::{Server, frame, ok, read_h2_request, read_request};
use super::{spec, tool};
use crate::world::{alone, attempt, eventually, run, show};
use expect_test::expect;
use fanout_plan::{HttpBody, HttpReach, HttpSpec, JsonTemplate};
use fanout_tools::{Connections, Progress};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

#[test]
fn what_never_left_is_told_to_have_not() {
    alone(|world| async move {
        let connections = Connections::new(world.path("spill"));
        let mut ends = String::new();
        // Nobody listens there.
        let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        // Somebody listens, and says nothing: no TLS comes about.
        let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = silent.local_addr().unwrap();
        let server = Server::start().await;
        for (what, origin) in [
            ("refused", format!("http://{closed}")),
            ("no such name", "http://nowhere.invalid".to_owned()),
            ("silent to TLS", format!("https://{address}")),
            ("not TLS", server.origin().replace("http", "https")),
        ] {
            let spec = spec(&origin, "/hang", |spec| {
                post(spec);
                spec.waits.connect = Duration::from_secs(if what == "silent to TLS" { 1 } else { 10 });
            });
            let end = show(&run(&tool(&connections, spec)).await);
            assert!(end.starts_with("transient http_not_sent, reached no"), "{what}: {end}");
        }
        // Aborted while there is no connection.
        let silent_tool = tool(&connections, spec(&format!("https://{address}"), "/x", post));
        let (attempt, aborted) = attempt(json!({}), Progress::none());
        let end = tokio::spawn(silent_tool.call(attempt));
        let (_stream, _) = silent.accept().await.unwrap();
        aborted.cancel();
        ends += &show(&end.await.unwrap());
        expect!["aborted aborted, reached no: the attempt was aborted before it started"].assert_eq(&ends);
    });
}

#[test]
fn what_was_sent_and_lost_is_not_sent_again() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let mut reused = 0;
        for path in ["/closes", "/reset", "/hang", "/shorter-than-told", "/cut-chunk"] {
            // The connection is one that was used before: the case in which clients like to send again in silence.
            let before = run(&tool(&connections, spec(&server.origin(), "/json", |_| {}))).await;
            assert!(before.is_ok());
            let used = server.connections();
            let end = show(&run(&tool(&connections, spec(&server.origin(), path, post))).await);
            assert!(end.starts_with("transient http_"), "{path}: {end}");
            assert!(end.contains("reached unknown"), "{path}: {end}");
            assert_eq!(server.requests(path).len(), 1, "{path} was sent once");
            reused += usize::from(server.connections() == used);
        }
        // A connection is free again a moment after its answer was read, so not each time.
        assert!(reused > 0, "some went on the connection that was there");
        // One that was closed by the server in the meantime is not used.
        let old = tool(&connections, spec(&server.origin(), "/http10", |_| {}));
        for _ in 0..20 {
            assert!(run(&old).await.is_ok());
        }
    });
}

#[test]
fn an_abort_of_a_sent_request_closes_its_connection() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let hang = tool(
            &connections,
            spec(&server.origin(), "/hang", |spec| {
                post(spec);
                spec.waits.first_byte = Duration::from_secs(60);
            }),
        );
        let end = abort_after_start(&hang).await;
        assert!(end.starts_with("aborted aborted, reached unknown"), "{end}");
        eventually("the server sees the end", || server.open() == 0);
    });
}

/// What a server of HTTP/2 does with a request, and what is known of it then.
#[test]
fn http2_tells_what_it_has_not_read() {
    alone(|world| async move {
        let (acceptor, root) = tls(&world.path("root.pem"), &["h2"]);
        let mut ends = String::new();
        let refused = 7_u32.to_be_bytes();
        let last = |id: u32, code: u32| [id.to_be_bytes(), code.to_be_bytes()].concat();
        for (what, frames) in [
            ("REFUSED_STREAM", frame(3, 0, 1, &refused)),
            ("GOAWAY before it", frame(7, 0, 0, &last(0, 0))),
            ("GOAWAY behind it", frame(7, 0, 0, &last(1, 0))),
            ("INTERNAL_ERROR", frame(3, 0, 1, &2_u32.to_be_bytes())),
            ("ENHANCE_YOUR_CALM", frame(7, 0, 0, &last(0, 11))),
            ("nothing", Vec::new()),
        ] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
            let acceptor = acceptor.clone();
            let served = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(stream).await.unwrap();
                read_h2_request(&mut stream).await;
                stream.write_all(&frames).await.unwrap();
                if what.starts_with("GOAWAY behind") {
                    return;
                }
                // Until the client goes.
                while stream.read(&mut [0; 100]).await.is_ok_and(|n| n > 0) {}
            });
            let connections = Connections::new(world.path("spill"));
            let http2 = tool(
                &connections,
                spec(&origin, "/x", |spec| {
                    post(spec);
                    trust(spec, &root);
                }),
            );
            let end = show(&run(&http2).await);
            ends += &format!("{what}: {}\n", end.split(':').next().unwrap_or_default());
            drop((http2, connections));
            served.await.unwrap();
        }
        expect![[r#"
            REFUSED_STREAM: transient http_not_sent, reached no
            GOAWAY before it: transient http_not_sent, reached no
            GOAWAY behind it: transient http_lost, reached unknown
            INTERNAL_ERROR: transient http_lost, reached unknown
            ENHANCE_YOUR_CALM: transient http_not_sent, reached no
            nothing: transient http_timeout, reached unknown
        "#]]
        .assert_eq(&ends);
    });
}

#[test]
fn tls_by_the_roots_that_are_declared_and_no_way_back_to_http() {
    alone(|world| async move {
        let (acceptor, root) = tls(&world.path("root.pem"), &["http/1.1"]);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                while let Some(request) = read_request(&mut stream).await {
                    let answer = if request.starts_with("GET /back") {
                        format!(
                            "HTTP/1.1 302 Found\r\nlocation: http://localhost:{port}/x\r\ncontent-length: 0\r\n\r\n"
                        )
                    } else {
                        ok("application/json", "1")
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        let connections = Connections::new(world.path("spill"));
        let origin = format!("https://localhost:{port}");
        let mut ends = String::new();
        for (path, trusted) in [("/x", true), ("/x", false), ("/back", true)] {
            let spec = spec(&origin, path, |spec| {
                if trusted {
                    trust(spec, &root)
                }
            });
            let end = show(&run(&tool(&connections, spec)).await).replace(&port.to_string(), "PORT");
            ends += &format!("{path}, trusted {trusted}: {end}\n");
        }
        let no_roots = spec(&origin, "/x", |spec| trust(spec, Path::new("/nowhere.pem")));
        ends += connections.tool(no_roots).err().unwrap()[0].code;
        expect![[r#"
            /x, trusted true: ok 1
            /x, trusted false: permanent http_not_sent, reached no: get https://localhost:PORT/x was not sent: client error (connect): invalid peer certificate: unknownissuer
            /back, trusted true: permanent http_redirect_refused, reached yes: get https://localhost:PORT/back was answered 302, a redirect that is not followed: it leads from https to http, where everybody could read along
            bad_roots"#]].assert_eq(&ends);
        drop(connections);
        serving.abort();
    });
}

/// A request that must not be sent twice.
fn post(spec: &mut HttpSpec) {
    spec.method = "POST".into();
    spec.body = HttpBody::Json(JsonTemplate::Literal(json!({"order": 1})));
}

fn trust(spec: &mut HttpSpec, root: &Path) {
    let reach = HttpReach { roots: vec![root.to_owned()], ..(*spec.reach).clone() };
    spec.reach = reach.into();
}

/// A server's side of TLS for `localhost`, and the file of the certificate to trust.
fn tls(root: &Path, protocols: &[&str]) -> (TlsAcceptor, PathBuf) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(root, cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), root.to_owned())
}
