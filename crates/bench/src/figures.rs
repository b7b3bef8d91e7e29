//! A run, as `--json` keeps it: the figures, and all that somebody needs to judge them or to measure them again.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use opentaco_domain::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Failure};
use crate::report::{Report, Row, Series};

/// One run of the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// How it was called.
    pub command: String,
    /// When it ended, in UTC.
    pub date: String,
    /// What was measured; with `-dirty` behind it if somebody was working on it.
    pub commit: String,
    /// `release`, or `debug`: then its times say nothing.
    pub build: String,
    /// Where.
    pub machine: Machine,
    /// How long all of it took.
    pub seconds: f64,
    /// The figures.
    pub rows: Vec<Row>,
    /// How some of them went, for plots.
    #[serde(default)]
    pub series: Vec<Series>,
}

/// What it ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The model of its processors, as the kernel tells it.
    pub processor: String,
    /// How many of them this program may use.
    pub processors: usize,
    /// Its memory, in megabytes.
    pub memory_mb: f64,
    /// Its kernel.
    pub system: String,
    /// How many programs wanted to run, on average of the minute in which the run began: above 0.5 it was not quiet.
    pub load_before: f64,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn here() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let member = |text: &str, name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
        };
        let memory = member(&read("/proc/meminfo"), "MemTotal");
        let kibibytes = memory
            .as_deref()
            .and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let load = read("/proc/loadavg");
        Self {
            processor: member(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            processors: available_parallelism().map_or(0, usize::from),
            memory_mb: (kibibytes.unwrap_or_default() * 1024.0 / 1e6).round(),
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            load_before: load
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
        }
    }
}

impl Run {
    /// What `report` holds.
    #[must_use]
    pub fn of(report: &Report<'_>, machine: Machine, seconds: f64) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            command: format!("opentaco-bench {}", arguments.join(" "))
                .trim_end()
                .to_owned(),
            date: SystemClock.now().strftime("%Y-%m-%d %H:%M").to_string(),
            commit: commit(),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            }
            .to_owned(),
            machine,
            seconds: seconds.round(),
            rows: report.rows().to_vec(),
            series: report.all_series().to_vec(),
        }
    }

    /// As `--json` writes it: a figure in a line, so that two runs can be compared line by line.
    ///
    /// # Errors
    /// If a figure is no number.
    pub fn to_json(&self) -> Result<String, Failure> {
        let doing = "writing the figures down";
        let mut text = String::from("{\n");
        let about = [
            ("command", serde_json::to_string(&self.command)),
            ("date", serde_json::to_string(&self.date)),
            ("commit", serde_json::to_string(&self.commit)),
            ("build", serde_json::to_string(&self.build)),
            ("machine", serde_json::to_string(&self.machine)),
            ("seconds", serde_json::to_string(&self.seconds)),
        ];
        for (name, value) in about {
            text += &format!("  \"{name}\": {},\n", value.doing(doing)?);
        }
        let lines = |values: Vec<serde_json::Result<String>>| -> Result<String, Failure> {
            let lines = values.into_iter().collect::<Result<Vec<_>, _>>().doing(doing)?;
            Ok(lines.join(",\n    "))
        };
        let rows = lines(self.rows.iter().map(serde_json::to_string).collect())?;
        let series = lines(self.series.iter().map(serde_json::to_string).collect())?;
        text += &format!("  \"rows\": [\n    {rows}\n  ],\n  \"series\": [\n    {series}\n  ]\n}}\n");
        Ok(text)
    }

    /// Reads what `--json` wrote.
    ///
    /// # Errors
    /// If the file is not there, or holds something else.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let doing = || format!("reading the figures in {}", file.display());
        let text = fs::read(file).doing(doing())?;
        serde_json::from_slice(&text).doing(doing())
    }

    /// The figure of this name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

/// What is checked out where this program is called, as git tells.
fn commit() -> String {
    let told = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"])
        .output();
    match told {
        Ok(told) if told.status.success() => String::from_utf8_lossy(&told.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
