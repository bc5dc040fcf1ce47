//! A run as a picture: what a record has, in the order and the words in which people look at it.
//!
//! Pure: from a [`Record`] to rows, figures and facts. The agent draws them, in a terminal and in HTML. A record may come from
//! anywhere, and names in it are a workflow's: everything here is bounded and has no control characters.

mod summary;
mod words;

use serde::Serialize;

use crate::lifecycle::{JobInfo, Outcome};
use crate::record::{Record, Series, StartupStep, StepName, StreamCounts};
pub use words::{bytes, clean, span};

/// No more rows, remarks or facts of one kind are shown.
const MOST: usize = 64;

/// What a row is about, and so its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// EC2, kernel and systemd.
    Machine,
    /// Waiting for somebody else.
    Waiting,
    /// The agent and GitHub's runner.
    Runner,
    /// The job.
    Job,
    /// The end.
    Ending,
}

/// A row of the waterfall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it is called.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// When it began, in milliseconds since the kernel started.
    pub began_ms: Option<i64>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// What else there is to say: when it began, or why its time is not known.
    pub note: String,
}

/// Rows on one axis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Chart {
    /// Where the axis begins, in milliseconds since the kernel started.
    pub from_ms: i64,
    /// Where it ends.
    pub to_ms: i64,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A figure over time, on the axis of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// What it is of.
    pub name: &'static str,
    /// Its lines: each a name and its values.
    pub lines: Vec<(&'static str, Vec<Option<u64>>)>,
    /// The top of its scale.
    pub top: u64,
    /// The most, for people.
    pub most: String,
}

/// A run as a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// The job's name, or that there was none.
    pub title: String,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What that means, and more about it, a sentence each.
    pub story: Vec<String>,
    /// Name and value.
    pub facts: Vec<(&'static str, String)>,
    /// What happened to the machine meanwhile: notices and warnings.
    pub remarks: Vec<String>,
    /// The start-up.
    pub startup: Chart,
    /// The phases of the run.
    pub run: Chart,
    /// When the figures' first interval began, and how long each is, in milliseconds.
    pub figures_from_ms: i64,
    /// See there.
    pub interval_ms: u64,
    /// The machine over time.
    pub figures: Vec<Figure>,
    /// What was shipped of each log, a line each.
    pub logs: Vec<String>,
}

impl Chart {
    fn of(rows: Vec<Row>) -> Self {
        let ends = |row: &Row| {
            // One whose length is not known has no bar: the axis need not have room for it.
            let (began, took) = (row.began_ms?, i64::try_from(row.duration_ms?).unwrap_or(i64::MAX));
            Some((began, began.saturating_add(took)))
        };
        let known: Vec<_> = rows.iter().filter_map(ends).collect();
        let from_ms = known.iter().map(|(began, _)| *began).min().unwrap_or(0);
        let to_ms = known.iter().map(|(_, ended)| *ended).max().unwrap_or(0);
        Self { from_ms, to_ms, rows }
    }

    /// How long all of it took.
    #[must_use]
    pub fn total_ms(&self) -> u64 {
        u64::try_from(self.to_ms.saturating_sub(self.from_ms)).unwrap_or(0)
    }

    /// Where a moment is on the axis, from 0 to 1.
    #[must_use]
    pub fn place(&self, moment: i64) -> f64 {
        let total = self.total_ms().max(1);
        #[expect(clippy::cast_precision_loss, reason = "a picture has fewer pixels than that")]
        let share = moment.saturating_sub(self.from_ms) as f64 / total as f64;
        share.clamp(0.0, 1.0)
    }

    /// Where a row begins and ends on the axis; nothing, where its time is not known.
    #[must_use]
    pub fn bar(&self, row: &Row) -> Option<(f64, f64)> {
        let (began, took) = (row.began_ms?, i64::try_from(row.duration_ms?).unwrap_or(i64::MAX));
        Some((self.place(began), self.place(began.saturating_add(took))))
    }
}

