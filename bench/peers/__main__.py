"""bench/peers: Lathe beside other libraries, in one run: `./dev bench peers [GROUP…]` (docs/performance.md).

Groups: models (whole calls), train (steps of SGD), first (from a file to the first result), layers (the convolutions of
ResNet-50 and their gradients, batch 8). --quick: fewer items, one thread. --seconds multiplies the time that items get. --clock cpu: on a
busy machine, the time that this process has used of the CPU, one thread. --isa avx2: on a machine with AVX-512, what one without it
would run, of all who can be told so (contenders.py). The report, NAME.json, NAME.md and NAME.svg, goes to
DIR: docs/benchmarks where all groups were run in full, else BUILD/peers. Each group runs in a process of its own.
"""
import argparse, datetime, json, os, pathlib, resource, subprocess, sys, tempfile, time
sys.dont_write_bytecode = True
import report

HERE = pathlib.Path(__file__).parent
GROUPS = ["models", "train", "first", "layers"]


class Context:
    """What the groups of one process share."""

    def __init__(self, options, folder):
        import contenders, groups, lathe, race
        self.peers, self.missing = contenders.load(options.isa)
        self.lathe_options = contenders.LATHE_OPTIONS[options.isa]
        self.quick, self.threads, self.factor = options.quick, options.threads, options.seconds
        self.clock, self.clock_name = race.CLOCKS[options.clock], options.clock
        self.library, self.folder, self.build = lathe.Library(options.build), folder, options.build
        self.opened = groups.Opened(self.library, self.lathe_options)

    def seconds(self, normal): return normal * self.factor * (0.5 if self.quick else 1)

    def write(self, net, batch):
        path = self.folder / "m.onnx"
        path.unlink(missing_ok=True)  # an open model has the old one mapped
        path.write_bytes(net.onnx_bytes(batch))
        return path

    def use_threads(self, threads):
        if "PyTorch" in self.peers: self.peers["PyTorch"].set_num_threads(threads)

    def enter_files(self, race, path, x, shape, threads):
        """The peers that read the same file as Lathe."""
        from contenders import onnxruntime_call, openvino_call
        if "ONNX Runtime" in self.peers: race.enter("ONNX Runtime", lambda: onnxruntime_call(path, x, threads, shape))
        if "OpenVINO" in self.peers: race.enter("OpenVINO", lambda: openvino_call(path, x, threads))


def tables(context, group):
    """(title, rows) of a group."""
    import first, groups
    if group == "layers":
        for what in ("forward", "input gradient", "weight gradient"): yield f"layers: {what}", groups.layers(context, what)
    else:
        title, rows = {"models": ("whole calls", groups.models), "train": ("training steps", groups.train),
                       "first": ("first results", first.first)}[group]
        yield title, rows(context)


def peak(context):
    m = context.opened.open("network n(x: f32[1]) -> y { y = relu(x) }\n")
    best = max(m.peak() for _ in range(5))
    context.opened.close()
    return best


def run_group(options):
    """In a process of its own: the tables of one group, as JSON on the file that is named."""
    with tempfile.TemporaryDirectory() as folder:
        context = Context(options, pathlib.Path(folder))
        found, best = [], peak(context)
        for title, rows in tables(context, options.group):
            found.append({"title": title, "rows": []})
            for row in rows:
                found[-1]["rows"].append(row)
                print(report.line(row), file=sys.stderr, flush=True)
        out = {"tables": found, "peak": max(best, peak(context)), "missing": context.missing,
               "lathe": context.library.version().decode()}
    options.result.write_text(json.dumps(out))


def machine(options):
    first = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].replace("\t", "")
    facts = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    flags = facts.get("flags", facts.get("Features", "")).split()
    names = ("avx512f", "avx512"), ("avx2", "avx2"), ("sve", "sve"), ("asimd", "neon")
    isa = next((name for flag, name in names if flag in flags), "other")
    asked = {"asked": True} if options.isa and options.isa != isa else {}
    return {"cpu": facts.get("model name", "unknown").strip(), "cores": len(os.sched_getaffinity(0)), "isa": options.isa or isa, **asked}


