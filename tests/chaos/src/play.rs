//! Carries a plan out: one agent's run on real processes, and everything that befalls it.

mod testify;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use mayfly_e2e::Bus;
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::Match;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::limits;
use crate::log::Tail;
use crate::mischief::{self, Flood};
use crate::plan::{Between, Fault, Jit, Machine, Plan, What, When};
use crate::witness::{End, Exit, Termination, Witness};
use crate::world::{World, maintenance};

/// How often the driver looks.
const INTERVAL: Duration = Duration::from_millis(4);

/// How long an agent may take to go with its machine before the power is gone.
const GOODBYE: Duration = Duration::from_secs(4);

/// How long systemd says nothing to an agent that was started again.
const SILENCE: Duration = Duration::from_millis(1500);

/// An agent that fails is started again after this, as systemd does, and so often.
const RESTART: Duration = Duration::from_millis(100);
const RESTARTS: usize = 3;

/// How long an operator's command may outlive its agent on a busy machine: it waits 2 s for an answer.
const OPERATOR_LATEST: Duration = Duration::from_secs(10);

/// Makes a run of this plan, and keeps what tells of it in `evidence` if `wanted` says so. Ends at once when `cut` is set.
#[must_use]
pub fn play(plan: &Plan, cut: &AtomicBool, evidence: &Path, wanted: impl FnOnce(&Witness) -> bool) -> Witness {
    let mut playing = Playing::new(plan);
    let end = playing.live(cut);
    let witness = playing.testify(end);
    if wanted(&witness) {
        playing.world.keep(evidence);
    }
    witness
}

struct Playing<'a> {
    plan: &'a Plan,
    world: World,
    bound: Duration,
    agent: Option<Child>,
    starts_at: Option<Duration>,
    pending: Vec<Fault>,
    /// What ends something that was begun, and when.
    after: Vec<(Duration, After)>,
    log: Tail,
    entered: BTreeMap<String, Duration>,
    states: Vec<(Duration, String)>,
    done: Vec<(Duration, What)>,
    undone: Vec<(What, String)>,
    agents: Vec<Duration>,
    exits: Vec<Exit>,
    goes_at: Option<Duration>,
    told_to_go: bool,
    operators: Vec<Child>,
    floods: Vec<Flood>,
    /// The pool is stopping the instance: how long it is off then, and when it is wanted.
    pool_stops: Option<(Duration, Duration)>,
}

enum After {
    Continue(i32),
    FreeDisk,
    PutParameter,
    /// systemd answers again.
    Speak,
    /// The group tells what it wants.
    Tell(&'static str),
}

impl<'a> Playing<'a> {
    fn new(plan: &'a Plan) -> Self {
        let world = World::new(plan);
        let log = Tail::new(world.log_path());
        Self {
            plan,
            bound: limits::bound(plan),
            agent: None,
            starts_at: Some(Duration::ZERO),
            pending: plan.faults.clone(),
            after: Vec::new(),
            log,
            entered: BTreeMap::new(),
            states: Vec::new(),
            done: Vec::new(),
            undone: Vec::new(),
            agents: Vec::new(),
            exits: Vec::new(),
            goes_at: None,
            told_to_go: false,
            operators: Vec::new(),
            floods: Vec::new(),
            pool_stops: None,
            world,
        }
    }

    fn now(&self) -> Duration {
        self.world.began.elapsed()
    }

