//! What holds for all templates and keys.
//! It does not know any in particular.

use fanout_plan::{ArgsView, Effects, EffectsSpec, Plan, TextTemplate, first_outside, read_duration};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn canon(path: &Path) -> PathBuf {
    Path::new("/w").join(path)
}

fn keys(template: &str, args: ArgsView<'_>) -> Vec<fanout_plan::NamedKey> {
    let spec = EffectsSpec { writes: vec![template.to_owned()], ..EffectsSpec::default() };
    Effects::compile(&spec, Arc::default()).map(|effects| effects.keys(args, &canon)).unwrap_or_default()
}

proptest! {
    #[test]
    fn a_resolved_key_is_within_what_was_announced(
        template in "(db:|x|)[a-c/]{0,4}(-?\\$\\{args\\.v\\}[a-c/]{0,3}){0,2}",
        value in "[a-c/%*.:]{0,5}",
    ) {
        let args = json!({"v": value});
        let announced = keys(&template, ArgsView::Unknown);
        let resolved = keys(&template, ArgsView::Known(&args));
        prop_assert!(first_outside(&announced, &resolved).is_none(), "{:?} {:?}", announced, resolved);
        prop_assert!(announced.iter().all(|key| resolved.iter().all(|known| key.overlaps(known))));
    }

    #[test]
    fn a_value_is_one_segment(value in "\\PC{1,8}") {
        let args = json!({"v": value});
        prop_assert_eq!(keys("db:t/${args.v}/x", ArgsView::Known(&args))[0].segments.len(), 4);
    }

    #[test]
    fn different_values_name_different_keys(a in "[a-b/%2F5]{1,6}", b in "[a-b/%2F5]{1,6}") {
        let key = |value: &str| keys("db:${args.v}", ArgsView::Known(&json!({"v": value})))[0].segments.clone();
        prop_assert_eq!(key(&a) == key(&b), a == b);
    }

    #[test]
    fn filling_puts_values_in_and_reads_them_never(text in "[a-z ]{0,6}", value in "[a-z${}]{0,8}") {
        let template = TextTemplate::parse(&format!("{text}${{args.v}}{text}")).expect("it is one");
        prop_assert_eq!(template.fill(&json!({"v": value.clone()})).expect("it is there"), format!("{text}{value}{text}"));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*|[${}a-z.\\[\\]'\"*?@]{0,30}") {
        let _ = TextTemplate::parse(&text);
        let _ = read_duration(&text);
        let _ = Plan::from_value(json!({"calls": [{"id": "a", "tool": "t", "args": {"x": text}}]}));
    }

    #[test]
    fn a_literal_text_survives(text in "[a-z {}]{0,12}") {
        let escaped = format!("{text}$${{x}}");
        let plan = Plan::new("p").call(fanout_plan::Call::new("a", "any").args(json!({"x": escaped})));
        let valid = plan.validate(&crate::catalog(), serde_json::Map::new(), &Default::default()).expect("it has no references");
        let literal: Value = serde_json::from_str(valid.calls[0].args.literal().expect("it is literal").get()).expect("JSON");
        prop_assert_eq!(&literal["x"], &json!(format!("{text}${{x}}")));
    }
}
