//! Draws a run ([`mayfly_core::timeline`]): for a terminal, and as one HTML file.

mod document;
mod html;
mod style;
mod terminal;

pub use document::{NoRecord, read};
pub use html::page;
pub use terminal::{Screen, text};
