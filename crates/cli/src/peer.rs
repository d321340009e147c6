//! The terminal as what is behind a run (`Terminal`): what tools ask while they work, and what they tell.
//! It does not know how a person is asked; that is `ask.rs`, at the other end of a queue.

use crate::form::{Form, declined};
use crate::page::Page;
use crate::text::{self, Paint};
use fanout::{AnswerFuture, AttemptId, JsonText, Peer, PeerRequest, Told, ToolError};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// At most so many questions are open at once.
const QUESTIONS_MAX: usize = 64;
/// At most so many notes wait to be shown.
const NOTES_MAX: usize = 256;
/// A question of more bytes than this is not read.
const PARAMS_BYTES_MAX: usize = 256 << 10;
/// A note is cut to so many columns.
const NOTE_COLUMNS: usize = 2_000;
/// The levels of messages for logs that are shown; the first is only a warning.
const LOUD: [&str; 5] = ["warning", "error", "critical", "alert", "emergency"];

/// The end that tools reach.
#[derive(Clone)]
pub(crate) struct Terminal {
    /// Whether somebody can be asked.
    attended: bool,
    /// How many more questions may be open.
    room: Arc<Semaphore>,
    heard: mpsc::Sender<Next>,
    /// How many notes found no room.
    lost: Arc<AtomicUsize>,
}

/// The end that a person sees.
pub(crate) struct Heard {
    all: mpsc::Receiver<Next>,
    lost: Arc<AtomicUsize>,
}

/// What a tool asks; it waits for the reply, and has taken the question back when nobody waits for that any more.
pub(crate) struct Asked {
    pub(crate) attempt: AttemptId,
    pub(crate) wanted: Wanted,
    pub(crate) reply: oneshot::Sender<Value>,
}

/// What a person is to do.
pub(crate) enum Wanted {
    /// Fill in a form.
    Form(Form),
    /// Open a page.
    Page(Page),
}

/// What a person is told, with what it is about.
pub(crate) struct Note {
    call: Arc<str>,
    /// Whether it is more than a warning.
    bad: bool,
    text: String,
}

/// One thing that was heard.
pub(crate) enum Next {
    Asked(Asked),
    Note(Note),
}

impl Terminal {
    /// Both ends.
    pub(crate) fn new(attended: bool) -> (Arc<Terminal>, Heard) {
        let (heard, all) = mpsc::channel(QUESTIONS_MAX + NOTES_MAX);
        let lost = Arc::<AtomicUsize>::default();
        let room = Arc::new(Semaphore::new(QUESTIONS_MAX));
        (Arc::new(Terminal { attended, room, heard, lost: Arc::clone(&lost) }), Heard { all, lost })
    }

