//! The doubles that a machine talks to, all on this host's loopback address.

use mayfly_fake_aws::imds::{ImdsDouble, Instance};
use mayfly_fake_aws::moto::{InstanceSpec, Moto};
use mayfly_fake_aws::proxy::AwsProxy;

use crate::{Result, Trying as _};

/// Where the guest finds this host's loopback address.
pub const HOST: &str = "169.254.169.2";

/// The cloud around one machine.
#[derive(Debug)]
pub struct Clouds {
    /// The metadata service; the guest has it at its real address.
    pub imds: ImdsDouble,
    /// The way to AWS, where faults are injected.
    pub aws: AwsProxy,
    /// AWS.
    pub moto: Moto,
    /// The instance's id.
    pub instance: String,
    /// Its Auto Scaling group.
    pub group: Option<String>,
}

impl Clouds {
    /// Launches the instance in AWS, and describes it to the metadata service.
    ///
    /// # Errors
    /// A double does not start.
    pub fn start(group: Option<&str>, describe: impl FnOnce(Instance) -> Instance) -> Result<Self> {
        let moto = Moto::start().trying(|| "starting moto".to_owned())?;
        let aws = AwsProxy::start(moto.address()).trying(|| "starting the proxy to moto".to_owned())?;
        let launch = InstanceSpec::default();
        let instance = match group {
            Some(name) => moto.run_group(name, &launch).trying(|| "making a group in moto".to_owned())?.instance_id,
            None => moto.run_instance(&launch).trying(|| "launching an instance in moto".to_owned())?,
        };
        let mut described = Instance::new(&instance, moto.region());
        described.auto_scaling_group = group.map(str::to_owned);
        described.private_ip = "169.254.169.15".to_owned();
        crate::qemu::MAC.clone_into(&mut described.mac);
        let imds = ImdsDouble::start(describe(described)).trying(|| "starting the metadata service".to_owned())?;
        Ok(Self { imds, aws, moto, instance, group: group.map(str::to_owned) })
    }

    /// The agent's environment on the machine.
    #[must_use]
    pub fn environment(&self) -> String {
        format!("AWS_ENDPOINT_URL=http://{HOST}:{}\n", self.aws.address().port())
    }

    /// The name of the parameter that the JIT configuration is looked for in.
    #[must_use]
    pub fn parameter(&self) -> String {
        format!("/mayfly/runners/{}", self.instance)
    }

    /// The instance's state in EC2, such as `running`.
    ///
    /// # Errors
    /// moto does not answer.
    pub fn state(&self) -> Result<String> {
        self.moto.instance_state(&self.instance).trying(|| "asking moto for the instance's state".to_owned())
    }
}