    fn live(&mut self, cut: &AtomicBool) -> End {
        self.due_faults();
        match self.plan.jit {
            Jit::Ready | Jit::Invalid => {}
            Jit::Never => self.world.no_parameter_yet(),
            Jit::Late(time) => {
                self.world.no_parameter_yet();
                self.after.push((time, After::PutParameter));
            }
        }
        loop {
            let now = self.now();
            if let Some(end) = self.look_at_agent(now) {
                return end;
            }
            self.read_log(now);
            self.due_faults();
            self.due_afters(now);
            if let Some(end) = self.machine(now) {
                return end;
            }
            if now > self.bound {
                return End::Hung;
            }
            if cut.load(Ordering::Relaxed) {
                return End::Cut;
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// Starts an agent when it is time, and sees how one ended.
    fn look_at_agent(&mut self, now: Duration) -> Option<End> {
        if self.starts_at.is_some_and(|at| at <= now) {
            self.starts_at = None;
            self.agents.push(now);
            self.agent = Some(self.world.start_agent());
        }
        let status = self.agent.as_mut()?.try_wait().unwrap()?;
        self.agent = None;
        let ran = now.saturating_sub(self.agents.last().copied().unwrap_or_default());
        self.exits.push(Exit { code: status.code(), signal: status.signal(), ran });
        self.read_log(now);
        // Also before it said of any state that it is in it.
        let left = status.success() && self.states.last().is_none_or(|(_, state)| state != "Ended");
        // A process that cannot catch SIGTERM yet is stopped by it, too.
        let stopped = left || status.signal() == Some(Signal::SIGTERM as i32);
        if let Some((down, _)) = self.pool_stops.filter(|_| stopped) {
            self.world.between(Between::Reboot);
            self.starts_at = Some(now + down);
            self.pool_is_over(now);
            return None;
        }
        // One that ends in the middle of a run is started again, whatever it ended with, as systemd does.
        if !left && (status.success() || self.told_to_go || self.exits.len() > RESTARTS) {
            return Some(End::Gone);
        }
        self.starts_at = Some(now + RESTART);
        None
    }

    /// Whether or not the pool came to stop the instance: it is wanted after a while.
    fn pool_is_over(&mut self, now: Duration) {
        if let Some((_, wanted)) = self.pool_stops.take() {
            self.after.push((now + wanted, After::Tell("InService")));
        }
    }

    fn in_pool(&self) -> bool {
        self.states.last().is_some_and(|(_, state)| state == "Warm")
    }

    /// Nothing is told of the group; what it wants is told after this time.
    fn tell_late(&mut self, time: Duration, wanted: &'static str) {
        self.world.imds.remove("meta-data/autoscaling");
        self.world.imds.remove("meta-data/tags");
        let at = self.now() + time;
        self.after.push((at, After::Tell(wanted)));
    }

    fn read_log(&mut self, now: Duration) {
        for state in self.log.states() {
            self.entered.entry(state.clone()).or_insert(now);
            self.states.push((now, state));
        }
    }

    /// EC2's side of the end.
    fn machine(&mut self, now: Duration) -> Option<End> {
        if self.goes_at.is_none() && self.entered.contains_key("Terminating") {
            let carried_out = |lost: &Termination| lost.accepted;
            let power = self.world.power_log().exists();
            let asked = self.terminations().iter().any(carried_out);
            self.goes_at = match self.plan.machine {
                Machine::Goes(time) if asked => Some(now + time),
                Machine::Goes(_) | Machine::Stays if power => Some(now + Duration::from_millis(20)),
                _ => None,
            };
        }
        let goes_at = self.goes_at.filter(|at| *at <= now)?;
        let Some(agent) = &self.agent else { return Some(End::Gone) };
        if !self.told_to_go {
            self.told_to_go = true;
            // The machine goes down by its systemd, which can say so.
            if let Some(bus) = &self.world.bus {
                bus.speak();
                bus.shut_down();
            }
            signal(agent.id(), Signal::SIGTERM);
        }
        (now > goes_at + GOODBYE).then_some(End::Clung)
    }

    fn due_faults(&mut self) {
        let mut waiting = Vec::new();
        for fault in std::mem::take(&mut self.pending) {
            let now = self.now();
            let due = match fault.when {
                When::AtStart => true,
                When::After(time) => now >= time && !self.agents.is_empty(),
                When::In(state, time) => self.entered.get(state).is_some_and(|entered| now >= *entered + time),
            };
            if due {
                self.perform(fault.what);
            } else {
                waiting.push(fault);
            }
        }
        self.pending = waiting;
    }

    fn due_afters(&mut self, now: Duration) {
        let (due, later) = std::mem::take(&mut self.after).into_iter().partition(|(at, _)| *at <= now);
        self.after = later;
        let due: Vec<(Duration, After)> = due;
        for (_, after) in due {
            match after {
                After::Continue(pid) => signal(pid.unsigned_abs(), Signal::SIGCONT),
                After::FreeDisk => self.world.free_disk(),
                After::PutParameter => self.world.put_parameter(),
                After::Speak => self.world.bus.iter().for_each(Bus::speak),
                After::Tell(wanted) => self.world.imds.target_lifecycle_state(wanted),
            }
        }
    }

    fn perform(&mut self, what: What) {
        let at = self.now();
        match self.try_to(&what) {
            Ok(()) => self.done.push((at, what)),
            Err(reason) => self.undone.push((what, reason)),
        }
    }

    fn try_to(&mut self, what: &What) -> Result<(), String> {
        let refused = |error: std::io::Error| error.to_string();
        let (imds, aws) = (&self.world.imds, &self.world.aws);
        match what {
            What::Imds { path, fault, times } => {
                imds.fault(path, Limit::times(*times), fault.parse()?);
            }
            What::ImdsSilent(time) => imds.black_hole(Some(*time)).map_err(refused)?,
            What::ImdsRefuses(time) => imds.refuse(Some(*time)).map_err(refused)?,
            What::ImdsForgetsTokens => imds.invalidate_tokens(),
            What::Aws { action, fault, times } => {
                let limit = Limit { times: *times, ..Limit::default() };
                aws.fault(Match::action(action), limit, fault.parse()?);
            }
            What::AwsSilent(time) => aws.black_hole(Some(*time)).map_err(refused)?,
            What::KillAgent { down, between } => self.kill_agent(*down, *between)?,
            What::TermAgent => signal(self.agent_pid()?, Signal::SIGTERM),
            What::FreezeAgent { time } => self.freeze(self.agent_pid()?, *time),
            What::FreezeListener { time } => self.freeze(self.listener()?, *time),
            What::KillListener => signal(self.listener()?, Signal::SIGKILL),
            What::KillWorker => {
                let workers = self.world.run.recording().workers();
                signal(living(workers.first().copied())?, Signal::SIGKILL);
            }
            What::NoHookSocket => {
                fs::remove_file(self.world.runtime().join("hook.sock")).map_err(refused)?;
            }
            What::Job(mischief) => {
                living(self.world.run.recording().workers().first().copied())?;
                self.floods.extend(mischief::make(*mischief, &self.world.runtime())?);
            }
            What::Spot { action, lead } => imds.spot_action(action, SystemTime::now() + *lead),
            What::Rebalance => imds.rebalance(SystemTime::now()),
            What::Scheduled { lead } => imds.scheduled_events(&maintenance(SystemTime::now() + *lead)),
            What::GroupTerminates => imds.target_lifecycle_state("Terminated"),
            What::LateGroup(time) => self.tell_late(*time, "InService"),
            What::WarmPool(Duration::ZERO) => imds.target_lifecycle_state("Warmed:Stopped"),
            What::WarmPool(time) => self.tell_late(*time, "Warmed:Stopped"),
            What::PoolStop { down, wanted } => {
                let stops = self.agent_pid().ok().filter(|_| self.in_pool());
                self.pool_stops = Some((*down, *wanted));
                let Some(pid) = stops else {
                    self.pool_is_over(self.now());
                    return Err("no agent waited in the pool".to_owned());
                };
                signal(pid, Signal::SIGTERM);
            }
            What::NoticesVanish => self.world.no_notices(),
            What::Drain { now: false } => self.operator(&["drain"])?,
            What::Drain { now: true } => self.operator(&["drain", "--now"])?,
            What::Hold { time } => self.operator(&["hold", &format!("{}ms", time.as_millis())])?,
            What::Release => self.operator(&["release"])?,
            What::DiskFull { time } => {
                self.world.fill_disk();
                let until = self.now() + *time;
                self.after.push((until, After::FreeDisk));
            }
            What::DiskWritable => self.world.make_disk_writable(),
        }
        Ok(())
    }

    fn agent_pid(&self) -> Result<u32, String> {
        self.agent.as_ref().map(Child::id).ok_or_else(|| "no agent was running".to_owned())
    }

    fn listener(&self) -> Result<u32, String> {
        living(self.world.run.recording().starts().first().map(|start| start.pid))
    }

    fn kill_agent(&mut self, down: Duration, between: Between) -> Result<(), String> {
        let listener = if between == Between::SilentBus { Some(self.listener()?) } else { None };
        let mut agent = self.agent.take().ok_or("no agent was running")?;
        agent.kill().map_err(|error| error.to_string())?;
        agent.wait().map_err(|error| error.to_string())?;
        self.world.between(between);
        if let Some(listener) = listener {
            self.world.silent_bus(listener);
            self.after.push((self.now() + down + SILENCE, After::Speak));
        }
        self.pool_is_over(self.now());
        self.starts_at = Some(self.now() + down);
        Ok(())
    }

    fn freeze(&mut self, pid: u32, time: Duration) {
        signal(pid, Signal::SIGSTOP);
        let until = self.now() + time;
        self.after.push((until, After::Continue(i32::try_from(pid).unwrap())));
    }

    /// What an operator types. In the background: it waits for an agent that may stand still.
    fn operator(&mut self, words: &[&str]) -> Result<(), String> {
        let known = crate::campaign::operator_commands();
        if !known.contains(&words[0]) {
            return Err(format!("mayfly {}: this binary does not know it", words[0]));
        }
        self.agent_pid()?;
        self.operators.push(self.world.command(words).spawn().map_err(|error| error.to_string())?);
        Ok(())
    }
}

impl Drop for Playing<'_> {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal);
}

/// A process of this number that has not ended.
fn living(pid: Option<u32>) -> Result<u32, String> {
    let there = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    };
    pid.filter(there).ok_or_else(|| "there was no such process".to_owned())
}
