//! One attempt of a native tool: arguments in, result out, panics caught, aborted by dropping.
//! It does not know what the tool is called or what it touches.

use super::Context;
use crate::tool::{Aborted, Attempt, JsonText, Reached, Tool, ToolError, ToolFuture, ToolOutput, ToolResult};
use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::UnitDeserializer;
use serde_json::value::RawValue;
use std::any::{Any, TypeId};
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;

/// The result of every tool that returns `()`.
static NULL: LazyLock<JsonText> = LazyLock::new(|| Arc::from(RawValue::NULL.to_owned()));

/// A tool from a closure that starts an attempt.
struct Start<F>(F);

impl<F: Fn(Attempt) -> ToolFuture + Send + Sync + 'static> Tool for Start<F> {
    fn call(&self, attempt: Attempt) -> ToolFuture {
        (self.0)(attempt)
    }
}

/// Remembers the types of a function whose own type doesn't name them.
struct Typed<F, A>(F, PhantomData<fn(A)>);

/// A tool from an async function of its arguments.
pub(super) fn plain<A, R, F, Fut>(function: F) -> Arc<dyn Tool>
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
{
    let function = Arc::new(Typed(function, PhantomData::<fn(A)>));
    Arc::new(Start(move |attempt: Attempt| -> ToolFuture {
        let function = Arc::clone(&function);
        Box::pin(run(attempt.args, attempt.aborted, move |args: A| (function.0)(args)))
    }))
}

/// A tool from an async function of its context and arguments.
pub(super) fn with_context<A, R, F, Fut>(function: F) -> Arc<dyn Tool>
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
    F: Fn(Context, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
{
    let function = Arc::new(Typed(function, PhantomData::<fn(A)>));
    Arc::new(Start(move |attempt: Attempt| -> ToolFuture {
        let function = Arc::clone(&function);
        let Attempt { args, id, aborted, progress, .. } = attempt;
        Box::pin(async move {
            // What the function hands out to others ends with the attempt, however that ends.
            let mine = aborted.child_token();
            let _ends = mine.clone().drop_guard();
            let context = Context { id, aborted: mine, progress };
            run(args, aborted, move |args: A| (function.0)(context, args)).await
        })
    }))
}

/// A tool from a function that blocks.
pub(super) fn blocking<A, R, F>(function: F) -> Arc<dyn Tool>
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
    F: Fn(Context, A) -> Result<R, ToolError> + Send + Sync + 'static,
{
    let function = Arc::new(Typed(function, PhantomData::<fn(A)>));
    Arc::new(Start(move |attempt: Attempt| -> ToolFuture {
        let function = Arc::clone(&function);
        Box::pin(run_blocking(attempt, move |context, args: A| (function.0)(context, args)))
    }))
}

async fn run<A, R, Fut>(args: JsonText, aborted: Aborted, function: impl FnOnce(A) -> Fut) -> ToolResult
where
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
    Fut: Future<Output = Result<R, ToolError>>,
{
    if aborted.is_cancelled() {
        return Err(ToolError::aborted(Reached::No));
    }
    let args = parse::<A>(&args)?;
    // The call itself can panic too, so it is made inside.
    let mut work = pin!(AssertUnwindSafe(async move { function(args).await }).catch_unwind());
    // Most functions that end at once end here, before anybody listens for an abort.
    let at_once = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
    let end = match at_once {
        Poll::Ready(end) => end,
        Poll::Pending => tokio::select! {
            biased;
            end = work => end,
            () = aborted.cancelled() => return Err(ToolError::aborted(Reached::Unknown)),
        },
    };
    match end {
        Ok(result) => output(&result?),
        Err(panic) => Err(panicked(&*panic)),
    }
}

async fn run_blocking<A, R>(
    attempt: Attempt,
    function: impl FnOnce(Context, A) -> Result<R, ToolError> + Send + 'static,
) -> ToolResult
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
{
    let Attempt { args, id, aborted, progress, .. } = attempt;
    if aborted.is_cancelled() {
        return Err(ToolError::aborted(Reached::No));
    }
    let args = parse::<A>(&args)?;
    // Dropping this future must tell the thread, so it hears a token that ends with the future.
    let mine = aborted.child_token();
    let _ends = mine.clone().drop_guard();
    let context = Context { id, aborted: mine, progress };
    let place = Place::default();
    let thread = place.clone();
    let mut end = tokio::task::spawn_blocking(move || {
        if !thread.take() {
            return Err(ToolError::aborted(Reached::No));
        }
        catch_unwind(AssertUnwindSafe(|| output(&function(context, args)?))).unwrap_or_else(|p| Err(panicked(&*p)))
    });
    let end = tokio::select! {
        biased;
        end = &mut end => end,
        () = aborted.cancelled() => {
            if place.take() {
                return Err(ToolError::aborted(Reached::No));
            }
            end.await
        }
    };
    // Only a runtime that shuts down takes a blocking function back.
    end.unwrap_or_else(|_cancelled| Err(ToolError::aborted(Reached::Unknown)))
}

/// Who has it first, a thread or the end of the attempt: a function that nobody waits for must not begin.
#[derive(Clone, Default)]
struct Place(Arc<AtomicBool>);

impl Place {
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.take();
    }
}

fn parse<A: DeserializeOwned + 'static>(args: &RawValue) -> Result<A, ToolError> {
    let parsed = match TypeId::of::<A>() == TypeId::of::<()>() {
        true => A::deserialize(UnitDeserializer::<serde_json::Error>::new()),
        false => serde_json::from_str(args.get()),
    };
    parsed.map_err(|error| {
        let message = format!(
            "the arguments fit the tool's schema but not its Rust type: {error}; make the type and its schema agree"
        );
        ToolError::permanent(message).code("args_mismatch").reached(Reached::No)
    })
}

fn output<R: Serialize + 'static>(result: &R) -> ToolResult {
    if TypeId::of::<R>() == TypeId::of::<()>() {
        return Ok(ToolOutput::new(Arc::clone(&NULL)));
    }
    match serde_json::value::to_raw_value(result) {
        Ok(value) => Ok(ToolOutput::new(Arc::from(value))),
        Err(error) => {
            let message = format!("the tool's result cannot be written as JSON: {error}; return a type that can");
            Err(ToolError::permanent(message).code("result_not_json"))
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> ToolError {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    ToolError::permanent(format!("the tool panicked: {what}; this is a fault in the tool"))
        .code("tool_panicked")
        .reached(Reached::Unknown)
}
