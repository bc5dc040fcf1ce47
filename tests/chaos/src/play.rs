//! Carries a plan out: one agent's run on real processes, and everything that befalls it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mayfly_e2e::{Bus, leaks, processes};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::imds::event_date;
use mayfly_fake_aws::proxy::{Fault as AwsFault, Match};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::limits;
use crate::log::Tail;
use crate::mischief::{self, Flood};
use crate::plan::{Between, Fault, Jit, Machine, Plan, What, When};
use crate::witness::{End, Exit, Termination, Witness};
use crate::world::{TERMINATIONS, World};

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
        let left = status.success() && self.states.last().is_some_and(|(_, state)| state != "Ended");
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
                fs::remove_file(self.world.run.state().join("run/hook.sock")).map_err(refused)?;
            }
            What::Job(mischief) => {
                living(self.world.run.recording().workers().first().copied())?;
                self.floods.extend(mischief::make(*mischief, &self.world.run.state())?);
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

    /// What is left of the runner: an operator's command is not the runner's, and may have been typed a moment ago.
    fn left(&self) -> Vec<processes::Process> {
        let typed = |process: &processes::Process| {
            self.operators.iter().any(|command| i64::from(command.id()) == i64::from(process.pid))
        };
        processes::of_run(&self.world.run).into_iter().filter(|process| !typed(process)).collect()
    }

    /// Waits for the operators' commands; those that wait for an agent that is gone are counted and ended.
    fn operators_left(&mut self) -> usize {
        let deadline = Instant::now() + OPERATOR_LATEST;
        let mut left = 0;
        for mut command in std::mem::take(&mut self.operators) {
            while Instant::now() < deadline && matches!(command.try_wait(), Ok(None)) {
                std::thread::sleep(INTERVAL);
            }
            if matches!(command.try_wait(), Ok(None)) {
                left += 1;
                let _ = command.kill();
                let _ = command.wait();
            }
        }
        left
    }

    /// Where the agent took what a job made up for true.
    fn forged(&self) -> Vec<String> {
        let run = &self.world.run;
        let told = |name: &str| fs::read_to_string(run.state().join(name)).unwrap_or_default();
        let tags = self.world.aws.requests_of("CreateTags").into_iter();
        let tags = tags.map(|request| String::from_utf8_lossy(&request.body).into_owned());
        let all = [told("record.json")].into_iter().chain(run.journal()).chain(tags);
        all.filter(|text| text.contains(mischief::FORGED)).collect()
    }

    fn terminations(&self) -> Vec<Termination> {
        let requests = self.world.aws.requests();
        let asked = requests.into_iter().filter(|request| TERMINATIONS.contains(&request.call.action.as_str()));
        asked
            .map(|request| Termination {
                at: self.world.aws_began + request.at,
                // The agent never learns of an answer that was lost.
                accepted: request.status == Some(200) && request.fault == Some(AwsFault::EmptySuccess),
                how: request.call.action,
            })
            .collect()
    }

    fn testify(&mut self, end: End) -> Witness {
        self.read_log(self.now());
        let took = self.now();
        if matches!(end, End::Hung | End::Cut)
            && let Some(agent) = &mut self.agent
        {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        self.floods.clear();
        // Before anything of it is cleared away here.
        let left = if end == End::Gone { self.left() } else { Vec::new() };
        let operators_left = self.operators_left();
        let mut terminations = self.terminations();
        let powered = fs::read_to_string(self.world.power_log()).unwrap_or_default();
        for unix_ms in powered.lines().filter_map(|line| line.parse::<u64>().ok()) {
            let at = Duration::from_millis(unix_ms.saturating_sub(self.world.began_unix_ms));
            terminations.push(Termination { at, how: "power-off".to_owned(), accepted: true });
        }
        terminations.sort_by_key(|termination| termination.at);
        let run = &self.world.run;
        let record = fs::read(run.state().join("record.json")).unwrap_or_default();
        let witness = Witness {
            done: std::mem::take(&mut self.done),
            undone: std::mem::take(&mut self.undone),
            states: std::mem::take(&mut self.states),
            agents: std::mem::take(&mut self.agents),
            exits: std::mem::take(&mut self.exits),
            terminations,
            before_end: self.world.before_end.lock().unwrap().clone(),
            end,
            took,
            recording: run.recording(),
            began_unix_ms: self.world.began_unix_ms,
            began_boot: self.world.began_boot,
            record: serde_json::from_slice(&record).unwrap_or_default(),
            journal: run.journal().iter().filter_map(|line| serde_json::from_str(line).ok()).collect(),
            left,
            operators_left: if end == End::Gone { operators_left } else { 0 },
            files_left: self.world.files_left(),
            forged: self.forged(),
            secrets: leaks::in_files(&self.world.secrets, &[run.directory()], |path| {
                path.components().any(|part| part.as_os_str() == "bin")
                    || path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".credentials"))
            }),
        };
        self.world.power_cut();
        witness
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

fn maintenance(at: SystemTime) -> Value {
    json!([{
        "Code": "system-reboot", "State": "active", "EventId": "instance-event-0d59937288b749b32",
        "Description": "scheduled reboot", "NotBefore": event_date(at), "NotAfter": event_date(at + Duration::from_secs(7200)),
    }])
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
