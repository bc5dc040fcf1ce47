//! `mayfly-launcher simulate`

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use super::{Simulate, failed, print};
use crate::simulate::{Arrival, Faults, Options, Report, from_csv, made_up, run};

pub(super) fn start(arguments: &Simulate) -> ExitCode {
    let mut rng = fastrand::Rng::with_seed(arguments.seed);
    let arrivals = match &arguments.history {
        Some(path) => match read(path) {
            Ok(arrivals) => arrivals,
            Err(why) => return failed(65, &why),
        },
        None => made_up(arguments.jobs, arguments.rate, arguments.repositories, &mut rng),
    };
    let options = Options {
        seed: arguments.seed,
        apps: arguments.apps.max(1),
        max: arguments.max,
        faults: if arguments.storm { Faults::storm() } else { Faults::default() },
        price: arguments.price,
        spot_percent: arguments.spot_percent,
    };
    let report = run(&options, &arrivals);
    if arguments.json {
        print(&serde_json::to_string(&report).unwrap_or_default());
    } else {
        show(&report);
    }
    let whole =
        report.unserved == 0 && report.given_up == 0 && report.leaked == 0 && report.doubled == 0 && report.left == 0;
    ExitCode::from(u8::from(!whole))
}

fn read(path: &Path) -> Result<Vec<Arrival>, String> {
    let file = File::open(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    from_csv(BufReader::new(file)).map_err(|why| format!("{}: {why}", path.display()))
}

fn show(report: &Report) {
    print(&format!("jobs             {} ({} not served, {} given up)", report.jobs, report.unserved, report.given_up));
    print(&format!("wait             {:.1} s median, {:.1} s for 99 of 100", report.wait_median, report.wait_p99));
    print(&format!(
        "  mean           {:.1} s; the quotas and a boot allow {:.1} s",
        report.wait_mean, report.wait_bound
    ));
    print(&format!("instances        {} launched, at most {} at once", report.launched, report.most_at_once));
    print(&format!("left behind      {} instances, {} parameters and runner records", report.leaked, report.left));
    print(&format!("given twice      {} instances had a second JIT configuration", report.doubled));
    print(&format!("cost             {:.2} $; the jobs alone {:.2} $ on demand", report.cost, report.cost_ideal));
    print(&format!("virtual time     {} s, {} decisions", report.took, report.steps));
}
