//! From a seed to a plan.

use std::time::Duration;

use fastrand::Rng;

use crate::plan::{Between, Disk, Docker, Fault, Jit, Machine, Mischief, Plan, What, When};
use crate::stories;

const TERMINATIONS: [&str; 2] = ["TerminateInstances", "TerminateInstanceInAutoScalingGroup"];
const STATES: [&str; 9] =
    ["WaitingForJitConfig", "Starting", "Idle", "Assigned", "Busy", "Finishing", "Draining", "Closing", "Terminating"];

impl Plan {
    /// The same seed makes the same plan, on every machine.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut draw = Draw(Rng::with_seed(seed));
        let story = draw.one(stories::ALL);
        let mut plan = Self {
            seed,
            story: story.name,
            idle: draw.millis(20, 700),
            job: draw.millis(20, 1200),
            in_group: draw.chance(2, 5),
            jit: draw.jit(),
            docker: draw.docker(),
            disk: draw.disk(),
            machine: draw.machine(),
            faults: Vec::new(),
        };
        // A tenth of the runs is left in peace.
        let count = if draw.chance(1, 10) { 0 } else { draw.0.u32(1..=5) };
        for _ in 0..count {
            let fault = draw.fault();
            plan.faults.push(fault);
        }
        match plan.disk {
            Disk::Plain => {}
            Disk::Small => {
                let (when, time) = (draw.any_time(), draw.millis(100, 2500));
                plan.faults.push(Fault { when, what: What::DiskFull { time } });
            }
            Disk::ReadOnly => {
                let when = When::After(draw.millis(0, 2000));
                plan.faults.push(Fault { when, what: What::DiskWritable });
            }
        }
        // Every third job is up to something.
        if draw.chance(1, 3) {
            let mischief = draw.one(&[Mischief::FloodHooks, Mischief::LineBreaks, Mischief::ForgeCall]);
            if mischief == Mischief::FloodHooks && draw.chance(1, 2) {
                plan.story = "long-job"; // it floods to get more time
            }
            let what = What::Job(mischief);
            plan.faults.push(Fault { when: When::In("Busy", draw.millis(0, 300)), what });
        }
        if plan.in_group {
            plan.faults.extend(draw.group());
        }
        plan
    }
}

struct Draw(Rng);

