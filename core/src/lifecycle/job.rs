//! What a job may say about itself. The hook that tells it runs as the job's user, and a launcher acts on it: it reads the
//! tag `mayfly:run` and runs that workflow again. So what does not look like GitHub's own words is not taken.

use super::evidence::JobInfo;

/// GitHub's longest owner name is 39 characters; Enterprise Managed Users have a suffix after `_`, which counts too.
const LONGEST_OWNER: usize = 39;

/// GitHub's longest repository name.
const LONGEST_REPOSITORY: usize = 100;

/// A run's id is a 64-bit number.
const LONGEST_RUN_ID: usize = 20;

/// A run has at most 50 attempts.
const LONGEST_ATTEMPT: usize = 5;

/// A job's key and a workflow's name are whatever their author likes; what is longer helps nobody.
const LONGEST_NAME: usize = 256;

impl JobInfo {
    /// What of it has the shape and length of GitHub's own words, and the variables that were left out for theirs.
    #[must_use]
    pub fn fitting(&self) -> (Self, Vec<&'static str>) {
        let mut unfit = Vec::new();
        let mut keep = |name: &'static str, value: &str, fits: fn(&str) -> bool| {
            let fits = value.is_empty() || fits(value);
            if !fits {
                unfit.push(name);
            }
            if fits { value.to_owned() } else { String::new() }
        };
        let job = Self {
            repository: keep("GITHUB_REPOSITORY", &self.repository, is_repository),
            run_id: keep("GITHUB_RUN_ID", &self.run_id, |id| is_number(id, LONGEST_RUN_ID)),
            run_attempt: keep("GITHUB_RUN_ATTEMPT", &self.run_attempt, |id| is_number(id, LONGEST_ATTEMPT)),
            job: keep("GITHUB_JOB", &self.job, is_key),
            workflow: keep("GITHUB_WORKFLOW", &self.workflow, is_name),
        };
        (job, unfit)
    }

    /// The run that it belongs to, as the launcher reads it; nothing, where a part of it is not known.
    #[must_use]
    pub fn run(&self) -> Option<String> {
        let (Self { repository, run_id, run_attempt, .. }, _) = self.fitting();
        let whole = ![&repository, &run_id, &run_attempt].into_iter().any(String::is_empty);
        whole.then(|| format!("{repository}/{run_id}/{run_attempt}"))
    }
}

fn is_repository(text: &str) -> bool {
    let Some((owner, name)) = text.split_once('/') else { return false };
    let of = |text: &str, longest: usize, marks: &str| {
        (1..=longest).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
    };
    of(owner, LONGEST_OWNER, "-_")
        && !owner.starts_with('-')
        && of(name, LONGEST_REPOSITORY, "-_.")
        && !matches!(name, "." | "..")
}

fn is_number(text: &str, longest: usize) -> bool {
    text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_key(text: &str) -> bool {
    text.len() <= LONGEST_NAME && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

fn is_name(text: &str) -> bool {
    text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(repository: &str, run_id: &str, run_attempt: &str) -> JobInfo {
        let [repository, run_id, run_attempt] = [repository, run_id, run_attempt].map(str::to_owned);
        JobInfo { repository, run_id, run_attempt, job: "build".to_owned(), workflow: "CI: naïve".to_owned() }
    }

    #[test]
    fn what_github_says_of_a_job_is_kept_whole() {
        for (repository, id, attempt) in
            [("o/r", "1", "1"), ("octo-org/hello.world_2", "18446744073709551615", "50"), ("mona_emu/-", "7", "2")]
        {
            let job = of(repository, id, attempt);
            assert_eq!(job.fitting(), (job.clone(), Vec::new()), "{repository} was not taken for GitHub's");
            assert_eq!(job.run(), Some(format!("{repository}/{id}/{attempt}")));
        }
    }

    #[test]
    fn what_github_cannot_have_said_is_left_out_and_makes_no_run() {
        let long = "x".repeat(300);
        for (repository, id, attempt, unfit) in [
            ("no-slash", "1", "1", "GITHUB_REPOSITORY"),
            ("a/b/c", "1", "1", "GITHUB_REPOSITORY"),
            ("-a/b", "1", "1", "GITHUB_REPOSITORY"),
            ("a/..", "1", "1", "GITHUB_REPOSITORY"),
            ("a/b c", "1", "1", "GITHUB_REPOSITORY"),
            (&format!("a/{long}"), "1", "1", "GITHUB_REPOSITORY"),
            ("a/b\n", "1", "1", "GITHUB_REPOSITORY"),
            ("a/b", "-1", "1", "GITHUB_RUN_ID"),
            ("a/b", "1/2", "1", "GITHUB_RUN_ID"),
            ("a/b", "123456789012345678901", "1", "GITHUB_RUN_ID"),
            ("a/b", "1", "1e3", "GITHUB_RUN_ATTEMPT"),
        ] {
            let job = of(repository, id, attempt);
            assert_eq!(job.fitting().1, [unfit], "{job:?}");
            assert_eq!(job.run(), None, "a launcher would run {job:?} again");
        }
        let rest = JobInfo { job: "a b".to_owned(), workflow: long, ..of("o/r", "1", "1") };
        assert_eq!(rest.fitting().1, ["GITHUB_JOB", "GITHUB_WORKFLOW"]);
        assert_eq!(rest.run().as_deref(), Some("o/r/1/1"), "the run is known, whatever else is not");
    }
}
