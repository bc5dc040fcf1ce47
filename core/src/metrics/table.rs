//! Every figure there is.

use super::{Figure, Kind, Unit};

/// Declares the figures, and the list of all of them. `cloudwatch` marks those that are metrics there, too.
macro_rules! figures {
    ($($ident:ident $name:literal $kind:ident $unit:ident [$($label:literal),*] $($cloudwatch:ident)? $help:literal;)*) => {
        $(#[doc = $help] pub const $ident: Figure = Figure {
            name: $name,
            kind: Kind::$kind,
            unit: Unit::$unit,
            labels: &[$($label),*],
            cloudwatch: figures!(@ $($cloudwatch)?),
            help: $help,
        };)*

        /// All figures, in the order of the documentation.
        pub const ALL: &[Figure] = &[$($ident),*];
    };
    (@ cloudwatch) => { true };
    (@) => { false };
}

figures! {
    INFO "mayfly_info" Gauge Flag ["version", "instance_id", "class", "instance_type", "zone", "runner_version"]
        "1; the labels say which machine this is, as far as it is known.";
    STATE "mayfly_state" Gauge Flag ["state"]
        "1 for the state that the run is in.";
    STATE_TIME "mayfly_state_seconds" Gauge Seconds []
        "How long it has been in that state.";
    PHASE "mayfly_phase_seconds" Gauge Seconds ["phase"]
        "How long the run has been in each state so far.";
    STARTUP "mayfly_startup_seconds" Gauge Seconds ["step"] cloudwatch
        "How long a step of the start took, once it is over.";
    JOB_RUNNING "mayfly_job_running" Gauge Flag [] cloudwatch
        "Whether a job is on this machine, from its request to its end.";
    IDLE "mayfly_idle_seconds" Gauge Seconds [] cloudwatch
        "How long the runner has been listening without a job.";
    OUTCOME "mayfly_run_outcome_info" Gauge Flag ["outcome"] cloudwatch
        "1 for the outcome of the run, once it is ending.";
    LIFETIME_REMAINING "mayfly_lifetime_remaining_seconds" Gauge Seconds []
        "How long until the machine ends at the latest; 0 once that has passed, absent in a warm pool.";
    HELD "mayfly_held" Gauge Flag []
        "Whether a person keeps the machine although its run has ended.";
    NOTICES "mayfly_notices_total" Counter Count ["notice"] cloudwatch
        "What EC2 and the Auto Scaling group announced.";
    LOCK_RENEWED "mayfly_lock_renewed_timestamp_seconds" Gauge Timestamp []
        "When GitHub last renewed the job's lock, as far as this machine saw it; by this machine's clock.";
    LOCK_REMAINING "mayfly_lock_remaining_seconds" Gauge Seconds []
        "How long until the job is given up if its lock is not renewed again.";
    TERMINATIONS "mayfly_termination_attempts_total" Counter Count ["method", "result"] cloudwatch
        "Attempts to end the machine.";
    SHUTDOWN_STOPS "mayfly_shutdown_behavior_stop" Gauge Flag [] cloudwatch
        "Whether a power-off would leave the instance stopped and billed; absent until EC2 says.";
    AWS_CALLS "mayfly_aws_calls_total" Counter Count ["operation"]
        "Attempts at calls to AWS.";
    AWS_RETRIES "mayfly_aws_retries_total" Counter Count ["operation"]
        "Attempts after the first of the same call.";
    AWS_ERRORS "mayfly_aws_errors_total" Counter Count ["operation", "error"] cloudwatch
        "Attempts that failed. A JIT configuration that is waited for is a GetParameter that failed with not-found.";
    DENIED "mayfly_denied_permissions" Gauge Count [] cloudwatch
        "How many operations of AWS this instance's role was denied when they were last tried.";
    DOCKER_HEALTH "mayfly_docker_health" Gauge Flag ["health"]
        "1 for what the last look at the Docker daemon found; absent where nobody looks.";
    MEMORY_AVAILABLE "mayfly_memory_available_bytes" Gauge Bytes [] cloudwatch
        "Memory that can be had without swapping.";
    MEMORY_SIZE "mayfly_memory_size_bytes" Gauge Bytes []
        "The machine's memory.";
    CPU_PRESSURE "mayfly_cpu_pressure_ratio" Gauge Ratio [] cloudwatch
        "The part of the last minute in which something waited for a CPU.";
    MEMORY_PRESSURE "mayfly_memory_pressure_ratio" Gauge Ratio [] cloudwatch
        "The part of the last minute in which everything waited for memory.";
    IO_PRESSURE "mayfly_io_pressure_ratio" Gauge Ratio []
        "The part of the last minute in which everything waited for disks.";
    DISK_FREE "mayfly_disk_free_bytes" Gauge Bytes ["disk"] cloudwatch
        "Free room on the disk of the runner, its work directory, the agent's state or Docker; each disk once.";
    DISK_SIZE "mayfly_disk_size_bytes" Gauge Bytes ["disk"]
        "The size of that disk.";
    CLOCK "mayfly_clock_difference_seconds" Gauge Seconds []
        "AWS's clock minus this machine's.";
    JOB_CPU "mayfly_job_cpu_seconds_total" Counter Seconds []
        "CPU time of the job and its containers.";
    JOB_MEMORY "mayfly_job_memory_peak_bytes" Gauge Bytes [] cloudwatch
        "The most memory of the job and its containers at any moment, page cache included.";
    JOB_OOM "mayfly_job_oom_kills_total" Counter Count [] cloudwatch
        "Processes of the job that were killed for want of memory.";
    CONSOLE_LINES "mayfly_console_lines_total" Counter Count []
        "Lines of the runner's console.";
    LINES_READ "mayfly_log_lines_read_total" Counter Count ["stream"]
        "Log lines that were read to be shipped.";
    LINES_CONFIRMED "mayfly_log_lines_confirmed_total" Counter Count ["stream"]
        "Log lines that the sink has confirmed.";
    LINES_LOST "mayfly_log_lines_lost_total" Counter Count ["stream"] cloudwatch
        "Log lines that were lost, and counted.";
    RUNNER_NEWEST "mayfly_runner_newest_timestamp_seconds" Gauge Timestamp ["version", "source"]
        "When the installed runner was last known to be GitHub's newest: the day that its image tells (source image), or the date of its program (file-date), a guess.";
    AGENT_RESTARTED "mayfly_agent_restarted" Gauge Flag []
        "Whether an earlier agent process of this run ended before its time.";
    LOOP_LAG "mayfly_loop_lag_seconds" Gauge Seconds []
        "The longest that the agent's loop came late to what was due.";
}
