//! HTTP tools through the command against a server that misbehaves: retries, doubts, ends, proxies, secrets.
//! It does not know how requests are made.

use crate::adversary::{Adversary, Answer, answer, header};
use fanout_tests::{Ended, Folder, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A folder with one HTTP tool `t` (its fields in TOML), and a plan that calls it once.
fn folder(fields: &str) -> Folder {
    let folder = Folder::with_plan("name: adverse\ncalls: [{id: a, tool: t}]\noutput: '${a}'");
    let always = "private = \"127.0.0.1\"\nretry = { attempts = 3, backoff = \"10ms\" }\n";
    folder.write("fanout.toml", format!("[tools.t]\n{always}{fields}\n"));
    folder
}

/// Runs the plan without a proxy; how the command ended, and what the report says of the call.
fn run(folder: &Folder, code: i32) -> (Ended, Value) {
    let mut command = folder.command(&["run", "plan.yaml", "--report", "report.json"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    let ended = Ended::from(command.stdin(Stdio::null()).output().unwrap()).with_code(code);
    let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    (ended, report["calls"][0].clone())
}

const WRITE: &str = "effects = { writes = [\"orders\"] }";

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    for (status, headers, patience) in [
        ("429 Too Many Requests", "retry-after: 1\r\n", 1000),
        (
            "503 Service Unavailable",
            "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:38 GMT\r\n",
            1000,
        ),
        ("503 Service Unavailable", "", 0),
        ("429 Too Many Requests", "retry-after: -1\r\n", 0),
    ] {
        let server = Adversary::start(move |_, count, _| match count {
            1 => answer(status, headers, "{}"),
            _ => answer("200 OK", "", "7"),
        });
        let url = format!("url = \"http://{}/x\"\neffects = \"none\"", server.address);
        let (ended, call) = run(&folder(&url), 0);
        assert_eq!((ended.stdout.trim(), call["attempts"].as_u64()), ("7", Some(2)));
        let times = &call["attempt_times"];
        let pause = times[1]["started_ms"].as_f64().unwrap() - times[0]["ended_ms"].as_f64().unwrap();
        assert!(pause >= f64::from(patience) && pause < f64::from(patience) + 3000.0, "{headers}: {pause} ms");
    }
}

#[test]
fn a_write_is_sent_again_only_when_it_cannot_have_arrived() {
    // Read, and the connection closed.
    let server = Adversary::start(|_, _, _| Answer::Last(String::new()));
    let url = format!("method = \"POST\"\njson = {{ n = 1 }}\nurl = \"http://{}/x\"\n", server.address);
    let (_, call) = run(&folder(&format!("{url}{WRITE}")), 1);
    assert_eq!((&call["outcome"], &call["attempts"]), (&"in_doubt".into(), &1.into()), "{call}");
    assert_eq!(server.requests("/x").len(), 1);
    // A tool that may be asked twice is.
    let idempotent = "effects = { writes = [\"orders\"], idempotent = true }";
    let (_, call) = run(&folder(&format!("{url}{idempotent}")), 1);
    assert_eq!(call["attempts"], 3, "{call}");
    assert_eq!(server.requests("/x").len(), 4);
    // Nobody listens: nothing can have happened.
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let elsewhere = url.replace(&server.address.to_string(), &free.to_string());
    let (_, call) = run(&folder(&format!("{elsewhere}{WRITE}")), 1);
    assert_eq!((&call["outcome"], &call["attempts"]), (&"failed".into(), &3.into()), "{call}");
    assert_eq!(call["error"]["code"], "http_not_sent");
}

#[test]
fn a_status_says_whether_a_write_was_done() {
    for (status, declared, outcome, attempts) in [
        ("503 Service Unavailable", "", "failed", 1),
        ("429 Too Many Requests", "", "failed", 1),
        ("429 Too Many Requests", "not_reached = [429]", "failed", 3),
        // Not worth another attempt, but nothing was done.
        ("409 Conflict", "not_reached = [409]", "failed", 1),
        ("408 Request Timeout", "", "failed", 3),
        ("425 Too Early", "", "failed", 3),
        // Somebody between knows no better.
        ("502 Bad Gateway", "", "in_doubt", 1),
        ("504 Gateway Timeout", "", "in_doubt", 1),
        ("504 Gateway Timeout", "not_reached = [\"500-599\"]", "failed", 3),
    ] {
        let server = Adversary::start(move |_, _, _| answer(status, "", "{}"));
        let url = format!("method = \"POST\"\njson = {{ n = 1 }}\nurl = \"http://{}/x\"", server.address);
        let (_, call) = run(&folder(&format!("{url}\n{declared}\n{WRITE}")), 1);
        let ended = (call["outcome"].as_str(), call["attempts"].as_u64());
        assert_eq!(ended, (Some(outcome), Some(attempts)), "{status}, {declared}: {call}");
        assert_eq!(call["error"]["code"], "http_status");
    }
}

#[test]
fn each_attempt_of_a_call_has_the_same_key() {
    let server = Adversary::start(|_, count, _| match count {
        1 => Answer::Last(String::new()),
        2 => answer("503 Service Unavailable", "", ""),
        _ => answer("200 OK", "", "true"),
    });
    let fields = "method = \"POST\"\njson = { n = 1 }\nidempotency_header = \"Idempotency-Key\"\n";
    let folder = folder(&format!("{fields}url = \"http://{}/x\"\n{WRITE}", server.address));
    let keys = || server.requests("/x").iter().map(|it| header(it, "idempotency-key").unwrap()).collect::<Vec<_>>();
    run(&folder, 0);
    let first = keys();
    assert!(first.len() == 3 && !first[0].is_empty() && first.iter().all(|key| *key == first[0]), "{first:?}");
    run(&folder, 0);
    assert_ne!(keys()[3], first[0], "another run is another call");
}

#[test]
fn what_hangs_ends_in_time_and_its_connection_is_closed() {
    let server = Adversary::start(|_, _, _| Answer::Nothing);
    let url = format!("url = \"http://{}/x\"\ntimeout = \"300ms\"\n", server.address);
    let begun = Instant::now();
    let (_, call) = run(&folder(&format!("{url}effects = \"none\"")), 1);
    assert_eq!((&call["outcome"], &call["attempts"]), (&"failed".into(), &3.into()), "{call}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let (_, call) = run(&folder(&format!("method = \"POST\"\n{url}{WRITE}")), 1);
    assert_eq!((&call["outcome"], &call["attempts"]), (&"in_doubt".into(), &1.into()), "{call}");
    until("the server sees that all have gone", || server.open() == 0);
}

