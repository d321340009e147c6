//! A form that a server wants filled in: field by field, each answer checked, then sent or not.
//! It does not know who asks, nor how lines are typed.

use crate::field::Field;
use crate::text::{self, Paint};
use serde_json::{Map, Value, json};

/// At most so many fields.
const FIELDS_MAX: usize = 64;
/// Lines of a message, and of what is to be sent, that are shown.
const LINES_MAX: usize = 40;

/// A form, and how far it is filled in.
pub(crate) struct Form {
    message: String,
    fields: Vec<Field>,
    /// Of the first fields, in their order; a field that was left out has none.
    given: Vec<Option<Value>>,
}

/// What a typed line means for a form.
#[derive(Debug, PartialEq)]
pub(crate) enum Filled {
    /// The next part is asked.
    On,
    /// This part is asked again, and why.
    Again(Option<String>),
    /// It is answered, with this result of `elicitation/create`.
    Answered(Value),
}

impl Form {
    /// Reads the parameters of an `elicitation/create` in form mode.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub(crate) fn read(params: &Value) -> Result<Form, String> {
        let schema = &params["requestedSchema"];
        let none = Map::new();
        let properties = match &schema["properties"] {
            Value::Null => &none,
            properties => properties.as_object().ok_or("its form has no list of fields")?,
        };
        if properties.len() > FIELDS_MAX {
            return Err(format!("its form has {} fields, more than {FIELDS_MAX}", properties.len()));
        }
        let is_required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|r| *r == name));
        let read = |(name, schema): (&String, &Value)| Field::read(name, schema, is_required(name));
        let fields = properties.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Form { message: params["message"].as_str().unwrap_or_default().to_owned(), fields, given: Vec::new() })
    }

    /// What the server says of it.
    pub(crate) fn opening(&self, columns: usize, paint: Paint) -> String {
        let mut out = text::wrapped(&self.message, "  │ ", columns, LINES_MAX);
        if !self.fields.is_empty() {
            out += &format!("{}\n", paint.dim("  Enter takes what stands in brackets, `-` declines"));
        }
        out
    }

    /// The part that is asked now.
    pub(crate) fn question(&self, columns: usize, paint: Paint) -> String {
        let place = format!("{}/{}", self.given.len() + 1, self.fields.len());
        match self.fields.get(self.given.len()) {
            Some(field) => field.question(&place, columns, paint),
            None if self.fields.is_empty() => String::new(),
            None => {
                let content = serde_json::to_string_pretty(&self.content()).unwrap_or_default();
                format!("  to be sent:\n{}", text::wrapped(&content, "    ", columns, usize::MAX))
            }
        }
    }

    /// The line behind which it is typed.
    pub(crate) fn prompt(&self) -> String {
        match self.fields.get(self.given.len()) {
            Some(field) => field.prompt(),
            None if self.fields.is_empty() => "  [y]es, [n]o: ".to_owned(),
            None => "  send it? [y]es, [n]o, [a]gain from the first: ".to_owned(),
        }
    }

    /// Takes a typed line.
    pub(crate) fn answer(&mut self, typed: &str) -> Filled {
        let typed = typed.trim();
        if is_no(typed) {
            return Filled::Answered(declined());
        }
        let Some(field) = self.fields.get(self.given.len()) else {
            return match typed {
                "y" | "yes" => Filled::Answered(json!({"action": "accept", "content": self.content()})),
                "n" | "no" => Filled::Answered(declined()),
                "a" | "again" if !self.fields.is_empty() => {
                    self.given.clear();
                    Filled::On
                }
                _ => Filled::Again(None),
            };
        };
        match field.answer(typed) {
            Ok(value) => {
                self.given.push(value);
                Filled::On
            }
            Err(why) => Filled::Again(Some(why)),
        }
    }

    fn content(&self) -> Value {
        let given = self.fields.iter().zip(&self.given);
        given.filter_map(|(field, value)| Some((field.name.clone(), value.clone()?))).collect::<Map<_, _>>().into()
    }
}

/// Whether a typed line declines, wherever it is typed.
pub(crate) fn is_no(typed: &str) -> bool {
    matches!(typed, "-" | "q")
}

