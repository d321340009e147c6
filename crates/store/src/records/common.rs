//! The facts that every call has, as JSON: most of what is written and read, so it is done without detours.
//! It does not know the other kinds; what it writes is what `encode.rs` would have written, to the byte, and what it
//! reads is what `encode.rs` would have read.

use super::encode::{OUTCOMES, VERSION, word};
use super::{AttemptAt, CallAt, Ended, Fact, Finished, Record, Value, Waited};
use fanout_core::{AttemptEnd, Time};
use serde_json::value::RawValue;
use std::sync::Arc;

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

/// Reads a record, if it is one of these and written as they are written here; of any other nothing is said.
pub(super) fn decode(text: &[u8]) -> Option<Record> {
    let mut text = Text(text);
    text.is(b"{\"kind\":")?;
    let kind = text.word()?;
    (text.number(b",\"v\":")? == u64::from(VERSION)).then_some(())?;
    let at = Time(text.number(b",\"at_ns\":")?);
    let fact = match kind {
        "started" => {
            let attempt = text.attempt()?;
            Fact::Started { attempt, after_doubt: text.is(b",\"after_doubt\":true").is_some() }
        }
        "finished" => {
            let attempt = text.attempt()?;
            text.is(b",\"end\":\"succeeded\"")?;
            let value = if text.is(b",\"value\":").is_some() { Some(text.all_but_the_end()?) } else { None };
            Fact::Finished(Finished { attempt, end: AttemptEnd::Succeeded, value, error: None, usage: None })
        }
        "ended" => Fact::Ended(text.ended()?),
        _ => return None,
    };
    (text.0 == b"}").then_some(Record { at, fact })
}

