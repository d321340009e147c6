//! The table of the benchmarks: ours, the peer's, the ratio, the budget.
//! It does not know what is measured.

use serde::Serialize;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// What the budgets are about.
    Full,
    /// A tenth, once.
    Quick,
}

impl Size {
    /// So many calls, or a tenth of them.
    pub(crate) fn of(self, calls: usize) -> usize {
        match self {
            Size::Full => calls,
            Size::Quick => calls / 10,
        }
    }

    /// How often ours and the peer are measured in turn; the best of each counts.
    pub(crate) fn rounds(self, rounds: usize) -> usize {
        match self {
            Size::Full => rounds,
            Size::Quick => 1,
        }
    }
}

/// One line of the table.
#[derive(Serialize)]
pub(crate) struct Row {
    /// What is measured.
    pub(crate) name: String,
    /// Our figure.
    pub(crate) ours: f64,
    /// The peer's figure.
    pub(crate) peer: f64,
    /// The unit of both.
    pub(crate) unit: &'static str,
    /// Who the peer is.
    pub(crate) against: String,
    /// Ours divided by the peer's.
    pub(crate) ratio: f64,
    /// What was promised, if anything was.
    pub(crate) budget: Option<String>,
    /// Whether it was kept; absent where nothing was promised, or where a quick run says nothing about it.
    pub(crate) within: Option<bool>,
    /// Whether the figure is the same on every machine, so that also a quick run can judge it.
    pub(crate) steady: bool,
}

/// What is promised of a row.
pub(crate) enum Budget {
    /// The ratio is at most this.
    Ratio(f64),
    /// Our figure is at most this.
    AtMost(f64),
    /// Our figure is at least this.
    AtLeast(f64),
    /// Our figure is above the peer's by at most this.
    Above(f64),
    /// Nothing: the row is there to be looked at.
    None,
}

impl Row {
    /// A line from two figures.
    pub(crate) fn new(
        name: impl Into<String>,
        unit: &'static str,
        ours: f64,
        against: &str,
        peer: f64,
        budget: Budget,
    ) -> Row {
        let ratio = ours / peer;
        let (budget, within) = match budget {
            Budget::Ratio(most) => (Some(format!("ratio ≤ {most}")), Some(ratio <= most)),
            Budget::AtMost(most) => (Some(format!("≤ {most} {unit}")), Some(ours <= most)),
            Budget::AtLeast(least) => (Some(format!("≥ {least} {unit}")), Some(ours >= least)),
            Budget::Above(most) => (Some(format!("≤ peer + {most} {unit}")), Some(ours - peer <= most)),
            Budget::None => (None, None),
        };
        Row { name: name.into(), ours, peer, unit, against: against.into(), ratio, budget, within, steady: false }
    }
}

impl Row {
    /// A figure that is the same on every machine.
    pub(crate) fn steady(self) -> Row {
        Row { steady: true, ..self }
    }

    /// As measured in this size: a quick run judges steady figures only.
    pub(crate) fn judged(self, size: Size) -> Row {
        let within = self.within.filter(|_| size == Size::Full || self.steady);
        Row { within, ..self }
    }
}

/// Prints the names of the columns.
pub(crate) fn print_head() {
    println!("{:<50} {:>10} {:>10} {:<9} {:>6}  {:<16} {:<5} peer", "", "ours", "peer", "unit", "ratio", "budget", "");
}

/// Prints a line.
pub(crate) fn print(row: &Row) {
    println!(
        "{:<50} {:>10} {:>10} {:<9} {:>6.2}  {:<16} {:<5} {}",
        row.name,
        figure(row.ours),
        figure(row.peer),
        row.unit,
        row.ratio,
        row.budget.as_deref().unwrap_or("-"),
        match row.within {
            Some(true) => "ok",
            Some(false) => "OVER",
            None => "-",
        },
        row.against
    );
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}
