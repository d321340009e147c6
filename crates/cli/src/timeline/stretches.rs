//! The time of one call cut into stretches: waits and attempts, each with its begin and end.
//! It does not know how they are drawn.

use fanout::{CallReport, Outcome, WaitReport};

/// A wait or an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Stretch<'r> {
    /// Milliseconds since the run began.
    pub(crate) from: f64,
    /// Not before `from`.
    pub(crate) to: f64,
    pub(crate) what: What<'r>,
}

/// What a call did in a stretch of time.
#[derive(Clone, Debug)]
pub(crate) enum What<'r> {
    /// It waited.
    Wait(&'r WaitReport),
    /// It ran.
    Attempt {
        /// Which try, from 1.
        number: usize,
        /// How it ended; what was followed by another has failed.
        outcome: Outcome,
        /// The code of what went wrong.
        code: Option<&'r str>,
    },
}

/// Waits shorter than this are what is lost in rounding.
const LEAST_MS: f64 = 1e-3;
/// No run is longer: a report may come from anywhere. Thirty years are enough, and their nanoseconds can be added.
const TIME_MAX_MS: f64 = 1e12;

/// A time that can be calculated with, whatever a report says.
pub(crate) fn sane(ms: f64) -> f64 {
    if ms.is_finite() { ms.clamp(0.0, TIME_MAX_MS) } else { 0.0 }
}

impl Stretch<'_> {
    pub(crate) fn ms(&self) -> f64 {
        self.to - self.from
    }
}

/// When each attempt ran, and what went wrong with those that others followed.
fn attempts(call: &CallReport) -> Vec<(f64, f64, Option<&str>)> {
    if !call.attempt_times.is_empty() {
        let times = call.attempt_times.iter();
        return times.map(|one| (sane(one.started_ms), sane(one.ended_ms), one.code.as_deref())).collect();
    }
    call.started_ms.map(|started| (sane(started), sane(call.ended_ms), None)).into_iter().collect()
}

/// The stretches of a call in the order of time. A report says of waits how long they were and in which order: those
/// before the first attempt end with its start, the others fill what is between and behind attempts.
pub(crate) fn of(call: &CallReport) -> Vec<Stretch<'_>> {
    let attempts = attempts(call);
    let ended = sane(call.ended_ms);
    let start_of = |index: usize| attempts.get(index).map_or(ended, |(started, ..)| *started);
    let pauses: f64 = (0..attempts.len()).map(|at| (start_of(at + 1) - attempts[at].1).max(0.0)).sum();
    let waited: f64 = call.waits.iter().map(|wait| sane(wait.ms)).sum();
    let mut stretches = Vec::with_capacity(attempts.len() + call.waits.len());
    let mut waits = call.waits.iter().map(|wait| (wait, sane(wait.ms)));
    let mut rest = waits.next();
    let mut from = (start_of(0) - (waited - pauses).max(0.0)).max(0.0);
    for number in 0..=attempts.len() {
        let to = start_of(number);
        while let Some((wait, left)) = rest {
            // Waits of one cause are one in the report, whatever ran between: they are cut where it did.
            let end = to.min(from + left);
            if end - from > LEAST_MS {
                stretches.push(Stretch { from, to: end, what: What::Wait(wait) });
            }
            let over = left - (end - from).max(0.0);
            from = from.max(end);
            rest = if over > LEAST_MS { Some((wait, over)) } else { waits.next() };
            if to - from <= LEAST_MS {
                break;
            }
        }
        let Some(&(started, end, code)) = attempts.get(number) else { break };
        let last = number + 1 == attempts.len();
        let outcome = if last { call.outcome } else { Outcome::Failed };
        let code = code.or_else(|| call.error.as_ref().filter(|_| last).map(|error| &*error.code));
        from = end.max(started);
        stretches.push(Stretch { from: started, to: from, what: What::Attempt { number: number + 1, outcome, code } });
    }
    stretches
}

/// The time of the attempts of a call.
pub(crate) fn ran_ms(stretches: &[Stretch<'_>]) -> f64 {
    stretches.iter().filter(|one| matches!(one.what, What::Attempt { .. })).map(Stretch::ms).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::fmt::Write;

    fn check(call: &str, expected: &Expect) {
        let call: CallReport = serde_json::from_str(call).expect("a call");
        let mut told = String::new();
        for Stretch { from, to, what } in of(&call) {
            let what = match what {
                What::Wait(wait) => format!("waits {}", wait.cause),
                What::Attempt { number, outcome, code } => format!("attempt {number} {outcome:?} {code:?}"),
            };
            let _ = writeln!(told, "{from:.1} to {to:.1}: {what}");
        }
        expected.assert_eq(&told);
    }

    #[test]
    fn waits_end_where_the_attempt_starts() {
        check(
            r#"{"id":"a","tool":"t","outcome":"succeeded","attempts":1,"started_ms":30,"ended_ms":50,"waits":[
                {"cause":"input","on":"b","ms":10},{"cause":"key","ms":15}]}"#,
            &expect![[r#"
                5.0 to 15.0: waits input
                15.0 to 30.0: waits key
                30.0 to 50.0: attempt 1 Succeeded None
            "#]],
        );
    }

    #[test]
    fn waits_of_one_cause_are_cut_where_attempts_ran() {
        check(
            r#"{"id":"a","tool":"t","outcome":"failed","attempts":3,"started_ms":10,"ended_ms":100,
                "error":{"code":"end","message":"m"},
                "attempt_times":[{"started_ms":10,"ended_ms":20,"code":"x"},{"started_ms":30,"ended_ms":40,"code":"y"},
                    {"started_ms":60,"ended_ms":100}],
                "waits":[{"cause":"limit","ms":10},{"cause":"backoff","ms":25},{"cause":"limit","ms":5}]}"#,
            &expect![[r#"
                0.0 to 10.0: waits limit
                10.0 to 20.0: attempt 1 Failed Some("x")
                20.0 to 30.0: waits backoff
                30.0 to 40.0: attempt 2 Failed Some("y")
                40.0 to 55.0: waits backoff
                55.0 to 60.0: waits limit
                60.0 to 100.0: attempt 3 Failed Some("end")
            "#]],
        );
    }

    #[test]
    fn what_never_started_waited_until_its_end_and_a_doubt_stands_behind_the_attempt() {
        check(
            r#"{"id":"a","tool":"t","outcome":"skipped","attempts":0,"ended_ms":50,"waits":[{"cause":"input","ms":50}]}"#,
            &expect![[r#"
                0.0 to 50.0: waits input
            "#]],
        );
        check(
            r#"{"id":"a","tool":"t","outcome":"in_doubt","attempts":1,"started_ms":5,"ended_ms":50,
                "attempt_times":[{"started_ms":5,"ended_ms":20,"code":"x"}],
                "waits":[{"cause":"key","ms":5},{"cause":"doubt","ms":30}]}"#,
            &expect![[r#"
                0.0 to 5.0: waits key
                5.0 to 20.0: attempt 1 InDoubt Some("x")
                20.0 to 50.0: waits doubt
            "#]],
        );
    }

    #[test]
    fn times_that_make_no_sense_do_no_harm() {
        check(
            r#"{"id":"a","tool":"t","outcome":"succeeded","attempts":1,"started_ms":1e300,"ended_ms":-5,
                "waits":[{"cause":"key","ms":1e308},{"cause":"key","ms":-1e308}]}"#,
            &expect![[r#"
                0.0 to 1000000000000.0: waits key
                1000000000000.0 to 1000000000000.0: attempt 1 Succeeded None
            "#]],
        );
    }
}
