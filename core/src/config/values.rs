//! How values are written.

use std::time::Duration;

use thiserror::Error;

use super::template::TemplateError;

/// Why a value cannot be taken. It is told behind the name of its key.
#[derive(Clone, Debug, Error, PartialEq)]
pub(super) enum ValueError {
    /// It is none of the words that there are.
    #[error("{text:?} is not one of {}", one_of(.words))]
    NotAWord {
        /// What was written.
        text: String,
        /// What can be.
        words: &'static [&'static str],
    },
    /// It is not `true` or `false`.
    #[error("{0:?} is not \"true\" or \"false\"")]
    NotABoolean(String),
    /// It is not a duration.
    #[error("{text:?} is not a duration such as \"90s\" or \"6h30m\": {error}")]
    NotADuration {
        /// What was written.
        text: String,
        /// What is wrong with it.
        error: humantime::DurationError,
    },
    /// It is a duration of zero where that makes no sense.
    #[error("must be longer than zero")]
    Zero,
    /// It is a duration below a second where that would ask too often.
    #[error("must be 1s or more")]
    UnderASecond,
    /// It is not a size.
    #[error("{text:?} is not a size such as \"2GiB\": {reason}")]
    NotASize {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is a path that depends on where the program was started.
    #[error("{0:?} is not an absolute path")]
    NotAbsolute(String),
    /// It is not an address to listen on.
    #[error("{0:?} is not an address such as \"127.0.0.1:29464\"")]
    NotAnAddress(String),
    /// Its placeholders cannot be filled in.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// Declares an enum whose values are words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// The words that can be written.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            pub(super) fn parse(text: &str) -> Result<Self, ValueError> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(ValueError::NotAWord { text: text.to_owned(), words: Self::WORDS }),
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
        /// A directory of this machine, or one that is mounted.
        Directory = "directory",
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
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

/// `90s`, `5m`, `6h30m`
pub(super) fn duration(text: &str) -> Result<Duration, ValueError> {
    humantime::parse_duration(text).map_err(|error| ValueError::NotADuration { text: text.to_owned(), error })
}

/// A duration that is not zero.
pub(super) fn positive(text: &str) -> Result<Duration, ValueError> {
    let value = duration(text)?;
    if value.is_zero() { Err(ValueError::Zero) } else { Ok(value) }
}

/// `2GiB`, `500MB`
pub(super) fn size(text: &str) -> Result<u64, ValueError> {
    text.parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|reason| ValueError::NotASize { text: text.to_owned(), reason: reason.to_string() })
}
