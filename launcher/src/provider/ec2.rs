//! EC2: a launch template, and EC2 Fleet *instant* or `RunInstances`.

use aws_sdk_ec2::types::{
    DefaultTargetCapacityType, Filter, FleetLaunchTemplateConfigRequest, FleetLaunchTemplateOverridesRequest,
    FleetLaunchTemplateSpecificationRequest, FleetOnDemandAllocationStrategy, FleetType, Instance,
    InstanceMarketOptionsRequest, InstanceStateName, InstanceType, LaunchTemplateSpecification, MarketType,
    OnDemandOptionsRequest, ResourceType, SpotAllocationStrategy, SpotOptionsRequest, Tag, TagSpecification,
    TargetCapacitySpecificationRequest,
};
use mayfly_core::contract::{LaunchTag, TagKey};
use mayfly_core::launcher::event::{InstanceState, InstanceView};
use mayfly_core::launcher::{JobId, Moment, Problem, ProblemKind};

use super::Request;
use super::aws::{Aws, kind, problem};
use crate::config::{Ec2, Market, Method, Way};

/// The most pages of a list: 100,000 instances.
const MOST_PAGES: usize = 100;

/// Launches one instance for each job.
pub(super) async fn launch(
    aws: &Aws,
    ec2: &Ec2,
    way: &Way,
    launcher: &str,
    class: &str,
    request: &Request,
) -> Result<(Vec<String>, Vec<Problem>), Problem> {
    let what = format!("launching {} instances of class {class} in {}", request.jobs.len(), way.region);
    let tags = tags(launcher, class, request);
    match ec2.method {
        Method::Fleet => fleet(aws, ec2, way, &what, tags, request).await,
        Method::RunInstances => run_instances(aws, ec2, way, &what, tags, request).await,
    }
}

fn tags(launcher: &str, class: &str, request: &Request) -> Vec<Tag> {
    let jobs: Vec<String> = request.jobs.iter().map(ToString::to_string).collect();
    let pairs = [
        ("Name", format!("mayfly-{class}")),
        (LaunchTag::Launcher.name(), launcher.to_owned()),
        (LaunchTag::Class.name(), class.to_owned()),
        (LaunchTag::Jobs.name(), jobs.join(" ")),
        (LaunchTag::Repository.name(), request.repository.clone()),
        (LaunchTag::Labels.name(), request.labels.clone()),
        (LaunchTag::Ticket.name(), request.ticket.clone()),
    ];
    pairs.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

async fn fleet(
    aws: &Aws,
    ec2: &Ec2,
    way: &Way,
    what: &str,
    tags: Vec<Tag>,
    request: &Request,
) -> Result<(Vec<String>, Vec<Problem>), Problem> {
    let template = template(FleetLaunchTemplateSpecificationRequest::builder(), ec2);
    let count = i32::try_from(request.jobs.len()).unwrap_or(i32::MAX);
    let market = match way.market {
        Market::Spot => DefaultTargetCapacityType::Spot,
        Market::OnDemand => DefaultTargetCapacityType::OnDemand,
    };
    let capacity =
        TargetCapacitySpecificationRequest::builder().total_target_capacity(count).default_target_capacity_type(market);
    let mut call = aws
        .ec2
        .create_fleet()
        .client_token(&request.token)
        .r#type(FleetType::Instant)
        .launch_template_configs(
            FleetLaunchTemplateConfigRequest::builder()
                .launch_template_specification(template)
                .set_overrides(overrides(way))
                .build(),
        )
        .target_capacity_specification(capacity.build())
        .tag_specifications(
            TagSpecification::builder().resource_type(ResourceType::Instance).set_tags(Some(tags)).build(),
        );
    call = match way.market {
        Market::Spot => call.spot_options(
            SpotOptionsRequest::builder().allocation_strategy(SpotAllocationStrategy::PriceCapacityOptimized).build(),
        ),
        Market::OnDemand => call.on_demand_options(
            OnDemandOptionsRequest::builder().allocation_strategy(FleetOnDemandAllocationStrategy::LowestPrice).build(),
        ),
    };
    let answer = call.send().await.map_err(|error| problem(what, &error))?;
    let made: Vec<String> =
        answer.instances().iter().flat_map(aws_sdk_ec2::types::CreateFleetInstance::instance_ids).cloned().collect();
    // A fleet's errors come inside a success.
    let problems: Vec<Problem> = answer
        .errors()
        .iter()
        .map(|error| {
            let (code, message) = (error.error_code().unwrap_or("no code"), error.error_message().unwrap_or_default());
            Problem::new(kind(code, 400), format!("{what}: {code}: {message}"))
        })
        .collect();
    Ok((made, problems))
}

fn overrides(way: &Way) -> Option<Vec<FleetLaunchTemplateOverridesRequest>> {
    let types: Vec<Option<InstanceType>> = some_or_none(&way.types, |name| InstanceType::from(name.as_str()));
    let subnets = some_or_none(&way.subnets, Clone::clone);
    let all = types.iter().flat_map(|kind| {
        subnets.iter().map(|subnet| {
            FleetLaunchTemplateOverridesRequest::builder()
                .set_instance_type(kind.clone())
                .set_subnet_id(subnet.clone())
                .build()
        })
    });
    (!way.types.is_empty() || !way.subnets.is_empty()).then(|| all.collect())
}

fn some_or_none<T, U: Clone>(items: &[T], of: impl Fn(&T) -> U) -> Vec<Option<U>> {
    if items.is_empty() { vec![None] } else { items.iter().map(|item| Some(of(item))).collect() }
}

fn template(
    builder: aws_sdk_ec2::types::builders::FleetLaunchTemplateSpecificationRequestBuilder,
    ec2: &Ec2,
) -> FleetLaunchTemplateSpecificationRequest {
    let builder = builder.version(&ec2.version);
    if ec2.template.starts_with("lt-") {
        builder.launch_template_id(&ec2.template).build()
    } else {
        builder.launch_template_name(&ec2.template).build()
    }
}

async fn run_instances(
    aws: &Aws,
    ec2: &Ec2,
    way: &Way,
    what: &str,
    tags: Vec<Tag>,
    request: &Request,
) -> Result<(Vec<String>, Vec<Problem>), Problem> {
    let call = running(aws, ec2, way, i32::try_from(request.jobs.len()).unwrap_or(i32::MAX))
        .client_token(&request.token)
        .tag_specifications(
            TagSpecification::builder().resource_type(ResourceType::Instance).set_tags(Some(tags)).build(),
        );
    let answer = call.send().await.map_err(|error| problem(what, &error))?;
    Ok((answer.instances().iter().filter_map(Instance::instance_id).map(str::to_owned).collect(), Vec::new()))
}

fn running(
    aws: &Aws,
    ec2: &Ec2,
    way: &Way,
    count: i32,
) -> aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder {
    let template = LaunchTemplateSpecification::builder().version(&ec2.version);
    let template = if ec2.template.starts_with("lt-") {
        template.launch_template_id(&ec2.template)
    } else {
        template.launch_template_name(&ec2.template)
    };
    let spot = InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).build();
    aws.ec2
        .run_instances()
        .launch_template(template.build())
        .min_count(1)
        .max_count(count)
        .set_instance_type(way.types.first().map(|name| InstanceType::from(name.as_str())))
        .set_subnet_id(way.subnets.first().cloned())
        .set_instance_market_options((way.market == Market::Spot).then_some(spot))
}

