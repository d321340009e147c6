//! A few thousand mutated inputs through the entry functions of the fuzz targets, from a fixed seed.
//! It does not know what is right, only that nothing panics or hangs.

use std::time::Instant;

#[allow(unreachable_pub, reason = "public to the fuzz targets")]
#[path = "../../fuzz/src/entry.rs"]
mod entry;

const PLANS: [&str; 3] = [
    "name: x\ninputs: {n: {schema: {type: integer}, default: 2}}\ncalls:\n  - {id: a, tool: any, args: &x {p: \"${b.q[*]}\", d: 2s}}\n  - {id: b, tool: air.search, when: \"a.x < 3 and outcome('a') == 'failed'\", foreach: \"${inputs.n}\", args: *x}\noutput: {x: \"${a..y}\"}\n",
    "{\"calls\": [{\"id\": \"a\", \"tool\": \"any\", \"args\": {\"x\": \"$${y} ${a['}'].b}\", \"n\": -1.5e3}, \"retry\": {\"attempts\": 3}}]}",
    "tools:\n  t: {argv: [wc, \"${args.p}\", [\"-n\", \"${args.n}\"]], args: {p: {type: string}, n: {type: integer, default: 1}}, effects: {reads: [\"file:${args.p}\"]}, rate: 10/s}\ncalls: [{id: a, tool: t, args: {p: x}}]\n",
];
const TOOLBOX: &str = "[tools.t]\nargv = [\"wc\", \"${args.p}\"]\nargs = { p = { type = \"string\" } }\neffects = { writes = [\"file:/a/${args.p}\"] }\nrate = { count = 1, per = \"1s\" }\n[toolbox.g]\nkey = \"repo\"\n";
const REFERENCES: [&str; 5] = [
    "${a.b[0]['x']}",
    "x ${a[?@.b == 'c' && @.d > 1].e} y $${z}",
    "${item.x}${index}",
    "${inputs['a']..b[1:2]}",
    "a.x < 3 and outcome('a') in ['x'] | length",
];
const BITS: [&str; 20] = [
    "${", "}", "$", "[", "]", "{", "'", "\"", "\n", "\t", ": ", "- ", "&a ", "*a ", "..", "[?", "@", "\\", "é", "\u{0}",
];

/// A small generator, so that a failing seed can be named.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }
}

fn mutate(text: &str, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len());
        match dice.roll(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..(at + dice.roll(8)).min(bytes.len()))),
            2 => drop(bytes.splice(at..at, BITS[dice.roll(BITS.len())].bytes())),
            3 if at < bytes.len() => bytes[at] = (dice.roll(256)) as u8,
            _ => {
                let part = bytes[at..(at + dice.roll(40)).min(bytes.len())].to_vec();
                drop(bytes.splice(at..at, part));
            }
        }
    }
    bytes
}

#[test]
fn mutated_inputs_are_read_or_refused() {
    for seed in 0..3_000 {
        let mut dice = Dice(seed);
        let started = Instant::now();
        let plan = mutate(PLANS[dice.roll(PLANS.len())], &mut dice);
        entry::read_plan(&plan);
        entry::read_plan(&mutate(TOOLBOX, &mut dice));
        entry::references(&mutate(REFERENCES[dice.roll(REFERENCES.len())], &mut dice));
        assert!(started.elapsed().as_secs() < 2, "seed {seed} took {:?}", started.elapsed());
    }
}
