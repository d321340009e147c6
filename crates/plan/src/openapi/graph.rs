//! Schemas that refer to each other for the same value: circles, and ways that multiply (`Graph`).
//! It does not know what a schema says. It walks without recursion: chains may be as long as the document.

/// One value is looked at by at most this many schemas for each time it is checked.
const WEIGHT_MAX: usize = 20_000;
/// A chain of references for the same value is at most this long.
const DEPTH_MAX: usize = 64;

/// Which schemas look at the same value as another.
pub(super) struct Graph<'e> {
    pub(super) same: Vec<&'e [usize]>,
}

/// Why a schema cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It comes back to itself without looking into the value.
    Circle,
    /// Its ways multiply.
    TooWide,
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done { weight: usize, depth: usize },
}

impl Graph<'_> {
    /// The schemas to be cut so that checking a value ends, and soon. Those before `from` refer to none behind.
    pub(super) fn refused(&self, from: usize) -> Vec<(usize, Refused)> {
        let mut marks = vec![Mark::New; self.same.len()];
        let mut refused = Vec::new();
        for start in from..self.same.len() {
            let mut walk = vec![(start, 0)];
            while let Some((at, next)) = walk.last_mut() {
                let at = *at;
                if *next == 0 {
                    if marks[at] != Mark::New {
                        walk.pop();
                        continue;
                    }
                    marks[at] = Mark::Open;
                }
                match self.same[at].get(*next) {
                    Some(target) => {
                        *next += 1;
                        match marks[*target] {
                            Mark::New => walk.push((*target, 0)),
                            Mark::Open => {
                                refused.push((at, Refused::Circle));
                                marks[at] = Mark::Done { weight: 1, depth: 1 };
                                walk.pop();
                            }
                            Mark::Done { .. } => {}
                        }
                    }
                    None => {
                        marks[at] = self.weigh(at, &marks);
                        if let Mark::Done { weight, depth } = marks[at]
                            && (weight > WEIGHT_MAX || depth > DEPTH_MAX)
                        {
                            refused.push((at, Refused::TooWide));
                            marks[at] = Mark::Done { weight: 1, depth: 1 };
                        }
                        walk.pop();
                    }
                }
            }
        }
        refused
    }

    fn weigh(&self, at: usize, marks: &[Mark]) -> Mark {
        let (mut weight, mut depth) = (1_usize, 0);
        for target in self.same[at] {
            if let Mark::Done { weight: more, depth: below } = marks[*target] {
                weight = weight.saturating_add(more);
                depth = depth.max(below);
            }
        }
        Mark::Done { weight, depth: depth + 1 }
    }
}
