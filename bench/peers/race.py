"""race.py: one piece of work, several ways of doing it, in turns; what is wrong has no time.

A way is a function of no operands. Each is compared with the reference before anything is timed. Then all take turns, in an
order that changes, until the time is over; the best call of all turns counts. Between turns we wait until this process is
quiet, because the threads of a pool go on spinning for a while after a call and would take the next one's core. The clock is the
wall's, or that of the CPU: what this process has used, where one thread works and other processes take turns on its core.
"""
import math, statistics, time
import numpy as np

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
TURN = 0.03  # seconds of calls in a turn
LEAST, MOST = 3, 4  # turns at least, unless they take so many times what an item has


def error(got, want):
    """max|got - want| / max|want|; of several arrays, together, as one: the root of the mean square instead."""
    if not isinstance(want, dict): return float(np.abs(got.astype(np.float64) - want).max() / np.abs(want).max())
    if set(got) != set(want): return math.inf
    off, all = (sum(float((a ** 2).sum()) for a in arrays) for arrays in ([got[k] - want[k] for k in want], want.values()))
    return (off / all) ** 0.5


def settle():
    """Until the threads of this process have used less than a tenth of a core for 2 ms, or for half a second."""
    for _ in range(250):
        before = time.process_time()
        time.sleep(0.002)
        if time.process_time() - before < 0.0002: return


def turn(go, seconds, clock):
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begin = clock()
        go()
        times.append(clock() - begin)
    return times


def time_all(ways, seconds, clock):
    """{name: [seconds of each call by the clock]}."""
    times, begin, rounds, names = {name: [] for name in ways}, time.perf_counter(), 0, list(ways)
    while (spent := time.perf_counter() - begin) < seconds or rounds == 0 or rounds < LEAST and spent < MOST * seconds:
        for name in names if rounds % 2 else names[::-1]:
            settle()
            if not times[name] or min(times[name]) < TURN: ways[name]()  # wakes threads, fills caches
            times[name] += turn(ways[name], TURN, clock)
        rounds += 1
    return times


class Race:
    """The ways of one item. enter(name, make): make() returns (go, result), result being a function that gives what to compare."""

    def __init__(self, item, threads, gflop, want, tolerance):
        self.row = {"item": item, "threads": threads, "gflop": gflop, "ways": {}, "failed": {}}
        self.want, self.tolerance, self.ways = want, tolerance, {}

    def enter(self, name, make):
        try:
            go, result = make()
            off = error(result(), self.want)
            if not off <= self.tolerance: raise ArithmeticError(f"wrong: {off:.1e} from double precision")
        except Exception as e:
            self.row["failed"][name] = f"{type(e).__name__}: {e}".splitlines()[0][:200]
            return
        self.ways[name], self.row["ways"][name] = go, {"error": off}

    def run(self, seconds, clock):
        for name, times in time_all(self.ways, seconds, clock).items():
            self.row["ways"][name].update(ms=min(times) * 1e3, median_ms=statistics.median(times) * 1e3, calls=len(times))
        return self.row
