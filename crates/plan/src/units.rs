//! Durations, sizes, rates and numbers as people write them.
//! It does not know what they are for.

use crate::read::{Bad, Numbers};
use crate::spec::Rate;
use serde_json::Number;
use std::time::Duration;

/// Durations beyond this many seconds (about 31 years) are refused as slips of the pen.
const SECONDS_MAX: f64 = 1e9;

/// `2s`, `150ms`, `1m30s`, `1h`, `2d`, `1.5s`, or a number of seconds.
///
/// ```
/// assert_eq!(fanout_plan::read_duration("1m30s"), Some(std::time::Duration::from_secs(90)));
/// assert_eq!(fanout_plan::read_duration("soon"), None);
/// ```
pub fn read_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<f64>() {
        return seconds_of(seconds);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let amount: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(rest.len());
        seconds += amount
            * match &rest[..end] {
                "d" | "day" | "days" => 86_400.0,
                "h" | "hour" | "hours" => 3_600.0,
                "m" | "min" | "minute" | "minutes" => 60.0,
                "s" | "sec" | "second" | "seconds" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = rest[end..].trim_start();
    }
    if text.trim().is_empty() { None } else { seconds_of(seconds) }
}

/// A number of seconds.
pub(crate) fn seconds_of(seconds: f64) -> Option<Duration> {
    // Whole nanoseconds, so that 0.15 s is 150 ms and not a little less.
    (seconds.is_finite() && (0.0..=SECONDS_MAX).contains(&seconds)).then(|| {
        let whole = seconds.trunc();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
        let (s, ns) = (whole as u64, ((seconds - whole) * 1e9).round() as u64);
        Duration::from_secs(s) + Duration::from_nanos(ns)
    })
}

/// `512 MiB`, `1MB`, `64k`, or a number.
///
/// ```
/// assert_eq!(fanout_plan::read_size("512 MiB"), Some(512 << 20));
/// ```
pub fn read_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let unit: u64 = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    let digits = text[..end].replace('_', "");
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    #[expect(clippy::cast_precision_loss, reason = "units are exact in f64")]
    let bytes = digits.parse::<f64>().ok()? * unit as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
    (bytes.is_finite() && (0.0..9e18).contains(&bytes)).then(|| bytes.round() as u64)
}

/// `10/s`, `100/min`, `1000/h`, `5/250ms`.
///
/// ```
/// let rate = fanout_plan::read_rate("100/min").unwrap();
/// assert_eq!((rate.count, rate.per.as_secs()), (100, 60));
/// ```
pub fn read_rate(text: &str) -> Option<Rate> {
    let (count, per) = text.split_once('/')?;
    let count = count.trim().parse().ok().filter(|count| *count > 0)?;
    let per = Some(per.trim()).filter(|per| !per.is_empty())?;
    let per = if per.starts_with(|c: char| c.is_ascii_digit()) {
        read_duration(per)?
    } else {
        read_duration(&format!("1{per}"))?
    };
    (!per.is_zero()).then_some(Rate { count, per, burst: None })
}

/// A number as JSON can hold it: whole numbers exactly, others finite.
pub(crate) fn number(text: &str) -> Option<Number> {
    let plain = text.strip_prefix('+').unwrap_or(text);
    if plain.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return match plain {
            "-0" => Number::from_f64(-0.0),
            _ => plain.parse::<i64>().map(Number::from).or_else(|_| plain.parse::<u64>().map(Number::from)).ok(),
        };
    }
    Number::from_f64(plain.parse().ok()?)
}

/// The number of a text that is one, and the nearest one where that is wanted.
pub(crate) fn number_read(text: &str, numbers: Numbers) -> Option<Number> {
    let nearest = || text.parse().ok().and_then(Number::from_f64);
    number(text).or_else(|| if numbers == Numbers::Nearest { nearest() } else { None })
}

/// The error for a number that cannot be held.
pub(crate) fn out_of_range(text: &str, start: usize, end: usize) -> Bad {
    let mut bad = Bad::new(
        "number_out_of_range",
        format!("the number {} cannot be held exactly", crate::path::shorten(text, 40)),
        start,
        end,
    );
    bad.help = Some(
        "whole numbers reach from -9223372036854775808 to 18446744073709551615; write it in quotes to pass it as text",
    );
    bad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("2s", 2_000),
            ("150ms", 150),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("0.15", 150),
            ("3", 3_000),
            ("1.5 s", 1_500),
            ("1d", 86_400_000),
        ] {
            assert_eq!(read_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "1x", "-1s", "1e300", "NaN", "inf", "1..5s", "1s2", "abc"] {
            assert_eq!(read_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512 MiB", 512 << 20),
            ("1MB", 1_000_000),
            ("7", 7),
            ("1.5 KiB", 1536),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(read_size(text), Some(bytes), "{text}");
        }
        for text in ["", "-1", "1 XB", "99999999999 TiB", "MiB"] {
            assert_eq!(read_size(text), None, "{text}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(read_rate("10/s"), Some(Rate { count: 10, per: Duration::from_secs(1), burst: None }));
        assert_eq!(read_rate("5/250ms").map(|rate| rate.per), Some(Duration::from_millis(250)));
        for text in ["0/s", "10", "x/s", "10/", "10/0s"] {
            assert_eq!(read_rate(text), None, "{text}");
        }
    }
}
