//! The listener up to the first act: arguments, JIT, settings, in upstream's
//! order, with upstream's errors.

use std::fs;
use std::path::Path;
use std::process;
use std::sync::mpsc;

use mayfly_fake_runner::recording::{Event, Recorder, Who};
use mayfly_fake_runner::{Scenario, Stream, strings};
use signal_hook::consts::SIGABRT;

use crate::arguments::Arguments;
use crate::console::Console;
use crate::environment::Environment;
use crate::introspect;
use crate::listener::Listener;
use crate::logs::Diag;
use crate::settings::{self, Settings};
use crate::signals;

/// How long a shutdown by SIGTERM may take upstream.
pub(crate) const TERM_CAP_MS: u64 = 30_000;

const USAGE: &str = "Commands:
 ./config.sh         Configures the runner
 ./config.sh remove  Unconfigures the runner
 ./run.sh            Runs the runner interactively.";

pub(crate) fn run(root: &Path) -> i32 {
    let recorder = Recorder::new(root);
    recorder.write(Event::ListenerStart(Box::new(introspect::start())));
    let code = listen(root, &recorder);
    recorder.write(Event::Exit { who: Who::Listener, code });
    code
}

fn listen(root: &Path, recorder: &Recorder) -> i32 {
    let scenario = match load_scenario(root) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("fake-runner: bad scenario: {error}");
            return 1;
        }
    };
    let (sender, notes) = mpsc::channel();
    let cap = scenario.upstream(TERM_CAP_MS);
    let watched = signals::watch(Who::Listener, cap, recorder.clone(), sender.clone());
    let Ok(stop) = watched else { return 1 };
    let mut listener = Listener::new(root, scenario, recorder.clone(), sender, notes);
    let code = match listener.play_boot() {
        Some(code) => code,
        None => configured(root, recorder, &mut listener),
    };
    stop.final_code(code)
}

fn configured(root: &Path, recorder: &Recorder, listener: &mut Listener) -> i32 {
    let mut environment = Environment::inherited();
    environment.load_file(root);
    environment.take_inputs();
    let diag = Diag::create(root, "Runner");
    let (Ok(mut diag), true) = (diag, settings::intact(root)) else {
        abort(recorder);
    };
    diag.info("Listener", &format!("Version: {}", strings::UPSTREAM_VERSION));
    match settle(root, &environment, &mut diag) {
        Err(code) => code,
        Ok(settings) => listener.play_acts(environment, diag, settings),
    }
}

/// An unhandled exception: .NET ends by SIGABRT.
pub(crate) fn abort(recorder: &Recorder) -> ! {
    recorder.write(Event::Exit { who: Who::Listener, code: -SIGABRT });
    process::abort()
}

fn load_scenario(root: &Path) -> Result<Scenario, String> {
    match fs::read_to_string(root.join(".fake/scenario.json")) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        Err(_) => Ok(Scenario::default()),
    }
}

/// Everything between the start and the session; `Err` is an exit code.
fn settle(root: &Path, environment: &Environment, diag: &mut Diag) -> Result<Settings, i32> {
    let console = Console::from_locale();
    let arguments = Arguments::parse(std::env::args().skip(1));
    if let Some(unknown) = arguments.unknown() {
        let values = [("args", unknown.as_str())];
        console.line(Stream::Err, strings::UNRECOGNIZED, &values);
    }
    answer(console, &arguments)?;
    let from_input = environment.input("jitconfig");
    if let Some(blob) = arguments.value("jitconfig").or(from_input) {
        diag.info("CommandLineParser", "Adding option 'jitconfig': '***'");
        settings::write_jit(root, blob).map_err(|message| {
            console.plain_error(&message);
            1
        })?;
    }
    if !arguments.is("run") {
        console.out(USAGE);
        return Err(0);
    }
    let mut settings = checked_settings(root, console)?;
    let once = environment.input("once").unwrap_or_default();
    if arguments.has("once") || once.eq_ignore_ascii_case("true") {
        console.out(strings::ONCE_WARNING);
        settings.single_job = true;
    }
    Ok(settings)
}

/// The questions that are answered without a configuration.
fn answer(console: Console, arguments: &Arguments) -> Result<(), i32> {
    if arguments.has("help") {
        console.out(USAGE);
    } else if arguments.has("version") {
        console.out(strings::UPSTREAM_VERSION);
    } else if arguments.has("commit") {
        console.out("258d6c857");
    } else if arguments.has("check") || arguments.is("warmup") {
        // The four checks and the pre-compilation leave nothing to imitate.
    } else if arguments.is("configure") || arguments.is("remove") {
        console.plain_error("fake-runner: registration is not part of this double");
        return Err(1);
    } else {
        return Ok(());
    }
    Err(0)
}

fn checked_settings(root: &Path, console: Console) -> Result<Settings, i32> {
    let settings = match settings::load(root) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            console.error(strings::NOT_CONFIGURED);
            return Err(1);
        }
        Err(message) => {
            console.plain_error(&message);
            return Err(1);
        }
    };
    let credentials = root.join(".credentials");
    if !credentials.exists() {
        let path = credentials.to_string_lossy();
        console.error(&strings::fill(strings::FILE_MISSING, &[("path", &path)]));
        return Err(2);
    }
    let Some(folder) = &settings.work_folder else {
        console.error(strings::NO_WORK_FOLDER);
        return Err(2);
    };
    let work = root.join(folder);
    if fs::create_dir_all(&work).is_err() {
        let path = work.to_string_lossy();
        let values = [("path", &*path)];
        console.line(Stream::Err, strings::WORK_DIR_FAILED, &values);
        return Err(1);
    }
    Ok(settings)
}
