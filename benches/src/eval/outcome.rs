//! The table of the evaluation: a row per set, what was promised and whether it was kept.
//! It does not know any set.

use serde::Serialize;
use std::time::Duration;

/// What came out of one set, or of one setting of it.
#[derive(Serialize)]
pub(crate) struct Row {
    /// The set, with the setting behind it where there are several.
    pub(crate) set: String,
    /// How many cases there are.
    pub(crate) cases: usize,
    /// How many came out right.
    pub(crate) right: usize,
    /// What was wrong, one line per case.
    pub(crate) wrong: Vec<String>,
    /// Numbers by name: ratios, counts, seconds. The first is ours, peers follow.
    pub(crate) measures: Vec<Measure>,
    /// What was promised.
    pub(crate) promise: String,
    /// Whether it was kept.
    pub(crate) verdict: Verdict,
    /// What a reader of the numbers should know.
    pub(crate) notes: Vec<String>,
}

/// A number and what it is.
#[derive(Serialize)]
pub(crate) struct Measure {
    name: String,
    value: f64,
}

/// Whether a promise was kept.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Kept,
    Broken,
    Skipped,
}

/// How many wrong cases of a set are printed unless all are asked for.
const WRONG_SHOWN_MAX: usize = 5;

impl Row {
    /// A row without cases yet.
    pub(crate) fn new(set: impl Into<String>, promise: impl Into<String>) -> Row {
        Row {
            set: set.into(),
            cases: 0,
            right: 0,
            wrong: Vec::new(),
            measures: Vec::new(),
            promise: promise.into(),
            verdict: Verdict::Kept,
            notes: Vec::new(),
        }
    }

    /// A set that is not there.
    pub(crate) fn skipped(set: &str, why: String) -> Row {
        Row { verdict: Verdict::Skipped, notes: vec![format!("skipped: {why}")], ..Row::new(set, "") }
    }

    /// A set that could not be judged.
    pub(crate) fn broken(set: &str, why: String) -> Row {
        Row { verdict: Verdict::Broken, wrong: vec![why], ..Row::new(set, "can be read") }
    }

    /// Counts a case that came out as it should, or did not.
    pub(crate) fn count(&mut self, name: &str, result: Result<(), String>) {
        self.cases += 1;
        match result {
            Ok(()) => self.right += 1,
            Err(why) => {
                self.wrong.push(format!("{name}: {why}"));
                self.verdict = Verdict::Broken;
            }
        }
    }

    /// Adds a number.
    pub(crate) fn measure(&mut self, name: impl Into<String>, value: f64) {
        self.measures.push(Measure { name: name.into(), value });
    }

    /// Breaks the promise unless this holds.
    pub(crate) fn require(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(otherwise());
            self.verdict = Verdict::Broken;
        }
    }

    /// Adds a remark, if there is anything to remark.
    pub(crate) fn note(&mut self, when: bool, note: impl FnOnce() -> String) {
        if when {
            self.notes.push(note());
        }
    }
}

/// The mean of some numbers; 0 of none.
pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// A duration of so many seconds, to the microsecond.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_micros((seconds * 1e6).round() as u64)
}

/// Prints the table, then what was wrong and what should be known.
pub(crate) fn print(rows: &[Row], all: bool) {
    println!("{:<30} {:>6} {:>6} {:>6}  {:<8} {:<42} measured", "set", "cases", "right", "wrong", "", "promise");
    for row in rows {
        let measures: Vec<String> =
            row.measures.iter().map(|measure| format!("{} {}", measure.name, number(measure.value))).collect();
        println!(
            "{:<30} {:>6} {:>6} {:>6}  {:<8} {:<42} {}",
            row.set,
            row.cases,
            row.right,
            row.cases - row.right,
            row.verdict.word(),
            row.promise,
            measures.join(", ")
        );
    }
    for row in rows {
        for note in &row.notes {
            println!("  {}: {note}", row.set);
        }
        let shown = if all { row.wrong.len() } else { row.wrong.len().min(WRONG_SHOWN_MAX) };
        for wrong in &row.wrong[..shown] {
            println!("  {}: WRONG {wrong}", row.set);
        }
        if shown < row.wrong.len() {
            println!("  {}: … and {} more (`--all` shows them)", row.set, row.wrong.len() - shown);
        }
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Kept => "ok",
            Verdict::Broken => "BROKEN",
            Verdict::Skipped => "skipped",
        }
    }
}

/// Counts without a point, ratios with three digits behind it.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e9 { format!("{value:.0}") } else { format!("{value:.3}") }
}
