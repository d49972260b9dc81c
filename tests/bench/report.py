"""report.py: bench/peers/report.py on a made-up run. TAP. Needs nothing but Python."""
import pathlib, sys, tempfile, traceback
import xml.etree.ElementTree as xml
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "peers"))
import report

SVG = "{http://www.w3.org/2000/svg}"


def ways(**ms): return {name.replace("_", " "): {"ms": t, "median_ms": 2 * t, "calls": 9, "error": 1e-6} for name, t in ms.items()}


def run():
    """A peak of 100 GFLOP/s; ours at half of it on one thread and a quarter on two; once OpenVINO's results are wrong, once there is no peer."""
    rows = [{"item": "A & B <1>", "threads": 1, "gflop": 1, "ways": ways(Lathe=20, Lathe_fast=10, PyTorch=40, OpenVINO=25), "failed": {}},
            {"item": "C", "threads": 2, "gflop": 1, "ways": ways(Lathe=20, PyTorch=16), "failed": {"OpenVINO": "wrong: 1.0e+00"}},
            {"item": "alone", "threads": 1, "gflop": 1, "ways": ways(Lathe=20), "failed": {}}]
    first = {"item": "D", "threads": 1, "gflop": 0, "ways": ways(Lathe=300, Lathe_cached=50, ONNX_Runtime=100), "failed": {}}
    for name in "Lathe", "Lathe cached": first["ways"][name]["error"] = 3e-5
    return {"machine": {"cpu": "CPU <x>", "cores": 2, "isa": "avx2", "asked": True, "others": 1.5}, "date": "2026-01-02", "command": "./dev bench peers", "peak": 100.0,
            "versions": {"PyTorch": "9.9"}, "missing": {"ONNX Runtime": "not <there>"}, "failed": [], "lathe": "0.1 (LLVM 22, x86_64-linux, znver3)",
            "tables": [{"title": "calls", "rows": rows}, {"title": "first results", "rows": [first]}, {"title": "empty", "rows": []}]}


def numbers():
    row, alone = run()["tables"][0]["rows"][0], run()["tables"][0]["rows"][2]
    assert report.best_peer(row) == ("OpenVINO", 25) and report.ratio(row, "Lathe") == 0.8 and report.ratio(row, "Lathe fast") == 0.4
    assert report.best_peer(alone) is None and report.ratio(alone, "Lathe") is None and report.ratio(row, "ONNX Runtime") is None
    mean, n = report.mean_ratio(run()["tables"][0]["rows"], "Lathe")
    assert n == 2 and abs(mean - 1) < 1e-12  # 0.8 and 1.25
    assert abs(report.share(row, "Lathe", 100) - 50) < 1e-9 and abs(report.share(run()["tables"][0]["rows"][1], "Lathe", 100) - 25) < 1e-9
    assert report.file_name(run()) == "avx2-znver3"


def page():
    lines = report.markdown(run(), "name").splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0] == ["", "threads", "Lathe, ms", "Lathe fast, ms", "OpenVINO, ms", "PyTorch, ms", "best peer", "Lathe of it", "Lathe fast of it",
                        "Lathe, % of peak"]
    assert cells[2] == ["A & B <1>", "1", "20", "10", "25", "40", "OpenVINO", "0.80", "0.40", "50"]
    assert cells[3] == ["C", "2", "20", "", "failed", "16", "PyTorch", "1.25", "", "25"]
    assert cells[5] == ["geometric mean", "", "", "", "", "", "", "1.00", "0.40", ""]
    assert cells[8] == ["D", "1", "300.0", "50", "100.0", "ONNX Runtime", "3.00", "0.50"]
    assert len({len(row) for row in cells[:6]}) == 1 and len({len(row) for row in cells[6:]}) == 1
    whole = "\n".join(lines)
    for words in "a busy machine", "The machine has more than avx2", "C, OpenVINO: wrong: 1.0e+00", "Left out: ONNX Runtime (not <there>)", "](name.svg)", "Lathe 3.0e-05": assert words in whole, words


def picture():
    root = xml.fromstring(report.svg(run()))
    bars = {b.find(SVG + "title").text: float(b.get("width")) for b in root.iter(SVG + "rect") if b.find(SVG + "title") is not None}
    assert len(bars) == 4 + 2 + 1 + 3, bars
    width = lambda item, way: next(w for told, w in bars.items() if told.startswith(f"{item}, {way}: "))
    one = width("A & B <1>", "Lathe")
    assert abs(width("A & B <1>", "Lathe fast") / one - 2) < 0.01 and abs(width("C, 2 threads", "Lathe") / one - 0.5) < 0.01
    assert abs(width("D", "Lathe") / width("D", "Lathe cached") - 6) < 0.05
    peaks = [float(line.get("x1")) for line in root.iter(SVG + "line") if line.get("class") == "peak"]
    assert len(peaks) == 1 and abs((peaks[0] - report.LABEL) / one - 2) < 0.01  # where nothing is counted there is none
    said = [t.text for t in root.iter(SVG + "text")]
    assert "0.80" in said and "1.25" in said and "3.00" in said and "Empty" not in said


def files():
    with tempfile.TemporaryDirectory() as folder:
        paths = report.write(run(), pathlib.Path(folder) / "new", "n")
        assert [p.name for p in paths] == ["n.json", "n.md", "n.svg"] and all(p.stat().st_size > 200 for p in paths)


bad = 0
for n, test in enumerate([numbers, page, picture, files], 1):
    try: test()
    except Exception:
        bad += 1
        traceback.print_exc()
        print(f"not ok {n} - {test.__name__}")
    else: print(f"ok {n} - {test.__name__}")
print("1..4")
sys.exit(bad > 0)
