//! The gateway's own tools: running plans, finding tools, reading large results.
//! It does not know MCP's wire, nor which client asks.

mod descriptions;
mod kept;
mod large;
mod plans;
mod policy;
mod read;
mod search;
mod text;

use crate::answer::Answer;
use fanout::{CallEnd, Cancel, Catalog, CatalogTool, Engine, Peer};
use kept::Kept;
use plans::Runs;
use search::Index;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So much text a model is given at once; it reads more where it wants more.
const CHARS_MAX: usize = 20_000;
/// So many tools are found when nothing else is said.
const FIND_LIMIT: usize = 10;
/// At most so many.
const FIND_MAX: usize = 50;
/// So much of a tool's description and of its schemas is shown where tools are found.
const FOUND_CHARS: usize = 1_500;
/// How long cancel_run waits for the end of what it cancels.
const CANCEL_WAIT: Duration = Duration::from_secs(5);

/// A tool as it is listed.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: Arc<str>,
    pub(crate) description: String,
    pub(crate) args_schema: Value,
    pub(crate) result_schema: Option<Value>,
    /// MCP's annotations as their JSON object: `readOnlyHint` and its like.
    pub(crate) annotations: Option<Value>,
}

/// The own tools of one gateway. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OwnTools(Arc<Inner>);

struct Inner {
    engine: Engine,
    /// At most about so many characters of text are given at once.
    chars_max: usize,
    /// Of the catalog it was made from, which changes seldom.
    index: Mutex<Option<(Arc<Catalog>, Arc<Index>)>>,
    sessions: Mutex<HashMap<Arc<str>, Arc<Session>>>,
}

/// What is kept for one client.
#[derive(Default)]
struct Session {
    runs: Mutex<Runs>,
    kept: Mutex<Kept>,
}

/// What a call of an own tool may use of who asked.
pub(crate) struct Asked {
    /// Which client: runs and kept results of one are not shown to another.
    pub(crate) session: Arc<str>,
    /// The client, told of progress and asked questions.
    pub(crate) peer: Option<Arc<dyn Peer>>,
}

impl OwnTools {
    /// For the tools of this engine.
    pub(crate) fn new(engine: Engine) -> OwnTools {
        OwnTools::giving(engine, CHARS_MAX)
    }

    /// The same, giving at most about so many characters at once.
    fn giving(engine: Engine, chars_max: usize) -> OwnTools {
        let (index, sessions) = (Mutex::default(), Mutex::default());
        OwnTools(Arc::new(Inner { engine, chars_max, index, sessions }))
    }

    /// All own tools, in the order in which they are listed.
    pub(crate) fn list(&self) -> Vec<Listed> {
        descriptions::all()
    }

    /// Calls the own tool `name`; `None` when there is none of that name. Dropping the future cancels what it began.
    pub(crate) async fn call(&self, name: &str, args: Map<String, Value>, asked: Asked) -> Option<Answer> {
        let session = self.session(&asked.session);
        let answered = match name {
            "run_plan" => self.run_plan(&args, &session, asked.peer).await,
            "check_plan" => self.check_plan(&args),
            "run_status" => self.run_status(&args, &session).await,
            "cancel_run" => self.cancel_run(&args, &session).await,
            "find_tools" => self.find_tools(&args),
            "read_result" => self.read_result(&args, &session).await,
            _ => return None,
        };
        Some(answered.unwrap_or_else(Answer::error))
    }

    /// The answer for a call of a tool that has ended, where it is too large to be read at once.
    pub(crate) fn shortened(&self, session: &Arc<str>, tool: &str, end: &CallEnd) -> Option<Answer> {
        if !large::is_large(end, self.0.chars_max) {
            return None;
        }
        let catalog = self.0.engine.catalog();
        let promised = catalog.find(tool).is_some_and(|id| catalog.tool(id).spec.result_schema.is_some());
        large::shortened(end, promised, self.0.chars_max, &mut lock(&self.session(session).kept))
    }

    /// A client has gone: its runs are cancelled, and what was kept for it goes.
    pub(crate) fn end_session(&self, session: &str) {
        let gone = lock(&self.0.sessions).remove(session);
        if let Some(gone) = gone {
            lock(&gone.runs).cancel();
        }
    }

    fn session(&self, id: &Arc<str>) -> Arc<Session> {
        lock(&self.0.sessions).entry(id.clone()).or_default().clone()
    }

    async fn run_plan(
        &self,
        args: &Map<String, Value>,
        session: &Session,
        peer: Option<Arc<dyn Peer>>,
    ) -> Result<Answer, String> {
        let wanted = plans::read(&self.0.engine, args, plans::WAIT_SECONDS)?;
        let (run, report) = plans::run(&self.0.engine, wanted.plan, wanted.wait, &session.runs, peer).await?;
        let answer = plans::answer(&run, report, self.0.chars_max, &session.kept).await;
        Ok(answer.with_hints(&wanted.advice))
    }

