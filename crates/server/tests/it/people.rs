//! Calls that a person has to approve, asked through the client.
//! It does not know how a question travels.

use crate::client::{Client, text_of};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_call_that_has_to_be_approved_is_asked_of_the_client() {
    for (action, expected) in [("accept", r#"{"put":"x"}"#), ("decline", "somebody refused it [denied]")] {
        let mut client = Client::greeted(json!({"elicitation": {}})).await;
        client.call(1, "box.remove", json!({"key": "a", "value": "x"})).await;
        let question = client.next().await;
        assert_eq!(question["method"], "elicitation/create", "{question}");
        let message = question["params"]["message"].as_str().expect("a text");
        assert!(message.contains("box.remove") && message.contains("\"key\": \"a\""), "{message}");
        client.send(json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": action, "content": {}}})).await;
        let answer = text_of(&client.next().await);
        assert!(answer.starts_with(expected), "{answer}");
        let written = client.leave().await;
        assert_eq!(written.len(), usize::from(action == "accept"));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_where_the_client_cannot_be() {
    let mut client = Client::greeted(json!({})).await;
    client.call(1, "box.remove", json!({"key": "a", "value": "x"})).await;
    let answer = text_of(&client.next().await);
    assert!(answer.contains("[denied]") && answer.contains("approval = \"never\""), "{answer}");
    assert!(client.leave().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_answers_is_a_denial_in_time() {
    let mut client = Client::greeted(json!({"elicitation": {}})).await;
    client.call(1, "box.remove", json!({"key": "a", "value": "x"})).await;
    assert_eq!(client.next().await["method"], "elicitation/create");
    // Paused time runs on to the bound: an hour.
    let mut rest = vec![client.next().await, client.next().await];
    rest.sort_by_key(|message| message["method"].is_string());
    assert!(text_of(&rest[0]).contains("[denied]"), "{rest:?}");
    assert_eq!(rest[1]["method"], "notifications/cancelled");
    assert!(client.leave().await.is_empty());
}