/// What has not been read yet.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Passes over what stands next, if it is this.
    fn is(&mut self, next: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(next)?;
        Some(())
    }

    /// The number behind this name, as [`number`] writes it.
    fn number(&mut self, name: &[u8]) -> Option<u64> {
        self.is(name)?;
        let digits = self.0.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = self.0.split_at(digits);
        if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
            return None;
        }
        self.0 = rest;
        digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
    }

    fn small(&mut self, name: &[u8]) -> Option<u32> {
        self.number(name)?.try_into().ok()
    }

    /// The next text, if nothing in it is escaped.
    fn word(&mut self) -> Option<&'a str> {
        let inner = self.0.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte < b' ' || *byte == b'"' || *byte == b'\\')?;
        let (word, rest) = inner.split_at(end);
        self.0 = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(word).ok()
    }

    fn call(&mut self) -> Option<CallAt> {
        let call = self.small(b",\"call\":")?;
        let element = if self.0.starts_with(b",\"element\":") { Some(self.small(b",\"element\":")?) } else { None };
        Some(CallAt { call, element })
    }

    fn attempt(&mut self) -> Option<AttemptAt> {
        Some(AttemptAt { call: self.call()?, attempt: self.small(b",\"attempt\":")? })
    }

    /// The last value of a record.
    fn all_but_the_end(&mut self) -> Option<Value> {
        let (value, end) = self.0.split_at(self.0.len().checked_sub(1)?);
        self.0 = end;
        let value: Box<RawValue> = serde_json::from_slice(value).ok()?;
        Some(Value::Text(Arc::from(value)))
    }

    fn ended(&mut self) -> Option<Ended> {
        let call = self.call()?;
        let name = b",\"started_ns\":";
        let started = if self.0.starts_with(name) { Some(Time(self.number(name)?)) } else { None };
        let mut waits = Vec::new();
        if self.is(b",\"waits\":[").is_some() {
            waits.push(self.waited()?);
            while self.is(b",").is_some() {
                waits.push(self.waited()?);
            }
            self.is(b"]")?;
        }
        self.is(b",\"outcome\":")?;
        let word = self.word()?;
        let outcome = OUTCOMES.iter().find(|(known, _)| *known == word)?.1;
        Some(Ended { call, outcome, started, waits })
    }

    fn waited(&mut self) -> Option<Waited> {
        self.is(b"{\"cause\":")?;
        let cause = self.word()?.to_owned().into();
        let on = if self.is(b",\"on\":").is_some() { Some(self.word()?.into()) } else { None };
        let key = if self.is(b",\"key\":").is_some() { Some(self.word()?.into()) } else { None };
        let ns = self.number(b",\"ns\":")?;
        self.is(b"}")?;
        Some(Waited { cause, on, key, ns })
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::{decode_any, encode_any};
    use super::*;
    use fanout_core::Outcome;
    use serde_json::value::RawValue;

    fn value(text: &str) -> Option<Value> {
        Some(Value::Text(RawValue::from_string(text.to_owned()).unwrap().into()))
    }

    /// Facts of the kinds that are written here.
    fn facts() -> Vec<Fact> {
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
        vec![
            Fact::Started { attempt: AttemptAt { call: call(0, Some(9)), attempt: 1 }, after_doubt: false },
            Fact::Started { attempt: attempt(2), after_doubt: true },
            Fact::Finished(finished(None)),
            Fact::Finished(finished(value("null"))),
            Fact::Finished(finished(value(r#"{"a": [1, "x"]}"#))),
            Fact::Ended(Ended { call: call(1, None), outcome: Outcome::InDoubt, started: None, waits: Vec::new() }),
            Fact::Ended(Ended { call: call(1, Some(2)), outcome: Outcome::Succeeded, started: Some(Time(5)), waits }),
            Fact::Ended(Ended {
                call: call(0, None),
                outcome: Outcome::Skipped,
                started: Some(Time(0)),
                waits: vec![waited("input", None, Some("db:é"), 10), waited("memory", None, None, 7)],
            }),
        ]
    }

    #[test]
    fn it_is_what_would_have_been_written() {
        for (at, fact) in facts().into_iter().enumerate() {
            let record = Record { at: Time(at as u64 * 1_234_567_890_123), fact };
            let (mut ours, mut any) = (Vec::new(), Vec::new());
            assert!(encode(&record, &mut ours), "{record:?}");
            encode_any(&record, &mut any);
            assert_eq!(String::from_utf8(ours).unwrap(), String::from_utf8(any).unwrap());
        }
    }

    /// Also where bytes are changed, left out or put in: nothing is read here that would be read otherwise there.
    #[test]
    fn it_is_what_would_have_been_read() {
        let told = |record: &Record| format!("{record:?}");
        let mut by_itself = 0;
        for (at, fact) in facts().into_iter().enumerate() {
            let mut text = Vec::new();
            encode(&Record { at: Time(at as u64 * 1_234_567_890_123), fact }, &mut text);
            let same = |text: &[u8]| {
                let ours = decode(text)?;
                let any = decode_any(text).unwrap_or_else(|why| panic!("{why:?}: {}", String::from_utf8_lossy(text)));
                assert_eq!(told(&ours), told(&any), "{}", String::from_utf8_lossy(text));
                Some(ours)
            };
            by_itself += usize::from(same(&text).is_some());
            for place in 0..text.len() {
                let left_out = [&text[..place], &text[place + 1..]].concat();
                same(&left_out);
                same(&text[..place]);
                for byte in [b'0', b'9', b'-', b'.', b'e', b' ', b'\n', b'"', b'\\', b',', b'}', b']', b'a', 0, 0xe9] {
                    let mut changed = text.clone();
                    changed[place] = byte;
                    same(&changed);
                    let put_in = [&text[..place], &[byte], &text[place..]].concat();
                    same(&put_in);
                }
            }
        }
        assert_eq!(by_itself, facts().len() - 1, "all but the one with escapes");
    }

    #[test]
    fn other_kinds_are_left_alone() {
        let mut into = Vec::new();
        assert!(!encode(&Record { at: Time(1), fact: Fact::RunClosed }, &mut into));
        assert!(into.is_empty());
        encode_any(&Record { at: Time(1), fact: Fact::RunClosed }, &mut into);
        assert!(decode(&into).is_none());
    }
}