#[test]
fn who_interrupts_twice_closes_the_connection() {
    let server = Adversary::start(|_, _, _| Answer::Nothing);
    let folder = folder(&format!("url = \"http://{}/x\"\nmethod = \"POST\"\n{WRITE}", server.address));
    let arguments = ["run", "plan.yaml", "--report", "report.json"];
    let child = folder.command(&arguments).env("NO_PROXY", "*").stdin(Stdio::null()).spawn().unwrap();
    until("the request arrived", || server.requests("/x").len() == 1);
    let process = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(process, Signal::TERM).unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap()).with_code(143);
    until("the server sees the end", || server.open() == 0);
    let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    assert_eq!(report["calls"][0]["outcome"], "in_doubt", "{}", ended.stderr);
}

#[test]
fn behind_a_proxy_names_are_checked_here_and_addresses_there() {
    // Every name leads to the proxy's answer; it notes what it was asked for.
    let proxy = Adversary::start(|target, _, _| match target {
        "http://nowhere.invalid/redirect" => answer("302 Found", "location: http://evil.invalid/\r\n", ""),
        "http://nowhere.invalid/inward" => answer("302 Found", "location: http://10.0.0.1/\r\n", ""),
        target if target.ends_with(":443") => Answer::Tunnel,
        _ => answer("200 OK", "", "\"by proxy\""),
    });
    let direct = Adversary::start(|_, _, _| answer("200 OK", "", "\"direct\""));
    let secret = "word-of-the-proxy";
    let through = format!("http://someone:{secret}@{}", proxy.address);
    let mut told = String::new();
    for (url, no_proxy, more) in [
        ("http://nowhere.invalid/x", "", ""),
        ("https://nowhere.invalid/x", "", ""),
        ("http://nowhere.invalid/redirect", "", ""),
        ("http://nowhere.invalid/inward", "", "hosts = [\"10.0.0.1\"]"),
        // Private addresses stay refused, however they are written.
        ("http://10.0.0.1/x", "", ""),
        ("http://[::ffff:10.0.0.1]/x", "", ""),
        ("http://169.254.169.254/x", "", ""),
        ("http://167772161/x", "", ""),
        ("http://nowhere.invalid/x", "", "proxies = false"),
        ("http://nowhere.invalid/x", "nowhere.invalid", ""),
        ("http://DIRECT/x", "127.0.0.1", ""),
    ] {
        let shown = url;
        let url = url.replace("DIRECT", &direct.address.to_string());
        let folder = folder(&format!("url = \"{url}\"\neffects = \"none\"\n{more}\n"));
        let mut command = folder.command(&["run", "plan.yaml", "--report", "report.json"]);
        for (name, value) in [("HTTP_PROXY", &*through), ("HTTPS_PROXY", &through), ("NO_PROXY", no_proxy)] {
            command.env(name, value).env_remove(name.to_lowercase());
        }
        command.env_remove("ALL_PROXY").env_remove("all_proxy");
        let ended = Ended::from(command.stdin(Stdio::null()).output().unwrap());
        let written = format!("{}{}{}", ended.stdout, ended.stderr, folder.read("report.json"));
        assert!(!written.contains(secret), "{written}");
        let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
        let call = &report["calls"][0];
        let end = if call["result"].is_null() { &call["error"]["code"] } else { &call["result"] };
        told += &format!("{shown} {no_proxy} {more}: {end}\n");
    }
    expect_ends(&told);
    let asked = proxy.targets();
    let expected = [
        "http://nowhere.invalid/inward",
        "http://nowhere.invalid/redirect",
        "http://nowhere.invalid/x",
        "nowhere.invalid:443",
    ];
    assert_eq!(asked, expected);
    let proven = header(&proxy.requests("http://nowhere.invalid/x")[0], "proxy-authorization");
    assert!(proven.is_some_and(|proof| proof.starts_with("Basic ")));
}

