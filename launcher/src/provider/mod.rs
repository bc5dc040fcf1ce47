//! Where instances come from: EC2, or this machine.

mod aws;
mod ec2;
mod local;
mod ssm;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use mayfly_core::launcher::event::InstanceView;
use mayfly_core::launcher::{JobId, Moment, Problem, ProblemKind};
use secrecy::SecretString;

use crate::clock;
use crate::config::{Config, Launching, Provider};
pub use aws::Aws;
pub use local::Slots;

/// What is launched.
#[derive(Clone, Debug)]
pub struct Request {
    /// The client token.
    pub token: String,
    /// The class, by its place in the configuration.
    pub class: usize,
    /// Which of its ways to launch.
    pub candidate: u8,
    /// The labels as one text.
    pub labels: String,
    /// The repository of all jobs.
    pub repository: String,
    /// The jobs: one instance for each.
    pub jobs: Vec<JobId>,
    /// The ticket.
    pub ticket: String,
}

/// Where an instance is, and what its parameter is called.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    region: String,
    parameter: Option<String>,
    /// When it was last heard of.
    at: Moment,
}

/// How long the place of an instance is remembered that no list has: longer than lists lag.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// All of it.
#[derive(Debug)]
pub struct Providers {
    config: Config,
    aws: HashMap<String, Aws>,
    local: Slots,
    places: Mutex<HashMap<String, Place>>,
}

impl Providers {
    /// Clients for every region that a class names; nothing is asked yet.
    pub async fn new(config: &Config) -> Self {
        let mut aws = HashMap::new();
        for region in config.launching.iter().flat_map(regions) {
            if let std::collections::hash_map::Entry::Vacant(place) = aws.entry(region) {
                let client = Aws::new(place.key()).await;
                place.insert(client);
            }
        }
        Self { config: config.clone(), aws, local: Slots::default(), places: Mutex::default() }
    }

    fn region(&self, region: &str) -> Result<&Aws, Problem> {
        self.aws
            .get(region)
            .ok_or_else(|| Problem::new(ProblemKind::Permanent, format!("no class names the region {region}")))
    }

    fn launching(&self, class: usize) -> Result<&Launching, Problem> {
        let missing = || Problem::new(ProblemKind::Permanent, "there is no such class");
        self.config.launching.get(class).ok_or_else(missing)
    }

    fn place(&self, instance: &str) -> Option<Place> {
        self.places.lock().ok()?.get(instance).cloned()
    }

    fn keep(&self, instance: &str, region: String, parameter: Option<String>) {
        if let Ok(mut places) = self.places.lock() {
            places.insert(instance.to_owned(), Place { region, parameter, at: clock::now() });
        }
    }

    /// Launches; the same request under the same token gives the same instances.
    ///
    /// # Errors
    /// No instance was made, or nobody knows.
    pub async fn launch(&self, request: &Request) -> Result<(Vec<String>, Vec<Problem>), Problem> {
        match &self.launching(request.class)?.provider {
            Provider::Local(_) => Ok((self.local.reserve(request), Vec::new())),
            Provider::Ec2(ec2) => {
                let way = ec2.ways.get(usize::from(request.candidate));
                let way = way.ok_or_else(|| Problem::new(ProblemKind::Permanent, "there is no such way to launch"))?;
                let name = self.config.settings.classes.get(request.class).map_or("", |class| class.name.as_str());
                let made = ec2::launch(self.region(&way.region)?, ec2, way, &self.config.name, name, request).await?;
                for id in &made.0 {
                    let parameter = Some(ssm::name(id, ec2.ticket.then_some(request.ticket.as_str())));
                    self.keep(id, way.region.clone(), parameter);
                }
                Ok(made)
            }
        }
    }

