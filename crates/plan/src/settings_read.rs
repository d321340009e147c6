//! Reading what calls and tools have in common: settings, effects, rates.
//! It does not know which of the two it reads.

use crate::diagnostic::Problems;
use crate::effects::KeyTemplate;
use crate::fields::{Fields, amount};
use crate::node::{At, Content, Node};
use crate::spec::{Approval, CacheScope, CacheSpec, EffectsSpec, InDoubt, Priority, Rate, RetrySpec, SettingsSpec};
use std::collections::BTreeMap;

/// Fields that belong to versions that are not there yet.
pub(crate) const LATER: [&str; 6] = ["batch", "hedge", "speculate", "sandbox", "secrets", "compensate"];

const PRIORITIES: [(&str, Priority); 5] = [
    ("lowest", Priority::Lowest),
    ("low", Priority::Low),
    ("normal", Priority::Normal),
    ("high", Priority::High),
    ("highest", Priority::Highest),
];
const IN_DOUBT: [(&str, InDoubt); 3] = [("fail", InDoubt::Fail), ("rerun", InDoubt::Rerun), ("ask", InDoubt::Ask)];
const APPROVALS: [(&str, Approval); 3] =
    [("always", Approval::Always), ("destructive", Approval::Destructive), ("never", Approval::Never)];

/// Reads `timeout`, `idle_timeout`, `retry`, `priority`, `uses`, `expect`, `in_doubt`, `approval`, `approval_timeout`,
/// `cache`.
pub(crate) fn settings(fields: &mut Fields<'_, '_>, at: &At<'_>, problems: &mut Problems) -> SettingsSpec {
    SettingsSpec {
        timeout: fields.duration("timeout", problems),
        idle_timeout: fields.duration("idle_timeout", problems),
        retry: fields.take("retry").and_then(|node| retry(node, &at.field("retry"), problems)),
        priority: fields.word("priority", &PRIORITIES, problems),
        uses: amounts(fields, "uses", at, problems),
        expect: fields.duration("expect", problems),
        in_doubt: fields.word("in_doubt", &IN_DOUBT, problems),
        approval: fields.word("approval", &APPROVALS, problems),
        approval_timeout: fields.duration("approval_timeout", problems),
        cache: fields.take("cache").and_then(|node| cache(node, &at.field("cache"), problems)),
    }
}

/// Reads `cache`: true, false, or `{ttl, scope}`.
fn cache(node: &Node, at: &At<'_>, problems: &mut Problems) -> Option<CacheSpec> {
    if let Content::Bool(on) = &node.value {
        return Some(CacheSpec { scope: on.then_some(CacheScope::Run), ttl: None });
    }
    if !matches!(node.value, Content::Map(_)) {
        problems.error(at, "wrong_type", "`cache` is true, false, or an object such as `{scope: run, ttl: 10m}`");
        return None;
    }
    let mut fields = Fields::of(node, at, "`cache`", problems)?;
    let scopes = [("run", CacheScope::Run), ("engine", CacheScope::Engine), ("disk", CacheScope::Disk)];
    let spec = CacheSpec {
        scope: Some(fields.word("scope", &scopes, problems).unwrap_or(CacheScope::Run)),
        ttl: fields.duration("ttl", problems),
    };
    fields.done("`cache`", &[], problems);
    Some(spec)
}

fn retry(node: &Node, at: &At<'_>, problems: &mut Problems) -> Option<RetrySpec> {
    if let Content::Number(number) = &node.value {
        let attempts = number.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
        if attempts.is_none() {
            problems.error(at, "bad_value", format!("`retry` is a number of attempts of at least 1, not {number}"));
        }
        return Some(RetrySpec { attempts, ..RetrySpec::default() });
    }
    let mut fields = Fields::of(node, at, "`retry`", problems)?;
    let retry = RetrySpec {
        attempts: fields.count32("attempts", problems),
        backoff: fields.duration("backoff", problems),
        factor: fields.take("factor").and_then(|node| match &node.value {
            Content::Number(number) if number.as_f64().is_some_and(|factor| (1.0..=1_000.0).contains(&factor)) => {
                number.as_f64()
            }
            _ => {
                problems.error(&at.field("factor"), "bad_value", "`factor` is a number from 1 to 1000");
                None
            }
        }),
        backoff_max: fields.duration("backoff_max", problems),
    };
    fields.done("`retry`", &[], problems);
    Some(retry)
}

/// A map from names to amounts.
pub(crate) fn amounts(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    at: &At<'_>,
    problems: &mut Problems,
) -> BTreeMap<String, u64> {
    let at = at.field(name);
    let mut amounts = BTreeMap::new();
    for (key, node) in fields.map(name, problems).unwrap_or_default() {
        match amount(node) {
            Some(value) => {
                amounts.insert(key.text.clone(), value);
            }
            None => {
                let value = crate::path::shorten(&node.to_value().to_string(), 60);
                problems.error(
                    &at.field(&key.text),
                    "bad_value",
                    format!("`{}` is a whole number or a size such as `512 MiB`, not {value}", key.text),
                );
            }
        }
    }
    amounts
}

/// Reads `effects`: `none`, or what is read and written.
pub(crate) fn effects(fields: &mut Fields<'_, '_>, at: &At<'_>, problems: &mut Problems) -> Option<EffectsSpec> {
    let node = fields.take("effects")?;
    let at = at.field("effects");
    match &node.value {
        Content::Text(text) if text == "none" => return Some(EffectsSpec::default()),
        Content::Map(_) => {}
        _ => {
            problems.error(&at, "wrong_type", "`effects` is `none` or an object with `reads` and `writes`");
            return None;
        }
    }
    let mut fields = Fields::of(node, &at, "`effects`", problems)?;
    let spec = EffectsSpec {
        reads: fields.texts("reads", true, problems).unwrap_or_default(),
        writes: fields.texts("writes", true, problems).unwrap_or_default(),
        idempotent: fields.flag("idempotent", problems).unwrap_or_default(),
        destructive: fields.flag("destructive", problems).unwrap_or_default(),
    };
    fields.done("`effects`", &[], problems);
    for (list, name) in [(&spec.reads, "reads"), (&spec.writes, "writes")] {
        for (index, text) in list.iter().enumerate() {
            if let Err(message) = KeyTemplate::parse(text, false) {
                problems.error(&at.field(name).index(index), "bad_key", message);
            }
        }
    }
    Some(spec)
}

/// Reads a rate: `10/s`, or `{count, per, burst}`.
pub(crate) fn rate(fields: &mut Fields<'_, '_>, at: &At<'_>, problems: &mut Problems) -> Option<Rate> {
    let node = fields.take("rate")?;
    let at = at.field("rate");
    if let Content::Text(text) = &node.value {
        let rate = crate::units::read_rate(text);
        if rate.is_none() {
            problems.error(
                &at,
                "bad_value",
                format!("`rate` is written as `10/s`, `100/min` or `1000/h`, not `{text}`"),
            );
        }
        return rate;
    }
    let mut fields = Fields::of(node, &at, "`rate`", problems)?;
    let count = fields.count32("count", problems);
    let per = fields.duration("per", problems);
    let burst = fields.count32("burst", problems);
    match (count, per) {
        (None, _) => fields.missing("count", "`rate`", problems),
        (_, None) => fields.missing("per", "`rate`", problems),
        (_, Some(per)) if per.is_zero() => {
            problems.error(&at.field("per"), "bad_value", "`per` is longer than nothing");
        }
        _ => {}
    }
    fields.done("`rate`", &[], problems);
    Some(Rate { count: count?, per: per.filter(|per| !per.is_zero())?, burst })
}
