//! Writes what a tool is, field by field, so that two of them can be compared (`ToolSpec::fields`).
//! It does not know what a difference means to whoever goes on with a run.

use crate::plan_write::{effects, settings};
use crate::spec::{Hints, ToolKind, ToolSpec};
use serde_json::{Map, Value, json};

impl ToolSpec {
    /// All that decides what a call of it means, by the names that toolbox files use; what only people read is left
    /// out, in its schemas too. What is not declared is not there.
    ///
    /// ```
    /// use fanout_plan::read_toolbox;
    /// let tool = |more: &str| {
    ///     let file = format!("[tools.pay]\nargv = ['pay']\n{more}");
    ///     read_toolbox("fanout.toml", file.as_bytes()).unwrap()[0].spec.tools[0].fields()
    /// };
    /// assert_eq!(tool("description = 'Pays.'"), tool(""));
    /// assert_eq!(tool("timeout = '9s'")["timeout"], 9.0);
    /// ```
    pub fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let kind = match self.kind {
            ToolKind::Native => "native",
            ToolKind::Process => "process",
            ToolKind::Http => "http",
            ToolKind::Mcp => "mcp",
        };
        fields.insert("kind".into(), json!(kind));
        fields.insert("args".into(), meaning(&self.args_schema));
        let result = self.result_schema.as_ref().map(meaning);
        fields.extend(result.map(|schema| ("result".to_owned(), schema)));
        fields.extend(self.effects.as_ref().map(|own| ("effects".to_owned(), effects(own))));
        let hints = self.hints.filter(|_| self.effects.is_none()).map(|hints| {
            let Hints { read_only, idempotent, destructive } = hints;
            json!({"read_only": read_only, "idempotent": idempotent, "destructive": destructive})
        });
        fields.extend(hints.map(|hints| ("effects".to_owned(), hints)));
        fields.extend(self.version.as_ref().map(|version| ("version".to_owned(), json!(version))));
        settings(&self.settings, &mut fields);
        fields
    }
}

/// A schema without what it only says to people.
fn meaning(schema: &Value) -> Value {
    let Value::Object(schema) = schema else { return schema.clone() };
    let told = ["title", "description", "$comment", "examples"];
    let kept = schema.iter().filter(|(word, _)| !told.contains(&word.as_str()));
    let kept = kept.map(|(word, value)| {
        let value = match (word.as_str(), value) {
            // Values, not schemas.
            ("const" | "enum" | "default" | "required", _) => value.clone(),
            // Schemas by name: here `title` is one of the names.
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(named),
            ) => named.iter().map(|(name, schema)| (name.clone(), meaning(schema))).collect(),
            (_, Value::Array(schemas)) => schemas.iter().map(meaning).collect(),
            _ => meaning(value),
        };
        (word.clone(), value)
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_schema_says_to_people_is_no_part_of_its_meaning() {
        let schema = json!({
            "title": "T", "description": "D", "required": ["title"],
            "properties": {"title": {"title": "t", "type": "string"}, "description": {"enum": [{"title": 1}]}},
            "anyOf": [{"$comment": "c", "examples": [1]}, true], "items": {"description": "d"},
        });
        let meant = json!({
            "required": ["title"],
            "properties": {"title": {"type": "string"}, "description": {"enum": [{"title": 1}]}},
            "anyOf": [{}, true], "items": {},
        });
        assert_eq!(meaning(&schema), meant);
    }
}
