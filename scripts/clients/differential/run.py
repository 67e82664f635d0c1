#!/usr/bin/env python3
"""Sends the same requests to Debian's dockerd and to our daemon and compares the answers: status, headers, every field
of every document by name, type and (where two runs can agree) value, stream frames, archives, and the order of events.

  run.py [--list] [--times] [SCENARIO...]

Differences that are allowed stand in `allowed`, each with its reason; a difference that does not, one in there that no
longer occurs, and more of them than the file's limit fail. `--list` prints every difference, `--times` how long each scenario took.
"""

import concurrent.futures
import os
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import comparison
import engines
import scenarios
from client import Client

# Every version is asked for the documents; the whole of the scenarios runs at the ends and where much changed.
OLDEST, NEWEST = 24, 51
WHOLE = ["1.51", "1.24"]


def play(engine, scenario, version):
    """One scenario on one engine: its exchanges."""
    client = Client(engine, version)
    began = time.monotonic()
    try:
        scenario(client)
    except Exception as error:  # what was exchanged until then says why
        client.note("failed", f"{type(error).__name__}: {error}")
    finally:
        client.clear()
    if "--times" in sys.argv:
        print(f"{scenario.__name__} at {version}: {engine.name} {time.monotonic() - began:.1f} s")
    return client.exchanges


def pairs(docker, ours):
    """The exchanges of two runs of a scenario, by their steps."""
    other = {exchange.step: exchange for exchange in ours}
    for exchange in docker:
        yield exchange, other.pop(exchange.step, None)
    for exchange in other.values():
        yield None, exchange


def compare(version, docker, ours, operations, count):
    """The differences of two runs: (operation, step, place) -> (version, sentence)."""
    found = {}
    for one, other in pairs(docker, ours):
        operation, step = (one or other).operation, (one or other).step
        operations.add(operation)
        count.append(step)
        for place, sentence in comparison.differences(one and one.answer, other and other.answer):
            found.setdefault((operation, step, place), (version, sentence))
    return found


def lasting(run, version, allowed, operations):
    """What `run` (the exchanges of both engines) finds different, and how many exchanges there were.

    dockerd's order of some things is chance, as is what a request that comes too early sees: a difference that is not
    allowed is looked for twice more, and what really differs differs every time.
    """
    count = []
    found = compare(version, *run(), operations, count)
    bad = {place for place in found if not allowed.allows(*place)}
    for _ in range(2):
        if bad:
            bad &= compare(version, *run(), operations, []).keys()
    return {place: told for place, told in found.items() if place in bad or allowed.allows(*place)}, len(count)


def main(arguments):
    listing = "--list" in arguments
    chosen = [argument for argument in arguments if not argument.startswith("--")]
    allowed = comparison.Allowed(os.path.join(HERE, "allowed"))
    scratch = tempfile.mkdtemp(prefix="mycontainer-test-differ-", dir="/var/tmp")
    found, operations, differing, exchanges = {}, set(), set(), 0
    both = []
    try:
        both.append(engines.Docker(scratch))
        both.append(engines.Ours(scratch))
        scenarios.prepare(*both)
        plays = [(scenario, version) for scenario in scenarios.WHOLE for version in WHOLE]
        plays += [(scenario, f"1.{minor}") for scenario in scenarios.DOCUMENTS for minor in range(OLDEST, NEWEST + 1)]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            def side_by_side(scenario, version):
                return lambda: list(pool.map(lambda engine: play(engine, scenario, version), both))

            runs = [(version, side_by_side(scenario, version))
                    for scenario, version in plays if not chosen or scenario.__name__ in chosen]
            if not chosen:
                runs.append(("1.51", lambda: scenarios.exchange(*both)))
            for version, run in runs:
                different, count = lasting(run, version, allowed, operations)
                exchanges += count
                for place, told in different.items():
                    differing.add(place[0])
                    found.setdefault(place, told)
    finally:
        for engine in both:
            engine.close()
        engines.remove(scratch)
    return report(found, allowed, operations, differing, exchanges, listing, partial=bool(chosen))


def report(found, allowed, operations, differing, exchanges, listing, partial):
    failures = 0
    for (operation, step, place), (version, sentence) in sorted(found.items()):
        is_allowed = allowed.allows(operation, step, place)
        if listing or not is_allowed:
            mark = "allowed" if is_allowed else "not ok"
            print(f"{mark}: {operation}  {step}  {place}  (v{version}) {sentence}")
        failures += not is_allowed
    if not partial:
        for entry in allowed.unused():
            failures += 1
            print(f"not ok: allowed but does not occur any more: {'  '.join(entry)}")
        if len(allowed.entries) > allowed.limit:
            failures += 1
            print(f"not ok: {len(allowed.entries)} differences are allowed, {allowed.limit} may be")
    print(f"compared with dockerd: {exchanges} exchanges of {len(operations)} operations; {len(allowed.entries)} "
          f"differences are allowed, in {len(differing)} operations")
    print(f"{exchanges - failures if failures < exchanges else 0} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
