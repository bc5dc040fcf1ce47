//! The machine over time: few enough points for a record, however long the run takes.

use serde::{Deserialize, Serialize};

use crate::lifecycle::Time;

/// A series has no more points. One that is full is thinned out to half of them, with twice the time between.
pub const POINTS: usize = 240;

/// The time between the first points. (240 of them are a minute; after 6 hours and a half it is 128 s.)
const FIRST_INTERVAL_MS: u64 = 250;

/// What the kernel has counted up to a moment. What it does not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The time of all CPUs, in ticks.
    pub cpu_ticks: Option<u64>,
    /// The same without the time in which they had nothing to do, or waited for a disk.
    pub cpu_busy_ticks: Option<u64>,
    /// Memory that is not available, right now.
    pub memory_used_bytes: Option<u64>,
    /// All memory.
    pub memory_total_bytes: Option<u64>,
    /// Read from disks.
    pub disk_read_bytes: Option<u64>,
    /// Written to disks.
    pub disk_written_bytes: Option<u64>,
    /// Received over all interfaces but the loopback.
    pub network_received_bytes: Option<u64>,
    /// Sent over them.
    pub network_sent_bytes: Option<u64>,
}

/// CPU, memory, disk and network of the whole machine over time. All lists have the same length; `null` is what the kernel
/// did not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Series {
    /// When the first interval began, in milliseconds since the kernel started.
    pub began: Time,
    /// The time between two points, in milliseconds.
    pub interval_ms: u64,
    /// All memory, in MiB.
    pub memory_total_mib: Option<u64>,
    /// The share of the time of all CPUs in which they worked.
    pub cpu_percent: Vec<Option<u64>>,
    /// The most memory that was not available, in MiB.
    pub memory_mib: Vec<Option<u64>>,
    /// Read from disks, in KiB a second.
    pub disk_read_kib_s: Vec<Option<u64>>,
    /// Written to disks, in KiB a second.
    pub disk_written_kib_s: Vec<Option<u64>>,
    /// Received over all interfaces but the loopback, in KiB a second.
    pub network_received_kib_s: Vec<Option<u64>>,
    /// Sent over them, in KiB a second.
    pub network_sent_kib_s: Vec<Option<u64>>,
}

/// Makes a [`Series`] of counters that are read again and again.
#[derive(Clone, Debug, Default)]
pub struct SeriesRecorder {
    series: Series,
    first: Option<Counters>,
    last: Option<(Time, Counters)>,
}

impl Series {
    /// How many points there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cpu_percent.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cpu_percent.is_empty()
    }

    fn rates(&mut self) -> [&mut Vec<Option<u64>>; 5] {
        [
            &mut self.cpu_percent,
            &mut self.disk_read_kib_s,
            &mut self.disk_written_kib_s,
            &mut self.network_received_kib_s,
            &mut self.network_sent_kib_s,
        ]
    }

    fn thin_out(&mut self) {
        self.interval_ms = self.interval_ms.saturating_mul(2);
        for list in self.rates() {
            *list = list.chunks(2).map(mean).collect();
        }
        self.memory_mib = self.memory_mib.chunks(2).map(|pair| pair.iter().flatten().max().copied()).collect();
    }
}

fn mean(pair: &[Option<u64>]) -> Option<u64> {
    let known: Vec<u64> = pair.iter().flatten().copied().collect();
    let sum = known.iter().fold(0_u64, |sum, one| sum.saturating_add(*one));
    (!known.is_empty()).then(|| sum / known.len() as u64)
}

