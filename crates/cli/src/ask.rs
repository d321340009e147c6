//! Asks the person at the terminal, one question at a time: about approvals, doubts, and what tools want to know.
//! It does not know how a run goes on, nor what else is drawn.

use crate::form::Filled;
use crate::peer::{Asked, Wanted, cancelled};
use crate::text::{self, Paint};
use fanout::{Approve, DoubtAnswer};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

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
    Wanted { who: Option<Who>, attempt: u32, wanted: Wanted, reply: Reply },
}

/// Where the answer goes that a tool waits for.
type Reply = Option<oneshot::Sender<Value>>;

/// Which tool asks.
pub(crate) struct Who {
    pub(crate) tool: Arc<str>,
    /// The toolbox it is of, which is its server's name.
    pub(crate) toolbox: Arc<str>,
}

/// What was answered about a call.
pub(crate) enum Answer {
    Approval(Arc<str>, Approve),
    Doubt(Arc<str>, DoubtAnswer),
    /// Whoever asked has heard it.
    Given,
}

/// What came of the wait for an answer.
pub(crate) enum Came {
    /// A typed line; none when the terminal is gone.
    Typed(Option<String>),
    /// Nobody waits for the answer any more.
    TakenBack,
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

    /// Asks what a tool wants to know. What to say now, if anything.
    pub(crate) fn wanted(&mut self, asked: Asked, who: Option<Who>) -> String {
        let Asked { attempt, wanted, reply } = asked;
        // The first is watched; those behind it are looked at here.
        let mut is_first = true;
        self.questions.retain(|question| std::mem::take(&mut is_first) || !question.is_taken_back());
        self.push(&attempt.call, About::Wanted { who, attempt: attempt.attempt, wanted, reply: Some(reply) })
    }

    fn push(&mut self, call: &Arc<str>, about: About) -> String {
        let lines = self.lines.get_or_insert_with(typed);
        let is_first = self.questions.is_empty();
        // What was typed while nothing was asked answers nothing.
        while is_first && lines.try_recv().is_ok() {}
        self.questions.push_back(Question { call: call.clone(), about });
        if is_first { self.question() } else { String::new() }
    }

    /// A call has ended: nobody needs an answer any more. What to say now, if anything.
    pub(crate) fn forget(&mut self, call: &str) -> String {
        self.drop_where(|question| *question.call == *call)
    }

    /// An attempt has ended or is being ended: what its tool wanted to know is of no use to it any more.
    pub(crate) fn forget_attempt(&mut self, call: &str, until: u32) -> String {
        self.drop_where(|question| {
            *question.call == *call && matches!(question.about, About::Wanted { attempt, .. } if attempt <= until)
        })
    }

    fn drop_where(&mut self, is_over: impl Fn(&Question) -> bool) -> String {
        let first = self.questions.front().is_some_and(&is_over);
        self.questions.retain(|question| !is_over(question));
        if !first {
            return String::new();
        }
        self.editing = false;
        format!("\r\x1b[K{}\n{}", self.paint.dim("  no longer asked"), self.question())
    }

    /// The first question was taken back. What to say now.
    pub(crate) fn taken_back(&mut self) -> String {
        format!("\r\x1b[K{}\n{}", self.paint.dim("  no longer asked"), self.next())
    }

    /// The next typed line, or that the question is taken back; never when nothing is asked.
    pub(crate) async fn came(&mut self) -> Came {
        let (Some(lines), Some(first)) = (&mut self.lines, self.questions.front_mut()) else {
            return std::future::pending().await;
        };
        match &mut first.about {
            About::Wanted { reply: Some(reply), .. } => tokio::select! {
                line = lines.recv() => Came::Typed(line),
                () = reply.closed() => Came::TakenBack,
            },
            _ => Came::Typed(lines.recv().await),
        }
    }

    /// What a typed line answers, and what to say now. `None`: the terminal is gone, which denies.
    pub(crate) fn answered(&mut self, line: Option<String>) -> (Option<Answer>, String) {
        let Some(question) = self.questions.front_mut() else { return (None, String::new()) };
        let call = question.call.clone();
        let answer = match (&mut question.about, line.as_deref().map(str::trim)) {
            (About::Wanted { wanted, reply, .. }, typed) => {
                let answer = match (wanted, typed) {
                    (_, None) => cancelled(),
                    (Wanted::Page(page), Some(typed)) => match page.answer(typed) {
                        Some(answer) => answer,
                        None => return (None, self.prompt()),
                    },
                    (Wanted::Form(form), Some(typed)) => match form.answer(typed) {
                        Filled::Answered(answer) => answer,
                        Filled::On => {
                            return (None, form.question(text::terminal_size().1, self.paint) + &form.prompt());
                        }
                        Filled::Again(None) => return (None, self.prompt()),
                        Filled::Again(Some(why)) => return (None, self.again(&why)),
                    },
                };
                // Who took the question back meanwhile needs no answer.
                let _unheard = reply.take().map(|reply| reply.send(answer));
                Answer::Given
            }
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
        while self.questions.front().is_some_and(Question::is_taken_back) {
            self.questions.pop_front();
        }
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
            About::Wanted { who, wanted, .. } => {
                let columns = text::terminal_size().1;
                let who = match who {
                    Some(Who { tool, toolbox }) => {
                        format!("{}, of the server `{}`,", text::line(tool), text::line(toolbox))
                    }
                    None => "its tool".to_owned(),
                };
                let head = format!("{mark} {call}: {who} asks\n");
                head + &match wanted {
                    Wanted::Form(form) => form.opening(columns, self.paint) + &form.question(columns, self.paint),
                    Wanted::Page(page) => page.question(columns, self.paint),
                }
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
            Some(About::Wanted { wanted: Wanted::Form(form), .. }) => form.prompt(),
            Some(About::Wanted { wanted: Wanted::Page(page), .. }) => page.prompt(),
        }
    }
}

impl Question {
    /// Whether nobody waits for its answer any more.
    fn is_taken_back(&self) -> bool {
        matches!(&self.about, About::Wanted { reply: Some(reply), .. } if reply.is_closed())
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
    use crate::form::Form;
    use crate::page::Page;
    use expect_test::expect;
    use fanout::AttemptId;
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
        let (_, mut answer) = wanted(&mut asker, "book", json!({"message": "Shall I?"}));
        asker.next();
        assert!(matches!(asker.answered(None).0, Some(Answer::Given)));
        assert_eq!(answer.try_recv(), Ok(json!({"action": "cancel"})));
        asker.next();
        asker.approval(&"hold".into(), &"air.hold".into(), &json!({}), false);
        asker.doubt(&"pay".into(), 1);
        let said = asker.forget("hold");
        assert!(said.contains("no longer asked") && said.contains("pay"), "{said}");
    }