impl Draw {
    fn chance(&mut self, of: u32, among: u32) -> bool {
        self.0.u32(0..among) < of
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.usize(0..of.len())]
    }

    /// Short times are drawn more often: most races are close to something.
    fn millis(&mut self, from: u64, to: u64) -> Duration {
        let spread = self.0.f64() * self.0.f64();
        Duration::from_millis(from + ((to - from) as f64 * spread) as u64)
    }

    fn jit(&mut self) -> Jit {
        match self.0.u32(0..20) {
            0 => Jit::Never,
            1 => Jit::Invalid,
            2..=4 => Jit::Late(self.millis(50, 2500)),
            _ => Jit::Ready,
        }
    }

    fn docker(&mut self) -> Docker {
        match self.0.u32(0..20) {
            0 => Docker::Absent,
            1 => Docker::Hung,
            2 => Docker::RequiredAndHung,
            _ => Docker::Off,
        }
    }

    fn disk(&mut self) -> Disk {
        match self.0.u32(0..20) {
            0 => Disk::Small,
            1 => Disk::ReadOnly,
            _ => Disk::Plain,
        }
    }

    fn machine(&mut self) -> Machine {
        match self.0.u32(0..10) {
            0 => Machine::Stays,
            1 => Machine::StaysOn,
            _ => Machine::Goes(self.millis(60, 600)),
        }
    }

    fn any_time(&mut self) -> When {
        match self.0.u32(0..10) {
            0 => When::AtStart,
            1..=4 => When::After(self.millis(0, 4000)),
            _ => When::In(self.one(&STATES), self.millis(0, 400)),
        }
    }

    fn fault(&mut self) -> Fault {
        match self.0.u32(0..20) {
            0..=5 => self.agent(),
            6..=8 => self.runner(),
            9..=11 => self.imds(),
            12..=14 => self.aws(),
            15..=17 => self.notice(),
            _ => self.operator(),
        }
    }

    fn agent(&mut self) -> Fault {
        let between = match self.0.u32(0..20) {
            0..=2 => Between::HalfLine,
            3 => Between::LineLost,
            4 => Between::Garbage,
            5 | 6 => Between::Reboot,
            7..=9 => Between::SilentBus,
            _ => Between::Nothing,
        };
        let what = match self.0.u32(0..10) {
            0 | 1 => What::TermAgent,
            2 => What::FreezeAgent { time: self.millis(50, 2500) },
            _ => What::KillAgent { down: self.millis(0, 1200), between },
        };
        let when = match self.any_time() {
            // Most of them in the middle of a job: that is what may be taken for gone.
            _ if between == Between::SilentBus && self.chance(4, 5) => When::In("Busy", self.millis(0, 60)),
            When::AtStart => When::After(self.millis(0, 300)),
            when => when,
        };
        Fault { when, what }
    }

    fn runner(&mut self) -> Fault {
        let what = match self.0.u32(0..5) {
            0 => What::KillListener,
            1 | 2 => What::KillWorker,
            3 => What::FreezeListener { time: self.millis(50, 2000) },
            _ => What::NoHookSocket,
        };
        let state = match what {
            What::KillWorker => self.one(&["Assigned", "Busy", "Busy", "Draining"]),
            _ => self.one(&["Starting", "Idle", "Assigned", "Busy", "Finishing", "Draining"]),
        };
        Fault { when: When::In(state, self.millis(0, 600)), what }
    }

    fn imds(&mut self) -> Fault {
        let what = match self.0.u32(0..6) {
            0 => What::ImdsSilent(self.millis(50, 2500)),
            1 => What::ImdsRefuses(self.millis(50, 2500)),
            2 => What::ImdsForgetsTokens,
            _ => What::Imds {
                path: self.one(&[
                    "/latest/",
                    "/latest/api/token",
                    "/latest/dynamic/",
                    "/latest/meta-data/spot",
                    "/latest/meta-data/autoscaling",
                    "/latest/meta-data/iam",
                ]),
                fault: self.one(&[
                    "503",
                    "500",
                    "429",
                    "401",
                    "403",
                    "hang",
                    "reset",
                    "half",
                    "delay:300",
                    "delay:900",
                ]),
                times: self.0.u32(1..=6),
            },
        };
        let when = if self.chance(1, 2) { When::AtStart } else { self.any_time() };
        Fault { when, what }
    }

    fn aws(&mut self) -> Fault {
        let harmless = ["throttled", "internal", "reset", "hang", "html:503", "delay:200", "delay:700"];
        let times = if self.chance(1, 5) { None } else { Some(self.0.u32(1..=4)) };
        let what = match self.0.u32(0..8) {
            0 => What::AwsSilent(self.millis(50, 2500)),
            1 | 2 => {
                let fault = match self.0.u32(0..8) {
                    0 => "access-denied",
                    1 => "kms-denied",
                    2 => "expired",
                    _ => self.one(&harmless),
                };
                What::Aws { action: "GetParameter", fault, times }
            }
            3 => What::Aws { action: "DeleteParameter", fault: self.one(&harmless), times },
            4 => What::Aws { action: "CreateTags", fault: self.one(&harmless), times },
            5 => What::Aws {
                action: TERMINATIONS[1],
                fault: self.one(&[
                    "min-size",
                    "scaling-in-progress",
                    "contention",
                    "access-denied",
                    "throttled",
                    "hang",
                ]),
                times,
            },
            _ => {
                let refused = ["access-denied", "throttled", "internal", "hang", "reset", "lose-answer", "delay:500"];
                What::Aws { action: self.one(&TERMINATIONS), fault: self.one(&refused), times }
            }
        };
        let when = if self.chance(2, 3) { When::AtStart } else { self.any_time() };
        Fault { when, what }
    }

    fn notice(&mut self) -> Fault {
        let what = match self.0.u32(0..8) {
            0..=2 => What::Spot {
                action: self.one(&["terminate", "terminate", "stop", "hibernate"]),
                lead: self.millis(0, 5000),
            },
            3 => What::Rebalance,
            4 => What::Scheduled { lead: self.millis(0, 200_000) },
            5 | 6 => What::GroupTerminates,
            _ => What::NoticesVanish,
        };
        Fault { when: self.any_time(), what }
    }

    /// A third of the groups tells late what it wants, or has a warm pool.
    fn group(&mut self) -> Vec<Fault> {
        let at_start = |what| Fault { when: When::AtStart, what };
        match self.0.u32(0..12) {
            0 | 1 => vec![at_start(What::LateGroup(self.millis(0, 1500)))],
            2 | 3 => {
                let told = if self.chance(1, 2) { Duration::ZERO } else { self.millis(0, 800) };
                let stop = What::PoolStop { down: self.millis(0, 800), wanted: self.millis(0, 2000) };
                vec![at_start(What::WarmPool(told)), Fault { when: When::In("Warm", self.millis(0, 800)), what: stop }]
            }
            _ => Vec::new(),
        }
    }

    fn operator(&mut self) -> Fault {
        let what = match self.0.u32(0..6) {
            0 | 1 => What::Drain { now: false },
            2 | 3 => What::Drain { now: true },
            4 => What::Hold { time: self.millis(200, 2000) },
            _ => What::Release,
        };
        let when = match self.any_time() {
            When::AtStart => When::After(self.millis(0, 1000)),
            when => when,
        };
        Fault { when, what }
    }
}