impl Timeline {
    /// The picture of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let end = record.end.as_ref();
        let job_name = end.and_then(|end| end.job_name.as_deref()).map(clean);
        let story = end.map_or_else(
            || vec!["The run goes on.".to_owned()],
            |end| {
                let detail = Some(clean(&end.detail)).filter(|detail| !detail.is_empty());
                let advice = (end.outcome != Outcome::JobSucceeded).then(|| end.outcome.advice().to_owned());
                [Some(end.outcome.meaning().to_owned()), detail, advice].into_iter().flatten().collect()
            },
        );
        let series = record.series.as_ref();
        Self {
            title: job_name.unwrap_or_else(|| "no job".to_owned()),
            outcome: end.map(|end| end.outcome),
            story,
            facts: facts(record),
            remarks: remarks(record),
            startup: Chart::of(record.startup.iter().take(MOST).map(startup_row).collect()),
            run: Chart::of(run_rows(record)),
            figures_from_ms: series.map_or(0, |series| i64::try_from(series.began.0).unwrap_or(i64::MAX)),
            interval_ms: series.map_or(0, |series| series.interval_ms),
            figures: series.map(figures).unwrap_or_default(),
            logs: record.logs.iter().take(MOST).map(log_line).collect(),
        }
    }
}

/// Of the steps of the start-up so many are named in [`Timeline::brief`]: the longest.
const NAMED: usize = 4;

impl Timeline {
    /// The same figures in a few lines, for a job's log. Nothing in them is the job's own word.
    #[must_use]
    pub fn brief(&self) -> Vec<String> {
        let mut steps: Vec<_> =
            self.startup.rows.iter().filter_map(|row| Some((row.duration_ms?, row.name.as_str()))).collect();
        steps.retain(|(took, _)| *took > 0);
        steps.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
        let named = steps.iter().take(NAMED).map(|(took, name)| format!("{name} {}", span(*took)));
        let named = named.collect::<Vec<_>>().join(", ");
        let startup = (!steps.is_empty()).then(|| format!("start-up {}: {named}", span(self.startup.total_ms())));
        let machine =
            self.facts.iter().find(|(name, _)| *name == "machine").map(|(_, value)| format!("machine {value}"));
        let figures = self.figures.iter().map(|figure| format!("{} {}", figure.name, figure.most));
        let figures = Some(figures.collect::<Vec<_>>().join(", ")).filter(|figures| !figures.is_empty());
        [machine, startup, figures].into_iter().flatten().collect()
    }
}

fn startup_row(step: &StartupStep) -> Row {
    let (name, kind) = match step.step {
        StepName::Launch => ("EC2 launch", Kind::Machine),
        StepName::Kernel => ("kernel", Kind::Machine),
        StepName::Initramfs => ("initramfs", Kind::Machine),
        StepName::Systemd => ("systemd", Kind::Machine),
        StepName::CloudInit => ("cloud-init", Kind::Machine),
        StepName::Identity => ("identity", Kind::Runner),
        StepName::JitConfig => ("JIT configuration", Kind::Waiting),
        StepName::RunnerStart => ("runner start", Kind::Runner),
        StepName::Session => ("session", Kind::Runner),
        StepName::Listening => ("listening", Kind::Runner),
        StepName::JobMessage => ("job message", Kind::Waiting),
        StepName::Worker => ("worker", Kind::Job),
        StepName::FirstStep => ("first step", Kind::Job),
    };
    let note = step.unknown_why.as_deref().or(step.began_at.as_deref()).map(clean).unwrap_or_default();
    Row { name: name.to_owned(), kind, began_ms: step.began_ms, duration_ms: step.duration_ms, note }
}

fn run_rows(record: &Record) -> Vec<Row> {
    let kind = |name: &str| match name {
        "Warm" | "WaitingForJitConfig" | "Idle" => Kind::Waiting,
        "Assigned" | "Busy" => Kind::Job,
        "Finishing" | "Draining" | "Closing" | "Held" | "Terminating" | "Ended" => Kind::Ending,
        _ => Kind::Runner,
    };
    // A record of an earlier version has no durations.
    let next = record.phases.iter().skip(1).map(|next| Some(next.at)).chain([None]);
    let row = |(phase, next): (&crate::record::PhaseTime, Option<crate::lifecycle::Time>)| Row {
        name: clean(&phase.phase),
        kind: kind(&phase.phase),
        began_ms: i64::try_from(phase.at.0).ok(),
        duration_ms: phase.duration_ms.or_else(|| Some(next?.0.saturating_sub(phase.at.0))),
        note: match (&phase.entered_at, next) {
            (Some(at), _) => clean(at),
            (None, Some(_)) => String::new(),
            (None, None) => "it lasts, or nothing tells how long it did".to_owned(),
        },
    };
    // The last phase of a run that is over has no length.
    let shown = |(phase, _): &(&crate::record::PhaseTime, Option<crate::lifecycle::Time>)| phase.phase != "Ended";
    record.phases.iter().zip(next).filter(shown).take(MOST).map(row).collect()
}