def cores_used():
    """Seconds of all cores so far: of everybody, and of this process and its children that have ended. None: unknown here."""
    try: ticks = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    except OSError: return None
    user, nice, system, _, _, interrupts, soft, stolen = ticks[:8]
    own = sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK"), own


def others(before, after, seconds):
    """How many cores other processes kept busy meanwhile."""
    if not before or not after: return None
    return round(max((after[0] - before[0]) - (after[1] - before[1]), 0) / seconds, 2)


def commit():
    """Of the sources, where they are a repository; + where they were changed since."""
    git = lambda *words: subprocess.run(["git", "-C", HERE, *words], capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + "+" * bool(git("status", "--porcelain", "-uno"))


def arguments():
    p = argparse.ArgumentParser(prog="./dev bench peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", type=pathlib.Path, help=argparse.SUPPRESS)
    p.add_argument("groups", nargs="*", metavar="GROUP", help="default: all")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--threads", type=lambda text: [int(t) for t in text.split(",")])
    p.add_argument("--seconds", type=float, default=1, metavar="F")
    p.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    p.add_argument("--isa", choices=["avx2"])
    p.add_argument("--out", type=pathlib.Path), p.add_argument("--name")
    p.add_argument("--group", help=argparse.SUPPRESS), p.add_argument("--result", type=pathlib.Path, help=argparse.SUPPRESS)
    options = p.parse_args()
    if unknown := [g for g in options.groups if g not in GROUPS]: p.error(f"no group {unknown[0]!r}: {', '.join(GROUPS)}")
    options.complete = not options.quick and set(options.groups or GROUPS) == set(GROUPS)
    if options.clock == "cpu" and (options.threads or [1]) != [1]:
        p.error("--clock cpu adds up the time of all threads: --threads 1")
    if options.clock == "cpu": options.threads = [1]
    options.threads = options.threads or ([1] if options.quick else sorted({1, min(2, len(os.sched_getaffinity(0)))}))
    options.out = options.out or (HERE.parents[1] / "docs/benchmarks" if options.complete else options.build / "peers")
    return options


def main():
    options = arguments()
    if options.group: return run_group(options)
    import contenders
    os.environ.update(contenders.ENVIRONMENT[options.isa])
    run = {"machine": machine(options), "date": datetime.date.today().isoformat(), "versions": contenders.versions(), "tables": [],
           "peak": 0, "missing": {}, "clock": options.clock, "commit": commit(), "failed": [],
           "command": " ".join(["./dev bench peers"] + sys.argv[2:])}
    begin, used = time.monotonic(), cores_used()
    for group in options.groups or GROUPS:
        with tempfile.TemporaryDirectory() as folder:
            result = pathlib.Path(folder) / "result.json"
            child = subprocess.run([sys.executable, HERE, *sys.argv[1:], "--group", group, "--result", result])
            if child.returncode or not result.exists():
                run["failed"].append(f"{group}: its process ended with {child.returncode}")
                continue
            part = json.loads(result.read_text())
        run["tables"] += part["tables"]
        run["peak"], run["missing"], run["lathe"] = max(run["peak"], part["peak"]), part["missing"], part["lathe"]
    run["minutes"] = round((time.monotonic() - begin) / 60, 1)
    run["machine"]["others"] = others(used, cores_used(), time.monotonic() - begin)
    paths = report.write(run, options.out, options.name or report.file_name(run))
    print(report.summary(run), "\n".join(str(p) for p in paths), sep="\n")
    rows = [row for table in run["tables"] for row in table["rows"]]
    wrong = run["failed"] + [f"{row['item']}: {way}: {why}" for row in rows for way, why in row["failed"].items()]
    sys.exit("\n".join(["failed:"] + wrong) if wrong else 0)


main()
