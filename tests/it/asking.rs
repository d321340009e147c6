//! Tools that ask while they work: the person at the terminal answers, and where nobody is it is declined.
//! It does not know how a server's questions reach the terminal.

use fanout_tests::{Folder, Pty, root, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A folder with a server that asks, and a plan of these calls.
fn folder(calls: &str) -> Folder {
    let folder = Folder::with_plan(&format!("name: asking\ncalls:\n{calls}"));
    folder.write("server.py", std::fs::read(root().join("tests/it/asking.py")).unwrap());
    folder.write("fanout.toml", "[toolbox.desk]\nmcp = { command = \"python3\", args = [\"server.py\"] }\n");
    folder
}

fn at_terminal(folder: &Folder, args: &[&str]) -> Pty {
    Pty::start(folder.command(args))
}

/// What a call gave: the answer its server got.
fn answer(output: &Value, call: &str) -> Value {
    serde_json::from_str(output[call].as_str().unwrap()).unwrap()
}

fn report(folder: &Folder) -> Value {
    serde_json::from_str(&folder.read("report.json")).unwrap()
}

fn results(folder: &Folder) -> Value {
    let calls = report(folder)["calls"].as_array().unwrap().clone();
    calls.into_iter().map(|call| (call["id"].as_str().unwrap().to_owned(), call["result"].clone())).collect()
}

#[test]
fn questions_are_asked_one_by_one_beside_the_live_view() {
    let folder = folder(
        "  - {id: book, tool: desk.book}\n  - {id: sign, tool: desk.sign, after: [book]}\n  - {id: more, tool: desk.book, after: [sign]}\n",
    );
    let mut pty = at_terminal(&folder, &["run", "plan.yaml", "--report", "report.json"]);
    let said = pty.awaits("name: ");
    assert!(said.contains("! book: warning: desk: asking\\u{7}"), "{said}");
    assert!(said.contains("? book: desk.book, of the server `desk`, asks"), "{said}");
    assert!(said.contains("  │ Who flies?\\u{1b}[2J"), "{said}");
    assert!(said.contains("Traveller: text, at least 2 characters"), "{said}");
    pty.types("A");
    assert!(pty.awaits("name: ").contains("too short: at least 2 characters"));
    pty.types("Ada");
    let said = pty.awaits("seat [a]: ");
    assert!(said.contains("1 Window") && said.contains("2 Aisle"), "{said}");
    pty.types("");
    pty.awaits("bags: ");
    pty.types("two");
    pty.awaits("not a whole number");
    pty.types("2");
    let said = pty.awaits("[a]gain from the first: ");
    assert!(said.contains("\"seat\": \"a\""), "{said}");
    pty.types("y");
    let said = pty.awaits("`-` to decline: ");
    assert!(said.contains("? sign: desk.sign, of the server `desk`, asks"), "{said}");
    assert!(said.contains("https://sign.example/me?x=%E2%80%AE"), "{said}");
    pty.types("");
    pty.awaits("name: ");
    pty.types("-");
    let (code, said) = pty.ends();
    assert_eq!(code, Some(0), "{said}");
    let results = results(&folder);
    let accepted = json!({"action": "accept", "content": {"name": "Ada", "seat": "a", "bags": 2}});
    assert_eq!(answer(&results, "book"), accepted);
    assert_eq!(answer(&results, "sign"), json!({"action": "accept"}));
    assert_eq!(answer(&results, "more"), json!({"action": "decline"}));
}

#[test]
fn a_person_may_take_longer_than_a_silent_tool() {
    let folder = folder(
        "  - {id: book, tool: desk.book, idle_timeout: 1200ms, retry: 1}\n  - {id: slow, tool: slow}\ntools:\n  slow: {argv: [sh, -c, 'sleep 2.5; touch slept'], effects: none}\n",
    );
    let mut pty = at_terminal(&folder, &["run", "plan.yaml", "--report", "report.json"]);
    pty.awaits("name: ");
    until("somebody thinks for a while", || folder.path("slept").exists());
    for line in ["Ada", "1", "", "yes"] {
        pty.types(line);
    }
    let (code, said) = pty.ends();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(answer(&results(&folder), "book")["content"], json!({"name": "Ada", "seat": "w"}));
}

#[test]
fn a_question_goes_with_its_attempt() {
    let folder = folder(
        "  - {id: book, tool: desk.book, timeout: 1s, retry: 1, on_failure: {value: null}}\n  - {id: sign, tool: desk.sign, after: [book]}\n",
    );
    let mut pty = at_terminal(&folder, &["run", "plan.yaml", "--report", "report.json"]);
    pty.awaits("name: ");
    pty.awaits("no longer asked");
    pty.awaits("`-` to decline: ");
    pty.types("n");
    let (code, said) = pty.ends();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(answer(&results(&folder), "sign"), json!({"action": "decline"}));
}

#[test]
fn a_call_alone_asks_too_and_can_be_interrupted() {
    let folder = folder("");
    let mut pty = at_terminal(&folder, &["call", "desk.book"]);
    pty.awaits("name: ");
    pty.signal(Signal::INT);
    let said = pty.awaits("name: ");
    assert!(said.contains("nothing new starts; 1 call still runs"), "{said}");
    pty.types("Ada");
    pty.awaits("seat [a]: ");
    pty.signal(Signal::INT);
    let (code, said) = pty.ends();
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("no longer asked"), "{said}");
}

#[test]
fn a_run_that_is_gone_on_with_asks_again() {
    let folder = folder("  - {id: book, tool: desk.book}\n");
    let pty = at_terminal(&folder, &["run", "plan.yaml", "--durable", "--state", "state"]);
    pty.awaits("name: ");
    drop(pty);
    let mut pty = at_terminal(&folder, &["resume", "last", "--state", "state", "--report", "report.json"]);
    pty.awaits("name: ");
    for line in ["Ada", "", "", "y"] {
        pty.types(line);
    }
    let (code, said) = pty.ends();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(answer(&results(&folder), "book")["action"], "accept");
}

#[test]
fn without_a_terminal_it_is_declined_at_once() {
    let folder = folder(
        "  - {id: book, tool: desk.book}\n  - {id: where, tool: desk.where, after: [book]}\n  - {id: think, tool: desk.think, after: [where]}\n",
    );
    let ended = folder.fanout(["run", "plan.yaml"]).with_code(0);
    let said = "! book: its tool wants to know something: nobody can be asked here; declined";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(ended.stderr.contains("! where: warning: desk: asking\\u{7}"), "{}", ended.stderr);
    let output = ended.json();
    assert_eq!(answer(&output, "book"), json!({"action": "decline"}));
    let here = folder.path("").canonicalize().unwrap();
    let root = &answer(&output, "where")["roots"][0];
    assert_eq!(root["uri"], format!("file://{}", here.display()));
    assert_eq!(root["name"], here.file_name().unwrap().to_str().unwrap());
    assert_eq!(answer(&output, "think")["code"], -1, "an error of the protocol");
}
