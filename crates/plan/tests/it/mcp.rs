//! MCP servers in toolbox files, and in the files of other programs.
//! It does not know the servers.

use expect_test::{Expect, expect};
use fanout_plan::{DeclaredToolbox, McpSource, McpTransport, ToolSource, read_toolbox};

fn read(name: &str, text: &str) -> Result<Vec<DeclaredToolbox>, String> {
    read_toolbox(name, text.as_bytes())
        .map_err(|wrong| wrong.into_iter().map(|problem| format!("{problem}\n")).collect::<String>())
}

fn source(toolbox: &DeclaredToolbox) -> &McpSource {
    match &toolbox.source {
        Some(ToolSource::Mcp(source)) => source,
        other => panic!("no server: {other:?}"),
    }
}

fn shown(toolbox: &DeclaredToolbox) -> String {
    let warnings: String = toolbox.spec.warnings.iter().map(|one| format!("  {one}\n")).collect();
    let how = match &source(toolbox).transport {
        McpTransport::Stdio(command) => {
            let args: Vec<String> = command.args.iter().map(|arg| arg.shown()).collect();
            let set: Vec<String> = command.set.iter().map(|(name, text)| format!("{name}={}", text.shown())).collect();
            let cwd = command.cwd.as_ref().map(|cwd| cwd.shown());
            format!("{} {args:?} {set:?} {:?} {cwd:?} in {:?}", command.command.shown(), command.pass, command.base_dir)
        }
        McpTransport::Http(endpoint) => {
            let headers: Vec<String> =
                endpoint.headers.iter().map(|(name, text)| format!("{name}: {}", text.shown())).collect();
            format!("{} {headers:?} {:?} {:?}", endpoint.url.shown(), endpoint.base.auth, endpoint.oauth)
        }
    };
    format!("{}: {how}\n{warnings}", toolbox.spec.name)
}

fn check(name: &str, text: &str, expected: Expect) {
    let all = match read(name, text) {
        Ok(boxes) => boxes.iter().map(shown).collect(),
        Err(wrong) => wrong,
    };
    expected.assert_eq(&all);
}

