//! How values are written.

use std::time::Duration;

/// Declares an enum whose values are words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// The words that can be written.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            pub(super) fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("{text:?} is not one of {}", one_of(Self::WORDS))),
                }
            }
        }
    };
}

words! {
    /// Where the agent runs.
    Platform {
        /// An EC2 instance, which is terminated at the end.
        #[default]
        Ec2 = "ec2",
        /// Any machine; only the process ends.
        Local = "local",
    }
}
words! {
    /// Who supervises the runner.
    Supervisor {
        /// systemd, as a unit of its own.
        #[default]
        Systemd = "systemd",
        /// The agent, as a child process.
        Process = "process",
    }
}
words! {
    /// What a rebalance recommendation does.
    Rebalance {
        /// It ends an instance without a job.
        #[default]
        DrainIdle = "drain-idle",
        /// It is recorded.
        Record = "record",
    }
}
words! {
    /// What a run needs of Docker.
    DockerMode {
        /// It is waited for if it is installed.
        #[default]
        IfPresent = "if-present",
        /// No job without it.
        Required = "required",
        /// It is left alone.
        Off = "off",
    }
}
words! {
    /// What a job may do on its machine; chosen when the image is made.
    Level {
        /// What it may on GitHub's own machines: sudo without a password, Docker.
        #[default]
        Compatible = "compatible",
        /// No sudo, no cron, at or lingering; Docker.
        Restricted = "restricted",
    }
}
words! {
    /// Where logs go.
    Sink {
        /// Amazon CloudWatch Logs.
        #[default]
        CloudWatch = "cloudwatch",
        /// Nowhere.
        None = "none",
    }
}
words! {
    /// When the machine may be powered off.
    PowerOff {
        /// If DMI says that it is an EC2 instance.
        #[default]
        Ec2Only = "ec2-only",
        /// Always: for test machines.
        Always = "always",
        /// Never.
        Never = "never",
    }
}

/// `"a", "b" or "c"`
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

/// `90s`, `5m`, `6h30m`
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is not a duration such as \"90s\" or \"6h30m\": {error}"))
}

/// A duration that is not zero.
pub(super) fn positive(text: &str) -> Result<Duration, String> {
    let value = duration(text)?;
    if value.is_zero() { Err("must be longer than zero".to_owned()) } else { Ok(value) }
}

/// `2GiB`, `500MB`
pub(super) fn size(text: &str) -> Result<u64, String> {
    text.parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|error| format!("{text:?} is not a size such as \"2GiB\": {error}"))
}
