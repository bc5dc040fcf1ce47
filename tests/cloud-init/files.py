"""Joins documents of user data as cloud-init does, writes their files below a directory, and says what is wrong with them.

    files.py DIRECTORY DOCUMENT...

Needs what cloud-init itself needs: python3-yaml, and cloud-init's own merger.
"""

import importlib.util  # noqa: F401  cloud-init 22 uses it without importing it
import json
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

import yaml
from cloudinit import mergers

# What the agent, systemd or the runner reads before it can go on. Whoever else may read the rest.
OURS = "/etc/mayfly/"
PROGRAMS = ("/etc/mayfly/job-started.d/", "/etc/mayfly/job-completed.d/")


def joined(documents):
    """The documents as one. Each says itself how it is joined to those before it, as in a MIME multi-part."""
    whole = {}
    for document in documents:
        how = mergers.dict_extract_mergers(document) or mergers.default_mergers()
        whole = mergers.construct(how).merge(whole, document)
    return whole


def problems_of(entry):
    """What is wrong with one entry of write_files, each with its consequence."""
    path, content, mode = entry["path"], entry["content"], entry.get("permissions")
    if entry.get("defer"):
        yield "is deferred: the agent starts before it is written"
    if mode is None:
        yield "has no permissions: what it gets depends on the distribution"
    if path.startswith(PROGRAMS):
        if mode != "0755":
            yield f"has permissions {mode}: the hook is not run, and nothing says so"
        if not content.startswith("#!"):
            yield "has no #! line: the hook fails, and every job with it"
    elif path.startswith(OURS) and mode != "0644":
        yield f"has permissions {mode}; nothing here is secret or a program, so 0644"
    if path.startswith("/etc/mayfly/agent.d/") and not re.search(r"/\d\d-[^/]+\.toml$", path):
        yield "is not read: drop-ins are named NN-name.toml"
    if path.startswith("/home/runner/") and entry.get("owner") != "runner:runner":
        yield "belongs to root: jobs cannot change their own settings"
    if path.startswith("/etc/systemd/system/"):
        if not re.search(r"/[^/]+\.(service|timer|slice|target)\.d/[^/]+\.conf$", path):
            yield "is no drop-in: a whole unit in /etc hides the package's"
        if "/mayfly-agent." in path or "/docker." in path:
            yield "is not read in this boot: write it in bootcmd, followed by systemctl daemon-reload"
    if path.endswith(".json"):
        try:
            json.loads(content)
        except ValueError as error:
            yield f"is not JSON: {error}"
    if path.endswith(".xml"):
        try:
            xml.etree.ElementTree.fromstring(content)
        except xml.etree.ElementTree.ParseError as error:
            yield f"is not XML: {error}"


def problems_of_command(command, root):
    """What is wrong with one entry of bootcmd. Programs in Python are run below `root`; twice, as after a reboot."""
    if not isinstance(command, list):
        yield f"{command!r} is for a shell to take apart: write it as a list"
    elif command[:2] == ["python3", "-c"]:
        program = command[2].replace('"/etc/', f'"{root}/etc/')
        for _ in range(2):
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                yield f"a program in bootcmd fails: {done.stderr}"
    elif command[:2] == ["sh", "-c"]:
        done = subprocess.run(["sh", "-n"], input=command[2], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            yield f"a script in bootcmd is none: {done.stderr}"
    elif command[0] in ("systemctl", "systemd-run") and "daemon-reload" not in command and "--no-block" not in command:
        yield f"{' '.join(command[:2])} waits for the boot, which waits for it: add --no-block"


def main(directory, names):
    """Writes, and prints every problem."""
    root = pathlib.Path(directory)
    documents = [yaml.safe_load(pathlib.Path(name).read_text()) for name in names]
    problems = []
    if any("runcmd" in document for document in documents):
        problems.append("runcmd runs after the agent has started")
    whole = joined(documents)
    entries = whole.get("write_files", [])
    wanted = sum(len(document.get("write_files", [])) for document in documents)
    if len(entries) != wanted:
        problems.append(f"{len(entries)} files of {wanted} are left when these are joined: one document hides another's")
    for command in whole.get("bootcmd", []):
        problems += problems_of_command(command, root)
    written = set()
    for entry in entries:
        path = entry["path"]
        problems += [f"{path} {problem}" for problem in problems_of(entry)]
        if path in written and not entry.get("append"):
            problems.append(f"{path} is written twice: the last one wins")
        written.add(path)
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a" if entry.get("append") else "w") as file:
            file.write(entry["content"])
        target.chmod(int(entry.get("permissions", "0644"), 8))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
