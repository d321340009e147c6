//! Listing: pages, names, schemas, hints, changes; and servers that do not start.
//! It does not know how a tool is called.

use super::{Manner, Place, value};
use expect_test::expect;
use serde_json::json;

fn lines(toolbox: &fanout_tools::Toolbox) -> String {
    let line = |tool: &fanout_plan::ToolSpec| format!("{} {:?}\n", tool.name, tool.hints);
    toolbox.spec.tools.iter().map(line).collect()
}

#[test]
fn tools_are_listed_named_and_described() {
    crate::world::alone(|_| async {
        let place = Place::new();
        let toolbox = place.open(Manner::default(), |_| ()).await.unwrap();
        let all = lines(&toolbox);
        assert_eq!(toolbox.spec.tools.len(), 28, "{all}");
        let warnings: String =
            toolbox.spec.warnings.iter().map(|warning| format!("{}: {}\n", warning.code, warning.message)).collect();
        expect![[r#"
            mcp_left_out: the tool `bad_schema` of the MCP server `box` is left out: the schema of its arguments does not compile: "nonsense" is not valid under any of the schemas listed in the 'anyOf' keyword
            mcp_left_out: the tool `far_schema` of the MCP server `box` is left out: the schema of its arguments does not compile: Resource 'https://x.test/s' is not present in a registry and retrieving it failed: Retrieval is disabled, cannot fetch https://x.test/s
            mcp_left_out: the tool `no_schema` of the MCP server `box` is left out: the schema of its arguments is not an object
            mcp_left_out: the tool `` of the MCP server `box` is left out: it is not described as a tool: missing field `name` at line 1 column 19
            mcp_renamed: the tool that the MCP server `box` calls `bad name!` is called `box.bad_name__2`, since its own name is taken or cannot be one
        "#]].assert_eq(&warnings);
        let echo = toolbox.spec.tools.iter().find(|tool| &*tool.name == "box.echo").unwrap();
        expect![[r#"
            "Says it again."
            Some(Hints { read_only: true, idempotent: false, destructive: false })
            [("protocol", "2025-06-18"), ("called", "echo"), ("hints", "read-only, destructive, closed world")]"#]]
        .assert_eq(&format!("{:?}\n{:?}\n{:?}", echo.description, echo.hints, &echo.facts[2..]));
        let structured = toolbox.spec.tools.iter().find(|tool| &*tool.name == "box.structured").unwrap();
        assert!(structured.hints.unwrap().idempotent && structured.result_schema.is_some());
        drop(toolbox);
        place.opener.closed().await;
    });
}

#[test]
fn every_page_is_read() {
    crate::world::alone(|_| async {
        let place = Place::new();
        let toolbox = place.open(Manner { extra: 500, ..Manner::default() }, |_| ()).await.unwrap();
        assert_eq!(toolbox.spec.tools.len(), 528);
        assert_eq!(value(&toolbox, "echo", json!({"text": "a"})).await, "a");
        drop(toolbox);
        place.opener.closed().await;
    });
}

#[test]
fn a_server_that_does_not_start_is_named_with_its_last_words() {
    crate::world::alone(|_| async {
        let place = Place::new();
        let wrong = |wrong: Vec<fanout_plan::Diagnostic>| {
            let text = wrong.into_iter().map(|one| format!("{one}\n")).collect::<String>();
            text.replace(&std::env::current_exe().unwrap().display().to_string(), "PROGRAM")
        };
        let exits = place.open(Manner { start: "exit".into(), ..Manner::default() }, |_| ()).await;
        expect![[r#"
            toolbox.box: error[mcp_not_started]: the MCP server `PROGRAM --exact --ignored --nocapture mcp::server::server_program` was not started: it exited with code 7: no licence was found
              help: it said:
            the test server has started
            no licence was found
        "#]].assert_eq(&wrong(exits.err().unwrap()));
        let hangs = place.open(Manner { start: "hang".into(), ..Manner::default() }, |source| {
            source.connect = std::time::Duration::from_millis(300);
        });
        expect![[r#"
            toolbox.box: error[mcp_not_started]: the MCP server `box` was not started: no tools within 300ms
        "#]]
        .assert_eq(&wrong(hangs.await.err().unwrap()));
        let missing = place.open(Manner::default(), |source| {
            let fanout_plan::McpTransport::Stdio(command) = &mut source.transport else { unreachable!() };
            command.command = fanout_plan::McpText::literal("no-such-program-here");
        });
        let missing = wrong(missing.await.err().unwrap());
        let missing = missing.replace(&std::env::var("PATH").unwrap(), "THE PATH");
        expect![[r#"
            toolbox.box: error[mcp_not_started]: `no-such-program-here` was not started: no such program in THE PATH; install it, or give its path
        "#]].assert_eq(&missing);
        place.opener.closed().await;
    });
}

#[test]
fn a_server_that_dies_of_a_question_is_greeted_as_of_old() {
    crate::world::alone(|_| async {
        let place = Place::new();
        let toolbox =
            place.open(Manner { start: "die_of_discover".into(), ..Manner::default() }, |_| ()).await.unwrap();
        assert_eq!(value(&toolbox, "echo", json!({"text": "a"})).await, "a");
        drop(toolbox);
        place.opener.closed().await;
    });
}

#[test]
fn a_server_that_refuses_the_older_greeting_is_asked_by_the_newest_only() {
    crate::world::alone(|_| async {
        let place = Place::new();
        let manner = Manner { start: "newest_late".into(), modern: true, log: place.log(), ..Manner::default() };
        let toolbox = place.open(manner, |_| ()).await.unwrap();
        assert_eq!(value(&toolbox, "echo", json!({"text": "a"})).await, "a");
        assert_eq!(place.logged().matches("heard server/discover").count(), 2, "{}", place.logged());
        drop(toolbox);
        place.opener.closed().await;
    });
}

#[test]
fn a_changed_list_is_a_new_toolbox() {
    crate::world::alone(|_| async {
        for modern in [false, true] {
            let place = Place::new();
            let mut toolbox = place.open(Manner { modern, ..Manner::default() }, |_| ()).await.unwrap();
            let mut live = toolbox.live.take().unwrap();
            assert_eq!(value(&toolbox, "change", json!({})).await, "changed");
            let changed = tokio::time::timeout(std::time::Duration::from_secs(5), live.updates.recv()).await;
            let changed = changed.unwrap().unwrap();
            assert!(changed.spec.tools.iter().any(|tool| &*tool.name == "box.new"));
            assert_eq!(changed.spec.tools.len(), toolbox.spec.tools.len() + 1);
            assert_eq!(value(&changed, "echo", json!({"text": "a"})).await, "a");
            drop((toolbox, changed, live));
            place.opener.closed().await;
        }
    });
}
