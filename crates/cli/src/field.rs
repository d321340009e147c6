//! One field of a form that a server wants filled in: what may stand there, and what a typed line makes of it.
//! It does not know the form, nor who asks.

use crate::text::{self, Paint};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

/// At most so many choices of one field.
const CHOICES_MAX: usize = 512;
/// Names and titles of more columns than this are cut where they stand beside others.
const LABEL_COLUMNS: usize = 60;
/// What a field's schema may say that its value is checked by. Nothing in it refers to anything.
const CHECKED: [&str; 14] = [
    "type",
    "format",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "enum",
];

/// One field.
pub(crate) struct Field {
    pub(crate) name: String,
    title: Option<String>,
    description: Option<String>,
    required: bool,
    kind: Kind,
    /// Taken when nothing is typed.
    default: Option<Value>,
    schema: Map<String, Value>,
    validator: Validator,
}

enum Kind {
    Text,
    Number,
    Integer,
    Flag,
    One(Choices),
    Many(Choices),
}

struct Choices {
    all: Vec<Choice>,
    /// Whether they can be named by their place: not where one of them is a number itself.
    numbered: bool,
}

struct Choice {
    value: String,
    title: Option<String>,
}

impl Field {
    /// Reads a property of a form's schema.
    ///
    /// # Errors
    /// Why it cannot be asked for.
    pub(crate) fn read(name: &str, schema: &Value, required: bool) -> Result<Field, String> {
        let wrong = |why: String| format!("the field `{name}` {why}");
        let all = schema.as_object().ok_or_else(|| wrong("has no schema".to_owned()))?;
        let kind = match schema["type"].as_str() {
            Some("string") => Choices::read(schema).map_err(wrong)?.map_or(Kind::Text, Kind::One),
            Some("number") => Kind::Number,
            Some("integer") => Kind::Integer,
            Some("boolean") => Kind::Flag,
            Some("array") => {
                let choices = Choices::read(&schema["items"]).map_err(wrong)?;
                Kind::Many(choices.ok_or_else(|| wrong("is a list of what nobody can choose from".to_owned()))?)
            }
            other => return Err(wrong(format!("has the type `{}`, which forms do not have", other.unwrap_or("none")))),
        };
        let schema: Map<String, Value> =
            CHECKED.iter().filter_map(|key| Some(((*key).to_owned(), all.get(*key)?.clone()))).collect();
        let validator = jsonschema::options()
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex())
            .build(&Value::Object(schema.clone()))
            .map_err(|error| wrong(format!("has a schema that cannot be used: {error}")))?;
        let said = |key: &str| all.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let mut field = Field {
            name: name.to_owned(),
            title: said("title"),
            description: said("description"),
            required,
            kind,
            default: None,
            schema,
            validator,
        };
        // A default that could not be an answer is none.
        field.default = all.get("default").filter(|value| field.check(value).is_ok()).cloned();
        Ok(field)
    }

    /// What is to be typed, in lines; `place` says which of how many fields it is.
    pub(crate) fn question(&self, place: &str, columns: usize, paint: Paint) -> String {
        let title = text::line(self.title.as_deref().unwrap_or(&self.name));
        let optional = if self.required { "" } else { " (may be left out)" };
        let head = format!("  {}: {}{optional}", paint.bold(&text::cut(&title, LABEL_COLUMNS)), self.hint());
        let mut out = format!("{head}{}\n", paint.dim(&format!("  {place}")));
        if let Some(description) = &self.description {
            out += &text::wrapped(description, "  │ ", columns, 8);
        }
        if let Kind::One(choices) | Kind::Many(choices) = &self.kind {
            for (index, choice) in choices.all.iter().enumerate() {
                let number = if choices.numbered { format!("{:>3}", index + 1) } else { "  ·".to_owned() };
                let value = text::line(&choice.value);
                let line = match &choice.title {
                    Some(title) => format!("{}  {}", text::line(title), paint.dim(&value)),
                    None => value,
                };
                // Colour has no width, but is cut with the text: only what fits is coloured.
                let plain = choice.title.as_ref().map_or(0, |title| text::width(&text::line(title)) + 2)
                    + text::width(&text::line(&choice.value));
                let line = match plain + 6 > columns {
                    true => text::cut(&text::line(choice.title.as_ref().unwrap_or(&choice.value)), columns.max(8) - 6),
                    false => line,
                };
                out += &format!("  {number} {line}\n");
            }
        }
        out
    }

    /// The line behind which it is typed.
    pub(crate) fn prompt(&self) -> String {
        let name = text::cut(&text::line(&self.name), LABEL_COLUMNS);
        match &self.default {
            Some(default) => format!("  {name} [{}]: ", text::cut(&shown(default), LABEL_COLUMNS)),
            None => format!("  {name}: "),
        }
    }

    /// What a typed line gives; `None` leaves the field out.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn answer(&self, typed: &str) -> Result<Option<Value>, String> {
        let typed = typed.trim();
        let value = match (&self.kind, typed.is_empty()) {
            (_, true) if self.default.is_some() => return Ok(self.default.clone()),
            (_, true) if !self.required => return Ok(None),
            (Kind::Many(_), true) => Value::Array(Vec::new()),
            (_, true) => return Err("it is required; `-` declines".to_owned()),
            (Kind::Text, _) => Value::String(unquoted(typed)),
            (Kind::Number, _) => number(typed)?,
            (Kind::Integer, _) => Value::from(typed.parse::<i64>().map_err(|_| "not a whole number".to_owned())?),
            (Kind::Flag, _) => match typed.to_ascii_lowercase().as_str() {
                "y" | "yes" | "true" => Value::Bool(true),
                "n" | "no" | "false" => Value::Bool(false),
                _ => return Err("yes or no".to_owned()),
            },
            (Kind::One(choices), _) => Value::String(choices.pick(typed)?),
            (Kind::Many(choices), _) => choices.pick_many(typed)?,
        };
        self.check(&value)?;
        Ok(Some(value))
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        let offered = |value: &Value, choices: &Choices| match value.as_str() {
            Some(value) if choices.all.iter().any(|choice| choice.value == value) => Ok(()),
            _ => Err("not one of these".to_owned()),
        };
        match (&self.kind, value) {
            (Kind::One(choices), value) => offered(value, choices)?,
            (Kind::Many(choices), Value::Array(items)) => items.iter().try_for_each(|item| offered(item, choices))?,
            _ => {}
        }
        self.validator.validate(value).map_err(|error| wrong(&error))
    }

    /// What may stand here: `text of 2 to 40 characters`.
    fn hint(&self) -> String {
        let limit = |key: &str| self.schema.get(key).and_then(Value::as_f64);
        let range = |from: Option<f64>, to: Option<f64>, unit: &str| match (from, to) {
            (Some(from), Some(to)) if unit.is_empty() => format!(" from {from} to {to}"),
            (Some(from), Some(to)) => format!(", {from} to {to}{unit}"),
            (Some(from), None) => format!(", at least {from}{unit}"),
            (None, Some(to)) => format!(", at most {to}{unit}"),
            (None, None) => String::new(),
        };
        let numbers = || range(limit("minimum"), limit("maximum"), "");
        match &self.kind {
            Kind::Text => {
                let of = self.schema.get("format").and_then(Value::as_str).map_or("text", format_words);
                of.to_owned() + &range(limit("minLength"), limit("maxLength"), " characters")
            }
            Kind::Number => format!("a number{}", numbers()),
            Kind::Integer => format!("a whole number{}", numbers()),
            Kind::Flag => "yes or no".to_owned(),
            Kind::One(_) => "one of these".to_owned(),
            Kind::Many(_) => {
                format!("any of these, with commas{}", range(limit("minItems"), limit("maxItems"), " of them"))
            }
        }
    }
}