#[test]
fn servers_of_a_toolbox_file() {
    let text = r#"
        [toolbox.fs]
        mcp = { command = "npx", args = ["-y", "server", "/data"], env = { LEVEL = 2, TOKEN = "env:GH", KEY = "file:k" }, cwd = "sub" }
        [toolbox.passing]
        mcp = { command = "server", env = ["NODE_OPTIONS"] }
        [toolbox.far]
        mcp = { url = "https://host.test/mcp", headers = { X-Plain = "a", X-Key = "env:KEY" }, auth = { bearer = "env:TOKEN" }, oauth = { scopes = "read", port = 7777 } }
    "#;
    check(
        "dir/fanout.toml",
        text,
        expect![[r#"
        fs: npx ["-y", "server", "/data"] ["LEVEL=2", "TOKEN=${env:GH}", "KEY=${file:dir/k}"] [] Some("sub") in "dir"
        passing: server [] [] ["NODE_OPTIONS"] None in "dir"
        far: https://host.test/mcp ["X-Plain: a", "X-Key: ${env:KEY}"] [Bearer(Env("TOKEN"))] McpOAuth { client_id: None, client_secret: None, client_metadata: None, scopes: ["read"], port: Some(7777) }
    "#]],
    );
}

#[test]
fn what_is_read_of_a_server_fits_the_schema() {
    let schema = fanout_plan::toolbox_schema();
    let validator = jsonschema::options().offline().build(&schema).unwrap();
    let file = |text: &str| toml::from_str::<serde_json::Value>(text).unwrap();
    for (text, fits) in [
        (
            "[toolbox.a]\nmcp = { command = 'x', args = ['y'], env = { A = 'env:B' } }\ninclude = 'a*'\nconnect = '5s'",
            true,
        ),
        (
            "[toolbox.a]\nmcp = { url = 'https://x.test', auth = { bearer = 'env:B' } }\n[toolbox.a.tools.t]\neffects = 'none'",
            true,
        ),
        ("[toolbox.a]\nmcp = { command = 'x', url = 'https://x.test' }", false),
        ("[toolbox.a]\nmcp = { command = 'x' }\nargv = ['ls']", false),
        ("[toolbox.a]\nprefix = true\n[toolbox.a.tools.t]\nargv = ['ls']", false),
    ] {
        assert_eq!(validator.is_valid(&file(text)), fits, "{text}");
        assert_eq!(read("fanout.toml", text).is_ok(), fits, "{text}");
    }
}

#[test]
fn what_is_said_of_a_server_and_its_tools() {
    let text = r#"
        [toolbox.fs]
        mcp = { command = "server" }
        running = 8
        rate = "10/s"
        key = "disk"
        prefix = false
        trusted = false
        include = ["read_*", "edit_file"]
        exclude = "read_media"
        connect = "5s"
        [toolbox.fs.tools.edit_file]
        effects = { writes = ["file:${args.path}"], idempotent = false }
        approval = "always"
        running = 2
        version = "7"
    "#;
    let boxes = read("fanout.toml", text).unwrap();
    let (spec, source) = (&boxes[0].spec, source(&boxes[0]));
    assert_eq!((spec.running_max, spec.key.as_deref(), spec.rate.unwrap().count), (Some(8), Some("disk"), 10));
    assert!(!source.prefix && !source.trusted && source.connect.as_secs() == 5);
    let takes = ["read_file", "read_media", "edit_file", "write_file"].map(|name| source.takes(name));
    assert_eq!(takes, [true, false, true, false]);
    let said = source.said_of("edit_file").unwrap();
    assert_eq!(said.effects.as_ref().unwrap().writes, ["file:${args.path}"]);
    assert_eq!((said.running_max, said.version.as_deref()), (Some(2), Some("7")));
    assert!(source.may_offer("fs", "anything"), "without a prefix it can have any");
}

#[test]
fn what_is_wrong_with_a_server_is_said_with_its_place() {
    let text = r#"
[toolbox.none]
mcp = {}
[toolbox.both]
mcp = { command = "a", url = "https://x.test" }
[toolbox.typo]
mcp = { comand = "a", url = "host" }
[toolbox.bad]
mcp = { url = "https://x.test", auth = "s3cret", headers = { Host = "y" } }
argv = ["ls"]
[toolbox.env]
mcp = { command = "a", env = "PATH" }
[toolbox.env.tools.t]
efects = "none"
"#;
    check(
        "fanout.toml",
        text,
        expect![[r#"
        fanout.toml:3:7: error[missing_field]: `mcp` has neither `command` nor `url`
          help: a program has { command = "npx", args = ["-y", "…"] }, a server elsewhere { url = "https://…" }
        fanout.toml:5:24: error[bad_value]: a server has a `command` or a `url`, not both
        fanout.toml:7:9: error[unknown_field]: `mcp` has no field `comand`
        fanout.toml:7:29: error[bad_url]: a URL begins with `https://`, or with `/` behind a `base_url`
        toolbox.bad.mcp.auth: error[secret_written]: a secret is named, not written (line 9 of fanout.toml)
          help: `env:NAME` for a variable of the environment, `file:PATH` for a file; and change a secret that was in a file
        toolbox.bad.mcp.headers.Host: error[bad_value]: the header `Host` belongs to the connection and cannot be set
        fanout.toml:10:1: error[unknown_field]: a toolbox with `mcp` has no field `argv`
        fanout.toml:12:30: error[wrong_type]: `env` is an object of names and values, or a list of names, not a text
        fanout.toml:14:1: error[unknown_field]: a tool of a server has no field `efects`
          help: did you mean `effects`?
    "#]],
    );
}

#[test]
fn files_of_other_programs_are_read_as_they_are() {
    let claude = r#"{"mcpServers": {
        "filesystem": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "${HOME_DIR:-/tmp}"], "env": {"KEY": "${API_KEY}"}},
        "off": {"command": "x", "disabled": true},
        "far": {"type": "http", "url": "https://api.test/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}
    }, "theme": "dark"}"#;
    check(
        "dir/claude_desktop_config.json",
        claude,
        expect![[r#"
        filesystem: npx ["-y", "@modelcontextprotocol/server-filesystem", "${HOME_DIR}"] ["KEY=${API_KEY}"] [] None in "dir"
        far: https://api.test/mcp ["Authorization: Bearer ${TOKEN}"] [] McpOAuth { client_id: None, client_secret: None, client_metadata: None, scopes: [], port: None }
    "#]],
    );
    let code = r#"{
        // Servers of this folder.
        "inputs": [{"id": "key", "type": "promptString", "description": "The key", "password": true}],
        "servers": {
            "My Server": {"type": "stdio", "command": "node", "args": ["${workspaceFolder}/s.js", "--key=${input:key}"], "env": {"K": "${env:K}", "N": null},
                "envFile": ".env", /* not here */ },
            "My_Server": {"url": "http://localhost:3000/mcp", "text": "// no comment, ],"},
        },
    }"#;
    check(
        "proj/.vscode/mcp.json",
        code,
        expect![[r#"
        My_Server: node ["proj/s.js", "--key=${input:key}"] ["K=${K}"] [] None in "proj"
          proj/.vscode/mcp.json:5:26: warning[mcp_renamed]: the MCP server `My Server` is the toolbox `My_Server` here
          proj/.vscode/mcp.json:6:28: warning[mcp_ignored]: `envFile` of a server is not heeded here
          proj/.vscode/mcp.json:7:26: warning[mcp_renamed]: the MCP server `My_Server` is the toolbox `My_Server_2` here
          proj/.vscode/mcp.json:7:71: warning[mcp_ignored]: `text` of a server is not heeded here
        My_Server_2: http://localhost:3000/mcp [] [] McpOAuth { client_id: None, client_secret: None, client_metadata: None, scopes: [], port: None }
    "#]],
    );
    let wrong = r#"{"mcpServers": {"a": {"args": []}, "b": {"command": "x", "args": ["${command:key}"]}, "c": 5, "d": {"url": "ftp://x"}}}"#;
    check(
        "mcp.json",
        wrong,
        expect![[r#"
        mcp.json:1:22: error[missing_field]: a server has neither `command` nor `url`
        mcp.json:1:67: error[bad_value]: `${command:key}` is not known here
          help: write the value, or `${env:NAME}` for a variable of the environment
        mcp.json:1:92: error[wrong_type]: a server is an object, not a number
        mcp.json:1:108: error[bad_url]: a URL begins with `https://`, or with `/` behind a `base_url`
    "#]],
    );
}
