//! HTTP tools through the command: the example, and no secret in anything that is written.
//! It does not know how requests are sent.

use fanout_tests::{Folder, root};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const TOKEN: &str = "a-token-nobody-may-see";

/// The server of an example, ended with the test.
struct Pets(Child, String);

impl Pets {
    fn start() -> Pets {
        Self::of("pets/pets.py", "PETS_TOKEN")
    }

    fn of(program: &str, token: &str) -> Pets {
        let mut server = Command::new("python3")
            .arg(root().join("examples").join(program))
            .arg("0")
            .env(token, TOKEN)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut port = String::new();
        BufReader::new(server.stdout.take().expect("it was piped")).read_line(&mut port).expect("it tells its port");
        Pets(server, port.trim().to_owned())
    }

    /// The example in a folder, asking this server.
    fn folder(&self) -> Folder {
        let folder = Folder::new();
        for file in ["plan.yaml", "fanout.toml"] {
            let text = std::fs::read_to_string(root().join("examples/pets").join(file)).expect("the example is there");
            folder.write(file, text.replace("8473", &self.1));
        }
        folder
    }
}

impl Drop for Pets {
    fn drop(&mut self) {
        // Gone is as good.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

#[test]
fn the_example_runs() {
    let pets = Pets::start();
    let folder = pets.folder();
    let ran = folder.command(&["run", "plan.yaml"]).env("PETS_TOKEN", TOKEN).output().expect("it runs");
    let text = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{text}{}", String::from_utf8_lossy(&ran.stderr));
    let output: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(output, json!({"rex": 2, "fed": ["Rex", "Tom", "Kitty"], "nobody": null}));
}

#[test]
fn no_secret_is_written_anywhere() {
    let pets = Pets::start();
    let folder = pets.folder();
    let wrong = format!("{TOKEN}-but-wrong");
    // The server repeats the token it was given in its answer.
    let mut arguments = vec!["run", "plan.yaml", "--report", "report.json", "--events=events.jsonl"];
    arguments.extend(["--timeline", "run.svg", "--trace", "run.trace.json"]);
    let ran = folder.command(&arguments).env("PETS_TOKEN", &wrong).output().expect("it runs");
    assert!(!ran.status.success());
    let written = [
        String::from_utf8_lossy(&ran.stdout).into_owned(),
        String::from_utf8_lossy(&ran.stderr).into_owned(),
        folder.read("report.json"),
        folder.read("events.jsonl"),
        folder.read("run.svg"),
        folder.read("run.trace.json"),
    ];
    for text in &written {
        assert!(!text.is_empty() && !text.contains(TOKEN), "{text}");
    }
    assert!(written[2].contains("[secret]"), "the report has what the server said: {}", written[2]);
    let absent = folder.command(&["run", "plan.yaml"]).env_remove("PETS_TOKEN").output().expect("it runs");
    assert!(String::from_utf8_lossy(&absent.stderr).contains("env:PETS_TOKEN"));
}

#[test]
fn a_secret_in_a_toolbox_file_is_not_shown() {
    let folder = Folder::with_plan("name: x\ncalls: [{id: a, tool: t}]");
    folder.write("fanout.toml", format!("[tools.t]\nurl = \"https://a.example\"\nauth = {{ bearer = \"{TOKEN}\" }}\n"));
    let told = folder.fanout(["check", "plan.yaml"]);
    assert!(told.stderr.contains("secret_written"), "{}", told.stderr);
    assert!(!told.stderr.contains(TOKEN) && !told.stdout.contains(TOKEN), "{}", told.stderr);
}

/// The example `orders`, asking this server; the document is the file, or fetched from the server.
fn orders(port: &str, is_fetched: bool) -> Folder {
    let folder = Folder::new();
    for file in ["plan.yaml", "fanout.toml", "openapi.yaml"] {
        let text = std::fs::read_to_string(root().join("examples/orders").join(file)).expect("the example is there");
        folder.write(file, text.replace("8474", port));
    }
    if is_fetched {
        let url = format!("openapi = \"http://127.0.0.1:{port}/openapi.yaml\"\nvariables = {{ port = {port} }}");
        folder.write("fanout.toml", folder.read("fanout.toml").replace("openapi = \"openapi.yaml\"", &url));
        std::fs::remove_file(folder.path("openapi.yaml")).expect("it was there");
    }
    folder
}

#[test]
fn orders_for_one_pet_keep_their_order_and_two_pets_run_beside_each_other() {
    for is_fetched in [false, true] {
        let shop = Pets::of("orders/shop.py", "SHOP_TOKEN");
        let folder = orders(&shop.1, is_fetched);
        let arguments = ["run", "plan.yaml", "--report", "report.json", "--timeline", "run.svg"];
        let ran = folder.command(&arguments).env("SHOP_TOKEN", TOKEN).output().expect("it runs");
        let text = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{text}{}", String::from_utf8_lossy(&ran.stderr));
        let output: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let order = |what: &str, number: u32| json!({"what": what, "number": number});
        assert_eq!(output, json!({"one": [order("collar", 1), order("bell", 2)], "two": [order("ball", 1)]}));
        let report: serde_json::Value = serde_json::from_str(&folder.read("report.json")).expect("it is JSON");
        let time = |id: &str, field: &str| {
            let call = report["calls"].as_array().and_then(|calls| calls.iter().find(|call| call["id"] == id));
            call.and_then(|call| call[field].as_f64()).expect("it ran")
        };
        assert!(time("bell", "started_ms") >= time("collar", "ended_ms"), "{report:#}");
        assert!(time("ball", "started_ms") < time("collar", "ended_ms"), "{report:#}");
        let waits = &report["calls"][1]["waits"][0];
        assert_eq!((&waits["cause"], &waits["key"]), (&json!("key"), &json!("shop:pets/1/orders")));
        assert!(folder.read("run.svg").contains("waited for keys"));
        // What is excluded is no tool, and nothing is said of it.
        let listed = folder.fanout(["tools", "--json"]).with_code(0);
        assert!(!listed.stdout.contains("close") && !listed.stderr.contains("close"), "{listed:?}");
    }
}

#[test]
fn a_document_that_cannot_be_had_is_told_with_its_place() {
    let folder = orders("1", false);
    std::fs::remove_file(folder.path("openapi.yaml")).expect("it was there");
    let told = folder.fanout(["tools"]).with_code(3);
    assert!(told.stderr.contains("openapi_unreadable") && told.stderr.contains("openapi.yaml"), "{}", told.stderr);
    let told = orders("1", true).fanout(["tools"]).with_code(3);
    assert!(told.stderr.contains("openapi_unreadable") && told.stderr.contains("127.0.0.1:1"), "{}", told.stderr);
}

#[test]
fn the_tools_of_the_examples_say_what_they_ask_and_of_whom() {
    let folder = orders("8474", false);
    let shown = folder.command(&["tools", "shop.order"]).env("SHOP_TOKEN", TOKEN).output().expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout);
    for text in ["POST http://127.0.0.1:8474/pets/${args.pet}/orders", "env:SHOP_TOKEN", "127.0.0.1"] {
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
    assert!(!shown.contains(TOKEN), "{shown}");
    let listed = folder.fanout(["tools", "--json"]).with_code(0).json().to_string();
    assert!(listed.contains("POST http://127.0.0.1:8474/pets/${args.pet}/orders"), "{listed}");
}
