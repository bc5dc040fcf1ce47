//! What comes in: signals, answers, lists, and the passing of time.

use super::signal::{JobSignal, JobView, RunId};
use super::{JobId, Moment, Scope};

/// What kind of failure it is, which decides what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// It will fail every time: denied, not there, a wrong parameter.
    Permanent,
    /// There is none of it at the moment; elsewhere there may be.
    Capacity,
    /// Too many calls; it was not carried out.
    Throttled,
    /// The name is taken.
    Taken,
    /// Nobody knows whether it was carried out: no answer, an answer that cannot be read, a server's error.
    Unclear,
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// What kind of failure it is.
    pub kind: ProblemKind,
    /// What the service said, in one sentence; never secret.
    pub message: String,
    /// When the service wants to be asked again.
    pub retry_at: Option<Moment>,
}

impl Problem {
    /// A failure of which nothing else is known.
    #[must_use]
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_at: None }
    }
}

/// Where an instance is, in EC2's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    /// It is being made.
    Pending,
    /// It runs.
    Running,
    /// It is on its way out, or stopped.
    Ending,
    /// It is gone.
    Terminated,
}

/// What a list says of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstanceView {
    /// Its id.
    pub id: String,
    /// The class, by its tag.
    pub class: String,
    /// The label key, by its tag.
    pub labels: String,
    /// The repository, by its tag.
    pub repository: String,
    /// The jobs that it was launched for, by its tag.
    pub jobs: Vec<JobId>,
    /// When it was launched.
    pub launched_at: Moment,
    /// Where it is.
    pub state: InstanceState,
    /// What its agent says it does, by its tag.
    pub phase: Option<String>,
    /// How its agent says it ended, by its tag.
    pub outcome: Option<String>,
}

/// What a list says of one runner record of GitHub.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunnerView {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Whether it is connected.
    pub online: bool,
    /// Whether it has a job.
    pub busy: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// GitHub says something of a job.
    Signal {
        /// What.
        signal: JobSignal,
        /// Whether it tells it as it happens; `false` for what was found later, of which another process may know.
        live: bool,
    },
    /// A launch was answered: instances, and what could not be had.
    Launched {
        /// Its client token.
        token: String,
        /// The instances that it made.
        instances: Vec<String>,
        /// Why there are no more.
        problems: Vec<Problem>,
    },
    /// A launch failed as a whole.
    LaunchFailed {
        /// Its client token.
        token: String,
        /// Why.
        problem: Problem,
    },
    /// A JIT configuration was made; the shell keeps it until it is stored.
    Minted {
        /// For this instance.
        instance: String,
        /// The runner record's id.
        runner: u64,
        /// How long the JIT configuration is, in bytes.
        length: usize,
    },
    /// A JIT configuration was not made.
    MintFailed {
        /// For this instance.
        instance: String,
        /// Why.
        problem: Problem,
    },
    /// A JIT configuration can be read by its instance.
    Stored {
        /// The instance.
        instance: String,
    },
    /// A JIT configuration was not stored.
    StoreFailed {
        /// For this instance.
        instance: String,
        /// Why.
        problem: Problem,
    },
    /// EC2 ends an instance.
    Terminated {
        /// The instance.
        instance: String,
    },
    /// EC2 did not take the request to end an instance.
    TerminateFailed {
        /// The instance.
        instance: String,
        /// Why.
        problem: Problem,
    },
    /// A runner record is gone.
    RunnerDeleted {
        /// Its id.
        runner: u64,
    },
    /// A runner record could not be removed.
    RunnerKept {
        /// Its id.
        runner: u64,
        /// Why.
        problem: Problem,
    },
    /// An instance's parameter is gone.
    ParameterDeleted {
        /// The instance.
        instance: String,
    },
    /// An instance's parameter could not be removed.
    ParameterKept {
        /// The instance.
        instance: String,
        /// Why.
        problem: Problem,
    },
    /// What GitHub says of a run's jobs; all of them.
    RunLooked {
        /// The run.
        run: RunId,
        /// Its jobs.
        jobs: Vec<JobView>,
    },
    /// GitHub did not say anything of a run.
    LookFailed {
        /// The run.
        run: RunId,
        /// Why.
        problem: Problem,
    },
    /// What becomes of a job was told on GitHub.
    Told {
        /// The job.
        job: JobId,
    },
    /// It could not be told.
    TellFailed {
        /// The job.
        job: JobId,
        /// Why.
        problem: Problem,
    },
    /// All instances of this launcher, the ended ones of the last hour too.
    Instances {
        /// When it was asked for.
        asked_at: Moment,
        /// All pages.
        instances: Vec<InstanceView>,
    },
    /// All runner records of a scope.
    Runners {
        /// When it was asked for.
        asked_at: Moment,
        /// Whose.
        scope: Scope,
        /// All pages.
        runners: Vec<RunnerView>,
    },
    /// The instances for which there are parameters.
    Parameters {
        /// All pages.
        instances: Vec<String>,
    },
    /// How many JIT configurations GitHub still makes for an App, and until when.
    JitRoom {
        /// The App.
        app: usize,
        /// `x-ratelimit-remaining`
        remaining: u32,
        /// `x-ratelimit-reset`
        reset_at: Moment,
    },
    /// Time has passed.
    Tick,
}
