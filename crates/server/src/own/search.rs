//! Finding tools by words (`Index`): BM25 over names, descriptions and arguments.
//! It does not know what a tool does, nor who asks.
//!
//! Robertson, Zaragoza: The Probabilistic Relevance Framework: BM25 and Beyond (2009); fields are weighted by counting
//! their words more than once, as its section 3.6 (BM25F) says.

use fanout_plan::{Catalog, CatalogTool, ToolId};
use serde_json::Value;
use std::collections::HashMap;

/// How much a word's repetition counts.
const SATURATION: f32 = 1.2;
/// How much a long description is held against a tool.
const LENGTH_NORM: f32 = 0.75;
/// What a word counts in a name, in a description, in an argument's name, in an argument's description.
const WEIGHTS: [f32; 4] = [4.0, 2.0, 1.5, 0.5];
/// More of a text is not looked at.
const TEXT_CHARS_MAX: usize = 4_000;
/// Words of a query beyond these are not looked for.
const QUERY_WORDS_MAX: usize = 64;
/// As deep as arguments are looked into.
const DEPTH_MAX: usize = 3;
/// Words that are in every text.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "for", "from", "how", "i", "in", "is", "it", "me", "my",
    "of", "on", "or", "that", "the", "this", "to", "what", "which", "with", "you",
];

/// The words of all tools.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By word: in which tools, and how much it counts there.
    words: HashMap<String, Vec<(u32, f32)>>,
    /// By tool: how long it is.
    lengths: Vec<f32>,
    length_mean: f32,
}

impl Index {
    /// Of all tools of a catalog that can be found by their name.
    pub(crate) fn new(catalog: &Catalog) -> Index {
        let mut index = Index::default();
        for (at, tool) in catalog.tools().iter().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let mut counts: HashMap<String, f32> = HashMap::new();
            // One that was replaced is kept for those that use it, and not found.
            if catalog.find(&tool.spec.name) == Some(ToolId(at)) {
                index_tool(tool, &mut counts);
            }
            index.lengths.push(counts.values().sum());
            for (word, count) in counts {
                index.words.entry(word).or_default().push((at, count));
            }
        }
        let known = index.lengths.iter().filter(|length| **length > 0.0).count();
        index.length_mean = index.lengths.iter().sum::<f32>() / (known.max(1) as f32);
        index
    }

    /// The tools that fit a query best, the best first; among equals the one that was declared first.
    pub(crate) fn find(&self, query: &str, limit: usize) -> Vec<ToolId> {
        let mut scores: HashMap<u32, f32> = HashMap::new();
        let mut asked = Vec::new();
        words(query, &mut |word| {
            if asked.len() < QUERY_WORDS_MAX && !asked.contains(&word) {
                asked.push(word);
            }
        });
        let tools = self.lengths.len() as f32;
        for word in &asked {
            let Some(places) = self.words.get(word) else { continue };
            let rarity = (1.0 + (tools - places.len() as f32 + 0.5) / (places.len() as f32 + 0.5)).ln();
            for (tool, count) in places {
                let length = self.lengths[*tool as usize] / self.length_mean.max(1.0);
                let norm = SATURATION * (1.0 - LENGTH_NORM + LENGTH_NORM * length);
                *scores.entry(*tool).or_default() += rarity * count * (SATURATION + 1.0) / (count + norm);
            }
        }
        let mut found: Vec<(u32, f32)> = scores.into_iter().collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.into_iter().take(limit).map(|(tool, _)| ToolId(tool)).collect()
    }
}

fn index_tool(tool: &CatalogTool, counts: &mut HashMap<String, f32>) {
    let mut add = |text: &str, weight: f32| words(text, &mut |word| *counts.entry(word).or_default() += weight);
    add(&tool.spec.name, WEIGHTS[0]);
    add(&tool.spec.description, WEIGHTS[1]);
    arguments(&tool.spec.args_schema, 0, &mut add);
}

fn arguments(schema: &Value, depth: usize, add: &mut impl FnMut(&str, f32)) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|_| depth < DEPTH_MAX) else {
        return;
    };
    for (name, schema) in properties {
        add(name, WEIGHTS[2]);
        if let Some(description) = schema.get("description").and_then(Value::as_str) {
            add(description, WEIGHTS[3]);
        }
        arguments(schema, depth + 1, add);
        if let Some(items) = schema.get("items") {
            arguments(items, depth + 1, add);
        }
    }
}