    /// Gives an instance its JIT configuration.
    ///
    /// # Errors
    /// It does not have it, or nobody knows.
    pub async fn store(
        &self,
        class: usize,
        instance: &str,
        advanced: bool,
        configuration: &SecretString,
    ) -> Result<(), Problem> {
        match &self.launching(class)?.provider {
            Provider::Local(local) => self.local.start(local, instance, configuration).await,
            Provider::Ec2(ec2) => {
                let unknown = || Problem::new(ProblemKind::Permanent, "its region is not known");
                let place = self.place(instance).ok_or_else(unknown)?;
                let name = place.parameter.ok_or_else(unknown)?;
                ssm::put(self.region(&place.region)?, &name, instance, advanced, ec2.kms_key.as_deref(), configuration)
                    .await
            }
        }
    }

    /// Ends an instance.
    ///
    /// # Errors
    /// EC2 did not take it, or nobody knows.
    pub async fn terminate(&self, instance: &str) -> Result<(), Problem> {
        match self.place(instance) {
            Some(place) => ec2::terminate(self.region(&place.region)?, instance).await,
            None => self.local.end(instance),
        }
    }

    /// Removes an instance's parameter; one that is not there is gone.
    ///
    /// # Errors
    /// It is still there, or nobody knows.
    pub async fn delete_parameter(&self, instance: &str) -> Result<(), Problem> {
        let Some(place) = self.place(instance) else { return Ok(()) };
        let Some(name) = place.parameter else { return Ok(()) };
        ssm::delete(self.region(&place.region)?, &name).await
    }

    /// All instances of this launcher, in all regions, and on this machine.
    ///
    /// # Errors
    /// One region did not answer: then nothing is known of all.
    pub async fn instances(&self) -> Result<Vec<InstanceView>, Problem> {
        let mut all = self.local.instances(&self.config);
        for (region, aws) in &self.aws {
            for view in ec2::list(aws, &self.config.name).await? {
                let parameter = self.place(&view.id).and_then(|place| place.parameter);
                self.keep(&view.id, region.clone(), parameter);
                all.push(view);
            }
        }
        if let Ok(mut places) = self.places.lock() {
            let now = clock::now();
            places.retain(|_, place| now.since(place.at) < REMEMBERED);
        }
        Ok(all)
    }

    /// The instances for which there are parameters.
    ///
    /// # Errors
    /// One region did not answer.
    pub async fn parameters(&self) -> Result<Vec<String>, Problem> {
        let mut all = Vec::new();
        for (region, aws) in &self.aws {
            for (instance, name) in ssm::list(aws).await? {
                self.keep(&instance, region.clone(), Some(name));
                all.push(instance);
            }
        }
        Ok(all)
    }

    /// What may be launched, asked for without launching: one line for each way of each class.
    pub async fn rehearse(&self) -> Vec<(String, Result<(), Problem>)> {
        let mut found = Vec::new();
        for (class, launching) in self.config.settings.classes.iter().zip(&self.config.launching) {
            match &launching.provider {
                Provider::Local(local) => {
                    found.push((format!("class {}: {}", class.name, local.mayfly.display()), local::check(local)))
                }
                Provider::Ec2(ec2) => {
                    for way in &ec2.ways {
                        let what = format!("class {}: launching in {}", class.name, way.region);
                        let answer = match self.region(&way.region) {
                            Ok(aws) => ec2::rehearse(aws, ec2, way).await,
                            Err(problem) => Err(problem),
                        };
                        found.push((what, answer));
                    }
                }
            }
        }
        for (region, aws) in &self.aws {
            found.push((format!("listing instances in {region}"), ec2::list(aws, &self.config.name).await.map(drop)));
            found.push((format!("listing parameters in {region}"), ssm::list(aws).await.map(drop)));
        }
        found
    }

    /// Whether jobs still run on this machine, and must be waited for.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.local.busy()
    }
}

fn regions(launching: &Launching) -> Vec<String> {
    match &launching.provider {
        Provider::Ec2(ec2) => ec2.ways.iter().map(|way| way.region.clone()).collect(),
        Provider::Local(_) => Vec::new(),
    }
}
