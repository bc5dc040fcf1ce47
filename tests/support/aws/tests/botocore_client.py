# Calls the proxy through AWS's own client and checks how it reads the answers.
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

url, instance = sys.argv[1:]


def client(service):
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="AKIDTEST",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}),
    )


def fails(code, words, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert words in error.response["Error"]["Message"], error
    else:
        raise AssertionError(f"{code} expected")


ssm, ec2, autoscaling = client("ssm"), client("ec2"), client("autoscaling")
name = "/mayfly/a"
fails("AccessDeniedException", "parameter/mayfly/a", ssm.get_parameter, Name=name)
assert len(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]) == 5000
ids = [instance]
fails("UnauthorizedOperation", "instance/" + instance, ec2.terminate_instances, InstanceIds=ids)
fails("RequestExpired", "expired", ec2.describe_instances, InstanceIds=ids)
hook = {
    "LifecycleHookName": "done",
    "AutoScalingGroupName": "runners",
    "InstanceId": instance,
}
none = "No active Lifecycle Action found with instance ID " + instance
fails("ValidationError", none, autoscaling.record_lifecycle_action_heartbeat, **hook)
fails("ValidationError", none, autoscaling.complete_lifecycle_action, LifecycleActionResult="CONTINUE", **hook)
end = {"InstanceId": instance, "ShouldDecrementDesiredCapacity": True}
terminate = autoscaling.terminate_instance_in_auto_scaling_group
fails("ValidationError", "desiredSize equals minSize (1)", terminate, **end)
terminate(**end)

logs = client("logs")
stream = {"logGroupName": "/mayfly/small", "logStreamName": "i-1/agent"}
logs.create_log_stream(**stream)
now = int(time.time() * 1000)
for start in (0, 6000):
    lines = [{"timestamp": now, "message": f"line {start + n}"} for n in range(6000)]
    assert "rejectedLogEventsInfo" not in logs.put_log_events(logEvents=lines, **stream)