impl Choices {
    /// The choices that a schema of texts has, if it has any.
    fn read(schema: &Value) -> Result<Option<Choices>, String> {
        let titled = ["oneOf", "anyOf"].iter().find_map(|key| schema[*key].as_array());
        let text = |value: &Value| {
            value.as_str().map(str::to_owned).ok_or_else(|| "has a choice that is not a text".to_owned())
        };
        let all: Vec<Choice> = match (schema["enum"].as_array(), titled) {
            (Some(values), _) => {
                let title = |index: usize| schema["enumNames"][index].as_str().map(str::to_owned);
                let choice = |(index, value)| Ok(Choice { value: text(value)?, title: title(index) });
                values.iter().enumerate().map(choice).collect::<Result<_, String>>()?
            }
            (None, Some(titled)) => {
                let title = |one: &Value| one["title"].as_str().map(str::to_owned);
                let choice = |one: &Value| Ok(Choice { value: text(&one["const"])?, title: title(one) });
                titled.iter().map(choice).collect::<Result<_, String>>()?
            }
            (None, None) => return Ok(None),
        };
        if all.is_empty() || all.len() > CHOICES_MAX {
            return Err(format!("has {} choices, not 1 to {CHOICES_MAX}", all.len()));
        }
        let is_number = |text: &str| text.parse::<f64>().is_ok();
        let numbered = !all.iter().any(|c| is_number(&c.value) || c.title.as_deref().is_some_and(is_number));
        Ok(Some(Choices { all, numbered }))
    }

