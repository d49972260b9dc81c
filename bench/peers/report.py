"""report.py: a run's results as NAME.json, a page of tables, NAME.md, and a picture, NAME.svg. Needs nothing but Python.

    python3 bench/peers/report.py RESULTS.json DIR     writes the page and the picture anew from a run's results

A run is {machine, date, versions, command, peak, tables}; a table {title, rows}; a row {item, threads, gflop, ways, failed}; a
way, by its name, {ms, median_ms, calls, error}. A ratio is Lathe's best time over that of the
best peer in the same row: below 1 Lathe is faster.
"""
import json, math, pathlib, sys
from xml.sax.saxutils import escape

OURS = ["Lathe", "Lathe fast", "Lathe cached"]
COLOURS = {"Lathe": "#1d4ed8", "Lathe fast": "#60a5fa", "Lathe cached": "#10b981", "ONNX Runtime": "#ea8c00", "OpenVINO": "#8b5cf6",
           "PyTorch": "#dc2626", "PyTorch channels last": "#f59a9a"}  # and the order of columns and bars


# ---- numbers ----

def best_peer(row):
    """(name, ms) of the fastest that is not ours, or None."""
    return min(((name, way["ms"]) for name, way in row["ways"].items() if name not in OURS), key=lambda p: p[1], default=None)


def ratio(row, way):
    peer = best_peer(row)
    return row["ways"][way]["ms"] / peer[1] if peer and way in row["ways"] else None


def share(row, way, peak):
    """Of the FMA peak of the row's threads, in percent; None where no operations are counted."""
    if not row["gflop"] or way not in row["ways"]: return None
    return 100 * row["gflop"] / (row["ways"][way]["ms"] * 1e-3) / (peak * row["threads"])


def mean_ratio(rows, way):
    """(geometric mean, how many rows) of a way of ours."""
    logs = [math.log(r) for r in (ratio(row, way) for row in rows) if r]
    return (math.exp(sum(logs) / len(logs)), len(logs)) if logs else (None, 0)


def columns(table): return [name for name in COLOURS if any(name in row["ways"] or name in row["failed"] for row in table["rows"])]


def digits(v): return "" if v is None else f"{v:.0f}" if v >= 1000 else f"{v:.3g}" if v < 100 else f"{v:.1f}"


# ---- text ----

def line(row):
    """One row, for people who wait."""
    peer = best_peer(row)
    parts = [f"{way} {digits(w['ms'])} ms" + (f", {ratio(row, way):.2f}" if way in OURS and peer else "")
             for way, w in row["ways"].items()] + [f"{way} failed ({why})" for way, why in row["failed"].items()]
    return f"{row['item']}, {row['threads']} thread{'s' * (row['threads'] > 1)}: " + "; ".join(parts)


def summary(run):
    out = []
    for table in run["tables"]:
        for way in OURS:
            mean, n = mean_ratio(table["rows"], way)
            if n: out.append(f"{table['title']}: {way} takes {mean:.2f} of the best peer's time in the geometric mean of {n}")
    return "\n".join(out)


def file_name(run):
    """The instruction set, and LLVM's name of the CPU, which lathe_version ends with."""
    cpu = run.get("lathe", "").rstrip(")").split(", ")[-1]
    return f"{run['machine']['isa']}-{cpu}" if cpu else run["machine"]["isa"]


