//! What befalls a run: pure data, made from a seed, printed for a person.

use std::fmt;
use std::time::Duration;

/// Everything that is decided about a run before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What it was made from.
    pub seed: u64,
    /// The scenario that the runner's double plays.
    pub story: &'static str,
    /// From listening to the job, where the story has no interval of its own.
    pub idle: Duration,
    /// How long the job takes, likewise.
    pub job: Duration,
    /// In an Auto Scaling group.
    pub in_group: bool,
    /// What is in the parameter.
    pub jit: Jit,
    /// What there is of Docker.
    pub docker: Docker,
    /// A small disk of its own for the state directory.
    pub disk: Disk,
    /// What becomes of the machine once its end was accepted.
    pub machine: Machine,
    /// What goes wrong, in the order of the drawing.
    pub faults: Vec<Fault>,
}

/// What the launcher does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jit {
    /// It is there before the agent is.
    Ready,
    /// It comes late.
    Late(Duration),
    /// It never comes.
    Never,
    /// Something else is there.
    Invalid,
}

/// What there is of Docker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Docker {
    /// Nobody asks.
    Off,
    /// There is no socket, and nobody needs it.
    Absent,
    /// The daemon does not answer, and nobody needs it.
    Hung,
    /// The daemon does not answer, and every job needs it.
    RequiredAndHung,
}

/// What the state directory is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The disk of this machine.
    Plain,
    /// A small one, which can be full.
    Small,
    /// A small one, which cannot be written at first.
    ReadOnly,
}

/// What EC2 does with a machine whose end it accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// It shuts it down after this time.
    Goes(Duration),
    /// Nothing, until the power is off.
    Stays,
    /// Nothing, and the power cannot be switched off either.
    StaysOn,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// When.
    pub when: When,
    /// What.
    pub what: What,
}

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the agent starts.
    AtStart,
    /// So long after its start.
    After(Duration),
    /// So long after it was first seen in a state.
    In(&'static str, Duration),
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Requests to the metadata service below a path go wrong, so many of them.
    Imds {
        /// From `/latest/` on.
        path: &'static str,
        /// As the double reads it.
        fault: &'static str,
        /// How many.
        times: u32,
    },
    /// The metadata service lets everything vanish for a while.
    ImdsSilent(Duration),
    /// The metadata service's port is closed for a while.
    ImdsRefuses(Duration),
    /// All session tokens are forgotten.
    ImdsForgetsTokens,
    /// Calls of an action go wrong, so many of them; of every action, if it is empty.
    Aws {
        /// Such as `GetParameter`.
        action: &'static str,
        /// As the double reads it.
        fault: &'static str,
        /// How many; for ever if absent.
        times: Option<u32>,
    },
    /// AWS lets everything vanish for a while.
    AwsSilent(Duration),
    /// `kill -9` of the agent; it is started again after a while.
    KillAgent {
        /// How long it is down.
        down: Duration,
        /// What happens meanwhile.
        between: Between,
    },
    /// SIGTERM to the agent.
    TermAgent,
    /// The agent stands still for a while, so no hook is answered.
    FreezeAgent {
        /// How long.
        time: Duration,
    },
    /// The listener stands still for a while.
    FreezeListener {
        /// How long.
        time: Duration,
    },
    /// `kill -9` of the listener.
    KillListener,
    /// `kill -9` of the worker.
    KillWorker,
    /// The hooks find no socket.
    NoHookSocket,
    /// What a job without rights writes and calls.
    Job(Mischief),
    /// A spot notice.
    Spot {
        /// `terminate`, `stop` or `hibernate`
        action: &'static str,
        /// When EC2 takes the machine, counted from the notice.
        lead: Duration,
    },
    /// A rebalance recommendation.
    Rebalance,
    /// Maintenance.
    Scheduled {
        /// When it begins, counted from the notice.
        lead: Duration,
    },
    /// The group wants the instance gone.
    GroupTerminates,
    /// What the group wants is told only after this time, and the group's name not at all.
    LateGroup(Duration),
    /// The group wants the instance in its warm pool, and tells so only after this time.
    WarmPool(Duration),
    /// The pool stops the instance: SIGTERM, and later another boot, in which it is wanted after a while. Needs
    /// [`What::WarmPool`].
    PoolStop {
        /// How long it is off.
        down: Duration,
        /// How long after the stop it is wanted.
        wanted: Duration,
    },
    /// All notices vanish.
    NoticesVanish,
    /// `mayfly drain`, with `--now` or without.
    Drain {
        /// With it.
        now: bool,
    },
    /// `mayfly hold`
    Hold {
        /// How long.
        time: Duration,
    },
    /// `mayfly release`
    Release,
    /// The state directory's disk is full for a while. Needs [`Disk::Small`].
    DiskFull {
        /// How long.
        time: Duration,
    },
    /// The state directory's disk can be written again. Needs [`Disk::ReadOnly`].
    DiskWritable,
}

