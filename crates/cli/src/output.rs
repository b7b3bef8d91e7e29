//! What people and programs see: data on standard output, messages on standard error.
//!
//! On a terminal data is a table with a head and colours; in a pipe it is one line for each thing, separated by tabs,
//! with sizes in bytes and times in full; with `--json` it is JSON.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::error::Failure;

/// Names of columns and of fields.
pub const HEAD: Style = Style::new().bold();
/// Something is fine, or was added.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Something to look at, or that was changed.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Something is wrong, or was removed.
pub const BAD: Style = AnsiColor::Red.on_default();
/// What matters less.
pub const DIM: Style = Style::new().dimmed();
/// Nothing special.
pub const PLAIN: Style = Style::new();

/// How to answer.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    people: bool,
    now: Timestamp,
}

/// One value in its two faces.
#[derive(Debug, Clone)]
pub struct Cell {
    shown: String,
    plain: String,
    style: Style,
}

/// Rows with a name above each column.
#[derive(Debug)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Cell {
    /// The same for people and for programs.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            plain: text.clone(),
            shown: text,
            style: PLAIN,
        }
    }

    /// One text for people and another one for programs.
    #[must_use]
    pub fn two(shown: impl Into<String>, plain: impl Into<String>) -> Self {
        Self {
            shown: shown.into(),
            plain: plain.into(),
            style: PLAIN,
        }
    }

    /// Nothing: a dash for people.
    #[must_use]
    pub fn none() -> Self {
        Self::two("-", "").style(DIM)
    }

    /// The text, or nothing.
    #[must_use]
    pub fn maybe(text: Option<impl ToString>) -> Self {
        text.map_or_else(Self::none, |text| Self::text(text.to_string()))
    }

    /// The same in another style.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }
}

impl fmt::Display for Cell {
    /// For people, within a line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = self.style;
        write!(formatter, "{style}{}{style:#}", one_line(&self.shown))
    }
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(columns: &[&'static str]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// One more row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Columns that are aligned, with a head.
    #[must_use]
    pub fn for_people(&self) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let shown = cells.map(|cell| cell.shown.width());
            shown.chain([self.columns[at].width()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        let head: Vec<Cell> = self
            .columns
            .iter()
            .map(|name| Cell::text(*name).style(HEAD))
            .collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            push_aligned(&mut text, row, &widths);
        }
        text
    }

    /// One line for each row, with tabs.
    #[must_use]
    pub fn for_programs(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| one_line(&cell.plain)).collect();
            text.push_str(&cells.join("\t"));
            text.push('\n');
        }
        text
    }
}

fn push_aligned(text: &mut String, row: &[Cell], widths: &[usize]) {
    for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
        let shown = one_line(&cell.shown);
        let style = cell.style;
        let _ = write!(text, "{style}{shown}{style:#}");
        if at + 1 < row.len() {
            let missing = width.saturating_sub(shown.width());
            text.extend(std::iter::repeat_n(' ', missing + 2));
        }
    }
    text.push('\n');
}

/// Text never breaks its line nor speaks to the terminal, whatever somebody wrote into a description.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

impl Output {
    /// Output to this terminal or pipe.
    #[must_use]
    pub fn new(json: bool, now: Timestamp) -> Self {
        Self {
            json,
            people: std::io::stdout().is_terminal(),
            now,
        }
    }

    /// Output to a terminal, whatever stands there.
    #[cfg(test)]
    pub(crate) fn for_somebody(now: Timestamp) -> Self {
        Self {
            json: false,
            people: true,
            now,
        }
    }

    /// The same at a later moment.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    /// Whether JSON was asked for.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person looks at standard output.
    #[must_use]
    pub fn is_for_people(&self) -> bool {
        self.people && !self.json
    }

