//! The configuration: every problem is found, each at its line. (Any bytes, and the way through `config show` and back:
//! the promises of the fuzz target.)

use std::fs;

use mayfly_core::config::{Origin, load};
use proptest::prelude::*;

const WRONG: [&str; 4] = ["idle = \"soon\"", "job = 90", "unheard_of = \"1s\"", "finishing = \"0s\""];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_wrong_line_is_reported_at_its_place(
        chosen in prop::sample::subsequence(WRONG.to_vec(), 1..=WRONG.len()).prop_shuffle(), blanks in 0..5_usize,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("agent.toml");
        let mut text = format!("[limits]\n{}", "# nothing\n".repeat(blanks));
        let expected: Vec<usize> = (0..chosen.len()).map(|line| 2 + blanks + line).collect();
        text.push_str(&chosen.join("\n"));
        fs::write(&file, text).unwrap();
        let problems = load(&file, [], &[]).unwrap_err();
        let mut lines: Vec<usize> = problems
            .0
            .iter()
            .filter_map(|problem| if let Origin::File(_, line) = problem.origin { Some(line) } else { None })
            .collect();
        lines.sort_unstable();
        prop_assert_eq!(lines, expected, "{}", problems);
    }

    #[test]
    fn any_duration_is_taken_or_refused(text in "([0-9]{1,20} ?(ns|us|ms|s|m|h|d|w|y) ?){1,3}") {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("agent.toml");
        let limits = ["listening", "idle", "job", "lifetime"].map(|key| format!("{key} = \"{text}\"\n")).concat();
        fs::write(&file, format!("[limits]\n{limits}")).unwrap();
        let _ = load(&file, [], &[]).map(|config| config.policy());
    }
}
