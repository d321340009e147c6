//! Asks the person at the terminal: whether a call may run, and what became of one in doubt. One question at a time.
//! It does not know how a run goes on, nor what else is drawn.

use crate::text::{self, Paint};
use fanout::{Approve, DoubtAnswer};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Arguments of more lines than this are cut when they are shown.
const ARGS_LINES_MAX: usize = 40;

/// The questions that are open, the first of them being asked.
pub(crate) struct Asker {
    paint: Paint,
    questions: VecDeque<Question>,
    /// The arguments are being typed.
    editing: bool,
    /// What is typed, from the first question on.
    lines: Option<UnboundedReceiver<String>>,
}

struct Question {
    call: Arc<str>,
    about: About,
}

enum About {
    Approval { tool: Arc<str>, args: Value, destructive: bool },
    Doubt { attempt: u32 },
}

/// What was answered about a call.
pub(crate) enum Answer {
    Approval(Arc<str>, Approve),
    Doubt(Arc<str>, DoubtAnswer),
}

impl Asker {
    /// `None` where nobody can be asked: questions need a terminal to be read from and one to be seen on.
    pub(crate) fn new(paint: Paint) -> Option<Asker> {
        let attended = std::io::stdin().is_terminal() && text::stderr_is_terminal() && !text::is_dumb();
        attended.then(|| Asker { paint, questions: VecDeque::new(), editing: false, lines: None })
    }

