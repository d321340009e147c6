//! What arrives at a server: paths, queries, headers, bodies; and what becomes of its answers.
//! It does not know how they are made.

use super::server::Server;
use super::{spec, tool};
use crate::world::{alone, attempt, run, run_with, show};
use expect_test::expect;
use fanout_plan::*;
use fanout_tools::{Connections, Progress};
use serde_json::{Value, json};

fn param(name: &str, template: &str, optional: bool) -> HttpParam {
    let value = TextTemplate::parse(template).unwrap();
    HttpParam { name: name.into(), value, optional, style: ParamStyle::Form, explode: true, reserved: false }
}

fn path(template: &str) -> PathPiece {
    PathPiece::Value(HttpParam { style: ParamStyle::Simple, explode: false, ..param("id", template, false) })
}

#[test]
fn each_value_is_encoded_where_it_stands() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let http = tool(
            &connections,
            spec(&server.origin(), "/echo?", |spec| {
                spec.path = vec![PathPiece::Text("/echo".into())];
                spec.query = vec![param("q", "${args.q}", true), param("list", "${args.list}", true)];
                spec.headers = vec![param("X-Note", "n: ${args.note}", true)];
                spec.cookies = vec![param("c", "${args.q}", true)];
            }),
        );
        let args = json!({"q": "a&b=c#d e/ä", "list": [1, "x,y"], "note": "hi, ä"});
        let text = run_with(&http, args).await.unwrap().value.get().to_owned();
        let text = text.replace(&server.address.to_string(), "server");
        expect![[r#""GET /echo?q=a%26b%3Dc%23d%20e%2F%C3%A4&list=1&list=x%2Cy HTTP/1.1\r\nx-note: n: hi, ä\r\naccept: application/json, text/*;q=0.9, */*;q=0.8\r\ncookie: c=a%26b%3Dc%23d%20e%2F%C3%A4\r\nuser-agent: fanout/0.1.0\r\naccept-encoding: gzip\r\nhost: server\r\n\r\n""#]].assert_eq(&text);
    });
}

#[test]
fn what_cannot_be_escaped_is_refused() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let http = tool(
            &connections,
            spec(&server.origin(), "/", |spec| {
                spec.path = vec![PathPiece::Text("/echo/../echo/".replace("/../echo", "")), path("${args.id}")];
                spec.headers = vec![param("X-Note", "${args.note}", true)];
            }),
        );
        let mut ends = String::new();
        for args in [
            json!({"id": ".."}),
            json!({"id": "."}),
            json!({"id": ""}),
            json!({"id": []}),
            json!({"id": null}),
            json!({}),
            json!({"id": "a\u{0}b"}),
            json!({"id": "a", "note": "x\r\nX-Evil: 1"}),
            json!({"id": "a", "note": "x\u{0}"}),
        ] {
            ends += &format!("{args}: {}\n", show(&run_with(&http, args.clone()).await));
        }
        expect![[r#"
            {"id":".."}: permanent argument_unsendable, reached no: `..` cannot be a part of a path: it means a step, however it is written
            {"id":"."}: permanent argument_unsendable, reached no: `.` cannot be a part of a path: it means a step, however it is written
            {"id":""}: permanent argument_unsendable, reached no: `id` is empty, and so would be its part of the path
            {"id":[]}: permanent argument_unsendable, reached no: `id` is empty, and so would be its part of the path
            {"id":null}: permanent argument_missing, reached no: `id` is made from an argument that is missing or null
            {}: permanent argument_missing, reached no: `id` is made from an argument that is missing or null
            {"id":"a\u0000b"}: permanent argument_unsendable, reached no: `id` holds a nul, which cannot be a part of a url
            {"id":"a","note":"x\r\nX-Evil: 1"}: permanent argument_unsendable, reached no: the value of the header `x-note` holds a line end or another control character
            {"id":"a","note":"x\u0000"}: permanent argument_unsendable, reached no: the value of the header `x-note` holds a line end or another control character
        "#]].assert_eq(&ends);
        assert_eq!(server.connections(), 0, "nothing was sent");
    });
}

/// A body of each kind.
fn bodies() -> Vec<HttpBody> {
    let text = |template: &str| TextTemplate::parse(template).unwrap();
    let part = |name: &str, template: &str, kind| HttpPart {
        name: name.into(),
        value: text(template),
        kind,
        content_type: None,
        file_name: None,
        optional: true,
    };
    let object = JsonTemplate::Object(vec![
        ("a".into(), JsonTemplate::Text(text("${args.a}"))),
        ("gone".into(), JsonTemplate::Text(text("${args.gone}"))),
        ("text".into(), JsonTemplate::Text(text("a is ${args.a}"))),
        (
            "list".into(),
            JsonTemplate::List(vec![JsonTemplate::Literal(json!(1)), JsonTemplate::Text(text("${args.gone}"))]),
        ),
    ]);
    vec![
        HttpBody::None,
        HttpBody::Json(object),
        HttpBody::Json(JsonTemplate::Args),
        HttpBody::Form(vec![param("a", "${args.a}", true), param("b", "${args.b}", true)]),
        HttpBody::Text { text: text("${args.b}"), content_type: "text/csv".into(), base64: false },
        HttpBody::Text { text: text("aGk="), content_type: "application/octet-stream".into(), base64: true },
        HttpBody::Multipart(vec![
            part("b", "${args.b}", PartKind::Text),
            part("raw", "aGk=", PartKind::Base64),
            part("file", "note.txt", PartKind::File),
            part("gone", "${args.gone}", PartKind::Text),
        ]),
    ]
}