fn figures(series: &Series) -> Vec<Figure> {
    let list = |list: &[Option<u64>]| list.iter().take(4 * crate::record::POINTS).copied().collect::<Vec<_>>();
    let most = |lists: &[&[Option<u64>]]| lists.iter().flat_map(|list| list.iter().flatten()).max().copied();
    let rate = |kib: u64| format!("{}/s", bytes(kib.saturating_mul(1024)));
    let mut figures = Vec::new();
    if let Some(top) = most(&[&series.cpu_percent]) {
        let lines = vec![("CPU", list(&series.cpu_percent))];
        figures.push(Figure { name: "CPU", lines, top: 100, most: format!("at most {top} %") });
    }
    if let Some(top) = most(&[&series.memory_mib]) {
        let mib = |mib: u64| bytes(mib.saturating_mul(1 << 20));
        let all = series.memory_total_mib.filter(|all| *all >= top);
        let of = all.map(|all| format!(" of {}", mib(all))).unwrap_or_default();
        let lines = vec![("memory", list(&series.memory_mib))];
        let most = format!("at most {}{of}", mib(top));
        figures.push(Figure { name: "memory", lines, top: all.unwrap_or(top).max(1), most });
    }
    let pairs = [
        ("disk", [("read", &series.disk_read_kib_s), ("written", &series.disk_written_kib_s)]),
        ("network", [("received", &series.network_received_kib_s), ("sent", &series.network_sent_kib_s)]),
    ];
    for (name, [(first_name, first), (second_name, second)]) in pairs {
        if let Some(top) = most(&[first, second]) {
            let lines = vec![(first_name, list(first)), (second_name, list(second))];
            figures.push(Figure { name, lines, top: top.max(1), most: format!("at most {}", rate(top)) });
        }
    }
    figures
}

fn facts(record: &Record) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let mut fact = |name: &'static str, value: Option<String>| {
        facts.extend(value.filter(|value| !value.is_empty()).map(|value| (name, clean(&value))));
    };
    if let Some(JobInfo { repository, run_id, run_attempt, workflow, .. }) =
        record.end.as_ref().and_then(|end| end.job.as_ref())
    {
        fact("repository", Some(repository.clone()));
        fact("workflow", Some(workflow.clone()));
        let attempt = if run_attempt.is_empty() { String::new() } else { format!(", attempt {run_attempt}") };
        fact("run", Some(format!("{run_id}{attempt}")).filter(|_| !run_id.is_empty()));
    }
    fact("instance", Some(record.instance.clone()));
    if let Some(machine) = &record.machine {
        let zone = machine.zone.as_ref().map(|zone| format!("in {zone}"));
        let words = [machine.instance_type.clone(), machine.purchase.clone(), zone];
        fact("machine", Some(words.into_iter().flatten().collect::<Vec<_>>().join(", ")));
        fact("image", machine.image.clone());
    }
    fact("began", Some(record.started_at.clone()));
    fact("ended", record.ended_at.clone());
    if let Some(usage) = &record.usage {
        fact("CPU time", usage.cpu_ms.map(span));
        fact("memory peak", usage.memory_peak_bytes.map(bytes));
        fact("killed for memory", usage.oom_kills.filter(|kills| *kills > 0).map(|kills| format!("{kills} processes")));
        let both = |one: Option<u64>, of: &str, other: Option<u64>, and: &str| {
            let words =
                [one.map(|one| format!("{} {of}", bytes(one))), other.map(|other| format!("{} {and}", bytes(other)))];
            Some(words.into_iter().flatten().collect::<Vec<_>>().join(", "))
        };
        fact("disk", both(usage.disk_read_bytes, "read", usage.disk_written_bytes, "written"));
        fact("network", both(usage.network_received_bytes, "received", usage.network_sent_bytes, "sent"));
    }
    for disk in record.host.iter().flat_map(|host| &host.disks).take(4) {
        let path = disk.path.display();
        fact(
            "disk space",
            Some(format!("{} written, at least {} free: {path}", bytes(disk.grown_bytes), bytes(disk.free_bytes))),
        );
    }
    fact("runner", record.runner_version.clone());
    fact("agent", Some(record.version.clone()).map(|version| format!("mayfly {version}")));
    facts
}

