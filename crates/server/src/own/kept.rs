//! Results that were too large to be given whole, until they are read (`Kept`): bounded, the oldest go.
//! It does not know whose they are, nor how they are cut.

use fanout::JsonText;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

/// At most this many are kept.
const COUNT_MAX: usize = 256;
/// At most this many bytes are kept, but the last is kept whatever its size.
const BYTES_MAX: usize = 64 << 20;

/// What can be read.
#[derive(Clone, Debug)]
pub(crate) enum Whole {
    /// A value.
    Value(JsonText),
    /// A text.
    Text(Arc<str>),
    /// A text that was shown, and the data it stands for: ranges are of the text, paths are into the data.
    Shown(Arc<str>, Box<Whole>),
    /// A file that a tool's large result was put into, and whether it is JSON.
    File(PathBuf),
}

impl Whole {
    fn bytes(&self) -> usize {
        match self {
            Whole::Value(value) => value.get().len(),
            Whole::Text(text) => text.len(),
            Whole::Shown(text, data) => text.len() + data.bytes(),
            Whole::File(path) => path.as_os_str().len(),
        }
    }
}

/// The large results of one client.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The oldest first; their numbers follow each other.
    list: VecDeque<Whole>,
    /// The number of the first.
    first: u64,
    bytes: usize,
}

/// Why there is nothing to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It made room for newer ones.
    Gone,
    /// There never was one of that name.
    Unknown,
}

impl Kept {
    /// Keeps a result and gives its reference, such as `r12`.
    pub(crate) fn keep(&mut self, whole: Whole) -> String {
        self.bytes += whole.bytes();
        self.list.push_back(whole);
        while self.list.len() > COUNT_MAX || self.bytes > BYTES_MAX && self.list.len() > 1 {
            self.bytes -= self.list.pop_front().map_or(0, |gone| gone.bytes());
            self.first += 1;
        }
        format!("r{}", self.first + self.list.len() as u64)
    }

    /// What a reference stands for.
    ///
    /// # Errors
    /// Why it stands for nothing.
    pub(crate) fn get(&self, reference: &str) -> Result<&Whole, Absent> {
        let number =
            reference.strip_prefix('r').and_then(|digits| digits.parse::<u64>().ok()).ok_or(Absent::Unknown)?;
        let number = number.checked_sub(1).ok_or(Absent::Unknown)?;
        let at = number.checked_sub(self.first).ok_or(Absent::Gone)?;
        usize::try_from(at).ok().and_then(|at| self.list.get(at)).ok_or(Absent::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_say_so() {
        let mut kept = Kept::default();
        let text = |bytes: usize| Whole::Text("x".repeat(bytes).into());
        assert_eq!(kept.keep(text(1)), "r1");
        assert_eq!(kept.keep(text(BYTES_MAX)), "r2");
        assert_eq!(kept.get("r1").unwrap_err(), Absent::Gone);
        assert!(kept.get("r2").is_ok());
        for number in 3..3 + COUNT_MAX {
            assert_eq!(kept.keep(text(1)), format!("r{number}"));
        }
        assert_eq!(kept.get("r2").unwrap_err(), Absent::Gone);
        assert_eq!(kept.list.len(), COUNT_MAX);
        for wrong in ["", "r", "r0", "r-1", "r9999", "12", "r１", "rr3"] {
            assert_eq!(kept.get(wrong).unwrap_err(), Absent::Unknown, "{wrong}");
        }
    }
}
