//! Secrets appear nowhere: not in results, errors or details, whatever a server does with them.
//! It does not know what else is told.

use super::server::Server;
use super::{spec, tool};
use crate::world::{World, alone, run};
use fanout_plan::{HttpAuth, HttpResponse, HttpSpec, KeyPlace, SecretName};
use fanout_tools::Connections;
use futures_util::future::join_all;

const SECRET: &str = "hunter2hunter2";
const ODD: &str = "hunter \"3\"+/=%<'&>hunter";

/// All ways to prove who is asking, each with a secret in which `hunter` stands.
fn auths(world: &World, server: &Server) -> Vec<HttpAuth> {
    let file = |name: &str, text: &str| {
        std::fs::write(world.path(name), text).unwrap();
        SecretName::File(world.path(name))
    };
    let secret = || file("secret", &format!("{SECRET}\n"));
    let odd = || file("odd", ODD);
    let key = |place, secret| HttpAuth::ApiKey { place, name: "X-Key".into(), secret };
    let oauth = |path: &str, in_body| HttpAuth::OAuth2 {
        token_url: format!("{}{path}", server.origin()).into(),
        client_id: secret(),
        client_secret: odd(),
        scopes: vec!["all".into()],
        audience: None,
        in_body,
    };
    vec![
        HttpAuth::Bearer(secret()),
        HttpAuth::Basic { user: secret(), password: Some(odd()) },
        key(KeyPlace::Header, secret()),
        key(KeyPlace::Query, secret()),
        key(KeyPlace::Query, odd()),
        key(KeyPlace::Cookie, secret()),
        key(KeyPlace::Cookie, odd()),
        oauth("/token", true),
        oauth("/token-refused", false),
        oauth("/token-refused", true),
        oauth("/echo-bad-json", true),
    ]
}

#[test]
fn nothing_that_is_told_holds_a_secret() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let paths = [
            "/echo",
            "/echo-error",
            "/echo-bad-json",
            "/echo-cut",
            "/echo-location",
            "/echo-php",
            "/echo-go",
            "/echo-html",
            "/redirect-loop",
            "/redirect-evil",
            "/redirect-same",
            "/redirect-nowhere",
            "/closes",
            "/reset",
            "/hang",
            "/not-http",
            "/bad-gzip",
            "/cut-chunk",
            "/json",
        ];
        let mut told = 0;
        for auth in auths(&world, &server) {
            for path in paths {
                for (full, inline_max) in [(false, 1 << 20), (true, 1 << 20), (false, 10)] {
                    let http = tool(
                        &connections,
                        spec(&server.origin(), path, |spec| {
                            spec.auth = vec![auth.clone()];
                            spec.full = full;
                            spec.inline_max = inline_max;
                            spec.waits.first_byte = std::time::Duration::from_millis(50);
                        }),
                    );
                    let result = run(&http).await;
                    let shown = match &result {
                        Ok(output) => output.value.get().to_owned(),
                        Err(error) => format!("{error} {error:?} {:?}", error.detail),
                    };
                    assert!(!shown.contains("hunt"), "{auth:?} {path}: {shown}");
                    assert!(!shown.contains("token-number"), "{auth:?} {path}: {shown}");
                    let encoded = ["aHVudGVyM", "h1bnRlc", "odW50ZX"];
                    assert!(!encoded.iter().any(|part| shown.contains(part)), "{auth:?} {path}: {shown}");
                    told += usize::from(shown.contains("[secret]"));
                }
            }
        }
        assert!(told > 50, "the server did tell secrets, and they were struck out: {told}");
    });
}

#[test]
fn secrets_that_are_not_there_are_told_by_name() {
    alone(|world| async move {
        let connections = Connections::new(world.path("spill"));
        let absent = world.path("absent");
        let broken = world.path("broken");
        std::fs::write(&broken, "two\nlines").unwrap();
        for name in
            [SecretName::Env("FANOUT_NO_SUCH_VARIABLE".into()), SecretName::File(absent), SecretName::File(broken)]
        {
            let text = String::from(name.clone());
            let http =
                tool(&connections, spec("http://127.0.0.1:9", "/x", |spec| spec.auth = vec![HttpAuth::Bearer(name)]));
            let error = run(&http).await.unwrap_err();
            assert_eq!((error.code, error.reached), ("secret_missing", fanout_tools::Reached::No));
            assert!(error.message.contains(&text), "{error}");
            assert!(!error.message.contains("two"), "{error}");
        }
    });
}

#[test]
fn a_token_is_fetched_once_for_all_and_again_when_it_is_refused() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let auth = auths(&world, &server).into_iter().nth(7).unwrap();
        let json = |path: &str| {
            tool(
                &connections,
                spec(&server.origin(), path, |spec: &mut HttpSpec| {
                    spec.auth = vec![auth.clone()];
                    spec.response = HttpResponse::Json;
                    spec.waits.first_byte = std::time::Duration::from_secs(10);
                }),
            )
        };
        let open = json("/json");
        for end in join_all((0..20).map(|_| run(&open))).await {
            end.unwrap();
        }
        let asked = server.requests("/token");
        assert_eq!(asked.len(), 1);
        assert!(asked[0].contains(
            "grant_type=client_credentials&scope=all&client_id=hunter2hunter2&client_secret=hunter%20%223%22%2B%2F%3D%25%3C%27%26%3Ehunter"
        ));
        assert!(server.requests("/json")[0].contains("authorization: Bearer token-number-1\r\n"));
        // The first token is refused; the second is good for the rest.
        let protected = json("/protected");
        for _ in 0..3 {
            assert_eq!(run(&protected).await.unwrap().value.get(), "true");
        }
        assert_eq!((server.requests("/token").len(), server.requests("/protected").len()), (2, 4));
    });
}

#[test]
fn credentials_do_not_go_to_another_origin() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        for auth in auths(&world, &server).into_iter().take(7) {
            let named = tool(
                &connections,
                spec(&server.origin(), "/redirect-name", |spec| {
                    spec.auth = vec![auth];
                    let reach = fanout_plan::HttpReach {
                        hosts: vec![format!("localhost:{}", server.address.port())],
                        ..(*spec.reach).clone()
                    };
                    spec.reach = reach.into();
                }),
            );
            run(&named).await.unwrap();
        }
        let arrived = server.requests("/echo");
        assert_eq!(arrived.len(), 7);
        assert!(
            arrived.iter().all(|request| !request.contains("hunter") && !request.contains("uthorization")),
            "{arrived:?}"
        );
        assert!(
            server
                .requests("/redirect-name")
                .iter()
                .all(|request| request.contains("hunter") || request.contains("Basic"))
        );
    });
}