def markdown_table(table, peak):
    names = columns(table)
    ours = [n for n in names if n in OURS]
    head = ["", "threads"] + [f"{n}, ms" for n in names] + ["best peer"] + [f"{n} of it" for n in ours]
    if any(row["gflop"] for row in table["rows"]): head.append("Lathe, % of peak")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in table["rows"]:
        peer, peak_share = best_peer(row), share(row, "Lathe", peak)
        cells = [row["item"], str(row["threads"])]
        cells += ["failed" if n in row["failed"] else digits(row["ways"].get(n, {}).get("ms")) for n in names]
        cells += [peer[0] if peer else ""] + ["" if ratio(row, n) is None else f"{ratio(row, n):.2f}" for n in ours]
        if len(head) > len(cells): cells.append("" if peak_share is None else f"{peak_share:.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    means = [mean_ratio(table["rows"], n) for n in ours]
    lines.append("| " + " | ".join(["geometric mean", ""] + [""] * len(names) + [""] + [f"{m:.2f}" if n else "" for m, n in means]
                                   + [""] * (len(head) - len(names) - len(ours) - 3)) + " |")
    failed = [f"- {row['item']}, {way}: {why}" for row in table["rows"] for way, why in row["failed"].items()]
    worst = {n: max((row["ways"][n]["error"] for row in table["rows"] if n in row["ways"]), default=None) for n in names}
    errors = "Largest error: " + ", ".join(f"{n} {e:.1e}" for n, e in worst.items() if e is not None) + "."
    return "\n".join([f"## {table['title'].capitalize()}", ""] + lines + ["", errors, *failed, ""])


HOW = """Best times of many calls, in milliseconds; all ways of an item take turns in one process, and a turn begins when the threads of
the last one have come to rest. Every result was compared with double precision before it was timed (models, layers: the largest
element's error, at most 1e-4; steps: the error of all changes of the weights together, at most 1e-2, where batch statistics and
the kinks of relu and max_pool amplify rounding); what is wrong has failed. A ratio is Lathe's time over the best peer's.

`Lathe fast` is `--math=fast`. Single precision throughout: OpenVINO is told so (`INFERENCE_PRECISION_HINT: f32`), the others have
it by default. Nobody flushes denormals. ONNX Runtime: all graph optimisations, its threads spin (its default), input and output
bound. OpenVINO: latency hint, one stream. PyTorch: eager, in inference mode; `channels last` has image and weights laid out so
before it is timed, everyone else takes and gives NCHW. Calls are made from Python, by each library's shortest way; that costs
microseconds, which only the smallest network feels. Gradients of layers take their weights as an input in each call, as in
training. In `first` Lathe's time is a whole process, `lathe run MODEL.onnx`, without and with its cache of finished code; the
peers' is making a session and its first run, in a process that had loaded the library."""


def markdown(run, name):
    m, others = run["machine"], run["machine"].get("others")
    meanwhile = "" if others is None else f" Other processes kept {others} cores busy meanwhile"
    if others and others > 0.2: meanwhile += ": a busy machine, the figures are rough, and those of several threads mean little"
    facts = [f"- Machine: {m['cpu']} ({m['isa']}), {m['cores']} cores; FMA peak of one core {run['peak']:.0f} GFLOP/s, measured in "
             "the run.",
             f"- {run['date']}, `{run['command']}`, {run.get('minutes', '?')} minutes."
             + (meanwhile and meanwhile + "."),
             f"- Lathe {run.get('lathe', '')}, commit {run.get('commit') or 'unknown'}; "
             + ", ".join(f"{k} {v}" for k, v in run["versions"].items()) + "."]
    if m.get("asked"): facts.append(f"- The machine has more than {m['isa']}: all were told to do without it.")
    if run.get("clock") == "cpu": facts.append("- Times are of the CPU, not of the clock: other processes took turns on the cores.")
    facts += [f"- Left out: {k} ({v})." for k, v in run.get("missing", {}).items()]
    facts += [f"- Failed: {f}." for f in run.get("failed", [])]
    return "\n".join([f"# Beside peers: {name}", "", "Written by `bench/peers`; not by hand.", "", *facts, "",
                      f"![Shares of the FMA peak]({name}.svg)", "", HOW, "", *[markdown_table(t, run["peak"]) for t in run["tables"] if t["rows"]]])


# ---- the picture ----

STYLE = """text { font: 11px system-ui, sans-serif; fill: #222 } .title { font-weight: 600; font-size: 13px } .small { font-size: 10px; fill: #666 }
.axis { stroke: #ccc } .peak { stroke: #111; stroke-dasharray: 4 3 } .end { text-anchor: end } .mid { text-anchor: middle }
.back { fill: #fff } @media (prefers-color-scheme: dark) { text { fill: #e6e6e6 } .small { fill: #aaa } .axis { stroke: #444 }
.peak { stroke: #eee } .back { fill: #111 } }"""
LABEL, BAR, GAP, WIDTH = 200, 5, 7, 960


def text(x, y, words, kind=""): return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>'


def vertical(x, y, height, kind): return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{y + height:.1f}" class="{kind}"/>'


def measures(table, peak):
    """What the bars of a table show: a function of row and way, its name, the ticks, and where the peak stands (None: nowhere)."""
    if any(row["gflop"] for row in table["rows"]):
        most = max([share(row, w, peak) for row in table["rows"] for w in row["ways"]] + [100])
        step = 25 if most <= 150 else 50
        return lambda row, w: share(row, w, peak), "% of the FMA peak", range(0, math.ceil(most / step) * step + 1, step), 100
    most = max(way["ms"] for row in table["rows"] for way in row["ways"].values())
    step = 10 ** math.floor(math.log10(most))
    step = step if most > 3 * step else step / 4
    return lambda row, w: row["ways"][w]["ms"], "ms, less is better", [step * i for i in range(math.ceil(most / step) + 1)], None


def panel(table, peak, top):
    """(elements, height) of one table: a row for each item, a bar for each way."""
    value, unit, ticks, peak_at = measures(table, peak)
    ways = columns(table)
    scale, out = (WIDTH - LABEL - 60) / ticks[-1], [text(0, top + 14, table["title"].capitalize(), "title")]
    body, y = top + 36, top + 36
    height = sum(sum(w in row["ways"] for w in ways) * BAR + GAP for row in table["rows"])
    for t in ticks:
        at = LABEL + t * scale
        out += [vertical(at, body - 4, height, "axis"), text(at, body - 8, f"{t:g}", "small mid")]
    out.append(text(LABEL, top + 14, unit, "small"))
    for row in table["rows"]:
        bars = [w for w in ways if w in row["ways"]]
        middle = y + len(bars) * BAR / 2 + 4
        label = row["item"] + (f", {row['threads']} threads" if row["threads"] > 1 else "")
        out.append(text(LABEL - 8, middle, label, "end"))
        for i, w in enumerate(bars):
            told = escape(f"{label}, {w}: {digits(row['ways'][w]['ms'])} ms")
            out.append(f'<rect x="{LABEL}" y="{y + i * BAR:.1f}" width="{value(row, w) * scale:.1f}" height="{BAR - 1}" '
                       f'fill="{COLOURS[w]}"><title>{told}</title></rect>')
        if ratio(row, "Lathe"): out.append(text(WIDTH, middle, f"{ratio(row, 'Lathe'):.2f}", "end"))
        y += len(bars) * BAR + GAP
    if peak_at: out.append(vertical(LABEL + peak_at * scale, body - 4, height, "peak"))
    return out, y - top + 14


def legend(tables, top):
    out, x = [], 0
    for name in [n for n in COLOURS if any(n in columns(t) for t in tables)]:
        out += [f'<rect x="{x}" y="{top}" width="10" height="10" fill="{COLOURS[name]}"/>', text(x + 14, top + 9, name)]
        x += 30 + 7 * len(name)
    words = "On the right: Lathe's time over that of the best peer. Dashed: the FMA peak of the threads used."
    return out + [text(0, top + 28, words, "small")]


def svg(run):
    tables = [t for t in run["tables"] if any(row["ways"] for row in t["rows"])]
    body, y = legend(tables, 4), 44
    for table in tables:
        out, height = panel(table, run["peak"], y)
        body += out
        y += height
    size = f'viewBox="-12 -8 {WIDTH + 24} {y + 16:.0f}" width="{WIDTH + 24}" height="{y + 16:.0f}"'
    back = '<rect x="-12" y="-8" width="100%" height="100%" class="back"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{STYLE}</style>", back, *body, "</svg>\n"])


def write(run, folder, name):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = {".json": json.dumps(run, indent=1) + "\n", ".md": markdown(run, name), ".svg": svg(run)}
    for ending, content in made.items(): (folder / (name + ending)).write_text(content)
    return [folder / (name + ending) for ending in made]


if __name__ == "__main__":
    source = pathlib.Path(sys.argv[1])
    write(json.loads(source.read_text()), sys.argv[2], source.stem)