    /// Whether a question is being asked.
    pub(crate) fn is_asking(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Asks whether a call may run. What to say now, if anything.
    pub(crate) fn approval(&mut self, call: &Arc<str>, tool: &Arc<str>, args: &Value, destructive: bool) -> String {
        self.push(call, About::Approval { tool: tool.clone(), args: args.clone(), destructive })
    }

    /// Asks what became of an attempt. What to say now, if anything.
    pub(crate) fn doubt(&mut self, call: &Arc<str>, attempt: u32) -> String {
        self.push(call, About::Doubt { attempt })
    }

    fn push(&mut self, call: &Arc<str>, about: About) -> String {
        self.lines.get_or_insert_with(typed);
        self.questions.push_back(Question { call: call.clone(), about });
        if self.questions.len() == 1 { self.question() } else { String::new() }
    }

    /// A call has ended: nobody needs an answer any more. What to say now, if anything.
    pub(crate) fn forget(&mut self, call: &str) -> String {
        let first = self.questions.front().is_some_and(|question| *question.call == *call);
        self.questions.retain(|question| *question.call != *call);
        if !first {
            return String::new();
        }
        self.editing = false;
        format!("\r\x1b[K{}\n{}", self.paint.dim("  no longer asked"), self.question())
    }

    /// The next typed line; never when nothing is asked.
    pub(crate) async fn typed(&mut self) -> Option<String> {
        match &mut self.lines {
            Some(lines) if !self.questions.is_empty() => lines.recv().await,
            _ => std::future::pending().await,
        }
    }

    /// What a typed line answers, and what to say now. `None`: the terminal is gone, which denies.
    pub(crate) fn answered(&mut self, line: Option<String>) -> (Option<Answer>, String) {
        let Some(question) = self.questions.front() else { return (None, String::new()) };
        let call = question.call.clone();
        let answer = match (&question.about, line.as_deref().map(str::trim)) {
            (About::Approval { .. }, None) => Answer::Approval(call, Approve::No(Some("the terminal is gone".into()))),
            (About::Doubt { .. }, None) => Answer::Doubt(call, DoubtAnswer::Fail),
            (About::Approval { .. }, Some(typed)) if self.editing => {
                self.editing = false;
                match serde_json::from_str(typed) {
                    _ if typed.is_empty() => return (None, self.prompt()),
                    Ok(args) => Answer::Approval(call, Approve::With(args)),
                    Err(error) => return (None, self.again(&format!("not JSON: {error}"))),
                }
            }
            (About::Approval { .. }, Some("y" | "yes")) => Answer::Approval(call, Approve::Yes),
            (About::Approval { .. }, Some("n" | "no")) => Answer::Approval(call, Approve::No(None)),
            (About::Approval { .. }, Some("e" | "edit")) => {
                self.editing = true;
                return (None, self.prompt());
            }
            (About::Doubt { .. }, Some("r" | "rerun")) => Answer::Doubt(call, DoubtAnswer::Rerun),
            (About::Doubt { .. }, Some("f" | "failed")) => Answer::Doubt(call, DoubtAnswer::Fail),
            (About::Doubt { .. }, Some(typed)) if typed.starts_with("s:") => match serde_json::from_str(&typed[2..]) {
                Ok(value) => Answer::Doubt(call, DoubtAnswer::Succeeded(value)),
                Err(error) => return (None, self.again(&format!("not JSON: {error}"))),
            },
            (_, Some(_)) => return (None, self.prompt()),
        };
        (Some(answer), String::new())
    }

    /// The question was answered: the next, if there is one.
    pub(crate) fn next(&mut self) -> String {
        self.questions.pop_front();
        self.question()
    }

    /// The answer could not be used: asked again.
    pub(crate) fn again(&mut self, why: &str) -> String {
        self.editing = false;
        format!("  {}\n{}", self.paint.red(&text::line(why)), self.prompt())
    }

    /// The question, in full.
    fn question(&self) -> String {
        let Some(question) = self.questions.front() else { return String::new() };
        let call = self.paint.bold(&text::line(&question.call));
        let mark = self.paint.yellow("?");
        let text = match &question.about {
            About::Approval { tool, args, destructive } => {
                let destroys = if *destructive { self.paint.red(", which destroys something") } else { String::new() };
                let tool = text::line(tool);
                format!(
                    "{mark} {call} needs your approval: {tool}{destroys}, with\n{}",
                    text::block(&pretty(args), "    ", ARGS_LINES_MAX)
                )
            }
            About::Doubt { attempt } => {
                format!("{mark} {call}: nobody knows whether attempt {attempt} took effect; look, and say\n")
            }
        };
        text + &self.prompt()
    }

    /// The last line of the question, behind which the answer is typed.
    pub(crate) fn prompt(&self) -> String {
        match self.questions.front().map(|question| &question.about) {
            None => String::new(),
            Some(About::Approval { .. }) if self.editing => "  the arguments as JSON, on one line: ".to_owned(),
            Some(About::Approval { .. }) => "  [y]es, [n]o, [e]dit the arguments: ".to_owned(),
            Some(About::Doubt { .. }) => "  [r]erun it, count it as [f]ailed, or s:RESULT if it succeeded: ".to_owned(),
        }
    }
}

fn pretty(args: &Value) -> String {
    serde_json::to_string_pretty(args).unwrap_or_default()
}

/// Lines typed from now on, read by a thread of their own: nothing else can wait for a terminal and stop waiting.
fn typed() -> UnboundedReceiver<String> {
    let (sender, lines) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    fn asker() -> Asker {
        let (_, lines) = unbounded_channel();
        Asker {
            paint: Paint::choose(crate::args::When::Never, false),
            questions: VecDeque::new(),
            editing: false,
            lines: Some(lines),
        }
    }

    #[test]
    fn questions_come_one_by_one() {
        let mut asker = asker();
        let mut said = asker.approval(&"hold".into(), &"air.hold".into(), &json!({"flight": "LH\u{1b}[2J 1"}), true);
        said += &asker.doubt(&"pay".into(), 2);
        for line in ["maybe", "e", "{\"flight\": ", "e", "{\"flight\": 2}"] {
            let (answer, more) = asker.answered(Some(line.into()));
            said += &format!("<{line}>\n{more}");
            if let Some(Answer::Approval(call, Approve::With(args))) = answer {
                said += &format!("{call} with {args}\n{}", asker.next());
            }
        }
        let (answer, _) = asker.answered(Some("s:{\"paid\": true}".into()));
        assert!(matches!(answer, Some(Answer::Doubt(call, DoubtAnswer::Succeeded(_))) if &*call == "pay"));
        said += &asker.next();
        assert!(!asker.is_asking());
        expect![[r#"
            ? hold needs your approval: air.hold, which destroys something, with
                {
                  "flight": "LH\u001b[2J 1"
                }
              [y]es, [n]o, [e]dit the arguments: <maybe>
              [y]es, [n]o, [e]dit the arguments: <e>
              the arguments as JSON, on one line: <{"flight": >
              not JSON: EOF while parsing a value at line 1 column 10
              [y]es, [n]o, [e]dit the arguments: <e>
              the arguments as JSON, on one line: <{"flight": 2}>
            hold with {"flight":2}
            ? pay: nobody knows whether attempt 2 took effect; look, and say
              [r]erun it, count it as [f]ailed, or s:RESULT if it succeeded: "#]]
        .assert_eq(&said);
    }

    #[test]
    fn a_terminal_that_is_gone_denies() {
        let mut asker = asker();
        asker.approval(&"hold".into(), &"air.hold".into(), &json!({}), false);
        assert!(matches!(asker.answered(None).0, Some(Answer::Approval(_, Approve::No(Some(_))))));
        asker.doubt(&"pay".into(), 1);
        let said = asker.forget("hold");
        assert!(said.contains("no longer asked") && said.contains("pay"), "{said}");
    }
}
