"""What a headless Chromium says of a page.

frame PAGE WIDTH            prints a page that shows PAGE in a frame of that width, and measures it
judge RECORD DOM CONSOLE    judges what the frame measured
paper RECORD TEXT           judges the text of what was printed
"""

import html
import json
import re
import sys
from pathlib import Path

FRAME = """<!doctype html><meta charset="utf-8"><pre id="found">nothing</pre>
<iframe id="page" src="%s" style="border:0;width:%spx;height:4000px"></iframe>
<script>
document.getElementById("page").onload = () => {
  const page = document.getElementById("page").contentDocument, wide = %s;
  const outside = [], empty = [];
  for (const part of page.querySelectorAll("main, main *")) {
    const box = part.getBoundingClientRect();
    if (part.closest("svg") && part.tagName !== "svg") continue;
    if (box.left < -0.5 || box.right > wide + 0.5) outside.push(part.outerHTML.slice(0, 120));
  }
  for (const part of page.querySelectorAll(".rows li, .rows .name, .rows .time, .track i, svg, dt, dd, h1, h2")) {
    const box = part.getBoundingClientRect();
    if (box.width < 1 || box.height < 1) empty.push(part.outerHTML.slice(0, 120));
  }
  const cut = [...page.querySelectorAll(".time")].filter(part => part.scrollWidth > part.clientWidth + 1);
  document.getElementById("found").textContent = JSON.stringify({
    scroll: page.documentElement.scrollWidth, wide, outside, empty, cut: cut.map(part => part.textContent),
    rows: page.querySelectorAll(".rows li").length, figures: page.querySelectorAll("svg").length,
    loaded: performance.getEntriesByType("resource").map(entry => entry.name),
    inside: page.defaultView.performance.getEntriesByType("resource").map(entry => entry.name),
  });
};
</script>
"""


def rows(record):
    """How many rows its page has: the steps of the start-up, and the phases but the last, which has no length."""
    phases = [phase for phase in record["phases"] if phase["phase"] != "Ended"]
    return min(len(record["startup"]), 64) + min(len(phases), 64)


def judge(record, dom, console):
    told = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    found = json.loads(html.unescape(told.group(1))) if told else {}
    problems = []
    if not found:
        problems.append("the page was not loaded")
    if found.get("scroll", 0) > found.get("wide", 0):
        problems.append(f"it is {found['scroll']} px wide")
    for what in ("outside", "empty", "cut", "inside"):
        if found.get(what):
            problems.append(f"{what}: {found[what][:5]}")
    if found.get("rows") != rows(record):
        problems.append(f"{found.get('rows')} rows of {rows(record)}")
    if not found.get("figures"):
        problems.append("there is no figure")
    problems += [line for line in console.splitlines() if "CONSOLE" in line]
    return problems


def paper(record, text):
    names = {phase["phase"] for phase in record["phases"]} - {"Ended"}
    names |= {"kernel", "systemd", "session", "first step", "CPU", "memory", record["outcome"], record["instance"]}
    # Lines are broken where there is no room.
    whole = "".join(text.split())
    problems = [f"{name} is missing" for name in sorted(names) if "".join(name.split()) not in whole]
    pages = text.count("\f")
    if not 1 <= pages <= 5:
        problems.append(f"it has {pages} pages")
    return problems


def main():
    what, *words = sys.argv[1:]
    if what == "frame":
        print(FRAME % (words[0], words[1], words[1]))
        return
    texts = [Path(word).read_text(errors="replace") for word in words]
    problems = {"judge": judge, "paper": paper}[what](json.loads(texts[0]), *texts[1:])
    for problem in problems:
        print(f"    {problem}", file=sys.stderr)
    sys.exit(bool(problems))


main()
