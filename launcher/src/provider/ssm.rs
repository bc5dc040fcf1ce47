//! SSM Parameter Store: where an instance finds its JIT configuration. Written once, under a name that only the instance knows.

use aws_sdk_ssm::operation::delete_parameter::DeleteParameterError;
use aws_sdk_ssm::types::{ParameterStringFilter, ParameterTier, ParameterType, Tag};
use mayfly_core::launcher::names::{PARAMETERS, instance_of_parameter};
use mayfly_core::launcher::{Problem, ProblemKind};
use secrecy::{ExposeSecret as _, SecretString};

use super::aws::{Aws, problem};
use crate::clock;

/// How long an advanced parameter lives if nobody removes it; a clean-up, not a protection.
const EXPIRES: std::time::Duration = std::time::Duration::from_secs(2 * 3600);

/// The most pages of a list, of 50 each: 10,000 standard parameters are what an account may have.
const MOST_PAGES: usize = 400;

/// What the parameter of an instance is called.
pub(super) fn name(instance: &str, ticket: Option<&str>) -> String {
    ticket.map_or_else(|| format!("{PARAMETERS}/{instance}"), |ticket| format!("{PARAMETERS}/{instance}/{ticket}"))
}

/// Writes a parameter that was not there.
pub(super) async fn put(
    aws: &Aws,
    name: &str,
    instance: &str,
    advanced: bool,
    kms_key: Option<&str>,
    configuration: &SecretString,
) -> Result<(), Problem> {
    let what = format!("storing the JIT configuration of {instance}");
    let tag = Tag::builder().key("InstanceId").value(instance).build();
    let tag = tag.map_err(|_| Problem::new(ProblemKind::Permanent, format!("{what}: the tag cannot be made")))?;
    let mut call = aws
        .ssm
        .put_parameter()
        .name(name)
        .value(configuration.expose_secret())
        .r#type(ParameterType::SecureString)
        .overwrite(false)
        .set_key_id(kms_key.map(str::to_owned))
        .tags(tag);
    if advanced {
        let until = clock::shown(clock::now().plus(EXPIRES));
        let expiry =
            serde_json::json!([{ "Type": "Expiration", "Version": "1.0", "Attributes": { "Timestamp": until } }]);
        call = call.tier(ParameterTier::Advanced).policies(expiry.to_string());
    }
    call.send().await.map(drop).map_err(|error| without_name(problem(&what, &error), name))
}

/// Removes a parameter; one that is not there is gone.
pub(super) async fn delete(aws: &Aws, name: &str) -> Result<(), Problem> {
    match aws.ssm.delete_parameter().name(name).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(DeleteParameterError::is_parameter_not_found) => Ok(()),
        Err(error) => {
            let instance = instance_of_parameter(name).unwrap_or("an instance");
            Err(without_name(problem(&format!("removing the parameter of {instance}"), &error), name))
        }
    }
}

/// The parameters that are there: instance and name. No value is read.
pub(super) async fn list(aws: &Aws) -> Result<Vec<(String, String)>, Problem> {
    let what = "listing the parameters";
    let filter = ParameterStringFilter::builder().key("Path").option("Recursive").values(PARAMETERS).build();
    let filter =
        filter.map_err(|_| Problem::new(ProblemKind::Permanent, format!("{what}: the filter cannot be made")))?;
    let mut found = Vec::new();
    let mut next = None;
    for _ in 0..MOST_PAGES {
        let call = aws.ssm.describe_parameters().parameter_filters(filter.clone()).max_results(50).set_next_token(next);
        let answer = call.send().await.map_err(|error| problem(what, &error))?;
        for name in answer.parameters().iter().filter_map(|parameter| parameter.name()) {
            if let Some(instance) = instance_of_parameter(name) {
                found.push((instance.to_owned(), name.to_owned()));
            }
        }
        next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(found);
        }
    }
    Err(Problem::new(ProblemKind::Unclear, format!("{what}: there are more than {MOST_PAGES} pages")))
}

/// A ticket is nothing for a log: an error of SSM names the parameter.
fn without_name(mut problem: Problem, name: &str) -> Problem {
    let ticket = name.rsplit('/').next().unwrap_or_default();
    problem.message = problem.message.replace(ticket, "(ticket)");
    problem
}
