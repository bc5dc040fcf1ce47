# Makes a launcher's calls through AWS's own client and checks how it reads the answers. With "moto" as the second argument: against
# the emulator behind the proxy, where the two fleets that follow one another are cut short by a fault.
import sys
from datetime import datetime, timedelta, timezone

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

url = sys.argv[1]
moto = sys.argv[2:] == ["moto"]


def client(service):
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="AKIDTEST",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}),
    )


def fails(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{code} expected")


ec2, ssm = client("ec2"), client("ssm")
if moto:
    ec2.create_launch_template(
        LaunchTemplateName="runners", LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "m7i.large"}
    )


def fleet(token, capacity, kind="spot"):
    return dict(
        Type="instant",
        ClientToken=token,
        TargetCapacitySpecification={"TotalTargetCapacity": capacity, "DefaultTargetCapacityType": kind},
        LaunchTemplateConfigs=[
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": "runners", "Version": "$Latest"},
                "Overrides": [{"InstanceType": "m7i.large", "AvailabilityZone": "eu-central-1a"}],
            }
        ],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "class", "Value": "a & b"}]}],
    )


def launched(answer):
    return [i for instances in answer.get("Instances", []) for i in instances["InstanceIds"]]


# Ten are wanted and seven are there; then none.
first = ec2.create_fleet(**fleet("a", 10))
assert len(launched(first)) == 7, first
[error] = first["Errors"]
assert error["ErrorCode"] == "InsufficientInstanceCapacity" and error["ErrorMessage"], error
assert error["Lifecycle"] == "spot", error
assert error["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"] == "m7i.large", error
again = ec2.create_fleet(**fleet("a", 10))
assert (again["FleetId"], launched(again)) == (first["FleetId"], launched(first)), again
none = ec2.create_fleet(**fleet("b", 1))
assert not launched(none) and none["Errors"] and none["FleetId"], none
fails("IdempotentParameterMismatch", ec2.create_fleet, **fleet("b", 1, "on-demand"))

one = ec2.run_instances(ImageId="ami-12c6146b", MinCount=3, MaxCount=3, ClientToken="c", InstanceType="m6i.large")
more = [i["InstanceId"] for i in one["Instances"]]
assert [i["InstanceId"] for i in ec2.run_instances(ImageId="ami-12c6146b", MinCount=3, MaxCount=3, ClientToken="c", InstanceType="m6i.large")["Instances"]] == more

pages = list(ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
found = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
assert sorted(i["InstanceId"] for i in found) == sorted(launched(first) + more), found
of_fleet = [i for i in found if i["InstanceId"] in launched(first)]
assert all(t == {"Key": "class", "Value": "a & b"} for i in of_fleet for t in i["Tags"]), of_fleet
assert all(i["State"]["Name"] == "running" and i["LaunchTime"] for i in found), found
if not moto:
    assert len(pages) == 2 and {i["InstanceLifecycle"] for i in of_fleet} == {"spot"}
    assert {i["ClientToken"] for i in of_fleet} == {"a"}

ec2.create_tags(Resources=more[:1], Tags=[{"Key": "mayfly:job", "Value": "7"}])
[only] = ec2.describe_instances(Filters=[{"Name": "tag:mayfly:job", "Values": ["7"]}])["Reservations"]
assert only["Instances"][0]["InstanceId"] == more[0]
ended = ec2.terminate_instances(InstanceIds=more[:1])["TerminatingInstances"][0]
assert ended["PreviousState"]["Name"] == "running", ended
fails("InvalidInstanceID.NotFound", ec2.terminate_instances, InstanceIds=["i-0123456789abcdef0"])
dead = ec2.run_instances(ImageId="ami-12c6146b", MinCount=3, MaxCount=3, ClientToken="c", InstanceType="m6i.large")
assert [i["InstanceId"] for i in dead["Instances"]] == more, dead

secure = {"Type": "SecureString"}
soon = (datetime.now(timezone.utc) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
expiry = '[{"Type":"Expiration","Version":"1.0","Attributes":{"Timestamp":"%s"}}]' % soon
put = ssm.put_parameter(Name="/mayfly/jit/0", Value="x" * 5000, Tier="Advanced", Policies=expiry, **secure)
assert put["Version"] == 1, put
fails("ParameterAlreadyExists", ssm.put_parameter, Name="/mayfly/jit/0", Value="y", **secure)
fails("ValidationException", ssm.put_parameter, Name="/mayfly/jit/x", Value="x" * 4097, **secure)
fails("ValidationException", ssm.put_parameter, Name="/mayfly/jit/x", Value="{{ssm:a}}", **secure)
for number in range(1, 12):
    ssm.put_parameter(Name=f"/mayfly/jit/{number}", Value="x", **secure)
listed = ssm.get_paginator("get_parameters_by_path").paginate(Path="/mayfly/jit")
assert sum(len(page["Parameters"]) for page in listed) == 12
described = ssm.get_paginator("describe_parameters").paginate(
    ParameterFilters=[{"Key": "Name", "Option": "BeginsWith", "Values": ["/mayfly/jit/"]}]
)
assert sum(len(page["Parameters"]) for page in described) == 12
assert ssm.get_parameter(Name="/mayfly/jit/0", WithDecryption=True)["Parameter"]["Value"] == "x" * 5000
assert ssm.get_parameter(Name="/mayfly/jit/0")["Parameter"]["Value"] != "x" * 5000
ssm.delete_parameter(Name="/mayfly/jit/0")
fails("ParameterNotFound", ssm.get_parameter, Name="/mayfly/jit/0")
fails("ParameterNotFound", ssm.delete_parameter, Name="/mayfly/jit/0")