/// The words of a text: split where it is no letter or digit and where camelCase turns, small, without common endings.
fn words(text: &str, each: &mut impl FnMut(String)) {
    let mut word = String::new();
    let mut before_small = false;
    let mut end = |word: &mut String| {
        if !word.is_empty() && !STOP_WORDS.contains(&word.as_str()) {
            each(stem(word));
        }
        word.clear();
    };
    for c in text.chars().take(TEXT_CHARS_MAX) {
        if !c.is_alphanumeric() || before_small && c.is_uppercase() {
            end(&mut word);
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        before_small = c.is_lowercase() || c.is_ascii_digit();
    }
    end(&mut word);
}

/// A word without the endings that English gives it most often: `files` and `file`, `editing`, `edited` and `edit`.
fn stem(word: &str) -> String {
    let long = |rest: &str| rest.chars().count() >= 3;
    let cut = |ending: &str| word.strip_suffix(ending).filter(|rest| long(rest));
    if let Some(rest) = cut("ies") {
        return format!("{rest}y");
    }
    let rest =
        cut("ing").or_else(|| cut("ed")).or_else(|| cut("es")).or_else(|| cut("s").filter(|rest| !rest.ends_with('s')));
    // `make`, `makes`, `making` meet without their last vowel.
    rest.unwrap_or(word).strip_suffix('e').filter(|rest| long(rest)).unwrap_or(rest.unwrap_or(word)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanout_plan::{ToolSpec, ToolboxSpec};
    use serde_json::json;
    use std::collections::BTreeMap;

    fn catalog(tools: impl IntoIterator<Item = (String, String, Value)>) -> Catalog {
        let tools = tools
            .into_iter()
            .map(|(name, description, schema)| ToolSpec { description, ..ToolSpec::native(name, schema) });
        let spec = ToolboxSpec { name: "box".into(), tools: tools.collect(), ..ToolboxSpec::default() };
        Catalog::new([spec]).expect("good tools")
    }

    fn stems(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        words(text, &mut |word| all.push(word));
        all
    }

    #[test]
    fn words_meet_whatever_their_form() {
        assert_eq!(stems("read_text_file"), stems("reading text files"));
        assert_eq!(stems("createPullRequest"), stems("create pull requests"));
        assert_eq!(stems("list the repositories of HTTP2 hosts"), ["list", "repository", "http2", "host"]);
        assert_eq!(stems("日本語 ünï"), ["日本語", "ünï"]);
        assert!(stems(" .,-_ the ").is_empty());
    }

    #[test]
    fn the_best_is_first_and_ties_keep_their_order() {
        let tool = |name: &str, text: &str| (name.to_owned(), text.to_owned(), json!({"type": "object"}));
        let catalog = catalog([
            tool("fs.read", "Reads a file."),
            tool("fs.edit", "Replaces text in a file."),
            tool("mail.send", "Sends a message."),
            tool("mail.read", "Reads messages."),
        ]);
        let index = Index::new(&catalog);
        let names = |query: &str| -> Vec<String> {
            index.find(query, 10).into_iter().map(|id| catalog.tool(id).spec.name.to_string()).collect()
        };
        assert_eq!(names("edit a file")[0], "fs.edit");
        assert_eq!(names("send mail")[0], "mail.send");
        assert_eq!(names("read"), ["fs.read", "mail.read"]);
        assert!(names("xylophone").is_empty() && names("").is_empty() && names("the of a").is_empty());
        assert_eq!(index.find("file", 1).len(), 1);
    }

    /// The questions of the Berkeley function calling data against all its functions at once: the functions that
    /// answer one are among the ten first.
    #[test]
    fn real_questions_find_their_tools() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/bfcl_parallel");
        let Ok(files) = std::fs::read_dir(dir) else {
            return; // The data is beside the repository, where there is any.
        };
        let mut tools: BTreeMap<String, (String, Value)> = BTreeMap::new();
        let mut questions = Vec::new();
        for file in files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with("BFCL")) {
            for line in std::fs::read_to_string(file.path()).expect("text").lines() {
                let one: Value = serde_json::from_str(line).expect("JSON lines");
                let question = one["question"][0][0]["content"].as_str().unwrap_or_default().to_owned();
                let mut wanted = Vec::new();
                for function in one["function"].as_array().into_iter().flatten() {
                    let name = function["name"].as_str().unwrap_or_default().to_owned();
                    let properties = json!({"properties": function["parameters"]["properties"]});
                    let described = function["description"].as_str().unwrap_or_default().to_owned();
                    let properties =
                        serde_json::from_str(&properties.to_string().replace("\"type\"", "\"was\"")).expect("JSON");
                    tools.insert(name.clone(), (described, properties));
                    wanted.push(name);
                }
                // Which of several is meant is said elsewhere; where there is one, it is meant.
                if let [only] = wanted.as_slice() {
                    questions.push((question, only.clone()));
                }
            }
        }
        let count = tools.len();
        let catalog = catalog(tools.into_iter().map(|(name, (text, schema))| (name, text, schema)));
        let index = Index::new(&catalog);
        let found = |(question, name): &&(String, String)| {
            index.find(question, 10).into_iter().any(|id| *catalog.tool(id).spec.name == **name)
        };
        let hits = questions.iter().filter(found).count();
        assert!(count > 400 && questions.len() > 150, "{count} tools, {} questions", questions.len());
        assert!(hits * 100 >= questions.len() * 90, "{hits} of {}", questions.len());
    }
}
