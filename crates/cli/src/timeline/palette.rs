//! The colours and patterns of the timeline, in light and dark, told apart also without colour vision.
//! It does not know what is drawn where.

use std::fmt::Write;

/// A colour by its name in the style sheet: in light, in dark.
type Colour = (&'static str, &'static str, &'static str);

/// What is drawn is told from the background and from each other; what text is in reads well.
const COLOURS: &[Colour] = &[
    ("text", "#1f2328", "#e6edf3"),
    ("dim", "#59636e", "#9198a1"),
    ("ran", "#0b6bb5", "#4aa3f0"),
    ("bad", "#b3401a", "#ff7b52"),
    ("grey", "#858f9c", "#768390"),
    ("orange", "#c77700", "#f0a92e"),
    ("purple", "#a2408f", "#d27cc3"),
    ("teal", "#0f8f86", "#2fc4b2"),
    ("olive", "#6b5b00", "#f7ea83"),
    ("ink", "#3d444d", "#c9d1d9"),
];

/// What only carries the rest.
const GROUNDS: &[Colour] =
    &[("ground", "#ffffff", "#0d1117"), ("band", "#f5f7f9", "#141a21"), ("grid", "#d9dfe5", "#2b323b")];

/// What is laid over a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Plain,
    /// Lines from corner to corner.
    Hatch,
    Dots,
    /// Upright lines.
    Ticks,
}

impl Pattern {
    /// The id of its definition.
    pub(crate) fn id(self) -> Option<&'static str> {
        match self {
            Pattern::Plain => None,
            Pattern::Hatch => Some("hatch"),
            Pattern::Dots => Some("dots"),
            Pattern::Ticks => Some("ticks"),
        }
    }
}

/// How a wait is drawn, by its cause.
pub(crate) fn wait(cause: &str) -> (&'static str, Pattern) {
    match cause {
        "input" => ("grey", Pattern::Plain),
        "elements" => ("grey", Pattern::Hatch),
        "key" => ("orange", Pattern::Plain),
        "other_run" => ("orange", Pattern::Hatch),
        "limit" => ("purple", Pattern::Plain),
        "reserved" => ("purple", Pattern::Hatch),
        "rate" => ("teal", Pattern::Ticks),
        "approval" => ("orange", Pattern::Dots),
        "backoff" => ("olive", Pattern::Dots),
        "doubt" => ("olive", Pattern::Hatch),
        "stop" => ("ink", Pattern::Plain),
        "pause" => ("ink", Pattern::Dots),
        "resolve" => ("ink", Pattern::Ticks),
        _ => ("ink", Pattern::Hatch),
    }
}

/// The definitions of the patterns: what is cut out of a colour.
pub(crate) const PATTERNS: &str = "\
<pattern id=\"hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"2\" height=\"5\" class=\"ground\"/></pattern>\
<pattern id=\"dots\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\"><rect x=\"1\" y=\"1\" width=\"2\" height=\"2\" class=\"ground\"/></pattern>\
<pattern id=\"ticks\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\"><rect width=\"1.5\" height=\"4\" class=\"ground\"/></pattern>";

/// The style sheet.
pub(crate) fn css() -> String {
    let mut css = String::from(
        "text{font:12px system-ui,-apple-system,'Segoe UI','Helvetica Neue',Arial,sans-serif}\
         text.m{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}\
         .h text{font-size:13px}.rows text{font-size:inherit}text.name{font-size:19px;font-weight:600}text.b,.c text.id{font-weight:700}\
         .e{text-anchor:end}.k{text-anchor:middle}\
         .line{fill:none;stroke-width:1.6;stroke-linecap:round;stroke-linejoin:round}\
         .r:hover .over{opacity:1}.over{opacity:0}",
    );
    let rules = |css: &mut String, dark: bool| {
        for (name, light, shade) in COLOURS.iter().chain(GROUNDS) {
            let colour = if dark { shade } else { light };
            let _ = write!(css, ".{name}{{fill:{colour}}}.s-{name}{{stroke:{colour}}}");
        }
    };
    rules(&mut css, false);
    css.push_str("@media (prefers-color-scheme:dark){");
    rules(&mut css, true);
    css.push('}');
    css
}

/// The background in light and in dark.
pub(crate) fn ground() -> (&'static str, &'static str) {
    (GROUNDS[0].1, GROUNDS[0].2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: [&str; 14] = [
        "input",
        "elements",
        "key",
        "other_run",
        "limit",
        "reserved",
        "rate",
        "approval",
        "backoff",
        "doubt",
        "stop",
        "pause",
        "resolve",
        "new",
    ];

    fn linear(colour: &str) -> [f64; 3] {
        [1, 3, 5].map(|at| {
            let c = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        })
    }

    fn times(matrix: [[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(v).map(|(m, x)| m * x).sum::<f64>().clamp(0.0, 1.0))
    }

    fn luminance(c: [f64; 3]) -> f64 {
        0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]
    }

    /// As WCAG 2 defines it.
    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(linear(a)), luminance(linear(b)));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// CIE L*a*b*, for distances as they are seen.
    fn lab(c: [f64; 3]) -> [f64; 3] {
        let xyz = times([[0.434, 0.376, 0.190], [0.213, 0.715, 0.072], [0.018, 0.109, 0.873]], c);
        let [x, y, z] = xyz.map(|t| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// Normal sight, and without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1).
    const SIGHTS: [[[f64; 3]; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152_286, 1.052_583, -0.204_868], [0.114_503, 0.786_281, 0.099_216], [-0.003_882, -0.048_116, 1.051_998]],
        [[0.367_322, 0.860_646, -0.227_968], [0.280_085, 0.672_501, 0.047_413], [-0.011_820, 0.042_940, 0.968_881]],
        [[1.255_528, -0.076_749, -0.178_779], [-0.078_411, 0.930_809, 0.147_602], [0.004_733, 0.691_367, 0.303_900]],
    ];

    #[test]
    fn everything_stands_out_from_the_background() {
        for (name, light, dark) in COLOURS {
            let least = if ["text", "dim", "bad"].contains(name) { 4.5 } else { 3.0 };
            for ground in &GROUNDS[..2] {
                assert!(contrast(light, ground.1) >= least, "{name} in light on {}", ground.0);
                assert!(contrast(dark, ground.2) >= least, "{name} in dark on {}", ground.0);
            }
        }
    }

    #[test]
    fn waits_are_told_apart_by_pattern_or_by_a_colour_that_everybody_sees() {
        for (index, one) in CAUSES.iter().enumerate() {
            for other in &CAUSES[..index] {
                let ((a, pattern), (b, other_pattern)) = (wait(one), wait(other));
                assert_ne!((a, pattern), (b, other_pattern), "{one} and {other}");
                if pattern != other_pattern {
                    continue;
                }
                let of = |name: &str| COLOURS.iter().find(|colour| colour.0 == name).unwrap();
                for (a, b) in [(of(a).1, of(b).1), (of(a).2, of(b).2)] {
                    for sight in SIGHTS {
                        let [a, b] = [a, b].map(|colour| lab(times(sight, linear(colour))));
                        let distance = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                        assert!(distance >= 12.0, "{one} and {other}: {distance:.1}");
                    }
                }
            }
        }
    }
}