    fn check_plan(&self, args: &Map<String, Value>) -> Result<Answer, String> {
        let wanted = plans::read(&self.0.engine, args, 0)?;
        Ok(Answer::text(plans::checked(&self.0.engine, &wanted.plan)).with_hints(&wanted.advice))
    }

    async fn run_status(&self, args: &Map<String, Value>, session: &Session) -> Result<Answer, String> {
        let run = lock(&session.runs).find(text_of(args, "run")?)?;
        let wait = plans::wait(args, 0)?;
        let report = tokio::time::timeout(wait, run.report()).await.ok();
        Ok(plans::answer(&run, report, self.0.chars_max, &session.kept).await)
    }

    async fn cancel_run(&self, args: &Map<String, Value>, session: &Session) -> Result<Answer, String> {
        let run = lock(&session.runs).find(text_of(args, "run")?)?;
        if run.has_ended() {
            return Ok(Answer::text("the run had ended already; run_status gives its result"));
        }
        run.cancel(Cancel::Kill);
        let report = tokio::time::timeout(CANCEL_WAIT, run.report()).await.ok();
        let answer = plans::answer(&run, report, self.0.chars_max, &session.kept).await;
        Ok(Answer { is_error: false, ..answer })
    }

    fn find_tools(&self, args: &Map<String, Value>) -> Result<Answer, String> {
        let query = text_of(args, "query")?;
        let limit = match args.get("limit") {
            None | Some(Value::Null) => FIND_LIMIT,
            Some(limit) => limit
                .as_u64()
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| *limit > 0)
                .ok_or_else(|| format!("`limit` is to be a number from 1 to {FIND_MAX}"))?
                .min(FIND_MAX),
        };
        let catalog = self.0.engine.catalog();
        let found = self.index(&catalog).find(query, limit);
        if found.is_empty() {
            let boxes: std::collections::BTreeSet<&str> = catalog.tools().iter().map(|tool| &*tool.toolbox).collect();
            let boxes = boxes.into_iter().take(FIND_MAX).collect::<Vec<_>>().join(", ");
            return Ok(Answer::text(format!(
                "None of {} tools has these words. Try others, or the name of a toolbox: {boxes}",
                catalog.tools().len()
            )));
        }
        let mut said = String::new();
        for id in found {
            describe(&mut said, catalog.tool(id));
        }
        Ok(Answer::text(said.trim_end()))
    }

    fn index(&self, catalog: &Arc<Catalog>) -> Arc<Index> {
        let mut held = lock(&self.0.index);
        match &*held {
            Some((of, index)) if Arc::ptr_eq(of, catalog) => index.clone(),
            _ => {
                let index = Arc::new(Index::new(catalog));
                *held = Some((catalog.clone(), index.clone()));
                index
            }
        }
    }

    async fn read_result(&self, args: &Map<String, Value>, session: &Arc<Session>) -> Result<Answer, String> {
        let part = read::Part::of(args)?;
        let whole = match lock(&session.kept).get(&part.reference) {
            Ok(whole) => whole.clone(),
            Err(absent) => return Ok(read::absent(&part.reference, &absent)),
        };
        let (session, chars_max) = (session.clone(), self.0.chars_max);
        // A large one takes a while to look into, and a file has to be read.
        let reading = tokio::task::spawn_blocking(move || read::read(&part, &whole, chars_max, &session.kept));
        reading.await.map_err(|_| "the result could not be read".to_owned())
    }
}

/// A tool for a model: name, what it does, what it touches, its arguments, and what it gives.
fn describe(said: &mut String, tool: &CatalogTool) {
    let effects = &tool.effects;
    let touches = if tool.undeclared {
        "effects not declared: it runs alone".to_owned()
    } else if effects.claims().is_empty() {
        "touches nothing".to_owned()
    } else {
        let claims = effects
            .claims()
            .iter()
            .map(|claim| format!("{} {}", if claim.write { "writes" } else { "reads" }, claim.text));
        claims.collect::<Vec<_>>().join(", ")
    };
    let short = |text: &str| {
        let (head, _) = large::cut(text, FOUND_CHARS);
        if head.len() < text.len() { format!("{head}…") } else { head.to_owned() }
    };
    let _ = writeln!(said, "## {}\n{}\n{touches}", tool.spec.name, short(tool.spec.description.trim()));
    let _ = writeln!(said, "args: {}", short(&tool.spec.args_schema.to_string()));
    if let Some(schema) = &tool.spec.result_schema {
        let _ = writeln!(said, "gives: {}", short(&schema.to_string()));
    }
    said.push('\n');
}

fn text_of<'a>(args: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    match args.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("`{name}` is to be a text, not {other}")),
        None => Err(format!("`{name}` is missing")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
