//! What the image says of itself, and how old that makes its runner.

use std::time::SystemTime;

use super::Finding;
use crate::base::image::{self, ImageError};
use crate::runner::installed::Installed;
use mayfly_core::image::{Image, OLD_DAYS, REFUSED_DAYS, RunnerAge};

/// Where releases are.
const RELEASES: &str = "https://github.com/actions/runner/releases";

/// `required`: an image that is built must say what it is.
pub(super) fn check(installed: &Installed, required: bool) -> Vec<Finding> {
    judge(&image::read(), required, installed, SystemTime::now())
}

fn judge(
    read: &Result<Option<Image>, ImageError>,
    required: bool,
    installed: &Installed,
    now: SystemTime,
) -> Vec<Finding> {
    let image = read.as_ref().ok().and_then(Option::as_ref);
    let mut findings = vec![described(read, required)];
    findings.extend(image.and_then(|image| agrees(image, installed.version.as_deref()?)));
    findings.extend(age(RunnerAge::known(installed.version.as_deref(), image, installed.built).as_ref(), now));
    findings
}

fn described(read: &Result<Option<Image>, ImageError>, required: bool) -> Finding {
    const NAME: &str = "image.file";
    let advice = "The steps of the image build write it. See docs/operations.md for what it has.";
    match read {
        Ok(Some(image)) => {
            let of = image.source_image.as_deref().map(|id| format!(" of {id}")).unwrap_or_default();
            Finding::holds(NAME, format!("made at {}{of} by Mayfly {}", image.built_at, image.mayfly))
        }
        Ok(None) => {
            let what = format!("no {}: nothing says when this image was made", image::path().display());
            if required { Finding::warning(NAME, what, advice) } else { Finding::holds(NAME, what) }
        }
        Err(error) => Finding::warning(NAME, format!("{error}; nothing that it says is used"), advice),
    }
}

/// Whether the runner is the one that the image was made with.
fn agrees(image: &Image, installed: &str) -> Option<Finding> {
    let said = &image.runner.version;
    (said != installed).then(|| {
        Finding::warning(
            "image.runner",
            format!(
                "the image was made with the runner {said}, and {installed} is installed: nothing is known of its age"
            ),
            "Make the image anew with the runner that it is meant to have.",
        )
    })
}

/// Which release GitHub still takes, only GitHub knows; from which day on it may refuse this one can be known.
fn age(age: Option<&RunnerAge>, now: SystemTime) -> Option<Finding> {
    const NAME: &str = "runner.age";
    let age = age?;
    let what = age.sentence(now);
    Some(match age.days(now) {
        None => Finding::not_tried(NAME, what, "See machine.clock."),
        Some(0..OLD_DAYS) => Finding::holds(NAME, what),
        Some(_) => Finding::warning(
            NAME,
            format!("{what}; GitHub may refuse a runner {REFUSED_DAYS} days after the next release"),
            format!("Build an image with the newest release, or note that this one still is: {RELEASES}"),
        ),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::super::Verdict;
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn an_old_runner_is_warned_of_and_one_of_unknown_age_is_not_judged() {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let found = |version: Option<&str>, built| {
            let installed = Installed { version: version.map(str::to_owned), built };
            judge(&Ok(None), false, &installed, now).into_iter().find(|finding| finding.name == "runner.age")
        };
        let verdict = |days| found(Some("2.336.0"), Some(now - DAY * days)).map(|finding| finding.verdict);
        assert_eq!(
            [verdict(3), verdict(24), verdict(25), verdict(400)],
            [Some(Verdict::Holds), Some(Verdict::Holds), Some(Verdict::Warning), Some(Verdict::Warning)]
        );
        assert_eq!(found(None, Some(now)), None);
        assert_eq!(found(Some("2.336.0"), None), None, "no date is taken for a good one");
        assert_eq!(verdict(0), Some(Verdict::Holds));
        let ahead = found(Some("2.336.0"), Some(now + DAY * 3)).unwrap();
        assert_eq!(ahead.verdict, Verdict::NotTried, "a date that is yet to come is believed: {ahead:?}");
    }
}
