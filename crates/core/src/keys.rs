//! Hazards: which earlier call of a run, or which attempt of another run, holds an overlapping key.
//! It does not know calls, states or limits; calls are slots, their places are seats.
//!
//! Keys form a tree by prefix. A claim *enters* its own node (`here`) and every ancestor (`below`). A call is clear
//! when no earlier seat of its run stands in the lines that concern it: writers (and for a writer, readers) `here`
//! at its node and the node's ancestors, and `below` at its node. So a check looks at O(depth) lines. Lines `below`
//! a node are kept from the first claim at the node itself on: most inner nodes never have one. A call that
//! is not clear waits at one line until the first seat there has passed its own; it is looked at again at most once
//! per line, whatever the order in which others end: O(depth · log n) per claim.

use crate::fault::{Fault, Planted};
use crate::policy::KEY_DEPTH_MAX;
use crate::seats::{Seat, SeatMap};
use crate::types::Key;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::hash::{BuildHasherDefault, Hasher};

/// A node of the tree of keys.
pub(crate) type NodeId = u32;

/// The nodes at which something is noted.
pub(crate) type Noted = SmallVec<[NodeId; 1]>;

/// The root: the key `*`.
const ROOT: NodeId = 0;
const NONE: u32 = u32::MAX;

const READERS_HERE: u8 = 0;
const WRITERS_HERE: u8 = 1;
const READERS_BELOW: u8 = 2;
const WRITERS_BELOW: u8 = 3;

/// A claim whose key has a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) node: NodeId,
    pub(crate) write: bool,
}

/// A line a call is blocked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) node: NodeId,
    line: u8,
    /// Which of the call's claims.
    pub(crate) claim: u16,
    /// Who holds the line.
    pub(crate) holder: u32,
}

#[derive(Debug)]
struct Node {
    parent: NodeId,
    first_child: NodeId,
    next: NodeId,
    previous: NodeId,
    hash: u64,
    /// Claims at this node and children.
    pins: u32,
    /// Whether the lines `below` are kept.
    tracked: bool,
    /// The order within runs: who stands in each line.
    lines: [SeatMap; 4],
    /// Who waits for each line to move past it.
    waiting: Option<Box<[SeatMap; 4]>>,
    /// What attempts hold now, across runs.
    holds: Option<Box<Holds>>,
    /// What is noted here and below, of each kind.
    noted: Option<Box<[[SeatMap; 2]; 2]>>,
}

/// What is noted in the tree beside calls, to be found by a key that overlaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Note {
    /// A result that may be handed on, at what it read.
    Result,
    /// A write of which nobody knows whether it took effect, at what it wrote.
    Doubt,
}

#[derive(Debug, Default)]
struct Holds {
    lines: [SeatMap; 4],
    /// Ready calls kept out by a hold here, by kind, in order of arrival.
    waiting: [SeatMap; KINDS],
}

/// Kinds of calls that wait at a node for a hold to end: all of a kind are let in by the same, but for the last.
pub(crate) const KINDS: usize = 5;
/// Calls of a run that was lent keys: each may be let in by something else.
pub(crate) const KIND_LENT: usize = 4;

impl Node {
    fn new(parent: NodeId, hash: u64) -> Node {
        Node {
            parent,
            first_child: NONE,
            next: NONE,
            previous: NONE,
            hash,
            pins: 0,
            tracked: false,
            lines: Default::default(),
            waiting: None,
            holds: None,
            noted: None,
        }
    }
}

/// Keys are hashes already, and ids are counted up: one multiplication spreads them over all bits.
#[derive(Debug, Default)]
pub(crate) struct Spread(u64);

/// A map from numbers.
pub(crate) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// The tree of keys of all runs.
#[derive(Debug)]
pub(crate) struct Keys {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    by_hash: NumberMap<u64, NodeId>,
    /// Calls whose line has moved past them, to be looked at again, and who left it last.
    pub(crate) woken: Vec<(u32, u32)>,
    /// Nodes where a hold ended while somebody waits there.
    pub(crate) freed: Vec<NodeId>,
    tickets: u64,
    /// Calls that hold keys now.
    holding: usize,
    /// Index entries touched, for the complexity tests.
    pub(crate) touched: u64,
    planted: Planted,
}