fn remarks(record: &Record) -> Vec<String> {
    let notices = record.notices.iter().map(|seen| {
        let due = seen.due_at.as_deref().map(|due| format!(", due at {due}")).unwrap_or_default();
        let gone = seen.withdrawn_at.as_deref().map(|at| format!(", withdrawn at {at}")).unwrap_or_default();
        clean(&format!("{} announced at {}{due}{gone}", seen.notice, seen.seen_at))
    });
    let warnings = record.host.iter().flat_map(|host| &host.warnings);
    let warnings = warnings.map(|warning| clean(&format!("{} ({})", warning.text, warning.at)));
    let refused = record.terminations.iter().filter_map(|tried| {
        Some(clean(&format!("the termination by {:?} was refused: {}", tried.method, tried.refused.as_ref()?)))
    });
    let restarted =
        record.agent_restarted.then(|| "an earlier agent process of this run ended before its time".to_owned());
    notices.chain(warnings).chain(refused).chain(restarted).take(MOST).collect()
}

/// What became of the lines of a stream.
fn log_line(counts: &StreamCounts) -> String {
    let StreamCounts { stream, read, confirmed, lost, why } = counts;
    let why: Vec<_> = why.iter().map(|(reason, lines)| format!("{lines} because {}", reason.meaning())).collect();
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(", ")) };
    clean(&format!("{stream}: {read} lines read, {confirmed} confirmed, {lost} lost{why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lifecycle::{End, Time};
    use crate::record::{Facts, LossReason, PhaseTime};

    fn record() -> Record {
        let phase =
            |(phase, at): (&str, u64)| PhaseTime { phase: phase.to_owned(), at: Time(at), ..PhaseTime::default() };
        let phases =
            [("Booting", 9_000), ("Starting", 10_000), ("Busy", 12_000), ("Closing", 22_000), ("Ended", 23_000)];
        let mut record = Record { phases: phases.map(phase).to_vec(), ..Record::default() };
        record.explain_startup(&Facts::unknown("nobody was asked"));
        let axis = Timeline::of(&record).startup.from_ms;
        assert_eq!(axis, 9_000, "an axis that begins with the kernel, of which nothing is known");
        record.explain_startup(&Facts { launched: Ok(-8_000), ..Facts::unknown("nobody was asked") });
        record.end =
            Some(End { job_name: Some("a\u{1b}[31m\nb".to_owned()), ..End::without_runner(Outcome::JobFailed, "") });
        record
    }

    #[test]
    fn a_bar_is_where_its_time_is_and_what_is_not_known_has_none() {
        let timeline = Timeline::of(&record());
        let Chart { from_ms, to_ms, rows } = &timeline.run;
        assert_eq!((*from_ms, *to_ms, rows.len()), (9_000, 23_000, 4));
        let (from, to) = timeline.run.bar(&rows[2]).unwrap();
        assert!((from - 3.0 / 14.0).abs() < 1e-9 && (to - 13.0 / 14.0).abs() < 1e-9, "{from} {to}");
        assert_eq!(timeline.startup.from_ms, -8_000);
        assert_eq!(timeline.brief(), ["start-up 20.0 s: EC2 launch 8.0 s, identity 1.0 s"]);
        let kernel = timeline.startup.rows.iter().find(|row| row.name == "kernel").unwrap();
        assert_eq!((timeline.startup.bar(kernel), kernel.note.as_str()), (None, "nobody was asked"));
    }

    #[test]
    fn whatever_a_record_holds_its_picture_is_bounded_and_has_no_control_characters() {
        let mut record = record();
        record.phases = vec![PhaseTime { at: Time(u64::MAX), ..PhaseTime::default() }; 10_000];
        record.series = Some(Series {
            cpu_percent: vec![Some(u64::MAX); 100_000],
            network_sent_kib_s: vec![Some(u64::MAX)],
            ..Series::default()
        });
        let mut worker =
            StreamCounts { stream: "worker\u{7}".to_owned(), read: 5, confirmed: 2, ..StreamCounts::default() };
        worker.lose(LossReason::Overrun, 3);
        record.logs = vec![worker; 10_000];
        let timeline = Timeline::of(&record);
        assert_eq!(timeline.run.rows.len(), MOST);
        let text = serde_json::to_string(&timeline).unwrap();
        assert!(text.len() < 64 * 1024 && !text.contains("\\u001b"), "{} bytes", text.len());
        assert_eq!(timeline.title, "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(
            timeline.logs[0],
            "worker\u{fffd}: 5 lines read, 2 confirmed, 3 lost: 3 because they came faster than the sink took them"
        );
    }
}
