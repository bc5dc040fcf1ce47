//! What a run leaves for its judge, gathered at its end.

use std::fs;
use std::time::{Duration, Instant};

use mayfly_e2e::{leaks, processes};
use mayfly_fake_aws::proxy::Fault as AwsFault;

use super::{INTERVAL, OPERATOR_LATEST, Playing};
use crate::mischief;
use crate::witness::{End, Termination, Witness};
use crate::world::TERMINATIONS;

impl Playing<'_> {
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

    pub(super) fn terminations(&self) -> Vec<Termination> {
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

    pub(super) fn testify(&mut self, end: End) -> Witness {
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