/// The answer of who does not want to answer.
pub(crate) fn declined() -> Value {
    json!({"action": "decline"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const PLAIN: Paint = Paint { on: false };

    /// The form filled in with these lines: what is said, and what comes of it.
    fn check(params: Value, typed: &[&str], expected: Expect) {
        let mut form = Form::read(&params).expect("a form");
        let mut said = form.opening(60, PLAIN) + &form.question(60, PLAIN) + &form.prompt();
        for line in typed {
            said += &format!("{line}\n");
            match form.answer(line) {
                Filled::On => said += &(form.question(60, PLAIN) + &form.prompt()),
                Filled::Again(why) => said += &format!("  ! {}\n{}", why.unwrap_or_default(), form.prompt()),
                Filled::Answered(answer) => said += &format!("→ {answer}\n"),
            }
        }
        // Where nothing is typed behind a prompt a blank is left.
        let said: Vec<&str> = said.lines().map(str::trim_end).collect();
        expected.assert_eq(&(said.join("\n") + "\n"));
    }

    fn form(properties: Value, required: Value) -> Value {
        json!({"message": "Who?", "requestedSchema": {"type": "object", "properties": properties, "required": required}})
    }

    #[test]
    fn each_kind_of_field_is_asked_for_and_checked() {
        let params = form(
            json!({
                "name": {"type": "string", "title": "Your name", "minLength": 2, "maxLength": 5},
                "mail": {"type": "string", "format": "email", "description": "Where\nto write"},
                "day": {"type": "string", "format": "date", "default": "2026-11-21"},
                "age": {"type": "integer", "minimum": 1, "maximum": 120},
                "weight": {"type": "number", "minimum": 0.5},
                "window": {"type": "boolean", "default": true},
            }),
            json!(["name", "age", "window"]),
        );
        let typed = ["", "A", "Ada", "nowhere", "a@b.example", "21.11.", "", "x", "1.5", "0", "36", "", "ja", "n", "y"];
        check(
            params,
            &typed,
            expect![[r#"
                  │ Who?
                  Enter takes what stands in brackets, `-` declines
                  Your name: text, 2 to 5 characters  1/6
                  name:
                  ! it is required; `-` declines
                  name: A
                  ! too short: at least 2 characters
                  name: Ada
                  mail: an email address (may be left out)  2/6
                  │ Where
                  │ to write
                  mail: nowhere
                  ! not an email address
                  mail: a@b.example
                  day: a date such as 2026-11-21 (may be left out)  3/6
                  day [2026-11-21]: 21.11.
                  ! not a date; write it as 2026-11-21
                  day [2026-11-21]:
                  age: a whole number from 1 to 120  4/6
                  age: x
                  ! not a whole number
                  age: 1.5
                  ! not a whole number
                  age: 0
                  ! too small: at least 1
                  age: 36
                  weight: a number, at least 0.5 (may be left out)  5/6
                  weight:
                  window: yes or no  6/6
                  window [yes]: ja
                  ! yes or no
                  window [yes]: n
                  to be sent:
                    {
                      "name": "Ada",
                      "mail": "a@b.example",
                      "day": "2026-11-21",
                      "age": 36,
                      "window": false
                    }
                  send it? [y]es, [n]o, [a]gain from the first: y
                → {"action":"accept","content":{"name":"Ada","mail":"a@b.example","day":"2026-11-21","age":36,"window":false}}
            "#]],
        );
    }

    #[test]
    fn choices_are_named_by_number_value_or_title() {
        let params = form(
            json!({
                "seat": {"type": "string", "oneOf": [{"const": "w", "title": "Window"}, {"const": "a", "title": "Aisle"}]},
                "meal": {"type": "string", "enum": ["none", "-"], "enumNames": ["Nothing"], "default": "none"},
                "rows": {"type": "array", "items": {"enum": ["7", "1"]}, "minItems": 1, "maxItems": 1},
                "extras": {
                    "type": "array",
                    "items": {"anyOf": [{"const": "bag, big"}, {"const": "lounge", "title": "The lounge"}]},
                    "default": ["lounge"],
                },
            }),
            json!(["seat", "rows", "extras"]),
        );
        let typed = ["3", "Aisle", "\"-\"", "", "1, 7", "1, 2", "1", "bag, big", "yes"];
        check(
            params,
            &typed,
            expect![[r#"
              │ Who?
              Enter takes what stands in brackets, `-` declines
              seat: one of these  1/4
                1 Window  w
                2 Aisle  a
              seat: 3
              ! `3` is not one of these; type its number, or itself
              seat: Aisle
              meal: one of these (may be left out)  2/4
                1 Nothing  none
                2 -
              meal [none]: "-"
              rows: any of these, with commas, 1 to 1 of them  3/4
                · 7
                · 1
              rows:
              ! too few: at least 1 of them
              rows: 1, 7
              ! too many: at most 1 of them
              rows: 1, 2
              ! `2` is not one of these
              rows: 1
              extras: any of these, with commas  4/4
                1 bag, big
                2 The lounge  lounge
              extras [lounge]: bag, big
              to be sent:
                {
                  "seat": "a",
                  "meal": "-",
                  "rows": [
                    "1"
                  ],
                  "extras": [
                    "bag, big"
                  ]
                }
              send it? [y]es, [n]o, [a]gain from the first: yes
            → {"action":"accept","content":{"seat":"a","meal":"-","rows":["1"],"extras":["bag, big"]}}
        "#]],
        );
    }

    #[test]
    fn it_can_be_declined_at_any_place() {
        let fields = json!({"a": {"type": "string"}, "b": {"type": "string"}});
        for typed in [&["-"][..], &["q"], &["x", "-"], &["x", "", "n"], &["x", "", "q"]] {
            let mut form = Form::read(&form(fields.clone(), json!([]))).expect("a form");
            let (last, before) = typed.split_last().expect("lines");
            before.iter().for_each(|line| assert_eq!(form.answer(line), Filled::On));
            assert_eq!(form.answer(last), Filled::Answered(declined()), "{typed:?}");
        }
        let mut form = Form::read(&form(fields, json!([]))).expect("a form");
        assert_eq!(["x", "y", "a"].map(|line| form.answer(line)), [Filled::On, Filled::On, Filled::On]);
        assert_eq!([form.answer("\"q\""), form.answer("")], [Filled::On, Filled::On]);
        assert_eq!(form.answer("y"), Filled::Answered(json!({"action": "accept", "content": {"a": "q"}})));
    }

    #[test]
    fn a_form_without_fields_is_a_question() {
        check(
            json!({"message": "Shall I?\u{1b}[2J"}),
            &["", "y"],
            expect![[r#"
              │ Shall I?\u{1b}[2J
              [y]es, [n]o:
              !
              [y]es, [n]o: y
            → {"action":"accept","content":{}}
        "#]],
        );
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let why = |schema: Value| Form::read(&form(json!({"x": schema}), json!([]))).err().unwrap_or_default();
        assert_eq!(why(json!({"type": "object"})), "the field `x` has the type `object`, which forms do not have");
        assert_eq!(why(json!({"type": "string", "enum": [1]})), "the field `x` has a choice that is not a text");
        assert_eq!(why(json!({"type": "string", "enum": []})), "the field `x` has 0 choices, not 1 to 512");
        assert_eq!(
            why(json!({"type": "array", "items": {}})),
            "the field `x` is a list of what nobody can choose from"
        );
        assert!(why(json!({"type": "string", "pattern": "("})).contains("cannot be used"));
        assert_eq!(why(json!({"type": "string", "$ref": "https://example.com"})), "", "what refers is not followed");
        let many: Map<String, Value> = (0..65).map(|i| (i.to_string(), json!({"type": "string"}))).collect();
        assert!(Form::read(&form(many.into(), json!([]))).is_err_and(|why| why.contains("65 fields")));
    }

    #[test]
    fn nothing_of_a_server_steers_the_terminal() {
        let evil = "\u{1b}[2J\u{202e}\r\n\u{7}";
        let choices = json!([{"const": evil, "title": evil}, {"const": "b"}]);
        for schema in [
            json!({"type": "string", "title": evil, "description": evil, "default": evil}),
            json!({"type": "string", "oneOf": choices, "default": evil}),
            json!({"type": "array", "items": {"anyOf": choices}, "default": [evil]}),
        ] {
            let mut params = form(json!({evil: schema}), json!([]));
            params["message"] = evil.into();
            for columns in [0, 20, 200] {
                let mut form = Form::read(&params).expect("a form");
                let mut said = form.opening(columns, PLAIN) + &form.question(columns, PLAIN) + &form.prompt();
                assert_eq!(form.answer(""), Filled::On);
                said += &(form.question(columns, PLAIN) + &form.prompt());
                assert!(!said.replace('\n', "").chars().any(text::steers), "{said:?}");
            }
        }
    }
}
