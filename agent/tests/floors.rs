//! The agent's modules stand on each other without a ring: a stranger reads them from the bottom to the top.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom to the top. Each may import those before it, and nothing after it.
const FLOORS: [&str; 16] = [
    "base",
    "timeline",
    "systemd",
    "host",
    "docker",
    "platform",
    "jit_source",
    "notices",
    "runner",
    "log",
    "control",
    "shipping",
    "doctor",
    "daemon",
    "commands",
    "main",
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| *floor == module)
}

#[test]
fn no_module_imports_one_that_stands_above_it() {
    // The directory when the test runs: a build cache may hold the program of another checkout.
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut upwards = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let own = floor(module).unwrap_or_else(|| panic!("{module} has no place among the floors"));
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            assert!(!line.contains("use crate::{"), "{}:{}: one import a module", inside.display(), number + 1);
            for path in line.split("crate::").skip(1) {
                let imported: String = path.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                if floor(&imported).is_some_and(|imported| imported > own) {
                    upwards.push(format!("{}:{} imports {imported}", inside.display(), number + 1));
                }
            }
        }
    }
    assert!(upwards.is_empty(), "a ring of modules, which nobody can read in order:\n{}", upwards.join("\n"));
}
