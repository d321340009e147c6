//! Putting toolboxes into a catalog, and replacing one while plans that know the others go on.
//! It does not know who holds the catalogs before it.

use crate::catalog::{Catalog, CatalogTool, Entry, Shared, ToolId};
use crate::diagnostic::Diagnostic;
use crate::spec::{ToolSpec, ToolboxSpec};
use std::sync::Arc;

/// An engine sees at most this many tools, with all that each of them ever was: what is added to a run keeps the tool it
/// was checked against, so that none goes.
pub const TOOLS_MAX: usize = 50_000;

/// Of so many versions of a tool, the newest, one is found again.
const VERSIONS_LOOKED_AT: usize = 8;

/// A catalog in which one toolbox was replaced.
#[derive(Debug)]
pub struct Changed {
    /// The tools there are now. What had a number has it still.
    pub catalog: Arc<Catalog>,
    /// Which of the toolboxes, in the order they were given.
    pub toolbox_index: u32,
    /// The numbers of its tools, in their order.
    pub tools: Vec<ToolId>,
    /// Whether anything is not as it was.
    pub changed: bool,
}

impl Catalog {
    /// The same tools with those of the toolbox of this name replaced, or added. A tool that is what it was keeps its
    /// number; others get new ones.
    ///
    /// # Errors
    /// As [`Catalog::new`]; `toolbox_unclear` when several have this name; `too_many_tools`.
    pub fn with(self: &Arc<Catalog>, toolbox: ToolboxSpec) -> Result<Changed, Vec<Diagnostic>> {
        let mut named = (0..).zip(&self.toolboxes).filter(|(_, entry)| entry.name == toolbox.name);
        let place: Option<u32> = named.next().map(|(at, _)| at);
        if named.next().is_some() {
            let message =
                format!("several toolboxes are named `{}`, so it is not clear which to replace", toolbox.name);
            return Err(vec![Diagnostic::error("toolbox_unclear", message).with_help("give each a name of its own")]);
        }
        let before = place.and_then(|place| self.toolboxes.get(place as usize));
        let same = |entry: &Entry, toolbox: &ToolboxSpec| {
            let index = place.unwrap_or_default();
            let shared = Shared::of(toolbox);
            entry.tools.len() == toolbox.tools.len()
                && entry.warnings == toolbox.warnings
                && entry.tools.iter().zip(&toolbox.tools).all(|(id, spec)| self.tool(*id).is(spec, index, &shared))
        };
        if let Some(entry) = before.filter(|entry| same(entry, &toolbox)) {
            return Ok(Changed {
                catalog: self.clone(),
                toolbox_index: place.unwrap_or_default(),
                tools: entry.tools.clone(),
                changed: false,
            });
        }
        let mut catalog = Catalog::clone(self);
        let place = catalog.put(place, toolbox)?;
        let wrong = catalog.index();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let tools = catalog.toolboxes[place as usize].tools.clone();
        Ok(Changed { catalog: Arc::new(catalog), toolbox_index: place, tools, changed: true })
    }

    /// Puts a toolbox behind the others, or in the place of one. [`Catalog::index`] has to follow.
    pub(crate) fn put(&mut self, place: Option<u32>, toolbox: ToolboxSpec) -> Result<u32, Vec<Diagnostic>> {
        let index = place.unwrap_or_else(|| u32::try_from(self.toolboxes.len()).unwrap_or(u32::MAX));
        let shared = Shared::of(&toolbox);
        let mut wrong = Vec::new();
        let mut tools = Vec::with_capacity(toolbox.tools.len());
        for spec in toolbox.tools {
            if let Some(known) = self.known(&spec, index, &shared).filter(|_| place.is_some()) {
                tools.push(known);
                continue;
            }
            if self.versions.len() >= TOOLS_MAX {
                let message =
                    format!("with `{}` there would be more than {TOOLS_MAX} tools, counting what they were", spec.name);
                let help = "start the engine anew; a server whose tools change all the time is best left out";
                wrong.push(Diagnostic::error("too_many_tools", message).with_help(help));
                break;
            }
            match CatalogTool::compile(spec, &toolbox.name, index, &shared) {
                Ok(tool) => {
                    let id = ToolId(self.ids());
                    tools.push(id);
                    self.named.entry(tool.spec.name.clone()).or_default().push(id);
                    self.versions.push(Arc::new(tool));
                }
                Err(problems) => wrong.extend(problems),
            }
        }
        let entry = Entry { name: toolbox.name, tools, warnings: toolbox.warnings };
        match place.and_then(|place| self.toolboxes.get_mut(place as usize)) {
            Some(old) => *old = entry,
            None => self.toolboxes.push(entry),
        }
        if wrong.is_empty() { Ok(index) } else { Err(wrong) }
    }

    /// A version of the tool that is what it would become.
    fn known(&self, spec: &ToolSpec, index: u32, shared: &Shared) -> Option<ToolId> {
        let versions = self.named.get(&spec.name)?.iter().rev().take(VERSIONS_LOOKED_AT).copied();
        versions.into_iter().find(|id| self.tool(*id).is(spec, index, shared))
    }

    /// Makes the indexes over all toolboxes; gives the names that there are twice.
    pub(crate) fn index(&mut self) -> Vec<Diagnostic> {
        let mut wrong = Vec::new();
        self.names.clear();
        self.tools.clear();
        self.warnings.clear();
        for entry in &self.toolboxes {
            self.warnings.extend_from_slice(&entry.warnings);
            for id in &entry.tools {
                let tool = &self.versions[id.0 as usize];
                let name = &tool.spec.name;
                if let Some(ToolId(other)) = self.names.insert(name.clone(), *id) {
                    let other = &self.versions[other as usize].toolbox;
                    let message = format!(
                        "there are two tools named `{name}`: one in toolbox `{other}`, one in `{}`",
                        entry.name
                    );
                    wrong.push(
                        Diagnostic::error("duplicate_tool", message)
                            .with_path(&**name)
                            .with_help("rename one of them, or leave one toolbox out"),
                    );
                }
                self.tools.push(tool.clone());
            }
        }
        wrong
    }
}