    /// A question of a call's second attempt, and where its answer comes.
    fn wanted(asker: &mut Asker, call: &str, params: Value) -> (String, oneshot::Receiver<Value>) {
        let (reply, answer) = oneshot::channel();
        let attempt = AttemptId { run: "r".into(), call: call.into(), attempt: 2 };
        let wanted = match params["url"].is_null() {
            true => Wanted::Form(Form::read(&params).expect("a form")),
            false => Wanted::Page(Page::read(&params).expect("a page")),
        };
        let who = Who { tool: "air.book".into(), toolbox: "air".into() };
        (asker.wanted(Asked { attempt, wanted, reply }, Some(who)), answer)
    }

    #[test]
    fn what_tools_want_to_know_waits_behind_other_questions() {
        let mut asker = asker();
        let mut said = asker.doubt(&"pay".into(), 1);
        let seat = json!({"message": "Where?", "requestedSchema": {"properties": {"seat": {"type": "integer"}}}});
        let (nothing, mut seat) = wanted(&mut asker, "book", seat);
        let (no_more, mut page) = wanted(&mut asker, "sign", json!({"message": "", "url": "https://a.example"}));
        assert_eq!(nothing + &no_more, "");
        for line in ["f", "aisle", "7", "y", "hm", ""] {
            let (answer, more) = asker.answered(Some(line.into()));
            said += &format!("<{line}>\n{more}");
            if answer.is_some() {
                said += &asker.next();
            }
        }
        assert_eq!(seat.try_recv(), Ok(json!({"action": "accept", "content": {"seat": 7}})));
        assert_eq!(page.try_recv(), Ok(json!({"action": "accept"})));
        assert!(!asker.is_asking());
        expect![[r#"
            ? pay: nobody knows whether attempt 1 took effect; look, and say
              [r]erun it, count it as [f]ailed, or s:RESULT if it succeeded: <f>
            ? book: air.book, of the server `air`, asks
              │ Where?
              Enter takes what stands in brackets, `-` declines
              seat: a whole number (may be left out)  1/1
              seat: <aisle>
              not a whole number
              seat: <7>
              to be sent:
                {
                  "seat": 7
                }
              send it? [y]es, [n]o, [a]gain from the first: <y>
            ? sign: air.book, of the server `air`, asks
              it wants you to open this page, on the host a.example:
            https://a.example/
              Enter when you have opened it, `-` to decline: <hm>
              Enter when you have opened it, `-` to decline: <>
        "#]]
        .assert_eq(&said);
    }

    #[test]
    fn what_nobody_waits_for_is_not_asked_any_more() {
        let mut asker = asker();
        let (_, one) = wanted(&mut asker, "one", json!({"message": "1"}));
        let (_, two) = wanted(&mut asker, "two", json!({"message": "2"}));
        let (_, three) = wanted(&mut asker, "three", json!({"message": "3"}));
        let (_, four) = wanted(&mut asker, "four", json!({"message": "4"}));
        drop(two);
        assert_eq!(asker.forget_attempt("three", 1), "", "its attempt is a later one");
        assert_eq!(asker.forget_attempt("three", 2), "");
        drop(three);
        drop(one);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (_typing, lines) = unbounded_channel();
        asker.lines = Some(lines);
        assert!(matches!(runtime.block_on(asker.came()), Came::TakenBack));
        let said = asker.taken_back();
        assert!(said.contains("no longer asked") && said.contains("four") && !said.contains("two"), "{said}");
        assert!(asker.forget("four").contains("no longer asked") && !asker.is_asking());
        drop(four);
        // Those behind the first that were taken back take no room.
        let (_, _first) = wanted(&mut asker, "first", json!({}));
        for _ in 0..100 {
            drop(wanted(&mut asker, "late", json!({})).1);
        }
        assert!(asker.questions.len() <= 2);
    }

    #[test]
    fn what_was_typed_before_a_question_answers_nothing() {
        let mut asker = asker();
        let (typing, lines) = unbounded_channel();
        asker.lines = Some(lines);
        typing.send("y".to_owned()).expect("it is read");
        asker.approval(&"hold".into(), &"air.hold".into(), &json!({}), true);
        typing.send("n".to_owned()).expect("it is read");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert!(matches!(runtime.block_on(asker.came()), Came::Typed(Some(line)) if line == "n"));
    }
}
