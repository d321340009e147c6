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

/// A client of the newer revision, which is asked by the result of its call and answers with another call.
mod by_results {
    use crate::client::{Client, text_of};
    use fanout_server::Expose;
    use serde_json::{Value, json};

    fn calling(id: u64, capabilities: Value, tool: &str, args: Value, round: Option<(&Value, Value)>) -> Value {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": capabilities,
        });
        let mut params = json!({"name": tool, "arguments": args, "_meta": meta});
        if let Some((state, answers)) = round {
            params["requestState"] = state.clone();
            params["inputResponses"] = answers;
        }
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    }

    fn asks() -> Value {
        json!({"elicitation": {}})
    }

    fn put(value: &str) -> Value {
        json!({"key": "a", "value": value})
    }

    /// What a result asks: its state, and the key and the message of the only question.
    fn asked(message: &Value) -> (Value, String, String) {
        let result = &message["result"];
        assert_eq!(result["resultType"], "input_required", "{message}");
        let requests = result["inputRequests"].as_object().expect("questions");
        let (key, request) = requests.iter().next().expect("a question");
        assert_eq!((requests.len(), &request["method"]), (1, &json!("elicitation/create")), "{message}");
        let text = request["params"]["message"].as_str().expect("a text");
        (result["requestState"].clone(), key.clone(), text.to_owned())
    }

    fn says(key: &str, action: &str) -> Value {
        json!({key: {"action": action, "content": {}}})
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_its_approval_in_its_place() {
        for (action, expected) in [("accept", r#"{"put":"x"}"#), ("decline", "somebody refused it [denied]")] {
            let mut client = Client::new(Expose::All);
            client.send(calling(1, asks(), "box.remove", put("x"), None)).await;
            let (state, key, text) = asked(&client.next().await);
            assert!(text.contains("box.remove") && text.contains("\"key\": \"a\""), "{text}");
            // It conflicts, and stands behind.
            client.send(calling(2, asks(), "box.put", put("y"), None)).await;
            client.send(calling(3, asks(), "box.remove", put("x"), Some((&state, says(&key, action))))).await;
            let answers = client.answers(2).await;
            let of = |id: u64| answers.iter().find(|(of, _)| *of == id).map(|(_, text)| text.clone());
            assert!(of(3).is_some_and(|text| text.starts_with(expected)), "{answers:?}");
            let written = client.leave().await;
            assert_eq!(written, if action == "accept" { vec!["a=x", "a=y"] } else { vec!["a=y"] });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_approval_is_of_one_call_and_counts_once() {
        let mut client = Client::new(Expose::All);
        client.send(calling(1, asks(), "box.remove", put("x"), None)).await;
        let (state, key, _) = asked(&client.next().await);
        let yes = says(&key, "accept");
        for (tool, args) in [("box.remove", put("other")), ("box.put", put("x"))] {
            client.send(calling(2, asks(), tool, args, Some((&state, yes.clone())))).await;
            assert!(text_of(&client.next().await).starts_with("-32602 this `requestState` is of a call"));
        }
        // What is not answered is asked again.
        client.send(calling(3, asks(), "box.remove", put("x"), Some((&state, json!({"what": 1}))))).await;
        let (again, same, _) = asked(&client.next().await);
        assert!(again != state && same == key);
        client.send(calling(4, asks(), "box.remove", put("x"), Some((&again, yes.clone())))).await;
        assert_eq!(text_of(&client.next().await), r#"{"put":"x"}"#);
        client.send(calling(5, asks(), "box.remove", put("x"), Some((&again, yes)))).await;
        assert!(text_of(&client.next().await).starts_with("-32602 no call waits for these answers"));
        assert_eq!(client.leave().await, ["a=x"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_answers_holds_nothing_for_ever() {
        let mut client = Client::new(Expose::All);
        client.send(calling(1, asks(), "box.remove", put("x"), None)).await;
        let (state, key, _) = asked(&client.next().await);
        // Paused time runs on to the bound: an hour.
        client.send(calling(2, asks(), "box.put", put("y"), None)).await;
        assert_eq!(text_of(&client.next().await), r#"{"put":"y"}"#);
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        client.send(calling(3, asks(), "box.remove", put("x"), Some((&state, says(&key, "accept"))))).await;
        assert!(text_of(&client.next().await).starts_with("-32602 no call waits for these answers"));
        assert_eq!(client.leave().await, ["a=y"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_where_the_client_cannot_be() {
        let mut client = Client::new(Expose::All);
        client.send(calling(1, json!({}), "box.remove", put("x"), None)).await;
        let answer = text_of(&client.next().await);
        assert!(answer.contains("did not say that it has `elicitation`") && answer.contains("[denied]"), "{answer}");
        assert!(client.leave().await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_plan_goes_on_from_answer_to_answer() {
        let mut client = Client::new(Expose::All);
        let call = |id: &str, key: &str, after: Value| json!({"id": id, "tool": "box.remove", "args": {"key": key, "value": id}, "after": after});
        let plan = json!({"plan": {"calls": [call("one", "a", json!([])), call("two", "b", json!(["one"]))], "output": "${two}"}});
        client.send(calling(1, asks(), "run_plan", plan.clone(), None)).await;
        let (state, key, text) = asked(&client.next().await);
        assert!(text.contains("\"value\": \"one\""), "{text}");
        client.send(calling(2, asks(), "run_plan", plan.clone(), Some((&state, says(&key, "accept"))))).await;
        let (state, key, text) = asked(&client.next().await);
        assert!(text.contains("\"value\": \"two\""), "{text}");
        let mut last = calling(3, asks(), "run_plan", plan, Some((&state, says(&key, "accept"))));
        last["params"]["_meta"]["progressToken"] = json!("third");
        client.send(last).await;
        // Progress is told to the request that the plan is under way for now.
        assert_eq!(client.next().await["params"]["progressToken"], "third");
        let answer = client.next().await;
        assert_eq!(answer["id"], 3);
        assert!(text_of(&answer).contains("put"), "{answer}");
        assert_eq!(client.leave().await, ["a=one", "b=two"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_goes_with_its_client() {
        let mut client = Client::new(Expose::All);
        client.send(calling(1, asks(), "box.remove", put("x"), None)).await;
        asked(&client.next().await);
        let plan = json!({"plan": {"calls": [{"id": "one", "tool": "box.remove", "args": put("z")}]}});
        client.send(calling(2, asks(), "run_plan", plan, None)).await;
        asked(&client.next().await);
        assert!(client.leave().await.is_empty());
    }
}
