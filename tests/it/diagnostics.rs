//! `fanout check`: every problem at once, each with its place and what to do, and as JSON.
//! It does not know how problems are found.

use fanout_tests::Folder;

const PLAN: &str = "name: many problems
tools:
  read: {argv: [cat, '${args.path}'], args: {path: {type: string}}, effects: {reads: ['file:${args.path}']}}
calls:
  - {id: a, tool: raed, args: {path: x}}
  - {id: b, tool: read, args: {path: 7}}
  - {id: b, tool: read, args: {path: '${nobody}'}}
  - {id: c, tool: read, args: {path: '${d}'}}
  - {id: d, tool: read, args: {path: '${c}'}}
  - {id: e, tool: read, args: {path: x}, approval: sometimes}
  - {id: f, tool: read, args: {path: x}, when: '1 +'}
";

#[test]
fn all_problems_at_once_with_their_places() {
    let ended = Folder::with_plan(PLAN).fanout(["check", "--json", "plan.yaml"]).with_code(3);
    let problems = ended.json();
    let mut seen: Vec<(u64, String)> = problems
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["place"]["line"].as_u64().unwrap_or(0), p["code"].as_str().unwrap().to_string()))
        .collect();
    seen.sort();
    let has =
        |line: u64, code: &str| assert!(seen.contains(&(line, code.to_string())), "{code} in line {line}: {seen:?}");
    has(5, "unknown_tool");
    has(6, "bad_args");
    has(7, "duplicate_id");
    has(7, "unknown_reference");
    has(10, "bad_value");
    has(11, "bad_expression");
    assert!(seen.iter().any(|(_, code)| code == "cycle"), "{seen:?}");
    for problem in problems.as_array().unwrap() {
        assert_eq!(problem["place"]["file"], "plan.yaml", "{problem}");
        assert!(problem["place"]["column"].as_u64().unwrap() > 0, "{problem}");
    }
}

#[test]
fn problems_are_shown_in_the_text() {
    let ended = Folder::with_plan(PLAN).fanout(["check", "plan.yaml"]).with_code(3);
    assert_eq!(ended.stdout, "");
    let said = &ended.stderr;
    assert!(said.contains("plan.yaml:5:"), "{said}");
    assert!(said.contains("- {id: a, tool: raed, args: {path: x}}"), "{said}");
    assert!(said.contains("`read`"), "the nearest name: {said}");
    assert!(said.contains("error[unknown_tool]"), "{said}");
    assert!(said.contains("c → d → c") || said.contains("d → c → d"), "{said}");
}

#[test]
fn a_good_plan_says_so() {
    let plan = "name: good\ntools: {x: {argv: ['true'], effects: none}}\ncalls: [{id: a, tool: x}]";
    let ended = Folder::with_plan(plan).fanout(["check", "plan.yaml"]).with_code(0);
    assert!(ended.stderr.contains("1 call"), "{}", ended.stderr);
    assert_eq!(
        Folder::with_plan(plan).fanout(["check", "--json", "plan.yaml"]).with_code(0).json(),
        serde_json::json!([])
    );
}

#[test]
fn problems_of_toolbox_files_have_places_too() {
    let folder = Folder::with_plan("name: p\ncalls: [{id: a, tool: x}]");
    folder.write("fanout.toml", "[tools.x]\nargv = [\"true\"]\nefects = \"none\"\n");
    let ended = folder.fanout(["check", "plan.yaml"]).with_code(3);
    assert!(ended.stderr.contains("fanout.toml:3:1"), "{}", ended.stderr);
    assert!(ended.stderr.contains("`effects`"), "{}", ended.stderr);
}

#[test]
fn every_code_can_be_explained() {
    let folder = Folder::new();
    let list = folder.fanout(["explain"]).with_code(0).stdout;
    assert!(list.lines().count() > 20, "{list}");
    for line in list.lines() {
        let code = line.split_whitespace().next().unwrap();
        let page = folder.fanout(["explain", code]).with_code(0).stdout;
        assert!(page.contains(code), "{page}");
    }
    let ended = folder.fanout(["explain", "unknown_tol"]).with_code(2);
    assert!(ended.stderr.contains("unknown_tool"), "{}", ended.stderr);
}
