//! The marks of a time axis: at round times, as many as fit.
//! It does not know how wide they are drawn.

/// The distances marks may have, in milliseconds; below, 1, 2 and 5 of each power of ten.
const LONG_MS: [f64; 17] = [
    1e4, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1_800e3, 3_600e3, 7_200e3, 10_800e3, 21_600e3, 43_200e3,
    86_400e3, 172_800e3, 432_000e3,
];

/// A mark: its time and what stands at it.
#[derive(Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) ms: f64,
    pub(crate) label: String,
}

/// The marks from 0 to `span_ms`, at most `count` distances between them.
pub(crate) fn marks(span_ms: f64, count: usize) -> Vec<Mark> {
    let distance = distance(span_ms / count.max(1) as f64);
    let mut marks = Vec::new();
    for at in 0.. {
        let ms = distance * f64::from(at);
        if ms > span_ms * 1.000_001 || marks.len() > count {
            break;
        }
        marks.push(Mark { ms, label: label(ms, distance) });
    }
    marks
}

/// The least round distance that is not below `least`.
fn distance(least: f64) -> f64 {
    // Nothing is measured finer than a nanosecond.
    let mut power = 1e-6;
    while power < 1e4 {
        if let Some(distance) =
            [1.0, 2.0, 5.0].iter().map(|n| n * power).find(|distance| *distance >= least * 0.999_999)
        {
            return distance;
        }
        power *= 10.0;
    }
    if let Some(distance) = LONG_MS.iter().find(|distance| **distance >= least) {
        return *distance;
    }
    let mut days = LONG_MS[LONG_MS.len() - 1];
    while days < least {
        days *= 10.0;
    }
    days
}

/// `0`, `250µs`, `1.5s`, `2m30s`, `1h`: as many digits as the distance needs.
fn label(ms: f64, distance: f64) -> String {
    let round = |value: f64, unit: &str, step: f64| {
        let digits = (0..6).find(|digits| (step * 10f64.powi(*digits)).fract().abs() < 1e-6).unwrap_or(6);
        format!("{value:.*}{unit}", usize::try_from(digits).unwrap_or(0))
    };
    match ms {
        ms if ms < distance / 2.0 => "0".into(),
        ms if distance < 1e-3 => round(ms * 1e6, "ns", distance * 1e6),
        ms if distance < 1.0 && ms < 1.0 => round(ms * 1e3, "µs", distance * 1e3),
        ms if ms < 999.999 && distance < 1e3 => round(ms, "ms", distance),
        ms if ms < 59_999.0 => round(ms / 1e3, "s", distance / 1e3),
        ms if distance < 1e3 => round(ms / 1e3, "s", distance / 1e3),
        ms => {
            let s = (ms / 1e3).round();
            let (d, h, m, s) =
                ((s / 86_400.0).floor(), (s / 3_600.0).floor() % 24.0, (s / 60.0).floor() % 60.0, s % 60.0);
            let parts = [(d, "d"), (h, "h"), (m, "m"), (s, "s")];
            parts.iter().filter(|(n, _)| *n > 0.0).map(|(n, unit)| format!("{n}{unit}")).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(span_ms: f64, count: usize) -> String {
        marks(span_ms, count).into_iter().map(|mark| mark.label).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn marks_are_round_whatever_the_span() {
        assert_eq!(labels(1_240.0, 8), "0 200ms 400ms 600ms 800ms 1.0s 1.2s");
        assert_eq!(labels(4_000.0, 8), "0 500ms 1.0s 1.5s 2.0s 2.5s 3.0s 3.5s 4.0s");
        assert_eq!(labels(0.9, 5), "0 200µs 400µs 600µs 800µs");
        assert_eq!(labels(7.3, 8), "0 1ms 2ms 3ms 4ms 5ms 6ms 7ms");
        assert_eq!(labels(95_000.0, 8), "0 15s 30s 45s 1m 1m15s 1m30s");
        assert_eq!(labels(8_000_000.0, 6), "0 30m 1h 1h30m 2h");
        assert_eq!(labels(86_400_000.0 * 900.0, 4), "0 500d");
        assert_eq!(labels(0.0, 4), "0");
    }

    #[test]
    fn there_are_never_more_than_fit() {
        for power in -9..15 {
            for n in [1.0, 1.7, 3.0, 4.4, 8.1] {
                let span = n * 10f64.powi(power);
                assert!(marks(span, 7).len() <= 8, "{span}: {:?}", marks(span, 7));
            }
        }
    }
}
