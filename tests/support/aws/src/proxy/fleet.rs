//! `CreateFleet` of type *instant*: what is asked, and the answer with its instances and its errors, which come
//! inside a 200. No emulator gives errors there.

use bytes::Bytes;

use super::error::{REQUEST_ID, Rendered, escape};
use super::fields::Fields;

/// One of the pools that a fleet may launch from: an override of a launch template.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pool {
    pub(crate) template_id: Option<String>,
    pub(crate) template_name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) instance_type: Option<String>,
    pub(crate) subnet: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) priority: Option<f64>,
}

/// What a fleet is to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) pools: Vec<Pool>,
    pub(crate) spot: u32,
    pub(crate) on_demand: u32,
    spot_minimum: u32,
    on_demand_minimum: u32,
}

/// Why a pool gave less than was wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct Shortage {
    pub(crate) pool: Pool,
    pub(crate) spot: bool,
    pub(crate) code: String,
}

/// What a pool gave.
#[derive(Clone, Debug)]
pub(crate) struct Launched {
    pub(crate) pool: Pool,
    pub(crate) spot: bool,
    pub(crate) ids: Vec<String>,
}

const CONFIGS: &str = "LaunchTemplateConfigs";
const CAPACITY: &str = "TargetCapacitySpecification.";

impl Wanted {
    pub(crate) fn of(fields: &Fields) -> Self {
        let number = |name: &str| fields.number(&format!("{CAPACITY}{name}")).unwrap_or(0);
        let (mut spot, mut on_demand) = (number("SpotTargetCapacity"), number("OnDemandTargetCapacity"));
        let rest = number("TotalTargetCapacity").saturating_sub(spot + on_demand);
        match fields.get(&format!("{CAPACITY}DefaultTargetCapacityType")) {
            Some("spot") => spot += rest,
            _ => on_demand += rest,
        }
        let minimum = |kind: &str| fields.number(&format!("{kind}.MinTargetCapacity")).unwrap_or(0);
        Self {
            pools: fields.groups(CONFIGS).iter().flat_map(|config| pools(fields, config)).collect(),
            spot,
            on_demand,
            spot_minimum: minimum("SpotOptions"),
            on_demand_minimum: minimum("OnDemandOptions"),
        }
    }

    /// How many of so many that could be launched are: none if a minimum is not reached.
    pub(crate) fn allowed(&self, spot: bool, possible: u32) -> u32 {
        let (wanted, minimum) =
            if spot { (self.spot, self.spot_minimum) } else { (self.on_demand, self.on_demand_minimum) };
        let possible = possible.min(wanted);
        if possible < minimum { 0 } else { possible }
    }
}

fn pools(fields: &Fields, config: &str) -> Vec<Pool> {
    let text = |name: String| fields.get(&name).map(str::to_owned);
    let template = |name: &str| text(format!("{config}LaunchTemplateSpecification.{name}"));
    let base = Pool {
        template_id: template("LaunchTemplateId"),
        template_name: template("LaunchTemplateName"),
        version: template("Version"),
        ..Pool::default()
    };
    let overrides = fields.groups(&format!("{config}Overrides"));
    if overrides.is_empty() {
        return vec![base];
    }
    let pool = |prefix: &String| Pool {
        instance_type: text(format!("{prefix}InstanceType")),
        subnet: text(format!("{prefix}SubnetId")),
        zone: text(format!("{prefix}AvailabilityZone")),
        image: text(format!("{prefix}ImageId")),
        priority: text(format!("{prefix}Priority")).and_then(|text| text.parse().ok()),
        ..base.clone()
    };
    overrides.iter().map(pool).collect()
}

/// The part of a fleet that may be launched when only so many can be, and the shortages that the rest is told by.
pub(crate) fn cut(fields: &Fields, code: &str, launched: u32) -> (Option<(u32, u32)>, Vec<Shortage>) {
    let wanted = Wanted::of(fields);
    let on_demand = wanted.allowed(false, launched);
    let spot = wanted.allowed(true, launched.saturating_sub(on_demand));
    let short = [(true, spot < wanted.spot), (false, on_demand < wanted.on_demand)];
    let kinds = short.into_iter().filter(|(_, short)| *short).map(|(spot, _)| spot);
    let of_kind = |spot| {
        let shortage = move |pool: &Pool| Shortage { pool: pool.clone(), spot, code: code.to_owned() };
        wanted.pools.iter().map(shortage).collect::<Vec<_>>()
    };
    let shortages = kinds.flat_map(of_kind).collect();
    ((spot + on_demand > 0).then_some((spot, on_demand)), shortages)
}

