//! The page for people: what waits and why, what runs. Plain HTML that loads itself again; nothing can be changed here.

use std::fmt::Write as _;

use mayfly_core::launcher::{JobStatus, Moment, World, why};

use crate::config::Config;

/// The most rows of a table; the oldest jobs come first.
const MOST: usize = 500;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:1.5rem auto;max-width:70rem;padding:0 1rem;color:#1c2024;background:#fff}\
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d9dde1;vertical-align:top;overflow-wrap:anywhere}\
th{font-weight:600}.n{color:#60656c}.bad{color:#a40e26;font-weight:600}\
@media(max-width:40rem){thead{display:none}tr{display:block;padding:.5rem 0;border-bottom:1px solid #d9dde1}td{display:block;border:0;padding:.1rem 0}}\
@media(prefers-color-scheme:dark){body{color:#e6e8ea;background:#16181a}th,td,tr{border-color:#3a3f44}.n{color:#9aa0a6}.bad{color:#ff8a8a}}";

/// The page as it is now.
pub(super) fn page(config: &Config, world: &World, now: Moment) -> String {
    let waiting = world.jobs.values().filter(|job| job.status == JobStatus::Queued).count();
    let running = world.jobs.values().filter(|job| job.status == JobStatus::InProgress).count();
    let live = world.instances.values().filter(|instance| !instance.is_gone()).count();
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"5\"><title>Mayfly: {waiting} waiting</title><style>{STYLE}</style></head><body>\
         <h1>{waiting} jobs wait, {running} run, {live} instances</h1>"
    );
    if world.listed_at.is_none() {
        html.push_str("<p class=\"bad\">AWS has not listed the instances yet: nothing is launched before that.</p>");
    }
    classes(config, world, now, &mut html);
    jobs(config, world, now, &mut html);
    instances(config, world, now, &mut html);
    html.push_str("</body></html>");
    html
}

fn classes(config: &Config, world: &World, now: Moment, html: &mut String) {
    html.push_str("<h2>Classes</h2><table><thead><tr><th>Class<th>Instances<th>State</thead><tbody>");
    for (index, class) in config.settings.classes.iter().enumerate() {
        let open = world.classes.get(index).and_then(|state| state.breaker.open()).filter(|(until, _)| now < *until);
        let state = match open {
            Some((until, why)) => {
                format!("<span class=\"bad\">stopped for {} s: {}</span>", until.since(now).as_secs(), safe(why))
            }
            None => "launches".to_owned(),
        };
        let _ = write!(html, "<tr><td>{}<td>{} of {}<td>{state}", safe(&class.name), world.live(index), class.max);
    }
    html.push_str("</tbody></table>");
}

fn jobs(config: &Config, world: &World, now: Moment, html: &mut String) {
    let mut jobs: Vec<_> = world.jobs.iter().collect();
    jobs.sort_by_key(|(id, job)| (job.status != JobStatus::Queued, job.queued_at, **id));
    html.push_str("<h2>Jobs</h2><table><thead><tr><th>Job<th>Repository<th>Since<th>Why</thead><tbody>");
    for (id, job) in jobs.iter().take(MOST) {
        let why = why(&config.settings, world, **id, now);
        let bad = if job.problem.is_some() && job.status == JobStatus::Queued { " class=\"bad\"" } else { "" };
        let _ = write!(
            html,
            "<tr><td>{} <span class=\"n\">{id}</span><td>{}<td>{}<td{bad}>{}",
            safe(&job.name),
            safe(&job.repository),
            age(now, job.queued_at),
            safe(&why)
        );
    }
    html.push_str("</tbody></table>");
    if jobs.len() > MOST {
        let _ = write!(html, "<p class=\"n\">and {} more</p>", jobs.len() - MOST);
    }
}

fn instances(config: &Config, world: &World, now: Moment, html: &mut String) {
    html.push_str("<h2>Instances</h2><table><thead><tr><th>Instance<th>Class<th>Age<th>State</thead><tbody>");
    for (id, instance) in world.instances.iter().filter(|(_, instance)| !instance.is_gone()).take(MOST) {
        let class = config.settings.classes.get(instance.class).map_or("", |class| class.name.as_str());
        let state = match (&instance.ending, instance.phase.as_deref()) {
            (Some(ending), _) => format!("is being ended: {}", ending.why),
            (None, Some(phase)) => phase.to_owned(),
            (None, None) => format!("no sign of its agent yet ({:?})", instance.provision).to_lowercase(),
        };
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{}",
            safe(id),
            safe(class),
            age(now, instance.launched_at),
            safe(&state)
        );
    }
    html.push_str("</tbody></table>");
}

fn age(now: Moment, since: Moment) -> String {
    let seconds = now.since(since).as_secs();
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

/// Names of jobs are anybody's text.
fn safe(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
