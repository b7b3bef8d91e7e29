//! `docs/performance.md` and its pictures, from what `--json` kept: a page that is written anew says the same.
//!
//! Every figure on the page is a row of a run, and every table names the command that measures it. What was not measured
//! is a dash.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::cost::{S3_READS, S3_WRITES};
use crate::failure::{Doing, Failure};
use crate::figures::Run;
use crate::ground::Place;
use crate::latency::LINES;
use crate::plots::{Axis, Curve, Plot, thinned};
use crate::report::{Row, Series, figure};

/// What the pictures are called, and where they lie beside the page.
const IMAGES: &str = "images";

/// Runs, oldest first.
#[derive(Debug)]
pub struct Page {
    runs: Vec<Run>,
}

impl Page {
    /// From these files, in any order: of a figure that several have, the newest counts.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn of(files: &[impl AsRef<Path>]) -> Result<Self, Failure> {
        let runs: Result<Vec<_>, _> = files.iter().map(|file| Run::read(file.as_ref())).collect();
        let mut runs = runs?;
        runs.sort_by(|a, b| a.date.cmp(&b.date));
        Ok(Self { runs })
    }

    /// From this file, and from the others that lie beside it.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn beside(file: &Path) -> Result<Self, Failure> {
        let directory = match file.parent() {
            Some(named) if !named.as_os_str().is_empty() => named,
            _ => Path::new("."),
        };
        let doing = || format!("looking for figures beside {}", file.display());
        let mut files = vec![file.to_owned()];
        for entry in fs::read_dir(directory).doing(doing())? {
            let found = entry.doing(doing())?.path();
            if found.extension() == Some("json".as_ref()) && found.file_name() != file.file_name() {
                files.push(found);
            }
        }
        Self::of(&files)
    }

    /// Writes `performance.md` and `images/performance-*.svg` into this directory.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, docs: &Path) -> Result<(), Failure> {
        let images = docs.join(IMAGES);
        let doing = || format!("writing the page into {}", docs.display());
        fs::create_dir_all(&images).doing(doing())?;
        for (name, plot) in self.plots() {
            fs::write(images.join(file_name(name)), plot.svg()?).doing(doing())?;
        }
        fs::write(docs.join("performance.md"), self.text()).doing(doing())
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.runs.iter().rev().find_map(|run| run.figure(name))
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.row(name).map(|row| row.value)
    }

    fn series(&self, name: &str) -> Option<&Series> {
        let all = self.runs.iter().rev().flat_map(|run| &run.series);
        all.into_iter().find(|series| series.name == name)
    }

    /// A figure for a table.
    fn cell(&self, name: &str) -> String {
        self.value(name).map_or_else(|| "–".to_owned(), figure)
    }

    /// The same, and what became of its aim.
    fn judged(&self, name: &str) -> String {
        match self.row(name) {
            None => "–".to_owned(),
            Some(row) => match row
                .verdict
                .as_deref()
                .and_then(|verdict| verdict.rsplit_once(' '))
            {
                Some((aim, "met")) => format!("{} ({} met)", figure(row.value), spelled(aim)),
                Some((aim, _)) => format!("{} (**{} missed**)", figure(row.value), spelled(aim)),
                None => figure(row.value),
            },
        }
    }

    /// The pictures that there are figures for, by their name.
    fn plots(&self) -> Vec<(&'static str, Plot)> {
        let all = [
            ("latency", self.latency_plot()),
            ("units", self.scale_plot("units")),
            ("versions", self.scale_plot("versions")),
            ("sizes", self.sizes_plot()),
            ("memory", self.memory_plot()),
            ("soak", self.soak_plot()),
        ];
        all.into_iter()
            .filter(|(_, plot)| plot.curves.iter().any(|curve| curve.points.len() > 1))
            .collect()
    }

    fn points(&self, names: &[(f64, String)]) -> Vec<(f64, f64)> {
        names
            .iter()
            .filter_map(|(x, name)| Some((*x, self.value(name)?)))
            .collect()
    }

    fn latency_plot(&self) -> Plot {
        let mut curves = Vec::new();
        for (colour, line) in ["http.write", "s3.write", "http.lock", "http.read"]
            .into_iter()
            .enumerate()
        {
            for (side, dashed) in [("", false), (".raw", true)] {
                let names: Vec<_> = [0_u64, 10, 30]
                    .into_iter()
                    .map(|away| {
                        (
                            away as f64,
                            format!("latency.{}.{line}{side}.p50", Place::S3(away)),
                        )
                    })
                    .collect();
                curves.push(Curve {
                    name: format!("{}{}", words(line), if dashed { ", raw calls" } else { "" }),
                    colour,
                    dashed,
                    points: self.points(&names),
                });
            }
        }
        Plot {
            title: "Half of all take at most so long, by how far the bucket is away".to_owned(),
            across: Axis::Even("milliseconds that every request to the bucket is late".to_owned()),
            upward: "ms".to_owned(),
            curves,
        }
    }

    /// How many of something there were, as the names of rows tell.
    fn sizes_of(&self, what: &str) -> Vec<u64> {
        let start = format!("scale.{what}.lock.requests.");
        let rows = self.runs.iter().rev().find_map(|run| {
            let sizes: Vec<u64> = run
                .rows
                .iter()
                .filter_map(|row| row.name.strip_prefix(&start)?.parse().ok())
                .collect();
            (!sizes.is_empty()).then_some(sizes)
        });
        rows.unwrap_or_default()
    }

    fn scale_plot(&self, what: &str) -> Plot {
        let sizes = self.sizes_of(what);
        let curves = scaled(what)
            .into_iter()
            .enumerate()
            .map(|(colour, operation)| {
                let names: Vec<_> = sizes
                    .iter()
                    .map(|size| (*size as f64, format!("scale.{what}.{operation}.p50.{size}")))
                    .collect();
                Curve {
                    name: words(operation),
                    colour,
                    dashed: false,
                    points: self.points(&names),
                }
            })
            .collect();
        Plot {
            title: format!("Half of all take at most so long, by the number of {what}, on local disk"),
            across: Axis::Tenfold(what.to_owned()),
            upward: "ms".to_owned(),
            curves,
        }
    }

    fn sizes_plot(&self) -> Plot {
        let mut curves = Vec::new();
        for (colour, what) in ["write", "read"].into_iter().enumerate() {
            for (side, dashed) in [("", false), (".raw", true)] {
                let names: Vec<_> = SIZES
                    .iter()
                    .map(|(size, megabytes)| (*megabytes, format!("sizes.{size}.{what}{side}")))
                    .collect();
                curves.push(Curve {
                    name: format!("{what}{}", if dashed { ", raw calls" } else { "" }),
                    colour,
                    dashed,
                    points: self.points(&names),
                });
            }
        }
        Plot {
            title: "Megabytes per second by the size of the state, on local disk".to_owned(),
            across: Axis::Tenfold("MB of the state".to_owned()),
            upward: "MB/s".to_owned(),
            curves,
        }
    }

    fn memory_plot(&self) -> Plot {
        let mut curves: Vec<Curve> = ["first_write", "read"]
            .into_iter()
            .enumerate()
            .map(|(colour, what)| {
                let names: Vec<_> = SIZES
                    .iter()
                    .map(|(size, megabytes)| (*megabytes, format!("bodies.{size}.{what}.peak")))
                    .collect();
                Curve {
                    name: format!("{}: the service at its peak", words(what)),
                    colour,
                    dashed: false,
                    points: self.points(&names),
                }
            })
            .collect();
        let body = curves[0].points.iter().map(|(x, _)| (*x, *x)).collect();
        curves.push(Curve {
            name: "the body itself".to_owned(),
            colour: 5,
            dashed: true,
            points: body,
        });
        Plot {
            title: "Resident memory of the service by the size of the state".to_owned(),
            across: Axis::Even("MB of the state".to_owned()),
            upward: "MB".to_owned(),
            curves,
        }
    }

    fn soak_plot(&self) -> Plot {
        let points = self
            .series("soak.resident")
            .map(|series| thinned(&series.points, 720))
            .unwrap_or_default();
        let points = points.into_iter().map(|(at, mb)| (at / 60.0, mb)).collect();
        Plot {
            title: "Resident memory of the service under mixed load".to_owned(),
            across: Axis::Even("minutes".to_owned()),
            upward: "MB".to_owned(),
            curves: vec![Curve {
                name: "resident".to_owned(),
                colour: 0,
                dashed: false,
                points,
            }],
        }
    }

    /// The page.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = String::from(HEAD);
        let shown: Vec<&str> = self.plots().iter().map(|(name, _)| *name).collect();
        let picture = |page: &mut String, name: &str, says: &str| {
            if shown.contains(&name) {
                *page += &format!("\n![{says}]({IMAGES}/{})\n", file_name(name));
            }
        };
        page += &self.runs_table();
        page += &self.aims();
        page += &self.requests();
        page += &self.only_with("latency.", Self::latency);
        picture(
            &mut page,
            "latency",
            "How long operations and raw calls take, by how far the bucket is away",
        );
        page += &self.only_with("cost.", Self::cost);
        page += &self.only_with("scale.", Self::scale);
        picture(
            &mut page,
            "units",
            "How long operations take, by the number of units",
        );
        picture(
            &mut page,
            "versions",
            "How long operations take, by the number of versions",
        );
        page += &self.only_with("sizes.", Self::sizes);
        picture(
            &mut page,
            "sizes",
            "Megabytes per second by the size of the state",
        );
        page += &self.only_with("bodies.", Self::memory);
        picture(&mut page, "memory", "Resident memory by the size of the state");
        page += &self.only_with("throughput.", Self::throughput);
        page += &self.only_with("replicas.", Self::replicas);
        page += &self.only_with("graph.", Self::graph);
        page += &self.only_with("start.", Self::start);
        page += &self.only_with("soak.", Self::soak);
        picture(&mut page, "soak", "Resident memory over the time of the soak");
        page
    }

    /// A section, if any figure of it was measured.
    fn only_with(&self, start: &str, section: impl Fn(&Self) -> String) -> String {
        let mut rows = self.runs.iter().flat_map(|run| &run.rows);
        match rows.any(|row| row.name.starts_with(start)) {
            true => section(self),
            false => String::new(),
        }
    }

    fn runs_table(&self) -> String {
        let mut text = String::from(
            "\n## Where the figures come from\n\n| Command | Date (UTC) | Commit | Build | Machine | Load before | Took |\n|---|---|---|---|---|---|---|\n",
        );
        for run in &self.runs {
            let machine = &run.machine;
            let _ = writeln!(
                text,
                "| `{}` | {} | `{}` | {} | {} × {}, {} GB, {} | {} | {} s |",
                run.command,
                run.date,
                run.commit,
                run.build,
                machine.processors,
                machine.processor,
                figure((machine.memory_mb / 1000.0).round()),
                machine.system,
                figure(machine.load_before),
                figure(run.seconds)
            );
        }
        text + "\n*Load before* is how many programs wanted to run in the minute before. Above 0.5 the machine was not quiet, and its slowest in a hundred say little.\n"
    }

    fn aims(&self) -> String {
        let judged: Vec<&Row> = self
            .runs
            .iter()
            .flat_map(|run| &run.rows)
            .filter(|row| row.verdict.is_some())
            .collect();
        let missed: Vec<&&Row> = judged
            .iter()
            .filter(|row| {
                row.verdict
                    .as_deref()
                    .is_some_and(|verdict| verdict.ends_with("MISSED"))
            })
            .collect();
        let mut text = format!(
            "\n## Aims\n\n{} of {} figures with an aim meet it.",
            judged.len() - missed.len(),
            judged.len()
        );
        if missed.is_empty() {
            return text + "\n";
        }
        text += " These do not:\n\n| Figure | Is | Aim |\n|---|---|---|\n";
        for row in missed {
            let aim = row.verdict.as_deref().unwrap_or_default();
            let _ = writeln!(
                text,
                "| `{}` | {} {} | {} |",
                row.name,
                figure(row.value),
                row.unit,
                spelled(aim.trim_end_matches(" MISSED"))
            );
        }
        text
    }

    fn requests(&self) -> String {
        let mut text = String::from(
            "\n## Requests to the bucket\n\nCounted, not timed: `opentaco-bench --only requests`. It ends with an error where a count is not the budget's. *By the clock* is by how many round trips an operation gets longer when the bucket is 30 ms away and not 10: `opentaco-bench --only latency`.\n\n| Operation | Requests | Budget | Awaited round trips | Budget | By the clock |\n|---|---|---|---|---|---|\n",
        );
        for (name, clock) in [
            ("lock", "http.lock"),
            ("read", "http.read"),
            ("commit", "http.write"),
            ("commit_without_lock", "http.write_without_lock"),
            ("unlock", "http.unlock"),
            ("lock_read_write_unlock", ""),
            ("s3_apply", ""),
            ("describe", "management.describe"),
            ("commit_that_changes_an_edge", ""),
        ] {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                words(name),
                self.cell(&format!("requests.{name}")),
                self.cell(&format!("budget.requests.{name}")),
                self.cell(&format!("round_trips.{name}")),
                self.cell(&format!("budget.round_trips.{name}")),
                self.cell(&format!("latency.round_trips.{clock}"))
            );
        }
        text + "\nA commit is three requests one after the other, and a look at the graph beside the first. What comes behind an answer is among the requests, and awaited by nobody. A lock through the management door looks first whether there is such a unit, a round trip more; Terraform may lock what is not there yet. Lists cost one request for every thousand names, whatever the history of the units, and one for the graph. All names that are ours count as one: 1,000 units are 1,001 names, which is why they take one request more than 999.\n"
    }

    fn latency(&self) -> String {
        let mut text = String::from(
            "\n## Latency beside the raw store\n\n`opentaco-bench --only latency`. Each operation of 10 KB states through each door, and beside it, in turns, the *raw calls* that it comes down to: as many round trips to the same store, of the same sizes, by the same client library, with no service between. In memory a raw call is a look into a table; there *more* says something, and the ratio does not. The aim is that the slowest in a hundred take at most 1 ms more than the slowest in a hundred raw calls.\n",
        );
        for place in Place::ALL {
            let Some(samples) = self.value(&format!("latency.{place}.samples")) else {
                continue;
            };
            let where_ = match place {
                Place::Memory => "In memory".to_owned(),
                Place::Local => "On local disk".to_owned(),
                Place::S3(0) => "On S3, near".to_owned(),
                Place::S3(away) => format!("On S3, every request {away} ms late"),
            };
            let _ = write!(
                text,
                "\n### {where_}\n\n{} of each, in ms.\n\n| Operation | p50 | Raw p50 | Ratio | p50 more | p99 | Raw p99 | p99 more |\n|---|---|---|---|---|---|---|---|\n",
                figure(samples)
            );
            for (line, _) in LINES {
                let name = format!("latency.{place}.{line}");
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} | {} | {} |",
                    words(line),
                    self.cell(&format!("{name}.p50")),
                    self.cell(&format!("{name}.raw.p50")),
                    self.cell(&format!("{name}.ratio")),
                    self.cell(&format!("{name}.p50_more")),
                    self.cell(&format!("{name}.p99")),
                    self.cell(&format!("{name}.raw.p99")),
                    self.judged(&format!("{name}.p99_more"))
                );
            }
        }
        text
    }

    fn cost(&self) -> String {
        let mut text = format!(
            "\n## What an apply costs\n\n`opentaco-bench --only cost`, counted. Dollars are those of S3 Standard in us-east-1, at the list prices that were noted in November 2026: ${S3_WRITES} for a thousand puts or lists, ${S3_READS} for a thousand gets, deletes free.\n\n| Door | Puts | Lists | Gets | Deletes | Requests | $ for 1,000 applies | With housekeeping |\n|---|---|---|---|---|---|---|---|\n",
        );
        for door in ["http", "s3", "management"] {
            let name = format!("cost.{door}");
            let dollars = |name: &str| {
                self.value(name)
                    .map_or_else(|| "–".to_owned(), |dollars| format!("{dollars:.4}"))
            };
            let _ = writeln!(
                text,
                "| {door} | {} | {} | {} | {} | {} | {} | {} |",
                self.cell(&format!("{name}.puts")),
                self.cell(&format!("{name}.lists")),
                self.cell(&format!("{name}.gets")),
                self.cell(&format!("{name}.deletes")),
                self.cell(&format!("{name}.requests")),
                dollars(&format!("{name}.dollars")),
                dollars(&format!("{name}.with_housekeeping.dollars"))
            );
        }
        if let Some(dollars) = self.value("cost.http.with_housekeeping.dollars") {
            let _ = write!(
                text,
                "\nA thousand applies a day through the `http` backend are ${:.2} a month in requests. ",
                dollars * 30.0
            );
        }
        text + "The audit and the rights, which are written and read for all units together, are not among it.\n"
    }

    fn scale(&self) -> String {
        let mut text = String::from(
            "\n## What does not grow\n\n`opentaco-bench --only scale`. Requests are counted on memory, and the program ends with an error where the larger bucket makes more; times are of local disk, the smaller and the larger in turns.\n",
        );
        for what in ["units", "versions"] {
            let [few, many] = self.sizes_of(what)[..] else {
                continue;
            };
            let _ = write!(
                text,
                "\n| {few} {what} and {many} | Requests at {few} | at {many} | p50 ms at {few} | at {many} | Ratio |\n|---|---|---|---|---|---|\n"
            );
            for operation in scaled(what) {
                let name = format!("scale.{what}.{operation}");
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} |",
                    words(operation),
                    self.cell(&format!("{name}.requests.{few}")),
                    self.cell(&format!("{name}.requests.{many}")),
                    self.cell(&format!("{name}.p50.{few}")),
                    self.cell(&format!("{name}.p50.{many}")),
                    self.cell(&format!("{name}.ratio"))
                );
            }
        }
        text
    }

    fn sizes(&self) -> String {
        let mut text = String::from(
            "\n## Large states\n\n`opentaco-bench --only bodies`, on local disk. A write is put three times by us and by the raw calls: as a version, as a new head, as the copy; each is on the disk before the answer.\n\n| Size | Write MB/s | Raw | Time to raw | Read MB/s | Raw | Time to raw |\n|---|---|---|---|---|---|---|\n",
        );
        for (size, _) in SIZES {
            let name = format!("sizes.{size}");
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                spelled_size(size),
                self.cell(&format!("{name}.write")),
                self.cell(&format!("{name}.write.raw")),
                self.cell(&format!("{name}.write.ratio")),
                self.cell(&format!("{name}.read")),
                self.cell(&format!("{name}.read.raw")),
                self.cell(&format!("{name}.read.ratio"))
            );
        }
        let _ = writeln!(
            text,
            "\nThe largest state is 1 GiB (`-max-body-size`). One that is announced as a byte more is answered with {} before any of it is sent.",
            self.cell("at_once.above_the_limit")
        );
        text
    }

    fn memory(&self) -> String {
        let mut text = String::from(
            "\n## Memory\n\n`opentaco-bench --only bodies`: resident memory of the service at its peak, in MB. A body may be there once, and 50 MB beside it.\n\n| State | First write | Second write | Read |\n|---|---|---|---|\n",
        );
        for size in ["64mb", "250mb", "1gib"] {
            let name = format!("bodies.{size}");
            if self.value(&format!("{name}.read.peak")).is_none() {
                continue;
            }
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                spelled_size(size),
                self.judged(&format!("{name}.first_write.peak")),
                self.judged(&format!("{name}.second_write.peak")),
                self.judged(&format!("{name}.read.peak"))
            );
        }
        text += "\n| 100 states at once | Peak | Seconds |\n|---|---|---|\n";
        for (size, says) in [("10kb", "10 KB each"), ("10mb", "10 MB each")] {
            let _ = writeln!(
                text,
                "| {says} | {} | {} |",
                self.judged(&format!("at_once.{size}.peak")),
                self.cell(&format!("at_once.{size}.time"))
            );
        }
        let _ = writeln!(
            text,
            "| 64 MB each, 16 of them, at the S3 door | {} | |",
            self.judged("s3.put.16_at_once.peak")
        );
        text
    }

    fn throughput(&self) -> String {
        let mut text = String::from(
            "\n## Throughput beside a bare handler\n\n`opentaco-bench --only throughput`: eight connections, in memory, beside an HTTP handler of the same framework that moves the same bytes and does nothing else.\n\n| Operation | Requests/s | Bare | Ratio | CPU µs | Bare |\n|---|---|---|---|---|---|\n",
        );
        for (size, says) in [("10kb", "10 KB"), ("1mb", "1 MB")] {
            for (operation, what) in [
                ("get", "read"),
                ("post", "write"),
                ("lock_cycle", "lock and unlock"),
            ] {
                let name = format!("{operation}.{size}");
                let _ = writeln!(
                    text,
                    "| {what}, {says} | {} | {} | {} | {} | {} |",
                    self.cell(&format!("throughput.{name}")),
                    self.cell(&format!("throughput.{name}.bare")),
                    self.judged(&format!("ratio.{name}")),
                    self.cell(&format!("processor.{name}")),
                    self.cell(&format!("processor.{name}.bare"))
                );
            }
        }
        text
    }

    fn replicas(&self) -> String {
        let mut text = String::from(
            "\n## Three replicas\n\n`opentaco-bench --only replicas`, on S3 with every request 10 ms late; a cycle is lock, read, write, unlock. On many units 24 clients have one each. On one unit six clients count: each reads a number under the lock and writes the next, and in the end none may be lost. Replicas and clients share the processors of one machine.\n\n| | One replica, cycles/s | p50 ms | Three replicas, cycles/s | p50 ms | Ratio |\n|---|---|---|---|---|---|\n",
        );
        for what in ["many_units", "one_unit"] {
            let name = format!("replicas.{what}");
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                words(what),
                self.cell(&format!("{name}.1_replica")),
                self.cell(&format!("{name}.1_replica.p50")),
                self.cell(&format!("{name}.3_replicas")),
                self.cell(&format!("{name}.3_replicas.p50")),
                self.cell(&format!("{name}.ratio"))
            );
        }
        text
    }

    fn graph(&self) -> String {
        format!(
            "\n## Dependencies\n\n`opentaco-bench --only graph`: 1,000 units with 10,000 edges, on local disk.\n\n| | |\n|---|---|\n| Status of every unit, ms | {} |\n| Status of those in the graph, ms | {} |\n| A write whose outputs stay as they are, beside one without a graph | {} |\n| Commits of the graph for it | {} |\n| A write that changes an output of ten edges, ms | {} |\n| Commits of the graph for it | {} |\n",
            self.judged("graph.status.all"),
            self.cell("graph.status.dependent"),
            self.cell("graph.write.nothing_changes"),
            self.judged("graph.write.nothing_changes.commits"),
            self.cell("graph.write.output_changes"),
            self.judged("graph.write.output_changes.commits"),
        )
    }

    fn start(&self) -> String {
        format!(
            "\n## Start, and rest\n\n`opentaco-bench --only process` and `--only cli`: from the birth of a process, medians in ms; memory in MB.\n\n| | Start | Memory at rest |\n|---|---|---|\n| Service, memory | {} | {} |\n| Service, local disk | {} | {} |\n| Terraform provider, until its handshake | {} | |\n| `taco version` | {} | {} |\n",
            self.judged("start.memory.median"),
            self.judged("idle.memory.resident"),
            self.judged("start.local_disk_again.median"),
            self.judged("idle.local_disk_again.resident"),
            self.judged("start.provider.median"),
            self.judged("cli.start.median"),
            self.cell("cli.start.peak"),
        )
    }

    fn soak(&self) -> String {
        let Some(minutes) = self.value("soak.time") else {
            return String::new();
        };
        format!(
            "\n## Soak\n\n`opentaco-bench --only soak --minutes 60`: mixed load on local disk, one thing after the other, and the memory once a second. Among it are applies at the `http` and the S3 door, lists and histories, the audit, tokens made and revoked, S3 credentials, broken locks with refused writes, outputs that others take, edges of the graph, and states of 5 MB. The figure is how steep the line is that fits the second half best.\n\n| | |\n|---|---|\n| Minutes | {} |\n| Requests | {} |\n| Processor of the service, % of one | {} |\n| Resident before, MB | {} |\n| Resident at most, MB | {} |\n| Resident at most in the second half, MB | {} |\n| Rise over the second half, MB per hour | {} |\n",
            figure(minutes.round()),
            self.cell("soak.requests"),
            self.cell("soak.processor"),
            self.cell("soak.resident.before"),
            self.cell("soak.resident.highest"),
            self.cell("soak.resident.highest_in_second_half"),
            self.judged("soak.resident.slope"),
        )
    }
}

