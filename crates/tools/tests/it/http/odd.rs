//! Answers and requests that are seldom, but happen: marks cut in two, codings nobody asked for, a file that is a pipe.
//! It does not know how they are dealt with.

use super::server::Server;
use super::{spec, tool};
use crate::world::{World, alone, run, show};
use expect_test::expect;
use fanout_plan::{HttpAuth, HttpBody, HttpPart, HttpResponse, PartKind, SecretName, TextTemplate};
use fanout_tools::{Connections, Tool};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn seldom_answers_become_what_they_are() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let mut ends = String::new();
        for (method, path, full) in [
            ("GET", "/mark-text", false),
            ("GET", "/mark-json", false),
            ("GET", "/mark-only", false),
            ("GET", "/mark-never", false),
            ("GET", "/utf16", false),
            ("GET", "/half-a-character", false),
            ("GET", "/identity", false),
            ("GET", "/brotli", false),
            ("GET", "/brotli-file", false),
            ("GET", "/brotli-fails", false),
            ("HEAD", "/brotli-head", false),
            ("GET", "/cookies", true),
        ] {
            let http = tool(
                &connections,
                spec(&server.origin(), path, |spec| {
                    spec.method = method.into();
                    spec.full = full;
                }),
            );
            let end = show(&run(&http).await).replace(&server.address.to_string(), "server");
            ends += &format!("{method} {path}: {end}\n");
        }
        expect![[r#"
            GET /mark-text: ok "hi"
            GET /mark-json: ok [1]
            GET /mark-only: ok ""
            GET /mark-never: ok "ﻼ!"
            GET /utf16: ok "hé"
            GET /half-a-character: ok {"head":"\ud83d\ude00 \ufffd"}
            GET /identity: ok "abcde"
            GET /brotli: permanent http_bad_answer, reached yes: get http://server/brotli: the answer is compressed as `br`; only `gzip` was asked for
            GET /brotli-file: permanent http_bad_answer, reached yes: get http://server/brotli-file: the answer is compressed as `br`; only `gzip` was asked for
            GET /brotli-fails: permanent http_status, reached yes: get http://server/brotli-fails was answered 404 not found: (what it said is compressed as `br`, which was not asked for)
            HEAD /brotli-head: ok null
            GET /cookies: ok {"status":200,"headers":{"set-cookie":["a=1; expires=Wed, 21 Oct 2026 07:28:00 GMT","b=2"],"x-a":"1, 2","content-length":"0"},"body":null}
        "#]].assert_eq(&ends);
    });
}

#[test]
fn a_file_is_what_was_sent_to_the_byte() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let http = tool(&connections, spec(&server.origin(), "/mark-file", |_| {}));
        let result: serde_json::Value = serde_json::from_str(run(&http).await.unwrap().value.get()).unwrap();
        let path = result["spilled"]["path"].as_str().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"\xef\xbb\xbfPK");
    });
}

fn oauth(world: &World, server: &Server, token: &str) -> HttpAuth {
    std::fs::write(world.path("secret"), "hunter2hunter2").unwrap();
    let secret = || SecretName::File(world.path("secret"));
    HttpAuth::OAuth2 {
        token_url: format!("{}{token}", server.origin()).into(),
        client_id: secret(),
        client_secret: secret(),
        scopes: vec![],
        audience: None,
        in_body: false,
    }
}

/// Asking again with a fresh token is for a request that was refused, not for one that was done and sent on.
#[test]
fn what_was_done_is_not_sent_again_for_a_token() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let http = tool(
            &connections,
            spec(&server.origin(), "/done-then-401", |spec| {
                spec.method = "POST".into();
                spec.auth = vec![oauth(&world, &server, "/token")];
            }),
        );
        let end = show(&run(&http).await);
        assert!(end.contains("http_status") && end.contains("401"), "{end}");
        assert_eq!(server.requests("/done-then-401").len(), 1, "it is done once");
    });
}