impl SeriesRecorder {
    /// The series so far.
    #[must_use]
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// How long to wait for the next reading: one a point is enough.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        self.series.interval_ms.max(FIRST_INTERVAL_MS)
    }

    /// Bytes received and sent since the first reading.
    #[must_use]
    pub fn network_bytes(&self) -> (Option<u64>, Option<u64>) {
        let (Some(first), Some((_, last))) = (self.first, self.last) else { return (None, None) };
        let since = |from: Option<u64>, to: Option<u64>| to?.checked_sub(from?);
        (
            since(first.network_received_bytes, last.network_received_bytes),
            since(first.network_sent_bytes, last.network_sent_bytes),
        )
    }

    /// Takes a reading in. The first one begins the series; each later one tells of the time since the one before.
    pub fn note(&mut self, at: Time, now: Counters) {
        let Some((before_at, before)) = self.last.replace((at, now)) else {
            self.first = Some(now);
            self.series.began = at;
            self.series.interval_ms = FIRST_INTERVAL_MS;
            return;
        };
        let elapsed = at.0.saturating_sub(before_at.0);
        if elapsed == 0 {
            self.last = Some((before_at, before)); // too soon to tell anything
            return;
        }
        let a_second =
            |from: Option<u64>, to: Option<u64>| Some(to?.checked_sub(from?)?.saturating_mul(1000) / elapsed / 1024);
        let cpu = || {
            let all = now.cpu_ticks?.checked_sub(before.cpu_ticks?).filter(|all| *all > 0)?;
            let busy = now.cpu_busy_ticks?.checked_sub(before.cpu_busy_ticks?)?;
            Some((busy.saturating_mul(100) / all).min(100))
        };
        let rates = [
            cpu(),
            a_second(before.disk_read_bytes, now.disk_read_bytes),
            a_second(before.disk_written_bytes, now.disk_written_bytes),
            a_second(before.network_received_bytes, now.network_received_bytes),
            a_second(before.network_sent_bytes, now.network_sent_bytes),
        ];
        let memory = now.memory_used_bytes.map(|bytes| bytes >> 20);
        let series = &mut self.series;
        series.memory_total_mib = now.memory_total_bytes.map(|bytes| bytes >> 20).or(series.memory_total_mib);
        let since = at.0.saturating_sub(series.began.0).saturating_sub(1);
        while since / series.interval_ms >= POINTS as u64 {
            series.thin_out();
        }
        // The last interval that this reading tells of. It tells of all that no earlier one told of.
        let slot = usize::try_from(since / series.interval_ms).unwrap_or(POINTS - 1);
        if slot < series.len() {
            for (list, rate) in series.rates().into_iter().zip(rates) {
                if let Some(last) = list.last_mut() {
                    *last = mean(&[*last, rate]);
                }
            }
            if let Some(last) = series.memory_mib.last_mut() {
                *last = (*last).max(memory);
            }
            return;
        }
        for (list, rate) in series.rates().into_iter().zip(rates) {
            list.resize(slot + 1, rate);
        }
        series.memory_mib.resize(slot + 1, memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(ticks: u64, bytes: u64) -> Counters {
        Counters {
            cpu_ticks: Some(ticks),
            cpu_busy_ticks: Some(ticks / 2),
            memory_used_bytes: Some(bytes),
            disk_read_bytes: Some(bytes),
            network_sent_bytes: Some(bytes),
            ..Counters::default()
        }
    }

    #[test]
    fn a_series_has_rates_since_the_reading_before_and_null_where_the_kernel_tells_nothing() {
        let mut recorder = SeriesRecorder::default();
        recorder.note(Time(1_000), counters(0, 0));
        assert!(recorder.series().is_empty(), "one reading tells of no time");
        recorder.note(Time(1_250), counters(100, 512 << 10));
        recorder.note(Time(1_750), counters(200, 512 << 10));
        let series = recorder.series();
        assert_eq!(series.cpu_percent, [Some(50); 3], "two intervals are told of by one reading");
        assert_eq!(series.disk_read_kib_s, [Some(2048), Some(0), Some(0)]);
        assert_eq!(series.network_received_kib_s, [None; 3]);
        assert_eq!(recorder.network_bytes(), (None, Some(512 << 10)));
    }

    #[test]
    fn a_run_of_days_has_no_more_points_than_one_of_minutes() {
        let mut recorder = SeriesRecorder::default();
        let (mut at, mut readings) = (Time(5), 0_u64);
        while at.0 < 3 * 24 * 3600 * 1000 {
            recorder.note(at, counters(at.0, at.0 * 1024));
            at = Time(at.0 + recorder.interval_ms());
            readings += 1;
        }
        let series = recorder.series();
        assert!((POINTS / 2..=POINTS).contains(&series.len()), "{} points", series.len());
        assert!(readings < 3_000, "{readings} readings: a long run is looked at too often");
        assert!(series.cpu_percent.iter().all(|cpu| cpu.is_some_and(|cpu| (49..=50).contains(&cpu))), "{series:?}");
        assert!(series.disk_read_kib_s.iter().all(|rate| *rate == Some(1000)), "{series:?}");
        for list in [&series.memory_mib, &series.disk_written_kib_s, &series.network_received_kib_s] {
            assert_eq!(list.len(), series.len());
        }
    }

    #[test]
    fn a_clock_that_stands_still_or_leaps_and_a_counter_that_is_reset_do_no_harm() {
        let mut recorder = SeriesRecorder::default();
        recorder.note(Time(10), counters(1_000, 1_000));
        recorder.note(Time(10), counters(1_001, 1_001));
        recorder.note(Time(9), counters(1_002, 1_002));
        recorder.note(Time(300), counters(5, 5));
        assert_eq!(recorder.series().cpu_percent.last(), Some(&None));
        recorder.note(Time(u64::MAX), counters(u64::MAX, u64::MAX));
        assert!(recorder.series().len() <= POINTS);
    }
}
