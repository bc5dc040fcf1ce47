//! What a scenario wants of its machine.

use mayfly_fake_aws::imds::Instance;

use crate::{Clouds, Disk, Machine, Result, snapshot};

/// How the machine starts, and what is around it. Start from [`Spec::new`].
#[derive(Debug, Clone)]
pub struct Spec {
    pub(crate) name: String,
    pub(crate) group: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) agent: String,
    pub(crate) user_data: Option<String>,
    pub(crate) kernel: String,
    pub(crate) drives: Vec<u64>,
    pub(crate) console_here: bool,
}

impl Spec {
    /// A machine of this kind: `debian-13` or `debian-12`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: None,
            tags: Vec::new(),
            agent: String::new(),
            user_data: None,
            kernel: String::new(),
            drives: Vec::new(),
            console_here: false,
        }
    }

    /// In an Auto Scaling group of this name.
    #[must_use]
    pub fn in_group(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// With an instance tag, as the metadata service shows it.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With these lines in `/etc/mayfly/agent.d/50-test.toml`.
    #[must_use]
    pub fn agent(mut self, lines: &str) -> Self {
        self.agent.push_str(lines);
        self
    }

    /// With user data of any kind, beside the test's own. Only a cold boot reads them.
    #[must_use]
    pub fn user_data(mut self, text: &str) -> Self {
        self.user_data = Some(text.to_owned());
        self
    }

    /// With more on the kernel's command line of a cold boot.
    #[must_use]
    pub fn kernel(mut self, arguments: &str) -> Self {
        self.kernel = arguments.to_owned();
        self
    }

    /// With one more disk of so many MiB, empty at first: `/dev/vdb` and so on. Only a cold boot has them.
    #[must_use]
    pub fn drive(mut self, mib: u64) -> Self {
        self.drives.push(mib);
        self
    }

    /// With the serial console in this terminal instead of in a file.
    #[must_use]
    pub fn console_here(mut self) -> Self {
        self.console_here = true;
        self
    }

    /// Boots it from a disk that never booted. Returns at once; see [`Machine::wait_until_booted`].
    ///
    /// # Errors
    /// The disk, a double or QEMU cannot be had.
    pub fn boot(&self) -> Result<Machine> {
        let disk = Disk::named(&self.name)?;
        let clouds = self.clouds()?;
        Machine::start(self, &disk, clouds, &disk.image(), None)
    }

    /// Goes on from the snapshot of a booted machine, with its Docker up and nothing of Mayfly started; the snapshot is made
    /// by the first that asks. Clock, configuration and cloud are this machine's own; user data are not read again.
    ///
    /// # Errors
    /// The snapshot, a double or QEMU cannot be had.
    pub fn restore(&self) -> Result<Machine> {
        let disk = Disk::named(&self.name)?;
        let snapshot = snapshot::of(&disk)?;
        let clouds = self.clouds()?;
        let mut machine = Machine::start(self, &disk, clouds, &snapshot.disk, Some(snapshot.state))?;
        machine.become_this_one(self)?;
        Ok(machine)
    }

    fn clouds(&self) -> Result<Clouds> {
        let clouds = Clouds::start(self.group.as_deref(), |instance: Instance| {
            self.tags.iter().fold(instance, |instance, (key, value)| instance.tag(key, value))
        })?;
        let files = crate::user_data::files(&clouds.environment(), &self.agent);
        clouds.imds.set("user-data", crate::user_data::document(&files, self.user_data.as_deref()));
        Ok(clouds)
    }
}