#[test]
fn the_life_of_a_token_may_be_a_text() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        for _ in 0..2 {
            let http = tool(
                &connections,
                spec(&server.origin(), "/json", |spec| {
                    spec.auth = vec![oauth(&world, &server, "/token-text")];
                    spec.response = HttpResponse::Json;
                }),
            );
            run(&http).await.unwrap();
        }
        assert_eq!(server.requests("/token-text").len(), 1, "it is kept");
        assert!(server.requests("/json")[1].contains("authorization: Bearer token-of-text\r\n"));
    });
}

#[test]
fn a_user_with_a_colon_is_no_user() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        std::fs::write(world.path("user"), "zoe:admin").unwrap();
        let user = SecretName::File(world.path("user"));
        let auth = HttpAuth::Basic { user, password: None };
        let http = tool(&connections, spec(&server.origin(), "/json", |spec| spec.auth = vec![auth]));
        let error = run(&http).await.unwrap_err();
        assert_eq!(error.code, "secret_missing");
        assert!(!format!("{error:?}").contains("zoe"), "{error:?}");
        assert_eq!(server.connections(), 0);
    });
}

/// Whatever a part is called, it is one part with one name.
#[test]
fn a_name_does_not_end_the_head_of_its_part() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let odd = "ü b\"; x=\"\r\nX-Evil: 1\n\\";
        let part = HttpPart {
            name: odd.into(),
            value: TextTemplate::parse("value").unwrap(),
            kind: PartKind::Text,
            content_type: None,
            file_name: Some(TextTemplate::parse(odd).unwrap()),
            optional: false,
        };
        let http = tool(
            &connections,
            spec(&server.origin(), "/json", |spec| {
                spec.method = "POST".into();
                spec.body = HttpBody::Multipart(vec![part]);
            }),
        );
        run(&http).await.unwrap();
        let sent = server.requests("/json").remove(0);
        let head = sent.lines().find(|line| line.starts_with("Content-Disposition")).unwrap();
        expect![[r#"Content-Disposition: form-data; name="ü b%22; x=%22%0D%0AX-Evil: 1%0A\"; filename="ü b%22; x=%22%0D%0AX-Evil: 1%0A\\""#]].assert_eq(head);
        assert!(!sent.lines().any(|line| line.starts_with("X-Evil")), "{sent}");
    });
}

/// A tool that sends this file.
fn sends(connections: &Connections, server: &Server, path: &Path) -> Arc<dyn Tool> {
    let part = HttpPart {
        name: "f".into(),
        value: TextTemplate::parse(&path.to_string_lossy()).unwrap(),
        kind: PartKind::File,
        content_type: None,
        file_name: None,
        optional: false,
    };
    let spec = spec(&server.origin(), "/json", |spec| {
        spec.method = "POST".into();
        spec.body = HttpBody::Multipart(vec![part]);
    });
    tool(connections, spec)
}

/// A file of the kernel holds more than it says, as one does that grows while it is sent.
#[test]
fn a_file_that_is_longer_than_it_was_does_not_break_its_request() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        run(&sends(&connections, &server, Path::new("/proc/version"))).await.unwrap();
        let sent = server.requests("/json").remove(0);
        let boundary = sent.split("boundary=").nth(1).unwrap().lines().next().unwrap();
        assert!(sent.ends_with(&format!("\r\n\r\n\r\n--{boundary}--\r\n")), "{sent}");
    });
}

/// Opening a pipe waits for somebody who writes into it.
#[test]
fn only_files_of_bytes_are_sent() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let pipe = world.path("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [pipe, world.path("spill"), "/dev/zero".into(), world.path("absent")] {
            let http = sends(&connections, &server, &path);
            let begun = Instant::now();
            let end = show(&run(&http).await);
            assert!(end.starts_with("permanent argument_unsendable, reached no"), "{end}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{path:?}");
        }
        assert_eq!(server.connections(), 0);
    });
}