    /// The choice of this value, place or title.
    fn pick(&self, typed: &str) -> Result<String, String> {
        let typed = unquoted(typed);
        let by_title = || {
            let mut found = self.all.iter().filter(|choice| choice.title.as_deref() == Some(&*typed));
            found.next().filter(|_| found.next().is_none())
        };
        let by_place = || {
            let place = typed.parse::<usize>().ok().filter(|_| self.numbered)?.checked_sub(1)?;
            self.all.get(place)
        };
        let picked = self.all.iter().find(|choice| choice.value == typed).or_else(by_place).or_else(by_title);
        let by = if self.numbered { "; type its number, or itself" } else { "" };
        picked.map(|choice| choice.value.clone()).ok_or_else(|| format!("`{typed}` is not one of these{by}"))
    }

    /// Several choices, each once.
    fn pick_many(&self, typed: &str) -> Result<Value, String> {
        // One may have a comma of its own.
        let picked = match self.pick(typed) {
            Ok(one) => vec![one],
            Err(_) => typed.split(',').map(|one| self.pick(one.trim())).collect::<Result<Vec<String>, String>>()?,
        };
        let mut values: Vec<String> = Vec::new();
        for value in picked {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        Ok(values.into())
    }
}

/// A text in double quotes is what it means in JSON: so blanks and a lone `-` can be typed.
fn unquoted(typed: &str) -> String {
    let quoted = typed.starts_with('"').then(|| serde_json::from_str(typed).ok()).flatten();
    quoted.unwrap_or_else(|| typed.to_owned())
}

fn number(typed: &str) -> Result<Value, String> {
    let whole = typed.parse::<i64>().map(Value::from);
    let any = || typed.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number);
    whole.ok().or_else(any).ok_or_else(|| "not a number".to_owned())
}

fn format_words(format: &str) -> &'static str {
    match format {
        "email" => "an email address",
        "uri" => "a URI",
        "date" => "a date such as 2026-11-21",
        "date-time" => "a time such as 2026-11-21T10:00:00Z",
        _ => "text",
    }
}

/// A value as its field shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text::line(text),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// What is wrong with a value, in words.
fn wrong(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Format { format } if format == "email" => "not an email address".to_owned(),
        ValidationErrorKind::Format { format } if format == "uri" => {
            "not a URI; it begins with its scheme, such as https://".to_owned()
        }
        ValidationErrorKind::Format { format } if format == "date" => "not a date; write it as 2026-11-21".to_owned(),
        ValidationErrorKind::Format { format } if format == "date-time" => {
            "not a time with its zone; write it as 2026-11-21T10:00:00Z".to_owned()
        }
        ValidationErrorKind::MinLength { limit } => format!("too short: at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("too long: at most {limit} characters"),
        ValidationErrorKind::Minimum { limit } => format!("too small: at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("too large: at most {limit}"),
        ValidationErrorKind::MinItems { limit } => format!("too few: at least {limit} of them"),
        ValidationErrorKind::MaxItems { limit } => format!("too many: at most {limit} of them"),
        ValidationErrorKind::Pattern { pattern } => format!("it does not match `{pattern}`"),
        _ => error.to_string(),
    }
}