impl Keys {
    pub(crate) fn new(planted: Planted) -> Keys {
        let root = Node { pins: 1, ..Node::new(NONE, 0) };
        Keys {
            nodes: vec![root],
            free: Vec::new(),
            by_hash: HashMap::default(),
            woken: Vec::new(),
            freed: Vec::new(),
            tickets: 0,
            holding: 0,
            touched: 0,
            planted,
        }
    }

    /// How many segments of a key count.
    fn depth(&self, key: &Key) -> usize {
        let depth = key.0.len().min(KEY_DEPTH_MAX);
        if self.planted.is(Fault::SiblingOverlaps) && depth > 1 { depth - 1 } else { depth }
    }

    /// The node of a key, kept until `unpin`.
    pub(crate) fn pin(&mut self, key: &Key) -> NodeId {
        let depth = self.depth(key);
        let Some(&last) = key.0[..depth].last() else {
            self.nodes[ROOT as usize].pins += 1;
            return ROOT;
        };
        if let Some(&node) = self.by_hash.get(&last) {
            self.nodes[node as usize].pins += 1;
            return node;
        }
        let mut parent = ROOT;
        for &hash in &key.0[..depth] {
            parent = match self.by_hash.get(&hash) {
                Some(&node) => node,
                None => self.add(parent, hash),
            };
        }
        self.nodes[parent as usize].pins += 1;
        parent
    }

