//! Calls: what comes back, what fails and how, what is aborted, what is told and asked meanwhile.
//! It does not know how tools are listed.

use super::{Manner, Place, call, tool, value};
use serde_json::json;

#[test]
fn results_by_what_they_are() {
    crate::world::alone(|_| async {
        for modern in [false, true] {
            let place = Place::new();
            let toolbox = place.open(Manner { modern, ..Manner::default() }, |_| ()).await.unwrap();
            assert_eq!(value(&toolbox, "echo", json!({"text": "a\nb"})).await, "a\nb");
            assert_eq!(value(&toolbox, "structured", json!({})).await, json!({"sum": 3, "list": [1, null]}));
            assert_eq!(value(&toolbox, "nothing", json!({})).await, json!(null));
            let whole = call(&toolbox, "structured", json!({})).await.unwrap().whole.unwrap();
            assert!(whole.get().contains("structuredContent"), "{whole}");
            drop(toolbox);
            place.opener.closed().await;
        }
    });
}
