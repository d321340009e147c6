//! Keys of the simulated world: nodes of a tree with 64 leaves, so that a key is a set of leaves in one `u64`.
//! It does not know how the core compares keys; two keys overlap here when they share a leaf.

use super::rng::Rng;
use crate::types::Key;

/// How many bits each level of the tree has: 4 × 4 × 2 × 2 leaves.
const BITS: [u32; 4] = [2, 2, 1, 1];

/// Names of segments; one is the beginning of another, and levels share names.
const NAMES: [[&str; 4]; 4] = [["a", "a2", "b", "c"], ["a", "a2", "b", "bb"], ["x", "x2", "", ""], ["a", "y", "", ""]];

/// The deepest key.
pub(super) const DEPTH_MAX: u8 = 4;

/// A node of the tree: the first `depth` segments of a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Node {
    pub(super) depth: u8,
    prefix: u8,
}

impl Node {
    pub(super) const ROOT: Node = Node { depth: 0, prefix: 0 };

    /// A child; `which` is cut to what there is.
    pub(super) fn child(self, which: u64) -> Node {
        if self.depth >= DEPTH_MAX {
            return self;
        }
        let bits = BITS[self.depth as usize];
        let which = u8::try_from(which & ((1 << bits) - 1)).unwrap_or(0);
        Node { depth: self.depth + 1, prefix: (self.prefix << bits) | which }
    }

    /// The leaves under it.
    pub(super) fn mask(self) -> u64 {
        let rest: u32 = BITS[self.depth as usize..].iter().sum();
        let width = 1_u32 << rest;
        let ones = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        ones << (u32::from(self.prefix) << rest)
    }

    pub(super) fn key(self) -> Key {
        Key::new(self.segments())
    }

    fn segments(self) -> impl Iterator<Item = &'static str> {
        let mut left: u32 = BITS[..self.depth as usize].iter().sum();
        (0..self.depth as usize).map(move |level| {
            left -= BITS[level];
            NAMES[level][(usize::from(self.prefix) >> left) & ((1 << BITS[level]) - 1)]
        })
    }

    /// A node at most `deeper` levels under this one, among the first `spread` children of each.
    pub(super) fn under(self, rng: &mut Rng, deeper: u64, spread: u64) -> Node {
        let mut node = self;
        for _ in 0..deeper {
            node = node.child(rng.below(spread.max(1)));
        }
        node
    }

    /// A node anywhere under this one, mostly deep.
    pub(super) fn under_all(self, rng: &mut Rng) -> Node {
        let deeper = rng.pick(&[0, 1, 1, 2, 2, 3]);
        self.under(rng, deeper, 2)
    }

    /// The name of a key, for traces.
    pub(super) fn name_of(key: &Key) -> String {
        let mut all = vec![Node::ROOT];
        let mut at = 0;
        while let Some(&node) = all.get(at) {
            at += 1;
            if node.key() == *key {
                return if node.depth == 0 { "*".into() } else { node.segments().collect::<Vec<_>>().join("/") };
            }
            if node.depth < DEPTH_MAX {
                all.extend((0..1 << BITS[node.depth as usize]).map(|which| node.child(which)));
            }
        }
        "?".into()
    }
}

/// A claim of the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Touch {
    pub(super) node: Node,
    pub(super) write: bool,
}

/// The leaves that some claims read and write.
pub(super) fn masks(touches: &[Touch]) -> (u64, u64) {
    touches.iter().fold((0, 0), |(r, w), t| if t.write { (r, w | t.node.mask()) } else { (r | t.node.mask(), w) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_overlap_as_keys_do() {
        let mut rng = Rng::new(1);
        for _ in 0..5000 {
            let (da, db) = (rng.below(5), rng.below(5));
            let (a, b) = (Node::ROOT.under(&mut rng, da, 4), Node::ROOT.under(&mut rng, db, 4));
            assert_eq!(a.mask() & b.mask() != 0, a.key().overlaps(&b.key()), "{a:?} {b:?}");
        }
    }
}