/// What a job without rights does to get more time, to make the agent large, or to be somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// Calls of its hook without end, each different.
    FloodHooks,
    /// Three million line breaks into each file that it can write.
    LineBreaks,
    /// One call of its hook that names another run, in the trace and to the socket.
    ForgeCall,
}

/// What happens while the agent is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Nothing.
    Nothing,
    /// The journal gets half a line at its end, as from a write that was cut off.
    HalfLine,
    /// The journal loses its last line.
    LineLost,
    /// The journal gets a line in its middle that is none.
    Garbage,
    /// systemd keeps the runner, as far as the next agents know, and answers nothing for a while.
    SilentBus,
    /// The machine boots anew: every process is gone, and the boot has another id.
    Reboot,
}

impl What {
    /// Its name in the histogram.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Imds { .. } => "imds-fault",
            Self::ImdsSilent(_) => "imds-silent",
            Self::ImdsRefuses(_) => "imds-refuses",
            Self::ImdsForgetsTokens => "imds-forgets-tokens",
            Self::Aws { .. } => "aws-fault",
            Self::AwsSilent(_) => "aws-silent",
            Self::KillAgent { between: Between::Nothing, .. } => "agent-killed",
            Self::KillAgent { between: Between::HalfLine, .. } => "agent-killed+half-line",
            Self::KillAgent { between: Between::LineLost, .. } => "agent-killed+line-lost",
            Self::KillAgent { between: Between::Garbage, .. } => "agent-killed+garbage",
            Self::KillAgent { between: Between::SilentBus, .. } => "agent-killed+silent-bus",
            Self::KillAgent { between: Between::Reboot, .. } => "reboot",
            Self::TermAgent => "agent-sigterm",
            Self::FreezeAgent { .. } => "agent-frozen",
            Self::FreezeListener { .. } => "listener-frozen",
            Self::KillListener => "listener-killed",
            Self::KillWorker => "worker-killed",
            Self::NoHookSocket => "no-hook-socket",
            Self::Job(Mischief::FloodHooks) => "job-floods-hooks",
            Self::Job(Mischief::LineBreaks) => "job-writes-line-breaks",
            Self::Job(Mischief::ForgeCall) => "job-forges-call",
            Self::Spot { .. } => "spot-notice",
            Self::Rebalance => "rebalance-notice",
            Self::Scheduled { .. } => "scheduled-notice",
            Self::GroupTerminates => "group-terminates",
            Self::LateGroup(_) => "group-told-late",
            Self::WarmPool(_) => "warm-pool",
            Self::PoolStop { .. } => "pool-stop",
            Self::NoticesVanish => "notices-vanish",
            Self::Drain { now: false } => "drain",
            Self::Drain { now: true } => "drain-now",
            Self::Hold { .. } => "hold",
            Self::Release => "release",
            Self::DiskFull { .. } => "disk-full",
            Self::DiskWritable => "disk-read-only",
        }
    }
}

impl Plan {
    /// What happens of this kind, as planned.
    pub fn plans(&self, is: impl Fn(&What) -> bool) -> bool {
        self.faults.iter().any(|fault| is(&fault.what))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtStart => f.write_str("at the start"),
            Self::After(time) => write!(f, "after {time:?}"),
            Self::In(state, time) => write!(f, "{time:?} into {state}"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, story, idle, job, in_group, jit, docker, disk, machine, faults } = self;
        writeln!(f, "seed {seed}: the runner plays {story:?} (idle {idle:?}, job {job:?})")?;
        writeln!(
            f,
            "  in a group: {in_group}; JIT configuration: {jit:?}; Docker: {docker:?}; disk: {disk:?}; machine: {machine:?}"
        )?;
        for Fault { when, what } in faults {
            writeln!(f, "  {when}: {what:?}")?;
        }
        Ok(())
    }
}