    /// Data, as it is.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Data to the byte: on its way to a pipe nothing is taken for a colour and left out.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Data as JSON, for `--json`.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(value).expect("what is printed is JSON");
        text.push('\n');
        self.data(&text)
    }

    /// Rows.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn table(&self, table: &Table) -> Result<(), Failure> {
        match self.people {
            true => self.data(&table.for_people()),
            false => self.data(&table.for_programs()),
        }
    }

    /// The fields of one thing.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn fields(&self, fields: Vec<(&'static str, Cell)>) -> Result<(), Failure> {
        let mut text = String::new();
        let widest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, cell) in fields {
            if self.people {
                let row = [Cell::text(name).style(HEAD), cell];
                push_aligned(&mut text, &row, &[widest, 0]);
            } else {
                let _ = writeln!(text, "{name}\t{}", one_line(&cell.plain));
            }
        }
        self.data(&text)
    }

    /// A sentence for people, which no program reads: that something was done.
    pub fn said(&self, text: &str) {
        say(&format!("{GOOD}{text}{GOOD:#}"));
    }

    /// A sentence that stands apart: something to know.
    pub fn note(&self, text: &str) {
        say(text);
    }

    /// Something is not as it might be expected.
    pub fn warn(&self, text: &str) {
        say(&format!("{WARN}warning:{WARN:#} {text}"));
    }

    /// What to try.
    pub fn hint(&self, text: &str) {
        say(&format!("{DIM}hint:{DIM:#} {text}"));
    }

    /// Reports a failure; nothing if nobody is there to read.
    pub fn failure(&self, failure: &Failure) {
        if failure.unheard {
            return;
        }
        if self.json {
            say(&failure.json().to_string());
            return;
        }
        let error = BAD.bold();
        say(&format!("{error}error:{error:#} {}", failure.text()));
        if let Some(hint) = &failure.hint {
            for line in hint.lines() {
                self.hint(&one_line(line));
            }
        }
    }

    /// A size in bytes.
    #[must_use]
    pub fn size(&self, bytes: u64) -> Cell {
        Cell::two(size(bytes), bytes.to_string())
    }

    /// A moment: how long ago it was, for people.
    #[must_use]
    pub fn time(&self, time: Option<Timestamp>) -> Cell {
        time.map_or_else(Cell::none, |time| {
            Cell::two(age(self.now.duration_since(time)), time.to_string())
        })
    }
}

/// Nobody may be there to read a message, and that is no reason to fail.
fn say(text: &str) {
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "{text}");
}

/// A size as people say it.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // A size in a table is looked at, not computed with.
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// How long ago something was, as people say it.
fn age(age: SignedDuration) -> String {
    let seconds = age.as_secs();
    let (count, unit) = match seconds {
        ..=9 => return "just now".to_owned(),
        10..=59 => (seconds, "second"),
        60..=3599 => (seconds / 60, "minute"),
        3600..=86_399 => (seconds / 3600, "hour"),
        86_400..=5_184_000 => (seconds / 86_400, "day"),
        5_184_001..=63_072_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "SIZE"]);
        table.row(vec![Cell::text("ü").style(GOOD), Cell::two("1.0 KiB", "1024")]);
        table.row(vec![Cell::text("a\tb\nc"), Cell::none()]);
        table
    }

    #[test]
    fn people_get_aligned_columns_and_programs_one_line_with_tabs() {
        let people = anstream::adapter::strip_str(&table().for_people()).to_string();
        assert_eq!(people, "NAME   SIZE\nü      1.0 KiB\na b c  -\n");
        assert_eq!(table().for_programs(), "ü\t1024\na b c\t\n");
    }

    #[test]
    fn sizes_and_ages_are_said_as_people_say_them() {
        for (bytes, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (250 * 1024 * 1024, "250.0 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), said);
        }
        for (seconds, said) in [
            (-5, "just now"),
            (0, "just now"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (7199, "1 hour ago"),
            (86_400 * 59, "59 days ago"),
            (86_400 * 90, "3 months ago"),
            (86_400 * 365 * 3, "3 years ago"),
        ] {
            assert_eq!(age(SignedDuration::from_secs(seconds)), said);
        }
    }
}
