"""Makes of a record one in which everything is known, and too long and too large for its place. For the layout alone."""

import json
import sys

record = json.load(open(sys.argv[1]))
record["job_name"] = "build (" + ", ".join(f"a-long-word-without-a-break-{number}" for number in range(12)) + ") <script>"
record["detail"] = "x" * 300
record["instance"] = "i-0123456789abcdef0"
record["machine"] = {"instance_type": "m7i-flex.24xlarge", "zone": "ap-southeast-2c", "purchase": "spot", "image": "ami-0fedcba9876543210", "architecture": "x86_64"}
for number, step in enumerate(record["startup"]):
    if step["duration_ms"] is None:
        step.pop("unknown_why", None)
        step.update(began_ms=(number - 1) * 4000, duration_ms=4000, began_at="2026-11-21T09:12:18.000Z")
hours = 6 * 3600 * 1000
for phase in record["phases"]:
    if phase["phase"] == "Busy":
        phase["duration_ms"] = hours
record["phases"][-1]["at"] += hours
record["series"].update(
    interval_ms=hours // 240,
    memory_total_mib=393216,
    cpu_percent=[number * 7 % 101 for number in range(240)],
    memory_mib=[None if 50 < number < 60 else 1000 * number for number in range(240)],
    disk_read_kib_s=[number**3 for number in range(240)],
    disk_written_kib_s=[number * 1000 for number in range(240)],
    network_received_kib_s=[0] * 240,
    network_sent_kib_s=[2**40] * 240,
)
record["notices"] = [{"notice": "spot-interruption", "seen_at": "2026-11-21T09:12:18.000Z", "due_at": "2026-11-21T09:14:18.000Z"}] * 9
record["logs"] = [{"stream": "worker-" + "y" * 200, "read": 2**60, "confirmed": 2**60, "lost": 0}]
json.dump(record, sys.stdout)
