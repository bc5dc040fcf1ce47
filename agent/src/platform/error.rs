//! Why something that the instance wanted of EC2, SSM or its Auto Scaling group did not come about.

use thiserror::Error;

use super::aws::group::{self, GroupError};
use super::aws::{CallError, Class, SettingsError};
use super::imds::ImdsError;
use super::name::NameError;
use super::power::PowerError;
use mayfly_core::lifecycle::Outcome;

/// Why a call was not made, or what came of it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Ec2Error {
    /// The metadata service did not tell the identity, without which nothing can be called.
    #[error("the instance does not know who it is: {0}")]
    Unidentified(ImdsError),
    /// The environment names a metadata endpoint that is none.
    #[error(transparent)]
    Metadata(ImdsError),
    /// The environment names something else that cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// AWS refused the call, or did not answer it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The instance is in no Auto Scaling group.
    #[error("the instance is in no Auto Scaling group")]
    NoGroup,
    /// The group's lifecycle hook was not answered.
    #[error("{}", advice(.error, .hook))]
    LifecycleHook {
        /// The hook's name.
        hook: String,
        /// What came back.
        error: CallError,
    },
}

impl Ec2Error {
    /// Whether AWS said no, and would again.
    #[must_use]
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Call(error) if !error.class.passes() && error.class != Class::Credentials)
    }
}

/// Why the JIT configuration's parameter was not read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParameterError {
    /// Its name is not known.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The instance does not know itself, or cannot call anybody.
    #[error(transparent)]
    Instance(Ec2Error),
    /// SSM did not give it.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl ParameterError {
    /// What that is for the run.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Name(NameError::Instance(_) | NameError::Metadata(_)) | Self::Instance(_) => Outcome::ImdsUnavailable,
            Self::Name(_) => Outcome::ConfigInvalid,
            Self::Call(CallError { class: Class::Transient, .. }) => Outcome::NetworkUnreachable,
            Self::Call(_) => Outcome::JitConfigDenied,
        }
    }
}

/// Why a method of ending the machine did not.
#[derive(Debug, Error)]
pub enum TerminationError {
    /// It could not be asked for, or EC2 did not accept it.
    #[error(transparent)]
    Instance(#[from] Ec2Error),
    /// The group did not accept it.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The machine was not powered off.
    #[error(transparent)]
    Power(#[from] PowerError),
}

impl TerminationError {
    /// Whether the same would work if the group's desired capacity stayed.
    #[must_use]
    pub(super) fn is_at_min_size(&self) -> bool {
        matches!(self, Self::Group(GroupError::AtMinSize(_)))
    }
}

/// What a person can do about a lifecycle hook that was not answered.
pub(super) fn advice(error: &CallError, hook: &str) -> String {
    if group::is_not_waiting(error) {
        return format!("the group does not wait for the hook {hook} (any more): {error}");
    }
    match error.class {
        Class::Denied => format!("allow the instance role {} on its group: {error}", error.action),
        _ => error.to_string(),
    }
}
