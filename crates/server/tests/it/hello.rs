//! Getting to know each other: revisions, what is refused before, what is listed.
//! It does not know what calls do.

use crate::client::{Client, text_of};
use fanout_server::Expose;
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};

fn modern(id: u64, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

#[tokio::test]
async fn the_official_client_lists_and_calls() {
    let client = Client::new(Expose::All);
    let (write, read) = (client.write.expect("open"), client.lines.into_inner());
    let service = ().serve((read, write)).await.expect("greeted");
    let tools = service.list_all_tools().await.expect("listed");
    assert!(tools.iter().any(|tool| tool.name == "box.put"), "{tools:?}");
    let args = json!({"key": "a", "value": "x"}).as_object().cloned();
    let mut call = CallToolRequestParams::new("box.put");
    call.arguments = args;
    let result = service.call_tool(call).await.expect("called");
    assert_eq!(result.structured_content, Some(json!({"put": "x"})));
    service.cancel().await.expect("closed");
    client.served.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_client_of_the_newer_revision_needs_no_greeting() {
    let mut client = Client::new(Expose::All);
    client.send(modern(1, "server/discover", json!({}))).await;
    let discovered = client.next().await;
    assert_eq!(discovered["result"]["resultType"], "complete", "{discovered}");
    assert!(discovered["result"]["supportedVersions"].as_array().is_some_and(|all| all.contains(&json!("2026-07-28"))));
    client.send(modern(2, "tools/call", json!({"name": "box.wait"}))).await;
    let called = client.next().await;
    assert_eq!((text_of(&called), &called["result"]["resultType"]), ("waited".to_owned(), &json!("complete")));
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "nonsense"] {
        client.send(modern(3, method, json!({}))).await;
        assert!(text_of(&client.next().await).starts_with("-32601"), "{method}");
    }
    client.leave().await;
}

#[tokio::test]
async fn who_asks_must_be_known() {
    let mut client = Client::new(Expose::All);
    client.send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert!(text_of(&client.next().await).starts_with("-32602 this request does not say who asks"));
    client.send(json!({"jsonrpc": "2.0", "id": 2, "method": "ping"})).await;
    assert_eq!(client.next().await["result"], json!({}));
    let mut unknown = modern(3, "tools/list", json!({}));
    unknown["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2099-01-01".into();
    client.send(unknown).await;
    let refused = client.next().await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["data"]["requested"]),
        (&json!(-32_022), &json!("2099-01-01"))
    );
    client.send_text("nonsense\n[]\n").await;
    assert!(text_of(&client.next().await).starts_with("-32700"));
    assert!(text_of(&client.next().await).starts_with("-32600"));
    client.leave().await;
}

#[tokio::test]
async fn an_unknown_revision_with_a_greeting_gets_the_newest_with_one() {
    for (asked, given) in [("2024-11-05", "2024-11-05"), ("2026-07-28", "2025-11-25"), ("1999-01-01", "2025-11-25")] {
        let mut client = Client::new(Expose::All);
        let params = json!({"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}});
        client.send(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})).await;
        assert_eq!(client.next().await["result"]["protocolVersion"], given);
        client.leave().await;
    }
}

#[tokio::test]
async fn a_client_that_would_be_given_too_many_tools_calls_them_by_another() {
    let mut client = Client::new(Expose::Find);
    client.send(modern(1, "tools/list", json!({}))).await;
    let listed = client.next().await["result"]["tools"].clone();
    let names: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert!(names.contains(&"call_tool") && !names.contains(&"box.put"), "{names:?}");
    let inner = json!({"name": "box.put", "arguments": {"key": "a", "value": "x"}});
    client.send(modern(2, "tools/call", json!({"name": "call_tool", "arguments": inner}))).await;
    assert_eq!(text_of(&client.next().await), r#"{"put":"x"}"#);
    client.send(modern(3, "tools/call", json!({"name": "call_tool", "arguments": {}}))).await;
    assert!(text_of(&client.next().await).starts_with("-32602 `call_tool` needs"));
    assert_eq!(client.leave().await, ["a=x"]);
}
