//! Each misbehaviour ends as it should, in time, with its connection closed.
//! It does not know how.

use super::server::Server;
use super::{spec, tool};
use crate::world::{alone, attempt, eventually, run, show, signs};
use expect_test::expect;
use fanout_tools::{Connections, Progress, Tool};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATHS: &[&str] = &[
    "/json",
    "/no-content",
    "/latin",
    "/http10",
    "/longer-than-told",
    "/redirect",
    "/fails",
    "/drip-failure",
    "/fails-for-now",
    "/late-seconds",
    "/late-date",
    "/hang",
    "/hang-after-head",
    "/gigabyte",
    "/gigabyte-chunked",
    "/shorter-than-told",
    "/cut-chunk",
    "/bad-chunk",
    "/bad-gzip",
    "/bomb",
    "/not-json",
    "/not-utf8",
    "/not-http",
    "/reset",
    "/closes",
    "/informs-for-ever",
    "/huge-head",
    "/redirect-loop",
    "/redirect-evil",
    "/redirect-metadata",
    "/redirect-nowhere",
];

#[test]
fn each_misbehaviour_has_its_end() {
    alone(|world| async move {
        let server = Server::start().await;
        let mut ends = String::new();
        for path in PATHS {
            let connections = Connections::new(world.path("spill"));
            let tool = tool(&connections, spec(&server.origin(), path, |_| {}));
            let begun = Instant::now();
            let result = run(&tool).await;
            assert!(begun.elapsed() < Duration::from_secs(5), "{path} took {:?}", begun.elapsed());
            let after = result.as_ref().err().and_then(|error| error.retry_after);
            let after = after.map(|after| format!(" (after {after:?})")).unwrap_or_default();
            let end = show(&result).replace(&server.address.to_string(), "server");
            ends += &format!("{path}: {end}{after}\n");
            drop((tool, connections));
            eventually(&format!("{path}: the connection is closed"), || server.open() == 0);
        }
        expect![[r#"
            /json: ok {"n":7}
            /no-content: ok null
            /latin: ok "café"
            /http10: ok "old"
            /longer-than-told: ok "abc"
            /redirect: ok {"n":7}
            /fails: permanent http_status, reached yes: get http://server/fails was answered 404 not found: no such
            /drip-failure: transient http_status, reached yes: get http://server/drip-failure was answered 500 internal server error
            /fails-for-now: transient http_status, reached yes: get http://server/fails-for-now was answered 503 service unavailable
            /late-seconds: transient http_status, reached yes: get http://server/late-seconds was answered 429 too many requests, to be asked again after 7s (after 7s)
            /late-date: transient http_status, reached yes: get http://server/late-date was answered 503 service unavailable, to be asked again after 60s (after 60s)
            /hang: transient http_timeout, reached unknown: get http://server/hang: there was no answer within 300ms (`waits.first_byte`)
            /hang-after-head: transient http_timeout, reached unknown: get http://server/hang-after-head: nothing more of the answer came within 300ms (`waits.idle`)
            /gigabyte: permanent output_too_large, reached yes: get http://server/gigabyte was answered with more than 4194304 bytes, and the rest was not read; raise `output_max` or ask for less
            /gigabyte-chunked: permanent output_too_large, reached yes: get http://server/gigabyte-chunked was answered with more than 4194304 bytes, and the rest was not read; raise `output_max` or ask for less
            /shorter-than-told: transient http_lost, reached unknown: get http://server/shorter-than-told: the answer broke off: error reading a body from connection: end of file before message length reached
            /cut-chunk: transient http_lost, reached unknown: get http://server/cut-chunk: the answer broke off: error reading a body from connection: end of file before message length reached
            /bad-chunk: transient http_lost, reached unknown: get http://server/bad-chunk: the answer broke off: error reading a body from connection: invalid chunk size line: missing size digit
            /bad-gzip: permanent http_bad_answer, reached yes: get http://server/bad-gzip: the answer cannot be decompressed: error decoding response body: invalid gzip header
            /bomb: permanent output_too_large, reached yes: get http://server/bomb was answered with more than 4194304 bytes, and the rest was not read; raise `output_max` or ask for less
            /not-json: permanent output_not_json, reached yes: the body of the answer is not one json value: key must be a string at line 1 column 2; make the tool give one json value, or declare it as text
            /not-utf8: permanent output_not_utf8, reached yes: the body of the answer is not utf-8, at byte 3; make the tool give utf-8, or encode what it gives (base64)
            /not-http: permanent http_bad_answer, reached unknown: get http://server/not-http was answered by something that is not http: invalid http version parsed
            /reset: transient http_lost, reached unknown: get http://server/reset was sent, but the connection was lost before an answer: connection error: connection reset by peer (os error 104)
            /closes: transient http_lost, reached unknown: get http://server/closes was sent, but the connection was lost before an answer: client error (sendrequest): connection closed before message completed
            /informs-for-ever: transient http_timeout, reached unknown: get http://server/informs-for-ever: there was no answer within 300ms (`waits.first_byte`)
            /huge-head: permanent http_bad_answer, reached unknown: get http://server/huge-head was answered by something that is not http: message head is too large
            /redirect-loop: permanent http_redirect_refused, reached yes: get http://server/redirect-loop was answered 302, a redirect that is not followed: there were 10 before it (`redirects`)
            /redirect-evil: permanent http_redirect_refused, reached yes: get http://server/redirect-evil was answered 302, a redirect that is not followed: the host `evil.test` is not declared; if it may be reached, declare it: hosts = ["evil.test"]
            /redirect-metadata: permanent http_redirect_refused, reached yes: get http://server/redirect-metadata was answered 302, a redirect that is not followed: the host `169.254.169.254` is not declared; if it may be reached, declare it: hosts = ["169.254.169.254"]
            /redirect-nowhere: permanent http_redirect_refused, reached yes: get http://server/redirect-nowhere was answered 302, a redirect that is not followed: where it leads is not a url without a user and password
        "#]].assert_eq(&ends);
    });
}

#[test]
fn an_answer_that_drips_ends_by_the_total_and_by_the_abort() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let total = Duration::from_millis(400);
        let drip = tool(&connections, spec(&server.origin(), "/drip", |spec| spec.waits.total = Some(total)));
        let begun = Instant::now();
        let end = show(&run(&drip).await);
        assert!(end.starts_with("transient http_timeout, reached unknown"), "{end}");
        assert!((total..total * 5).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        for path in ["/drip", "/hang-after-head", "/gigabyte"] {
            let slow = tool(
                &connections,
                spec(&server.origin(), path, |spec| {
                    spec.waits.idle = Duration::from_secs(60);
                    spec.output_max = 2 << 30;
                }),
            );
            assert_eq!(
                abort_after_start(&slow).await,
                "aborted aborted, reached unknown: the attempt was aborted while it ran"
            );
            eventually("the connection is closed", || server.open() == 0);
        }
    });
}

