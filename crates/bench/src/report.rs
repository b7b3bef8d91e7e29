//! What was measured: rows for machines, tables for people, and the aims that were missed.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

/// One figure, as `--json` writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured, from the general to the special: `throughput.get.10kb`.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// In what.
    pub unit: Cow<'static, str>,
    /// The name of the row that `value` is the ratio to; only rows whose unit is `ratio` have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio_to: Option<String>,
    /// The aim of this figure and what became of it, as in `<= 12 met`; only figures that have one have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
}

/// How a figure went over time or over something else, for a plot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What was measured, as in a row.
    pub name: String,
    /// What the first number of each point is.
    pub across: Cow<'static, str>,
    /// What the second is in.
    pub unit: Cow<'static, str>,
    /// In order of the first number.
    pub points: Vec<(f64, f64)>,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aim {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Aim {
    /// Whether `value` is what it should be.
    #[must_use]
    pub fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

/// An aim that was missed, and why.
#[derive(Debug, Clone, PartialEq)]
struct Missed {
    name: String,
    value: f64,
    unit: Cow<'static, str>,
    aim: Aim,
}

/// Everything that was measured, printed while it comes.
pub struct Report<'a> {
    out: &'a mut dyn Write,
    rows: Vec<Row>,
    series: Vec<Series>,
    aims: usize,
    missed: Vec<Missed>,
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("rows", &self.rows)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

impl<'a> Report<'a> {
    /// An empty report that is printed to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            rows: Vec::new(),
            series: Vec::new(),
            aims: 0,
            missed: Vec::new(),
        }
    }

    /// Prints lines for people.
    ///
    /// # Errors
    /// If nobody can read them.
    pub fn say(&mut self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Keeps a figure.
    pub fn row(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.rows.push(Row {
            name: name.into(),
            value,
            unit: Cow::Borrowed(unit),
            ratio_to: None,
            verdict: None,
        });
    }

    /// Keeps a ratio to another row.
    pub fn ratio(&mut self, name: impl Into<String>, value: f64, to: impl Into<String>) {
        self.rows.push(Row {
            name: name.into(),
            value,
            unit: Cow::Borrowed("ratio"),
            ratio_to: Some(to.into()),
            verdict: None,
        });
    }

    /// Keeps how a figure went.
    pub fn series(
        &mut self,
        name: impl Into<String>,
        across: &'static str,
        unit: &'static str,
        points: Vec<(f64, f64)>,
    ) {
        self.series.push(Series {
            name: name.into(),
            across: Cow::Borrowed(across),
            unit: Cow::Borrowed(unit),
            points,
        });
    }

    /// Compares the figure that was kept last with its aim; answers with the words for the table.
    pub fn judge(&mut self, aim: Aim) -> String {
        self.aims += 1;
        let Some(row) = self.rows.last_mut() else {
            return String::new();
        };
        let met = aim.is_met_by(row.value);
        let verdict = format!("{aim} {}", if met { "met" } else { "MISSED" });
        row.verdict = Some(verdict.clone());
        if !met {
            self.missed.push(Missed {
                name: row.name.clone(),
                value: row.value,
                unit: row.unit.clone(),
                aim,
            });
        }
        verdict
    }

    /// How many aims were missed so far.
    #[must_use]
    pub fn missed(&self) -> usize {
        self.missed.len()
    }

    /// All rows so far.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// All series so far.
    #[must_use]
    pub fn all_series(&self) -> &[Series] {
        &self.series
    }

    /// Prints which aims were missed.
    ///
    /// # Errors
    /// If nobody can read it.
    pub fn conclude(&mut self) -> io::Result<()> {
        let met = self.aims - self.missed.len();
        writeln!(self.out, "\n{met} of {} aims met", self.aims)?;
        for Missed {
            name,
            value,
            unit,
            aim,
        } in &self.missed
        {
            writeln!(self.out, "  MISSED {name}: {} {unit}, aim {aim}", figure(*value))?;
        }
        self.out.flush()
    }
}

/// A table for people: a head, and columns as wide as they need be. The first column stands left, the others right.
#[derive(Debug)]
pub struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(columns: &[&str]) -> Self {
        Self {
            lines: vec![columns.iter().map(ToString::to_string).collect()],
        }
    }

    /// Adds a line.
    pub fn line<const N: usize>(&mut self, cells: [String; N]) {
        self.lines.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for line in &self.lines {
            let mut text = String::from(" ");
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                text.push_str(&match column {
                    0 => format!(" {cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                });
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// A figure with as many digits as say something.
#[must_use]
pub fn figure(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 && value.abs() < 1e6 => format!("{value:.0}"),
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_aim_is_named_at_the_end_and_a_met_one_is_counted() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out);
        report.row("idle", 11.5, "MB");
        assert_eq!(report.judge(Aim::AtMost(12.0)), "<= 12 met");
        report.row("start", 0.4, "ratio");
        assert_eq!(report.judge(Aim::AtLeast(0.5)), ">= 0.5 MISSED");
        report.conclude().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "\n1 of 2 aims met\n  MISSED start: 0.40 ratio, aim >= 0.5\n"
        );
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["", "n"]);
        table.line(["lock".to_owned(), "2".to_owned()]);
        table.line(["ü".to_owned(), "1000".to_owned()]);
        assert_eq!(table.to_string(), "           n\n  lock     2\n  ü     1000\n");
    }

    #[test]
    fn figures_show_the_digits_that_say_something() {
        let shown = [2.0, 0.456, 12.34, 1234.5, 15_000.0].map(figure);
        assert_eq!(shown, ["2", "0.46", "12.3", "1234", "15000"]);
    }
}