#[test]
fn bodies_of_every_kind() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        std::fs::write(world.path("note.txt"), "from a file").unwrap();
        let mut arrived = String::new();
        for body in bodies() {
            let http = tool(
                &connections,
                spec(&server.origin(), "/echo", |spec| {
                    spec.method = "POST".into();
                    spec.body = body;
                    spec.base_dir = world.path("");
                }),
            );
            let result = run_with(&http, json!({"a": [1, null], "b": "x&y=z ä"})).await.unwrap();
            let request: String = serde_json::from_str(result.value.get()).unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let lines = head.lines().filter(|line| line.starts_with("content-") || line.starts_with("transfer"));
            let boundary = head.split_once("boundary=").map_or("none", |(_, rest)| rest.lines().next().unwrap());
            let shown = format!("{}\n{body}\n\n", lines.collect::<Vec<_>>().join("\n"));
            arrived += &shown.replace(boundary, "BOUNDARY").replace('\r', "");
        }
        expect![[r#"
            content-length: 0


            content-type: application/json
            content-length: 48
            {"a":[1,null],"text":"a is [1,null]","list":[1]}

            content-type: application/json
            content-length: 29
            {"a":[1,null],"b":"x&y=z ä"}

            content-type: application/x-www-form-urlencoded
            content-length: 27
            a=1&a=&b=x%26y%3Dz%20%C3%A4

            content-type: text/csv
            content-length: 8
            x&y=z ä

            content-type: application/octet-stream
            content-length: 2
            hi

            content-type: multipart/form-data; boundary=BOUNDARY
            content-length: 551
            --BOUNDARY
            Content-Disposition: form-data; name="b"

            x&y=z ä
            --BOUNDARY
            Content-Disposition: form-data; name="raw"
            Content-Type: application/octet-stream

            hi
            --BOUNDARY
            Content-Disposition: form-data; name="file"; filename="note.txt"
            Content-Type: application/octet-stream

            from a file
            --BOUNDARY--


        "#]]
        .assert_eq(&arrived);
    });
}

#[test]
fn answers_become_results() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let mut ends = String::new();
        for (path, response, full) in [
            ("/json", HttpResponse::Auto, false),
            ("/json", HttpResponse::Text, false),
            ("/json", HttpResponse::File, false),
            ("/json", HttpResponse::Json, true),
            ("/bytes", HttpResponse::Auto, false),
            ("/bytes", HttpResponse::Json, false),
            ("/latin", HttpResponse::Auto, false),
            ("/no-content", HttpResponse::Json, false),
            ("/no-content", HttpResponse::Auto, true),
        ] {
            let http = tool(
                &connections,
                spec(&server.origin(), path, |spec| {
                    spec.response = response;
                    spec.full = full;
                }),
            );
            let mut end = show(&run(&http).await);
            if let Ok(value) = serde_json::from_str::<Value>(end.trim_start_matches("ok "))
                && let Some(file) = value["spilled"]["path"].as_str()
            {
                assert!(std::fs::read(file).unwrap().len() >= 4);
                end = end.replace(file, "FILE");
            }
            ends += &format!("{path} {response:?} {full}: {end}\n");
        }
        expect![[r#"
            /json Auto false: ok {"n":7}
            /json Text false: ok "{\"n\":7}"
            /json File false: ok {"spilled":{"path":"FILE","bytes":7,"head":"{\"n\":7}","content_type":"application/json"}}
            /json Json true: ok {"status":200,"headers":{"content-type":"application/json","content-length":"7"},"body":{"n":7}}
            /bytes Auto false: ok {"spilled":{"path":"FILE","bytes":4,"head":"","content_type":"image/png"}}
            /bytes Json false: permanent output_not_utf8, reached yes: the body of the answer is not utf-8, at byte 0; make the tool give utf-8, or encode what it gives (base64)
            /latin Auto false: ok "café"
            /no-content Json false: ok null
            /no-content Auto true: ok {"status":204,"headers":{},"body":null}
        "#]].assert_eq(&ends);
    });
}

#[test]
fn the_key_of_a_call_is_the_same_on_each_attempt() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let http = tool(
            &connections,
            spec(&server.origin(), "/json", |spec| {
                spec.method = "POST".into();
                spec.idempotency_header = Some("Idempotency-Key".into());
            }),
        );
        for args in [json!({"a": 1}), json!({"a": 1}), json!({"a": 2})] {
            http.call(attempt(args, Progress::none()).0).await.unwrap();
        }
        let keys: Vec<String> = server
            .requests("/json")
            .iter()
            .filter_map(|request| Some(request.split_once("idempotency-key: ")?.1.lines().next()?.to_owned()))
            .collect();
        assert_eq!(keys[0], keys[1], "attempts of one call");
        assert_ne!(keys[0], keys[2], "other arguments, another call");
        assert_eq!(keys[0].len(), 64);
    });
}
