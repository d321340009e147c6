//! The questions of a durable run that are answered from elsewhere: `fanout approve`, `deny`, `resume --in-doubt`.
//! It does not know who answers, nor what is drawn.

use crate::text::{self, Paint};
use fanout::state::{Answer, take_answers};
use fanout::{Approve, DoubtAnswer, RunHandle, What};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

/// The open questions of a run, and the answers that were left for it.
pub(crate) struct Elsewhere {
    state: PathBuf,
    run: Arc<str>,
    open: HashSet<Arc<str>>,
    /// Answers that came before their question.
    early: HashMap<String, Answer>,
}

impl Elsewhere {
    pub(crate) fn new(state: PathBuf, run: &RunHandle) -> Elsewhere {
        Elsewhere { state, run: run.id().into(), open: HashSet::new(), early: HashMap::new() }
    }

    pub(crate) fn is_asking(&self) -> bool {
        !self.open.is_empty()
    }

    /// Hears of questions and of their ends; gives what to say where nobody can be asked here.
    pub(crate) fn hear(&mut self, what: &What, paint: Paint) -> String {
        let mark = paint.yellow("?");
        match what {
            What::ApprovalAsked { call, tool, args, within_ms, .. } => {
                self.open.insert(call.clone());
                let args = text::block(&serde_json::to_string_pretty(args).unwrap_or_default(), "    ", 40);
                format!(
                    "{mark} {} needs an approval within {}: {}, with\n{args}  fanout approve {run} {call}   or   \
                     fanout deny {run} {call}\n",
                    paint.bold(&text::line(call)),
                    text::ms(*within_ms),
                    text::line(tool),
                    run = self.run,
                )
            }
            What::CallDoubted { call, attempt } => {
                self.open.insert(call.clone());
                format!(
                    "{mark} {}: nobody knows whether attempt {attempt} took effect; look, and say\n  \
                     fanout resume {} --in-doubt {call}=rerun   (or failed, or succeeded:RESULT)\n",
                    paint.bold(&text::line(call)),
                    self.run
                )
            }
            What::CallEnded { call, .. } | What::ApprovalGiven { call, .. } | What::CallStarted { call, .. } => {
                self.open.remove(call);
                String::new()
            }
            _ => String::new(),
        }
    }

    /// Takes what was left and answers with it. Gives what to say of answers that cannot be used.
    pub(crate) async fn look(&mut self, run: &RunHandle) -> Vec<String> {
        let (state, id) = (self.state.clone(), self.run.clone());
        // Whatever keeps them from being read now may not the next time.
        if let Ok(Ok(taken)) = tokio::task::spawn_blocking(move || take_answers(&state, &id)).await {
            self.early.extend(taken);
        }
        let mut refused = Vec::new();
        for call in self.open.clone() {
            let Some(answer) = self.early.remove(&*call) else { continue };
            match answered(answer) {
                Ok(approval) => match run.approve(&call, approval).await {
                    Err(error) if error.code != "not_asked" => {
                        refused.push(format!("the answer for {} cannot be used: {}", text::line(&call), error.message));
                    }
                    _ => {}
                },
                Err(doubt) => run.settle(&call, doubt),
            }
        }
        refused
    }
}

/// An answer about an approval, or one about a doubt.
fn answered(answer: Answer) -> Result<Approve, DoubtAnswer> {
    let parsed = |text: &fanout::JsonText| serde_json::from_str::<Value>(text.get()).unwrap_or_default();
    match answer {
        Answer::Approve => Ok(Approve::Yes),
        Answer::ApproveWith(args) => Ok(Approve::With(parsed(&args))),
        Answer::Deny(reason) => Ok(Approve::No(reason.and_then(|reason| parsed(&reason).as_str().map(str::to_owned)))),
        Answer::Rerun => Err(DoubtAnswer::Rerun),
        Answer::Failed => Err(DoubtAnswer::Fail),
        Answer::Succeeded(value) => Err(DoubtAnswer::Succeeded(parsed(&value))),
    }
}