    fn add(&mut self, parent: NodeId, hash: u64) -> NodeId {
        self.nodes[parent as usize].pins += 1;
        let next = self.nodes[parent as usize].first_child;
        let node = Node { next, ..Node::new(parent, hash) };
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 keys at once")
            }
        };
        self.nodes[parent as usize].first_child = id;
        if next != NONE {
            self.nodes[next as usize].previous = id;
        }
        self.by_hash.insert(hash, id);
        self.touched += 1;
        id
    }

    /// Undoes one `pin`; a node that nobody pins is gone.
    pub(crate) fn unpin(&mut self, node: NodeId) {
        let mut id = node;
        loop {
            let n = &mut self.nodes[id as usize];
            n.pins -= 1;
            if n.pins > 0 || id == ROOT {
                return;
            }
            let (parent, hash, next, previous) = (n.parent, n.hash, n.next, n.previous);
            n.holds = None;
            n.noted = None;
            n.waiting = None;
            if next != NONE {
                self.nodes[next as usize].previous = previous;
            }
            match previous {
                NONE => self.nodes[parent as usize].first_child = next,
                _ => self.nodes[previous as usize].next = next,
            }
            self.by_hash.remove(&hash);
            self.free.push(id);
            id = parent;
        }
    }

    /// From the first claim at a node on, the lines below it are kept; they start with all that stands there now.
    fn track(&mut self, top: NodeId) {
        self.nodes[top as usize].tracked = true;
        let mut lines: [SeatMap; 2] = Default::default();
        let mut stack = vec![self.nodes[top as usize].first_child];
        while let Some(id) = stack.pop() {
            let Some(node) = self.nodes.get(id as usize) else { continue };
            stack.extend([node.next, node.first_child]);
            for (line, here) in lines.iter_mut().zip([READERS_HERE, WRITERS_HERE]) {
                for (seat, slot) in node.lines[here as usize].iter() {
                    line.insert(seat, slot);
                    self.touched += 1;
                }
            }
        }
        let [readers, writers] = lines;
        self.nodes[top as usize].lines[READERS_BELOW as usize] = readers;
        self.nodes[top as usize].lines[WRITERS_BELOW as usize] = writers;
    }

    /// The call at `seat` stands in the lines of its claims from now on.
    pub(crate) fn enter(&mut self, held: &[Held], seat: Seat, slot: u32) {
        for h in held {
            let own = &mut self.nodes[h.node as usize];
            own.lines[if h.write { WRITERS_HERE } else { READERS_HERE } as usize].insert(seat, slot);
            self.touched += 1;
            let mut id = own.parent;
            if !own.tracked {
                self.track(h.node);
            }
            let below = if h.write { WRITERS_BELOW } else { READERS_BELOW };
            while id != NONE {
                let node = &mut self.nodes[id as usize];
                if node.tracked {
                    node.lines[below as usize].insert(seat, slot);
                    self.touched += 1;
                }
                id = node.parent;
            }
        }
    }

    /// The call leaves all lines of its claims; whoever this lets pass is in `woken`.
    pub(crate) fn leave(&mut self, held: &[Held], seat: Seat, leaver: u32) {
        for h in held {
            let mut line = if h.write { WRITERS_HERE } else { READERS_HERE };
            let mut id = h.node;
            while id != NONE {
                let node = &mut self.nodes[id as usize];
                if node.lines[line as usize].remove(seat)
                    && let Some(waiting) = &mut node.waiting
                {
                    let waiting = &mut waiting[line as usize];
                    let first = node.lines[line as usize].first_of(seat.0).map_or(u64::MAX, |(s, _)| s.1);
                    while let Some((waiter, slot)) = waiting.first_of(seat.0)
                        && waiter.1 <= first
                    {
                        waiting.remove(waiter);
                        self.woken.push((slot, leaver));
                    }
                }
                line = if h.write { WRITERS_BELOW } else { READERS_BELOW };
                id = node.parent;
            }
        }
    }

    /// The first line at which an earlier call of the run stands against these claims.
    pub(crate) fn blocked(&mut self, held: &[Held], seat: Seat) -> Option<Block> {
        let planted = self.planted;
        for (claim, h) in held.iter().enumerate() {
            if planted.is(Fault::RootReaderIgnored) && h.node == ROOT && !h.write {
                continue;
            }
            let readers = h.write && !planted.is(Fault::ReaderCheckDropped);
            let mut id = h.node;
            while id != NONE {
                let node = &self.nodes[id as usize];
                let own = id == h.node;
                for (line, concerns) in [
                    (WRITERS_HERE, own || !planted.is(Fault::AncestorMissed)),
                    (READERS_HERE, readers),
                    (WRITERS_BELOW, own && !planted.is(Fault::SubtreeMissed)),
                    (READERS_BELOW, own && readers),
                ] {
                    if !concerns || node.lines[line as usize].is_empty() {
                        continue;
                    }
                    self.touched += 1;
                    if let Some((first, holder)) = node.lines[line as usize].first_of(seat.0)
                        && first < seat
                    {
                        return Some(Block { node: id, line, claim: u16::try_from(claim).unwrap_or(u16::MAX), holder });
                    }
                }
                id = node.parent;
            }
        }
        None
    }

    /// The call waits at the line it was found blocked at.
    pub(crate) fn wait(&mut self, block: Block, seat: Seat, slot: u32) {
        let waiting = self.nodes[block.node as usize].waiting.get_or_insert_default();
        waiting[block.line as usize].insert(seat, slot);
        self.touched += 1;
    }

    /// It no longer waits there.
    pub(crate) fn unwait(&mut self, block: Block, seat: Seat) {
        if let Some(waiting) = &mut self.nodes[block.node as usize].waiting {
            waiting[block.line as usize].remove(seat);
        }
    }

    /// Who stands first at that line now.
    pub(crate) fn holder(&self, block: Block, run: u32) -> Option<u32> {
        self.nodes[block.node as usize].lines[block.line as usize].first_of(run).map(|(_, slot)| slot)
    }

    /// An attempt of the call holds its keys against other runs.
    pub(crate) fn hold(&mut self, held: &[Held], slot: u32) {
        self.holding += 1;
        self.each_hold_line(held, |line| line.insert((0, u64::from(slot)), slot));
    }

    /// It holds them no longer; nodes where somebody waits are in `freed`.
    pub(crate) fn unhold(&mut self, held: &[Held], slot: u32) {
        self.holding -= 1;
        self.each_hold_line(held, |line| {
            line.remove((0, u64::from(slot)));
        });
        for h in held {
            // Whoever waits for this hold does so at this node or at an ancestor, where it was found.
            let mut id = h.node;
            while id != NONE {
                if self.nodes[id as usize].holds.as_ref().is_some_and(|x| x.waiting.iter().any(|w| !w.is_empty())) {
                    self.freed.push(id);
                }
                id = self.nodes[id as usize].parent;
            }
        }
    }

    fn each_hold_line(&mut self, held: &[Held], mut f: impl FnMut(&mut SeatMap)) {
        for h in held {
            let mut line = if h.write { WRITERS_HERE } else { READERS_HERE };
            let mut id = h.node;
            while id != NONE {
                let node = &mut self.nodes[id as usize];
                f(&mut node.holds.get_or_insert_default().lines[line as usize]);
                self.touched += 1;
                line = if h.write { WRITERS_BELOW } else { READERS_BELOW };
                id = node.parent;
            }
        }
    }

    /// An attempt that holds a key against these claims, other than those `lent` to the caller. The node is the one
    /// at which the hold was found, where the caller may wait.
    pub(crate) fn held_against(&self, held: &[Held], lent: impl Fn(u32) -> bool) -> Option<Block> {
        if self.planted.is(Fault::OtherRunIgnored) {
            return None;
        }
        for (claim, h) in held.iter().enumerate() {
            let mut id = h.node;
            while id != NONE {
                let node = &self.nodes[id as usize];
                let own = id == h.node;
                if let Some(holds) = &node.holds {
                    for (line, concerns) in [
                        (WRITERS_HERE, true),
                        (READERS_HERE, h.write),
                        (WRITERS_BELOW, own),
                        (READERS_BELOW, own && h.write),
                    ] {
                        let mut against = holds.lines[line as usize].iter().filter(|(_, slot)| !lent(*slot));
                        if concerns && let Some((_, holder)) = against.next() {
                            let claim = u16::try_from(claim).unwrap_or(u16::MAX);
                            return Some(Block { node: id, line, claim, holder });
                        }
                    }
                }
                id = node.parent;
            }
        }
        None
    }

    /// Whether any attempt holds a key against other runs.
    pub(crate) fn any_held(&self) -> bool {
        self.holding > 0
    }

    /// The ready call waits for the hold it was found blocked by to end; the ticket is its place.
    pub(crate) fn wait_hold(&mut self, block: Block, kind: usize, slot: u32) -> u64 {
        self.tickets += 1;
        let holds = self.nodes[block.node as usize].holds.get_or_insert_default();
        holds.waiting[kind].insert((0, self.tickets), slot);
        self.tickets
    }

    /// It no longer waits there.
    pub(crate) fn unwait_hold(&mut self, node: NodeId, ticket: u64) {
        if let Some(holds) = &mut self.nodes[node as usize].holds {
            for waiting in &mut holds.waiting {
                waiting.remove((0, ticket));
            }
        }
    }

    /// The call of that kind that has waited longest at the node, among those with a ticket above `after`.
    pub(crate) fn waiting_hold(&self, node: NodeId, kind: usize, after: u64) -> Option<(u64, u32)> {
        let holds = self.nodes.get(node as usize)?.holds.as_ref()?;
        holds.waiting[kind].first_from((0, after + 1)).map(|(seat, slot)| (seat.1, slot))
    }

    /// The number can be found by keys that overlap these from now on; their nodes are pinned until `forget`.
    pub(crate) fn note<'a>(&mut self, note: Note, keys: impl Iterator<Item = &'a Key>, number: u64) -> Noted {
        let nodes: Noted = keys.map(|key| self.pin(key)).collect();
        self.each_noted(note, &nodes, |line| line.insert((0, number), 0));
        nodes
    }

    /// It cannot be found any more.
    pub(crate) fn forget(&mut self, note: Note, nodes: &Noted, number: u64) {
        self.each_noted(note, nodes, |line| {
            line.remove((0, number));
        });
        for &node in nodes {
            self.unpin(node);
        }
    }

    fn each_noted(&mut self, note: Note, nodes: &Noted, mut f: impl FnMut(&mut SeatMap)) {
        for &own in nodes {
            let mut id = own;
            while id != NONE {
                let node = &mut self.nodes[id as usize];
                f(&mut node.noted.get_or_insert_default()[note as usize][usize::from(id != own)]);
                self.touched += 1;
                id = node.parent;
            }
        }
    }

    /// The numbers of this kind noted at a key that overlaps this one.
    pub(crate) fn noted(&self, note: Note, key: &Key) -> impl Iterator<Item = u64> {
        let depth = self.depth(key);
        let mut above = Some(ROOT);
        let nodes = (0..=depth).map_while(move |at| {
            let id = above?;
            above = key.0.get(at).and_then(|hash| self.by_hash.get(hash)).copied();
            Some((at == depth, &self.nodes[id as usize]))
        });
        let lines = nodes.filter_map(move |(own, node)| Some((own, &node.noted.as_ref()?[note as usize])));
        lines
            .flat_map(|(own, [here, below])| here.iter().chain(below.iter().filter(move |_| own)))
            .map(|(seat, _)| seat.1)
    }

    /// How many nodes there are, for the tests of memory.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }
}