#[test]
fn names_of_private_addresses_are_refused() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let port = server.address.port();
        for (host, private) in
            [("localhost", ""), ("127.0.0.1", ""), ("0.0.0.0", "localhost"), ("2130706433", "10.0.0.0/8")]
        {
            let origin = format!("http://{host}:{port}");
            let tool = tool(
                &connections,
                spec(&origin, "/json", |spec| {
                    let private =
                        [private].iter().filter(|text| !text.is_empty()).map(|text| text.to_string()).collect();
                    spec.reach = fanout_plan::HttpReach { private, proxies: false, ..Default::default() }.into();
                }),
            );
            let end = show(&run(&tool).await);
            assert!(end.starts_with("permanent http_not_allowed, reached no"), "{host}: {end}");
        }
        // A redirect by a name is refused too, although the first host was declared.
        let named = tool(
            &connections,
            spec(&server.origin(), "/redirect-name", |spec| {
                let private = vec!["127.0.0.2".to_owned(), "127.0.0.1".to_owned()];
                spec.reach = fanout_plan::HttpReach { private, proxies: false, ..Default::default() }.into();
            }),
        );
        let end = show(&run(&named).await);
        assert!(end.contains("http_redirect_refused") && end.contains("the host `localhost"), "{end}");
        assert_eq!(server.connections(), 1, "only the first request was sent");
    });
}

/// Aborts an attempt when it shows life.
pub(crate) async fn abort_after_start(tool: &Arc<dyn Tool>) -> String {
    let (progress, sign) = signs();
    let (attempt, aborted) = attempt(json!({}), progress);
    let end = tokio::spawn(tool.call(attempt));
    sign.notified().await;
    aborted.cancel();
    show(&tokio::time::timeout(Duration::from_secs(20), end).await.unwrap().unwrap())
}

/// No attempt is told to go on.
#[test]
fn an_abort_before_the_start_sends_nothing() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let tool = tool(&connections, spec(&server.origin(), "/json", |_| {}));
        let (attempt, aborted) = attempt(json!({}), Progress::none());
        aborted.cancel();
        assert!(show(&tool.call(attempt).await).starts_with("aborted aborted, reached no"));
        assert_eq!(server.connections(), 0);
    });
}
