//! The report that people look at: one HTML file with its data, its style, and its script in it.
//!
//! [`Page`] is the data, made of the verdicts and comparisons that every other report is made of;
//! the plain files in `view/` show it. What a model said is data in a JSON element and becomes text
//! nodes: [`html`] escapes it so that it cannot leave its element, and a Content-Security-Policy lets
//! no script run but this one and lets nothing be fetched.

mod collect;
mod file;
mod page;
mod run;

pub use collect::{PageParts, PageSubject, page};
pub use file::html;
pub use page::{
    PAGE_VERSION, Page, PageBase, PageCandidate, PageCase, PageCheck, PageDraw, PageDrift,
    PageLine, PageNumbers, PageOf, PageProbe, PageRow, PageSuite,
};
pub use run::{PageCheckpoint, PageRun, RunLosses};
