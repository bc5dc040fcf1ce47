//! What was seen beside the run: for the record and the figures.

use std::time::UNIX_EPOCH;

use mayfly_core::host::Marks;
use mayfly_core::image::RunnerAge;
use mayfly_core::metrics::emf::Origin;
use mayfly_core::metrics::{INFO, RUNNER_NEWEST, Registry, flag};
use mayfly_core::record::{ImageMade, Record};

use super::Performer;
use crate::runner::installed::Installed;

impl Performer {
    /// Tells the record what was seen beside the run so far.
    pub(in crate::daemon) fn tell_record(&self, record: &mut Record) {
        record.host = Some(self.host.marks()).filter(|marks| *marks != Marks::default());
        record.image = self.image.as_ref().map(ImageMade::from);
        record.steps(self.steps());
        record.logs = self.logs.counts();
        let (series, (received, sent)) = self.host.series();
        record.series = series;
        if received.or(sent).is_some() {
            let usage = record.usage.get_or_insert_default();
            (usage.network_received_bytes, usage.network_sent_bytes) = (received, sent);
        }
        self.startup.tell(record);
    }

    /// How old the installed runner is, as far as that is known.
    pub(in crate::daemon) fn runner_age(&self) -> Option<RunnerAge> {
        let Installed { version, built } = &self.installed;
        RunnerAge::known(version.as_deref(), self.image.as_ref(), *built)
    }

    /// What is known here of the run's figures.
    pub(in crate::daemon) fn figures(&self, registry: &mut Registry) {
        let [class, instance_type, zone] = self.machine.kind();
        let runner = self.installed.version.as_deref().unwrap_or_default();
        let about = [env!("CARGO_PKG_VERSION"), &self.binding.instance, class, instance_type, zone, runner];
        registry.set_of(&INFO, &about, flag(true));
        if let Some(age) = self.runner_age() {
            let since = age.newest.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64().floor());
            registry.set_of(&RUNNER_NEWEST, &[&age.version, age.source.code()], since);
        }
        for counts in self.logs.counts() {
            registry.lines(&counts.stream, counts.read, counts.confirmed, counts.lost);
        }
        self.host.figures(registry);
        self.machine.figures(registry);
        if let Some(docker) = &self.docker {
            docker.figures(registry);
        }
    }

    /// Which machine the figures are of.
    pub(in crate::daemon) fn origin(&self) -> Origin<'_> {
        let [class, ..] = self.machine.kind();
        Origin { instance: &self.binding.instance, class }
    }
}