fn expect_ends(told: &str) {
    let expected = [
        "http://nowhere.invalid/x  : \"by proxy\"",
        "https://nowhere.invalid/x  : \"http_not_sent\"",
        "http://nowhere.invalid/redirect  : \"http_redirect_refused\"",
        "http://nowhere.invalid/inward  hosts = [\"10.0.0.1\"]: \"http_redirect_refused\"",
        "http://10.0.0.1/x  : \"http_not_allowed\"",
        "http://[::ffff:10.0.0.1]/x  : \"http_not_allowed\"",
        "http://169.254.169.254/x  : \"http_not_allowed\"",
        "http://167772161/x  : \"http_not_allowed\"",
        "http://nowhere.invalid/x  proxies = false: \"http_not_sent\"",
        "http://nowhere.invalid/x nowhere.invalid : \"http_not_sent\"",
        "http://DIRECT/x 127.0.0.1 : \"direct\"",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}

/// The variables of proxies are those given, and no others.
fn told(folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = folder.command(arguments);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.envs(variables.iter().copied());
    Ended::from(command.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn a_proxy_makes_no_way_to_what_else_is_on_its_host() {
    let server = Adversary::start(|_, _, _| answer("200 OK", "", "\"reached\""));
    let proxy = Adversary::start(|_, _, _| answer("200 OK", "", "\"by proxy\""));
    let port = server.address.port();
    let folder = Folder::with_plan("calls: [{id: a, tool: t}]\noutput: '${a}'");
    folder.write(
        "fanout.toml",
        format!("[tools.t]\nurl = \"http://localhost:{port}/x\"\neffects = \"none\"\nretry = 1\n"),
    );
    let through = format!("http://localhost:{}", proxy.address.port());
    for variables in [&[][..], &[("HTTPS_PROXY", &*through)], &[("http_proxy", &through), ("NO_PROXY", "localhost")]] {
        let ended = told(&folder, &["run", "plan.yaml"], variables).with_code(1);
        assert!(ended.stderr.contains("http_not_allowed"), "{variables:?}: {}", ended.stderr);
    }
    assert!(server.targets().is_empty() && proxy.targets().is_empty());
    let socks = told(&folder, &["run", "plan.yaml"], &[("ALL_PROXY", "socks5://127.0.0.1:1")]).with_code(3);
    assert!(socks.stderr.contains("ALL_PROXY") && socks.stderr.contains("proxies = false"), "{}", socks.stderr);
}

#[test]
fn a_secret_is_struck_however_a_failure_escapes_it() {
    let secret = "päss\"w'rd+/<geheim>&";
    let server = Adversary::start(move |path, _, _| {
        let escaped = secret.chars().map(|c| match path {
            "/json" if !c.is_ascii_alphanumeric() => format!("\\u{:04X}", u32::from(c)),
            "/html" if !c.is_ascii_alphanumeric() => format!("&#{};", u32::from(c)),
            _ => c.to_string(),
        });
        let text = format!("{{\"detail\": \"no such token {}\"}}", escaped.collect::<String>().replace('"', "\\\""));
        answer(if path.ends_with('l') { "400 Bad Request" } else { "500 Oops" }, "", &text)
    });
    for path in ["json", "html", "plain"] {
        let fields = format!(
            "url = \"http://{}/{path}\"\neffects = \"none\"\nauth = {{ bearer = \"env:WORD\" }}",
            server.address
        );
        let folder = folder(&fields);
        let arguments = ["run", "plan.yaml", "--report", "report.json", "--timeline", "run.html"];
        let ended = told(&folder, &arguments, &[("WORD", secret)]).with_code(1);
        for written in [ended.stderr, folder.read("report.json"), folder.read("run.html")] {
            assert!(!written.contains("geheim"), "{path}: {written}");
        }
        assert!(folder.read("report.json").contains("no such token [secret]"), "{}", folder.read("report.json"));
    }
}

#[test]
fn what_fails_after_a_redirect_is_named() {
    let server = Adversary::start(|path, _, _| match path {
        "/away" => answer("302 Found", "location: http://nowhere.invalid/there\r\n", ""),
        "/on" => answer("302 Found", "location: /fails?key=quiet\r\n", ""),
        _ => answer("500 Oops", "", "{}"),
    });
    for (path, says) in [
        ("away", "GET http://nowhere.invalid/there, to which GET http://SERVER/away leads, was not sent"),
        ("on", "GET http://SERVER/fails, to which GET http://SERVER/on leads, was answered 500"),
    ] {
        let url =
            format!("url = \"http://{}/{path}\"\neffects = \"none\"\nhosts = [\"nowhere.invalid\"]", server.address);
        let (_, call) = run(&folder(&url), 1);
        let message = call["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.starts_with(&says.replace("SERVER", &server.address.to_string())), "{message}");
        assert!(!message.contains("quiet"), "{message}");
    }
}

#[test]
fn a_body_of_nothing_is_told_to_be_one() {
    let server = Adversary::start(|_, _, _| answer("200 OK", "", "1"));
    let arguments = "args = { a = { type = \"string\", optional = true } }";
    for (path, body) in
        [("form", "form = { a = \"${args.a}\" }"), ("parts", "multipart = { a = { text = \"${args.a}\" } }")]
    {
        let url = format!("method = \"POST\"\n{body}\n{arguments}\nurl = \"http://{}/{path}\"", server.address);
        run(&folder(&url), 0);
    }
    let length = |path: &str| header(&server.requests(path)[0], "content-length");
    assert_eq!(length("/form").as_deref(), Some("0"));
    let parts = &server.requests("/parts")[0];
    let boundary = header(parts, "content-type").and_then(|kind| Some(kind.split_once("boundary=")?.1.to_owned()));
    let end = format!("--{}--\r\n", boundary.expect("it has parts"));
    assert_eq!(length("/parts"), Some(end.len().to_string()));
    assert!(parts.ends_with(&end), "{parts}");
}

#[test]
fn the_url_of_a_document_is_told_without_what_proves_who_is_asking() {
    let folder = Folder::with_plan("calls: [{id: a, tool: t}]");
    for url in ["http://u:hush/hush@127.0.0.1:1/r.yaml?key=hush", "http://127.0.0.1:1/r.yaml?key=hush"] {
        folder.write("fanout.toml", format!("[toolbox.t]\nopenapi = \"{url}\"\n"));
        let ended = told(&folder, &["tools"], &[]).with_code(3);
        assert!(
            ended.stderr.contains("127.0.0.1:1/r.yaml") && ended.stderr.contains("[toolbox.t]"),
            "{}",
            ended.stderr
        );
        assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
    }
}
