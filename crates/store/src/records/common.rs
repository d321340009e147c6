//! The facts that every call has, as JSON: most of what is written, so it is written without detours.
//! It does not know the other kinds; what it writes is what `encode.rs` would have written, to the byte.

use super::encode::{OUTCOMES, VERSION, word};
use super::{AttemptAt, CallAt, Ended, Fact, Finished, Record, Value, Waited};
use fanout_core::{AttemptEnd, Time};

/// Writes a record behind what is in `into`, if it is one of these.
pub(super) fn encode(record: &Record, into: &mut Vec<u8>) -> bool {
    match &record.fact {
        Fact::Started { attempt, after_doubt } => {
            begin(into, b"started", record.at);
            of_attempt(into, *attempt);
            if *after_doubt {
                into.extend_from_slice(b",\"after_doubt\":true");
            }
        }
        Fact::Finished(Finished { attempt, end: AttemptEnd::Succeeded, value, error: None, usage: None })
            if !matches!(value, Some(Value::Blob(_))) =>
        {
            begin(into, b"finished", record.at);
            of_attempt(into, *attempt);
            into.extend_from_slice(b",\"end\":\"succeeded\"");
            if let Some(Value::Text(value)) = value {
                into.extend_from_slice(b",\"value\":");
                into.extend_from_slice(value.get().as_bytes());
            }
        }
        Fact::Ended(ended) => {
            begin(into, b"ended", record.at);
            of_end(into, ended);
        }
        _ => return false,
    }
    into.push(b'}');
    true
}

fn begin(into: &mut Vec<u8>, kind: &[u8], at: Time) {
    into.extend_from_slice(b"{\"kind\":\"");
    into.extend_from_slice(kind);
    into.push(b'"');
    number(into, b",\"v\":", VERSION);
    number(into, b",\"at_ns\":", at.0);
}

fn of_call(into: &mut Vec<u8>, call: CallAt) {
    number(into, b",\"call\":", call.call);
    if let Some(element) = call.element {
        number(into, b",\"element\":", element);
    }
}

fn of_attempt(into: &mut Vec<u8>, attempt: AttemptAt) {
    of_call(into, attempt.call);
    number(into, b",\"attempt\":", attempt.attempt);
}

fn of_end(into: &mut Vec<u8>, ended: &Ended) {
    of_call(into, ended.call);
    if let Some(started) = ended.started {
        number(into, b",\"started_ns\":", started.0);
    }
    for (at, Waited { cause, on, key, ns }) in ended.waits.iter().enumerate() {
        into.extend_from_slice(if at == 0 { b",\"waits\":[{\"cause\":" } else { b",{\"cause\":" });
        text(into, cause);
        for (name, given) in [(b",\"on\":".as_slice(), on), (b",\"key\":", key)] {
            if let Some(given) = given {
                into.extend_from_slice(name);
                text(into, given);
            }
        }
        number(into, b",\"ns\":", *ns);
        into.push(b'}');
    }
    if !ended.waits.is_empty() {
        into.push(b']');
    }
    into.extend_from_slice(b",\"outcome\":\"");
    into.extend_from_slice(word(&OUTCOMES, ended.outcome).as_bytes());
    into.push(b'"');
}

fn number(into: &mut Vec<u8>, name: &[u8], number: impl itoa::Integer) {
    into.extend_from_slice(name);
    into.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn text(into: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        into.push(b'"');
        into.extend_from_slice(text.as_bytes());
        into.push(b'"');
    } else if let Err(error) = serde_json::to_writer(into, text) {
        debug_assert!(false, "a text is always JSON: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::encode_any;
    use super::*;
    use fanout_core::Outcome;
    use serde_json::value::RawValue;

    fn value(text: &str) -> Option<Value> {
        Some(Value::Text(RawValue::from_string(text.to_owned()).unwrap().into()))
    }

    #[test]
    fn it_is_what_would_have_been_written() {
        let call = |call, element| CallAt { call, element };
        let attempt = |attempt| AttemptAt { call: call(7, None), attempt };
        let waited = |cause: &'static str, on: Option<&str>, key: Option<&str>, ns| Waited {
            cause: cause.into(),
            on: on.map(Into::into),
            key: key.map(Into::into),
            ns,
        };
        let finished = |value| Finished {
            attempt: attempt(u32::MAX),
            end: AttemptEnd::Succeeded,
            value,
            error: None,
            usage: None,
        };
        let waits = vec![
            waited("limit", Some("running"), None, u64::MAX),
            waited("key", Some("a \"b\"\n\\"), Some("file:/é\u{7f}\u{1f}"), 0),
        ];
        let facts = [
            Fact::Started { attempt: AttemptAt { call: call(0, Some(9)), attempt: 1 }, after_doubt: false },
            Fact::Started { attempt: attempt(2), after_doubt: true },
            Fact::Finished(finished(None)),
            Fact::Finished(finished(value("null"))),
            Fact::Finished(finished(value(r#"{"a": [1, "x"]}"#))),
            Fact::Ended(Ended { call: call(1, None), outcome: Outcome::InDoubt, started: None, waits: Vec::new() }),
            Fact::Ended(Ended { call: call(1, Some(2)), outcome: Outcome::Succeeded, started: Some(Time(5)), waits }),
        ];
        for (at, fact) in facts.into_iter().enumerate() {
            let record = Record { at: Time(at as u64 * 1_234_567_890_123), fact };
            let (mut ours, mut any) = (Vec::new(), Vec::new());
            assert!(encode(&record, &mut ours), "{record:?}");
            encode_any(&record, &mut any);
            assert_eq!(String::from_utf8(ours).unwrap(), String::from_utf8(any).unwrap());
        }
    }

    #[test]
    fn other_kinds_are_left_alone() {
        let mut into = Vec::new();
        assert!(!encode(&Record { at: Time(1), fact: Fact::RunClosed }, &mut into));
        assert!(into.is_empty());
    }
}