/// Whether the launch would be allowed: the same template, and EC2 makes nothing.
pub(super) async fn rehearse(aws: &Aws, ec2: &Ec2, way: &Way) -> Result<(), Problem> {
    let what = format!("launching from {} in {}", ec2.template, way.region);
    match running(aws, ec2, way, 1).dry_run(true).send().await {
        Ok(_) => Ok(()),
        Err(error) => {
            match error.as_service_error().and_then(|error| aws_sdk_ec2::error::ProvideErrorMetadata::code(error)) {
                Some("DryRunOperation") => Ok(()),
                _ => Err(problem(&what, &error)),
            }
        }
    }
}

/// Ends an instance; one that EC2 does not know is gone.
pub(super) async fn terminate(aws: &Aws, instance: &str) -> Result<(), Problem> {
    match aws.ec2.terminate_instances().instance_ids(instance).send().await {
        Ok(_) => Ok(()),
        Err(error) => {
            match error.as_service_error().and_then(|error| aws_sdk_ec2::error::ProvideErrorMetadata::code(error)) {
                Some("InvalidInstanceID.NotFound") => Ok(()),
                _ => Err(problem(&format!("ending {instance}"), &error)),
            }
        }
    }
}

/// All instances of this launcher in the region, with the ended ones that EC2 still shows.
pub(super) async fn list(aws: &Aws, launcher: &str) -> Result<Vec<InstanceView>, Problem> {
    let what = "listing the instances";
    let filter = Filter::builder().name(format!("tag:{}", LaunchTag::Launcher.name())).values(launcher).build();
    let mut found = Vec::new();
    let mut next = None;
    for _ in 0..MOST_PAGES {
        let call = aws.ec2.describe_instances().filters(filter.clone()).max_results(1000).set_next_token(next);
        let answer = call.send().await.map_err(|error| problem(what, &error))?;
        found
            .extend(answer.reservations().iter().flat_map(aws_sdk_ec2::types::Reservation::instances).filter_map(view));
        next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(found);
        }
    }
    Err(Problem::new(ProblemKind::Unclear, format!("{what}: there are more than {MOST_PAGES} pages")))
}

fn view(instance: &Instance) -> Option<InstanceView> {
    let tag = |key: &str| {
        let tag = instance.tags().iter().find(|tag| tag.key() == Some(key));
        tag.and_then(Tag::value).map(str::to_owned)
    };
    let launched =
        instance.launch_time().and_then(|time| time.to_millis().ok()).and_then(|millis| u64::try_from(millis).ok());
    let state = match instance.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Pending) => InstanceState::Pending,
        Some(InstanceStateName::Running) => InstanceState::Running,
        Some(InstanceStateName::Terminated) => InstanceState::Terminated,
        _ => InstanceState::Ending,
    };
    let jobs = tag(LaunchTag::Jobs.name()).unwrap_or_default();
    Some(InstanceView {
        id: instance.instance_id()?.to_owned(),
        class: tag(LaunchTag::Class.name())?,
        labels: tag(LaunchTag::Labels.name()).unwrap_or_default(),
        repository: tag(LaunchTag::Repository.name()).unwrap_or_default(),
        jobs: jobs.split(' ').filter_map(|id| id.parse().ok()).map(JobId).collect(),
        launched_at: Moment(launched?),
        state,
        phase: tag(TagKey::Phase.name()),
        outcome: tag(TagKey::Outcome.name()),
    })
}