const HEAD: &str = r#"---
title: "Performance"
description: "What operations cost in requests, in time beside the raw store, in memory and in dollars; and the commands that measure it"
---

OpenTaco adds to a bucket what a bucket lacks, and this page tells what that takes. Requests are counted, and hold on any machine. Times are measured on one machine, which runs the service, its clients and the S3 server at once: take the ratios, and the differences between two columns of one table, and not the milliseconds.

`opentaco-bench` writes this page from figures that are kept in the repository, so what is changed here by hand is lost.

```text
cargo build --release --workspace --bins
target/release/opentaco-bench
```
"#;

/// Sizes as rows call them, and in megabytes.
const SIZES: [(&str, f64); 5] = [
    ("10kb", 0.01),
    ("1mb", 1.0),
    ("64mb", 64.0),
    ("250mb", 250.0),
    ("1gib", 1_073.741_824),
];

/// What is timed where there is more of something.
fn scaled(what: &str) -> [&'static str; 6] {
    let last = if what == "units" {
        "list_page"
    } else {
        "history_page"
    };
    ["lock", "read", "write", "unlock", "describe", last]
}

fn file_name(name: &str) -> String {
    format!("performance-{name}.svg")
}

/// `http.write_without_lock` for people.
fn words(name: &str) -> String {
    name.replace('.', ": ").replace('_', " ")
}

fn spelled(aim: &str) -> String {
    aim.replace("<=", "≤").replace(">=", "≥")
}

fn spelled_size(size: &str) -> &'static str {
    match size {
        "10kb" => "10 KB",
        "1mb" => "1 MB",
        "64mb" => "64 MB",
        "250mb" => "250 MB",
        _ => "1 GiB",
    }
}
