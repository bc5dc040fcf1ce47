//! What becomes of the launcher's actions: AWS and GitHub carry them out, and answer, or do not.

use mayfly_core::launcher::{Action, Event, Problem, ProblemKind};

use super::aws::Launch;
use super::run::{Run, What};

impl Run<'_> {
    fn lost(&mut self) -> Option<Problem> {
        let thousandths = self.options.faults.lost_answers;
        self.chance(thousandths).then(|| Problem::new(ProblemKind::Unclear, "no answer"))
    }

    pub(super) fn away(&self) -> Option<Problem> {
        (self.now < self.github_away_until).then(|| Problem::new(ProblemKind::Unclear, "503"))
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Launch { token, class, candidate, labels, repository, jobs } => {
                let class = self.settings.classes.get(class).map_or_else(String::new, |class| class.name.clone());
                let asked = Launch {
                    token: &token,
                    class: &class,
                    labels: &labels,
                    repository: &repository,
                    jobs: &jobs,
                    spot: candidate == 0,
                };
                let event = match self.aws.launch(self.now, &asked) {
                    Ok((instances, new)) => {
                        for instance in new {
                            if !self.chance(self.options.faults.dead_instances) {
                                let boots = self.between(20_000, 32_000);
                                self.later(boots, What::Boots(instance));
                            }
                        }
                        match self.lost() {
                            Some(problem) => Event::LaunchFailed { token, problem },
                            None => Event::Launched { token, instances, problems: Vec::new() },
                        }
                    }
                    Err(problem) if problem.kind == ProblemKind::Capacity => {
                        Event::Launched { token, instances: Vec::new(), problems: vec![problem] }
                    }
                    Err(problem) => Event::LaunchFailed { token, problem },
                };
                self.answer(700, 2500, event);
            }
            Action::Mint { instance, name, .. } => {
                let answer = self.away().map_or_else(|| self.github.register(self.now, &name), Err);
                let event = match (answer, self.lost()) {
                    (Ok(_), Some(problem)) | (Err(problem), _) => Event::MintFailed { instance, problem },
                    (Ok(runner), None) => Event::Minted { instance, runner, length: 4088 },
                };
                self.answer(60, 300, event);
            }
            Action::Store { instance, .. } => {
                let stored = self.aws.put(self.now, &instance);
                if stored.is_ok() {
                    self.read(&instance);
                }
                let event = match (stored, self.lost()) {
                    (Ok(()), Some(problem)) | (Err(problem), _) => Event::StoreFailed { instance, problem },
                    (Ok(()), None) => Event::Stored { instance },
                };
                self.answer(25, 120, event);
            }
            Action::Terminate { instance, .. } => {
                self.ends(&instance);
                self.answer(100, 600, Event::Terminated { instance });
            }
            Action::DeleteRunner { runner, .. } => {
                let answer = self.away().map_or_else(|| self.github.delete(runner), Err);
                let event = match answer {
                    Ok(()) => Event::RunnerDeleted { runner },
                    Err(problem) => Event::RunnerKept { runner, problem },
                };
                self.answer(60, 300, event);
            }
            Action::DeleteParameter { instance } => {
                self.aws.parameters.remove(&instance);
                self.answer(25, 120, Event::ParameterDeleted { instance });
            }
            Action::LookAtRun { run, .. } => {
                let place = usize::try_from(run.0 - 1).unwrap_or(usize::MAX);
                let event = match self.away() {
                    Some(problem) => Event::LookFailed { run, problem },
                    None => Event::RunLooked { run, jobs: self.github.view(place).into_iter().collect() },
                };
                self.answer(60, 300, event);
            }
            Action::Tell { job, .. } => {
                let place = usize::try_from(job.0 - 1).unwrap_or(usize::MAX);
                if let Some(job) = self.github.jobs.get_mut(place) {
                    job.told = true;
                }
                self.answer(60, 300, Event::Told { job });
            }
        }
    }
}