/// The same request for less.
pub(crate) fn reduced(body: &[u8], (spot, on_demand): (u32, u32)) -> Bytes {
    let text = String::from_utf8_lossy(body);
    let kept = text.split('&').filter(|field| {
        let capacity = ["TotalTargetCapacity", "SpotTargetCapacity", "OnDemandTargetCapacity"];
        !capacity.iter().any(|name| field.starts_with(&format!("{CAPACITY}{name}=")))
    });
    let mut fields: Vec<String> = kept.map(str::to_owned).collect();
    fields.push(format!("{CAPACITY}TotalTargetCapacity={}", spot + on_demand));
    fields.push(format!("{CAPACITY}SpotTargetCapacity={spot}"));
    fields.push(format!("{CAPACITY}OnDemandTargetCapacity={on_demand}"));
    Bytes::from(fields.join("&"))
}

/// The whole answer to `CreateFleet`.
pub(crate) fn answer(fleet: &str, launched: &[Launched], shortages: &[Shortage]) -> Rendered {
    let instances: String = launched.iter().map(instances_item).collect();
    let xml = format!(
        "<CreateFleetResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{REQUEST_ID}</requestId>\
         <fleetId>{fleet}</fleetId>{}<fleetInstanceSet>{instances}</fleetInstanceSet></CreateFleetResponse>",
        error_set(shortages)
    );
    (200, "text/xml;charset=UTF-8", xml)
}

/// An answer with errors beside what it has.
pub(crate) fn with_errors(body: &[u8], shortages: &[Shortage]) -> Bytes {
    let text = String::from_utf8_lossy(body);
    let errors: String = shortages.iter().map(error_item).collect();
    let whole = if text.contains("</errorSet>") {
        text.replacen("</errorSet>", &format!("{errors}</errorSet>"), 1)
    } else {
        let end = "</CreateFleetResponse>";
        text.replacen("<errorSet/>", "", 1).replacen(end, &format!("{}{end}", error_set(shortages)), 1)
    };
    Bytes::from(whole)
}

fn error_set(shortages: &[Shortage]) -> String {
    format!("<errorSet>{}</errorSet>", shortages.iter().map(error_item).collect::<String>())
}

fn error_item(shortage: &Shortage) -> String {
    let Shortage { pool, spot, code } = shortage;
    format!(
        "<item>{}<lifecycle>{}</lifecycle><errorCode>{code}</errorCode><errorMessage>{}</errorMessage></item>",
        template_and_overrides(pool),
        lifecycle(*spot),
        escape(&message(code, pool, *spot))
    )
}

fn instances_item(launched: &Launched) -> String {
    let ids: String = launched.ids.iter().map(|id| format!("<item>{id}</item>")).collect();
    format!(
        "<item>{}<lifecycle>{}</lifecycle><instanceIds>{ids}</instanceIds>{}</item>",
        template_and_overrides(&launched.pool),
        lifecycle(launched.spot),
        element("instanceType", launched.pool.instance_type.as_ref())
    )
}

fn lifecycle(spot: bool) -> &'static str {
    if spot { "spot" } else { "on-demand" }
}

fn element(name: &str, text: Option<&String>) -> String {
    text.map_or_else(String::new, |text| format!("<{name}>{}</{name}>", escape(text)))
}

fn template_and_overrides(pool: &Pool) -> String {
    format!(
        "<launchTemplateAndOverrides><launchTemplateSpecification>{}{}{}</launchTemplateSpecification>\
         <overrides>{}{}{}</overrides></launchTemplateAndOverrides>",
        element("launchTemplateId", pool.template_id.as_ref()),
        element("launchTemplateName", pool.template_name.as_ref()),
        element("version", pool.version.as_ref()),
        element("instanceType", pool.instance_type.as_ref()),
        element("subnetId", pool.subnet.as_ref()),
        element("availabilityZone", pool.zone.as_ref()),
    )
}

/// What EC2 says to people with each code.
pub(crate) fn message(code: &str, pool: &Pool, spot: bool) -> String {
    let kind = pool.instance_type.as_deref().unwrap_or("the requested instance type");
    let zone = pool.zone.as_deref().unwrap_or("you requested");
    match code {
        "InsufficientInstanceCapacity" if spot => {
            "There is no Spot capacity available that matches your request.".to_owned()
        }
        "InsufficientInstanceCapacity" => format!(
            "We currently do not have sufficient {kind} capacity in the Availability Zone {zone}. Our system will be \
             working on provisioning additional capacity."
        ),
        "UnfulfillableCapacity" => {
            "Unable to fulfill capacity due to your request configuration. Please adjust your request and try again."
                .to_owned()
        }
        "MaxSpotInstanceCountExceeded" => "Max spot instance count exceeded".to_owned(),
        "VcpuLimitExceeded" => {
            "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the \
                                instance bucket that the specified instance type belongs to. Please visit \
                                http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
                .to_owned()
        }
        "UnauthorizedOperation" => "You are not authorized to perform this operation. Encoded authorization failure \
                                    message: bm90IGEgcmVhbCBtZXNzYWdl"
            .to_owned(),
        other => format!("{other} (made up for this test)"),
    }
}
