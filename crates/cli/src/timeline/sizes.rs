//! Where things stand in the timeline, in pixels.
//! It does not know colours or formats.

use super::layout::{Layout, Row};
use crate::text;

/// Around everything.
pub(crate) const MARGIN: f64 = 16.0;
/// Before the ids, for the mark of the critical path.
const GUTTER: f64 = 16.0;
/// Behind the bars, for outcomes and durations.
const END: f64 = 106.0;
/// How far an element stands under its call, in columns.
pub(crate) const INDENT: usize = 2;
/// The widest ids and tools, in columns; longer ones are cut.
const ID_COLUMNS_MAX: usize = 30;
const TOOL_COLUMNS_MAX: usize = 20;

/// The sizes of one picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) width: f64,
    /// The height of a row.
    pub(crate) row: f64,
    /// The font of the rows.
    pub(crate) font: f64,
    pub(crate) id_x: f64,
    pub(crate) id_columns: usize,
    pub(crate) tool_x: f64,
    pub(crate) tool_columns: usize,
    /// Where time 0 is, and how wide the time is.
    pub(crate) plot_x: f64,
    pub(crate) plot_w: f64,
    span_ms: f64,
}

impl Sizes {
    /// The sizes that fit what is shown.
    pub(crate) fn of(layout: &Layout<'_>, width: f64) -> Sizes {
        let (row, font) = match layout.rows.len() {
            0..=60 => (24.0, 12.0),
            61..=200 => (20.0, 11.5),
            _ => (16.0, 10.5),
        };
        let (mut id_columns, mut tool_columns) = (8, 4);
        for one in &layout.rows {
            let Row::Call(one) = one else {
                id_columns = id_columns.max(INDENT + 14);
                continue;
            };
            let indent = if one.is_element { INDENT } else { 0 };
            id_columns = id_columns.max(indent + text::width(&text::line(&one.call.id)));
            if !one.is_element {
                tool_columns = tool_columns.max(text::width(&text::line(&one.call.tool)));
            }
        }
        let (id_columns, tool_columns) = (id_columns.min(ID_COLUMNS_MAX), tool_columns.min(TOOL_COLUMNS_MAX));
        let id_x = MARGIN + GUTTER;
        let tool_x = id_x + mono(id_columns, font) + 10.0;
        let plot_x = (tool_x + mono(tool_columns, font) + 14.0).round();
        Sizes {
            width,
            row,
            font,
            id_x,
            id_columns,
            tool_x,
            tool_columns,
            plot_x,
            plot_w: width - END - plot_x,
            span_ms: layout.span_ms,
        }
    }

    /// Where a time stands.
    pub(crate) fn x(&self, ms: f64) -> f64 {
        self.plot_x + (ms / self.span_ms.max(1e-9)).clamp(0.0, 1.0) * self.plot_w
    }

    /// Behind the bars.
    pub(crate) fn end_x(&self) -> f64 {
        self.width - END + 14.0
    }

    /// The right end of all text.
    pub(crate) fn right(&self) -> f64 {
        self.width - MARGIN
    }
}

/// The width of so many columns in a font of fixed width; those in use take 0.55 to 0.605 of their size.
pub(crate) fn mono(columns: usize, font: f64) -> f64 {
    columns as f64 * font * 0.61
}

/// About the width of a text in the other font, rather more than less.
pub(crate) fn sans(text: &str, font: f64) -> f64 {
    text::width(text) as f64 * font * 0.53
}

/// A coordinate with one digit, and none where it is 0.
pub(crate) fn px(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}