    fn note(&self, note: Note) {
        // The rest is kept for questions.
        if self.heard.capacity() <= QUESTIONS_MAX || self.heard.try_send(Next::Note(note)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks the person and waits for the answer.
    async fn elicit(self, attempt: AttemptId, params: JsonText) -> Value {
        match self.put(&attempt, &params) {
            // Dropped with the person's end: the run is over.
            Ok((_place, answer)) => answer.await.unwrap_or_else(|_| cancelled()),
            Err(why) => {
                let text = format!("its tool wants to know something: {why}; declined");
                self.note(Note { call: attempt.call, bad: false, text });
                declined()
            }
        }
    }

    /// Puts a question to the person. Its place is taken until that is dropped.
    fn put(
        &self,
        attempt: &AttemptId,
        params: &JsonText,
    ) -> Result<(OwnedSemaphorePermit, oneshot::Receiver<Value>), String> {
        if !self.attended {
            return Err("nobody can be asked here".to_owned());
        }
        let too_many = || format!("{QUESTIONS_MAX} questions are open");
        let wanted = Wanted::read(params)?;
        let place = Arc::clone(&self.room).try_acquire_owned().map_err(|_| too_many())?;
        let (reply, answer) = oneshot::channel();
        let asked = Asked { attempt: attempt.clone(), wanted, reply };
        self.heard.try_send(Next::Asked(asked)).map_err(|_| too_many())?;
        Ok((place, answer))
    }
}

impl Peer for Terminal {
    fn told(&self, attempt: &AttemptId, told: Told) {
        // How far a call is, is an event of its run.
        if let Told::Log(message) = told
            && let Some((bad, text)) = loud(&message)
        {
            self.note(Note { call: attempt.call.clone(), bad, text });
        }
    }

    fn ask(&self, attempt: &AttemptId, question: PeerRequest) -> AnswerFuture {
        let PeerRequest { method, params } = question;
        let (terminal, attempt) = (self.clone(), attempt.clone());
        Box::pin(async move {
            let answer = match &*method {
                "elicitation/create" => terminal.elicit(attempt, params).await,
                "roots/list" => roots(&std::env::current_dir()?),
                _ => return Err(no_answer(&method)),
            };
            Ok(serde_json::value::to_raw_value(&answer)?.into())
        })
    }

    fn relayed(&self, _attempt: &AttemptId) -> Option<JsonText> {
        let capabilities = match self.attended {
            true => json!({"elicitation": {"form": {}, "url": {}}, "roots": {}}),
            false => json!({"roots": {}}),
        };
        let relayed = json!({"capabilities": capabilities, "logLevel": LOUD[0]});
        serde_json::value::to_raw_value(&relayed).ok().map(JsonText::from)
    }
}

impl Wanted {
    /// Reads the parameters of an `elicitation/create`.
    fn read(params: &JsonText) -> Result<Wanted, String> {
        if params.get().len() > PARAMS_BYTES_MAX {
            return Err(format!("it says so in more than {} KiB", PARAMS_BYTES_MAX >> 10));
        }
        let params: Value = serde_json::from_str(params.get()).map_err(|error| error.to_string())?;
        match params["mode"].as_str() {
            None | Some("form") => Form::read(&params).map(Wanted::Form),
            Some("url") => Page::read(&params).map(Wanted::Page),
            Some(other) => Err(format!("it asks in the way `{other}`, which is not known here")),
        }
    }
}

impl Heard {
    /// The next of what is asked and told. Never where nobody asks or tells any more.
    pub(crate) async fn next(&mut self) -> Next {
        match self.all.recv().await {
            Some(next) => next,
            None => std::future::pending().await,
        }
    }

    /// What was told and is not shown yet.
    pub(crate) fn rest(&mut self) -> Vec<Note> {
        let all = std::iter::from_fn(|| self.all.try_recv().ok());
        all.filter_map(|next| if let Next::Note(note) = next { Some(note) } else { None }).collect()
    }

    /// How many notes found no room since this was asked last.
    pub(crate) fn lost(&self) -> usize {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl Note {
    /// The line that is shown.
    pub(crate) fn line(&self, lost: usize, paint: Paint) -> String {
        let mark = if self.bad { paint.red("!") } else { paint.yellow("!") };
        let more = match lost {
            0 => String::new(),
            n => paint.dim(&format!(" (and {} too fast to be shown)", text::count(n, "message"))),
        };
        let text = text::cut(&text::line(&self.text), NOTE_COLUMNS);
        format!("{mark} {}: {text}{more}", paint.bold(&text::line(&self.call)))
    }
}

/// A message for a log, where its level is one that is shown: whether it is more than a warning, and its words.
fn loud(message: &JsonText) -> Option<(bool, String)> {
    let message: Value = serde_json::from_str(message.get()).ok()?;
    let level = message["level"].as_str()?;
    let place = LOUD.iter().position(|loud| *loud == level)?;
    let words = match &message["data"] {
        Value::String(words) => words.clone(),
        data => data.to_string(),
    };
    let who = message["logger"].as_str().map(|who| format!("{who}: ")).unwrap_or_default();
    Some((place > 0, format!("{level}: {who}{words}")))
}

/// The answer of a person who is gone.
pub(crate) fn cancelled() -> Value {
    json!({"action": "cancel"})
}

/// The working directory, as what the tools are to work on.
fn roots(here: &Path) -> Value {
    let name = here.file_name().map_or_else(|| "/".into(), |name| name.to_string_lossy());
    match url::Url::from_file_path(here) {
        Ok(uri) => json!({"roots": [{"uri": uri.as_str(), "name": name}]}),
        Err(()) => json!({"roots": []}),
    }
}

fn no_answer(method: &str) -> ToolError {
    let why = match method {
        "sampling/createMessage" => "a terminal has no model that could answer",
        _ => "a terminal cannot answer that",
    };
    ToolError::permanent(format!("`{method}`: {why}")).code("mcp_no_answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    fn text(value: &Value) -> JsonText {
        serde_json::value::to_raw_value(value).expect("JSON").into()
    }

    fn attempt() -> AttemptId {
        AttemptId { run: "r".into(), call: "book".into(), attempt: 2 }
    }

    fn ask(terminal: &Terminal, method: &str, params: &Value) -> AnswerFuture {
        terminal.ask(&attempt(), PeerRequest { method: method.into(), params: text(params) })
    }

    /// Polls it once.
    fn poll(future: &mut AnswerFuture) -> Option<Result<Value, ToolError>> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(answer) => Some(answer.map(|text| serde_json::from_str(text.get()).expect("JSON"))),
            std::task::Poll::Pending => None,
        }
    }

    fn question(heard: &mut Heard) -> Option<Asked> {
        std::iter::from_fn(|| heard.all.try_recv().ok()).find_map(|next| match next {
            Next::Asked(asked) => Some(asked),
            Next::Note(_) => None,
        })
    }

    fn notes(heard: &mut Heard) -> Vec<String> {
        let lost = heard.lost();
        heard.rest().iter().map(|note| note.line(lost, Paint { on: false })).collect()
    }

    #[test]
    fn what_is_asked_waits_for_its_answer() {
        let (terminal, mut heard) = Terminal::new(true);
        let mut answer = ask(&terminal, "elicitation/create", &json!({"message": "Shall I?"}));
        assert!(poll(&mut answer).is_none());
        let asked = question(&mut heard).expect("a question");
        assert_eq!((&*asked.attempt.call, asked.attempt.attempt), ("book", 2));
        asked.reply.send(json!({"action": "accept"})).expect("it waits");
        assert_eq!(poll(&mut answer).expect("answered").expect("an answer"), json!({"action": "accept"}));
        // Taken back: whoever asks the person sees it.
        let mut answer = ask(&terminal, "elicitation/create", &json!({"mode": "url", "url": "https://a.example"}));
        assert!(poll(&mut answer).is_none());
        let asked = question(&mut heard).expect("a question");
        assert!(matches!(asked.wanted, Wanted::Page(_)) && !asked.reply.is_closed());
        drop(answer);
        assert!(asked.reply.is_closed());
        // The person's end is gone.
        let mut answer = ask(&terminal, "elicitation/create", &json!({}));
        assert!(poll(&mut answer).is_none());
        drop(heard);
        assert_eq!(poll(&mut answer).expect("answered").expect("an answer"), cancelled());
    }

    #[test]
    fn what_cannot_be_asked_is_declined_at_once() {
        let (terminal, mut heard) = Terminal::new(false);
        let declines = |terminal: &Terminal, params: Value| {
            poll(&mut ask(terminal, "elicitation/create", &params)).expect("at once").expect("an answer") == declined()
        };
        assert!(declines(&terminal, json!({"message": "Shall I?"})));
        let (attended, mut heard_there) = Terminal::new(true);
        assert!(declines(&attended, json!({"mode": "dance"})));
        assert!(declines(&attended, json!({"message": "x".repeat(300_000)})));
        let said = [notes(&mut heard), notes(&mut heard_there)].concat();
        let of = |why: &str| format!("! book: its tool wants to know something: {why}; declined");
        let expected = [
            of("nobody can be asked here"),
            of("it asks in the way `dance`, which is not known here"),
            of("it says so in more than 256 KiB"),
        ];
        assert_eq!(said, expected);
        let declared = |terminal: &Terminal| terminal.relayed(&attempt()).expect("something").get().to_owned();
        assert!(declared(&attended).contains("elicitation") && !declared(&terminal).contains("elicitation"));
    }

    #[test]
    fn questions_are_bounded_and_those_taken_back_make_room() {
        let (terminal, mut heard) = Terminal::new(true);
        let mut open: Vec<AnswerFuture> = Vec::new();
        for _ in 0..QUESTIONS_MAX {
            let mut answer = ask(&terminal, "elicitation/create", &json!({}));
            assert!(poll(&mut answer).is_none());
            open.push(answer);
        }
        let mut one_more = ask(&terminal, "elicitation/create", &json!({}));
        assert_eq!(poll(&mut one_more).expect("at once").expect("an answer"), declined());
        // Taken out of the queue they are still open, until nobody waits for them.
        let asked: Vec<Asked> = std::iter::from_fn(|| question(&mut heard)).collect();
        assert_eq!(asked.len(), QUESTIONS_MAX);
        let mut one_more = ask(&terminal, "elicitation/create", &json!({}));
        assert_eq!(poll(&mut one_more).expect("at once").expect("an answer"), declined());
        assert!(notes(&mut heard)[0].contains("64 questions are open"));
        open.pop();
        assert!(poll(&mut ask(&terminal, "elicitation/create", &json!({}))).is_none());
    }

    #[test]
    fn a_terminal_has_a_folder_and_no_model() {
        let (terminal, _heard) = Terminal::new(true);
        let error = poll(&mut ask(&terminal, "sampling/createMessage", &json!({}))).expect("at once").unwrap_err();
        assert_eq!(error.code, "mcp_no_answer");
        assert_eq!(error.message, "`sampling/createMessage`: a terminal has no model that could answer");
        let here = poll(&mut ask(&terminal, "roots/list", &json!({}))).expect("at once").expect("an answer");
        assert!(here["roots"][0]["uri"].as_str().is_some_and(|uri| uri.starts_with("file:///")), "{here}");
        let roots = roots(Path::new("/home/a b/ü"));
        assert_eq!(roots, json!({"roots": [{"uri": "file:///home/a%20b/%C3%BC", "name": "ü"}]}));
    }

    #[test]
    fn messages_for_logs_are_shown_by_their_level() {
        let (terminal, mut heard) = Terminal::new(false);
        let tell = |message: Value| terminal.told(&attempt(), Told::Log(text(&message)));
        tell(json!({"level": "info", "data": "quiet"}));
        tell(json!({"level": "warning", "data": "low on\n\u{1b}[2Jpaper"}));
        tell(json!({"level": "critical", "logger": "tray", "data": {"sheets": 0}}));
        tell(json!({"data": "no level"}));
        terminal.told(&attempt(), Told::Progress { done: 1.0, total: None, message: None });
        let expected = ["! book: warning: low on⏎\\u{1b}[2Jpaper", r#"! book: critical: tray: {"sheets":0}"#];
        assert_eq!(notes(&mut heard), expected);
        (0..NOTES_MAX + 7).for_each(|_| tell(json!({"level": "error", "data": "!"})));
        let shown = notes(&mut heard);
        assert_eq!(shown.len(), NOTES_MAX);
        assert_eq!(shown[0], "! book: error: ! (and 7 messages too fast to be shown)");
    }
}
