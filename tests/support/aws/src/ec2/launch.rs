//! `RunInstances` and `CreateFleet`.

use std::time::{Instant, SystemTime};

use super::instance::Held;
use super::{Outcome, Pool, State, World, error};
use crate::proxy::AwsError;
use crate::proxy::error::REQUEST_ID;
use crate::proxy::fields::Fields;
use crate::proxy::fleet::{self, Launched, Shortage, Wanted, message};

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

impl World {
    /// The zone of what is asked for in a zone or a subnet.
    fn zone(&self, zone: Option<&str>, subnet: Option<&str>) -> String {
        let of_subnet = || subnet.and_then(|subnet| self.options.subnets.get(subnet)).map(String::as_str);
        let first = || self.options.zones.first().map(String::as_str);
        zone.or_else(of_subnet).or_else(first).unwrap_or_default().to_owned()
    }

    /// What all instances of a request have in common.
    fn like(&self, state: &mut State, fields: &Fields, now: Instant) -> Held {
        state.reservations += 1;
        Held {
            id: String::new(),
            pool: Pool::on_demand(&self.options.instance_type, &self.zone(None, None)),
            subnet: None,
            image: None,
            reservation: state.reservations,
            client_token: fields.get("ClientToken").map(str::to_owned),
            launched: now,
            launch_time: SystemTime::now(),
            ended: None,
            tags: vec![(now, fields.tags_for("instance"))],
        }
    }

    pub(super) fn run_instances(&self, state: &mut State, fields: &Fields, now: Instant) -> Outcome {
        let (Some(least), Some(most)) = (fields.number("MinCount"), fields.number("MaxCount")) else {
            return Err(error("MissingParameter", "The request must contain the parameter MinCount and MaxCount"));
        };
        if fields.get("DryRun") == Some("true") {
            return Err(dry_run());
        }
        let (zone, subnet) = (fields.get("Placement.AvailabilityZone"), fields.get("SubnetId"));
        let pool = Pool {
            instance_type: fields.get("InstanceType").unwrap_or(&self.options.instance_type).to_owned(),
            zone: self.zone(zone, subnet),
            spot: fields.get("InstanceMarketOptions.MarketType") == Some("spot"),
        };
        let room = state.room(&pool).min(most);
        if room < least {
            let code = "InsufficientInstanceCapacity";
            let of_fleet = fleet::Pool {
                instance_type: Some(pool.instance_type),
                zone: Some(pool.zone),
                ..fleet::Pool::default()
            };
            let message = message(code, &of_fleet, pool.spot);
            return Err(AwsError::Code { status: 500, code: code.to_owned(), message });
        }
        let image = fields.get("ImageId").map(str::to_owned);
        let like = Held { pool, subnet: subnet.map(str::to_owned), image, ..self.like(state, fields, now) };
        let ids: Vec<String> = (0..room).map(|_| state.launch(&like)).collect();
        let held = ids.iter().filter_map(|id| state.held(id));
        let first = if self.options.boot.is_zero() { "running" } else { "pending" };
        let items: String = held.map(|held| held.item(first, now)).collect();
        Ok(format!(
            "<RunInstancesResponse xmlns=\"{NAMESPACE}\"><requestId>{REQUEST_ID}</requestId>\
             <reservationId>r-{:017x}</reservationId><ownerId>123456789012</ownerId><groupSet/>\
             <instancesSet>{items}</instancesSet></RunInstancesResponse>",
            like.reservation
        ))
    }

    /// An instant fleet; the other types are more than this double can do.
    pub(super) fn create_fleet(&self, state: &mut State, fields: &Fields, now: Instant) -> Outcome {
        if fields.get("DryRun") == Some("true") {
            return Err(dry_run());
        }
        if fields.get("Type") != Some("instant") {
            return Err(error("UnsupportedOperation", "the double makes fleets of the type instant only"));
        }
        let wanted = Wanted::of(fields);
        if wanted.pools.is_empty() || wanted.spot + wanted.on_demand == 0 {
            let message = "The request must contain LaunchTemplateConfigs and a TotalTargetCapacity above 0";
            return Err(error("InvalidParameterValue", message));
        }
        let like = self.like(state, fields, now);
        let mut launched = Vec::new();
        let mut shortages = Vec::new();
        for (spot, count) in [(true, wanted.spot), (false, wanted.on_demand)] {
            let pools = self.by_priority(&wanted, fields, spot);
            let possible = pools.iter().map(|(_, pool)| state.room(pool)).fold(0, u32::saturating_add);
            let mut left = wanted.allowed(spot, possible);
            let mut missing = count;
            let short = left < count;
            for (of_fleet, pool) in pools {
                let here = state.room(&pool).min(left);
                left -= here;
                missing -= here;
                if short && missing > 0 {
                    let code = "InsufficientInstanceCapacity".to_owned();
                    shortages.push(Shortage { pool: of_fleet.clone(), spot, code });
                }
                if here > 0 {
                    let (subnet, image) = (of_fleet.subnet.clone(), of_fleet.image.clone());
                    let like = Held { pool, subnet, image, ..like.clone() };
                    let ids = (0..here).map(|_| state.launch(&like)).collect();
                    launched.push(Launched { pool: of_fleet, spot, ids });
                }
            }
        }
        state.fleets += 1;
        let id = format!("fleet-{:08x}-1111-4000-8000-00006d61796c", state.fleets);
        let (_, _, xml) = fleet::answer(&id, &launched, &shortages);
        Ok(xml)
    }

    /// The pools of a fleet in the order in which they are tried: by priority where the request asks for that, else
    /// as they are written.
    fn by_priority(&self, wanted: &Wanted, fields: &Fields, spot: bool) -> Vec<(fleet::Pool, Pool)> {
        let kind = if spot { "SpotOptions" } else { "OnDemandOptions" };
        let strategy = fields.get(&format!("{kind}.AllocationStrategy")).unwrap_or_default();
        let mut pools = wanted.pools.clone();
        if strategy.ends_with("prioritized") {
            let priority = |pool: &fleet::Pool| pool.priority.unwrap_or(f64::MAX);
            pools.sort_by(|one, other| priority(one).total_cmp(&priority(other)));
        }
        let with_own = |mut of_fleet: fleet::Pool| {
            let zone = self.zone(of_fleet.zone.as_deref(), of_fleet.subnet.as_deref());
            let kind = of_fleet.instance_type.get_or_insert_with(|| self.options.instance_type.clone()).clone();
            (of_fleet, Pool { instance_type: kind, zone, spot })
        };
        pools.into_iter().map(with_own).collect()
    }
}

fn dry_run() -> AwsError {
    AwsError::Code {
        status: 412,
        code: "DryRunOperation".to_owned(),
        message: "Request would have succeeded, but DryRun flag is set.".to_owned(),
    }
}
