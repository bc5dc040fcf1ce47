//! How the page looks.

/// Light and dark, desk and phone, screen and paper.
pub(super) const STYLE: &str = "
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #23272f; --quiet: #68707d; --rule: #e6e7ea; --track: #f1f2f4;
  --machine: #8490a6; --waiting: #cfd5de; --runner: #4f83d6; --job: #2a9d78; --ending: #d6964a;
  --good: #1d7f5f; --bad: #c2413a; --open: #a36a1b; --first: #4f83d6; --second: #d6964a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161a; --card: #1b1e24; --ink: #e4e7ec; --quiet: #98a1af; --rule: #2a2f37; --track: #22262d;
    --machine: #76839b; --waiting: #46505f; --runner: #6b9be8; --job: #45b892; --ending: #dba35d;
    --good: #5bc9a3; --bad: #ee7f78; --open: #e0b06c; --first: #6b9be8; --second: #dba35d;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif;
  overflow-wrap: anywhere;
}
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.5rem 3rem; }
header { margin-bottom: 2rem; }
h1 { font-size: 1.7rem; line-height: 1.25; font-weight: 650; margin: .2rem 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1rem; font-weight: 650; margin: 0 0 .9rem; }
h2 b { font-weight: 500; color: var(--quiet); margin-left: .4rem; font-variant-numeric: tabular-nums; }
h2 small { font-size: .85rem; font-weight: 400; color: var(--quiet); margin-left: .4rem; }
.outcome { margin: 0; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
.story { margin: 0; color: var(--quiet); }
section {
  background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 1.2rem 1.4rem; margin: 0 0 1rem;
}
.rows { list-style: none; margin: 0; padding: 0; }
.rows li, .axis { display: grid; grid-template-columns: 9.5rem 1fr 6.5rem; column-gap: .9rem; align-items: center; }
.rows li { min-height: 1.75rem; }
.name { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.time { text-align: right; color: var(--quiet); font-variant-numeric: tabular-nums; white-space: nowrap; }
.why { color: var(--quiet); font-size: .85rem; font-style: italic; line-height: 1.3; }
.unknown .name, .unknown .time { color: var(--quiet); }
.track {
  position: relative; height: .8rem; border-radius: 4px;
  background: linear-gradient(90deg, transparent calc(100% - 1px), var(--rule) 0) 0 0 / 25% 100%, var(--track);
}
.track i { position: absolute; top: 0; bottom: 0; min-width: 3px; max-width: 100%; border-radius: 3px; background: var(--bar); }
.machine { --bar: var(--machine); } .waiting { --bar: var(--waiting); } .runner { --bar: var(--runner); }
.job { --bar: var(--job); } .ending { --bar: var(--ending); }
.axis {
  grid-template-columns: repeat(5, 0fr); justify-content: space-between; column-gap: 0;
  margin: .35rem 7.4rem 0 10.4rem; font-size: .75rem; color: var(--quiet); font-variant-numeric: tabular-nums;
}
.axis span { white-space: nowrap; width: 0; display: flex; justify-content: center; }
.axis span:first-child { justify-content: flex-start; } .axis span:last-child { justify-content: flex-end; }
.figures { display: grid; grid-template-columns: 1fr 1fr; gap: 1.2rem 1.6rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .85rem; color: var(--quiet); margin-bottom: .35rem; }
figcaption b { color: var(--ink); font-weight: 600; margin-right: .3rem; }
svg { display: block; width: 100%; height: 4.5rem; background: var(--track); border-radius: 6px; }
svg path { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
svg .area { fill: var(--first); opacity: .18; stroke: none; }
.line0 { stroke: var(--first); } .line1 { stroke: var(--second); }
.key { margin-left: .5rem; white-space: nowrap; }
.key::before { content: ''; display: inline-block; width: .7rem; height: 3px; border-radius: 2px; margin-right: .3rem; vertical-align: middle; }
.key.line0::before { background: var(--first); } .key.line1::before { background: var(--second); }
ul { margin: 0; padding-left: 1.1rem; color: var(--quiet); }
dl { margin: 0; display: grid; grid-template-columns: 1fr 1fr; gap: .1rem 1.6rem; }
dl div { display: grid; grid-template-columns: 6.5rem 1fr; column-gap: .8rem; padding: .15rem 0; min-width: 0; }
dt { color: var(--quiet); } dd { margin: 0; min-width: 0; }
@media (max-width: 40rem) {
  body { font-size: 14px; }
  main { padding: 1.2rem .8rem 2rem; }
  h1 { font-size: 1.35rem; }
  h2 small { display: block; margin-left: 0; }
  section { padding: 1rem; border-radius: 10px; }
  .rows li { grid-template-columns: 1fr auto; row-gap: .15rem; padding: .25rem 0; }
  .rows .name { grid-area: 1 / 1; } .rows .time { grid-area: 1 / 2; }
  .rows .track, .rows .why { grid-area: 2 / 1 / 3 / 3; }
  .axis { margin: .35rem 0 0; }
  .axis span:nth-child(even) { visibility: hidden; }
  .figures, dl { grid-template-columns: 1fr; }
}
@media print {
  :root {
    color-scheme: light;
    --paper: #fff; --card: #fff; --ink: #111; --quiet: #555; --rule: #ccc; --track: #f3f3f3;
    --machine: #8490a6; --waiting: #cfd5de; --runner: #4f83d6; --job: #2a9d78; --ending: #d6964a;
    --good: #1d7f5f; --bad: #c2413a; --open: #a36a1b; --first: #4f83d6; --second: #d6964a;
  }
  @page { margin: 14mm; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  section { break-inside: avoid; padding: .8rem 1rem; }
  .axis span:nth-child(even) { visibility: hidden; }
  .track, .track i, svg, .key::before { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
";
