#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/summary decides whether CI is green, so its counting is tested: on cmocka's own words, a crash,
a leak beside passed cases, a program that is one case, no test at all."""
import json
import os
import subprocess
import sys
import tempfile

SUMMARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/summary")
GOOD = "[==========] Running 2 test(s).\n[       OK ] a\n[       OK ] b\n[  PASSED  ] 2 test(s).\n"
ONE_BAD = ("[       OK ] a\n[  ERROR   ] --- 1 != 2\n[  FAILED  ] b\n[==========] 2 test(s) run.\n"
           "[  PASSED  ] 1 test(s).\n[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] b\n\n 1 FAILED TEST(S)\n")
CASES = (
    ("every case passed", [("OK", GOOD)], "2 passed, 0 failed", 0),
    ("one case failed", [("FAIL", ONE_BAD)], "1 passed, 1 failed", 1),
    ("it crashed after its cases", [("FAIL", GOOD + "ERROR: LeakSanitizer: x\n")], "2 passed, 1 failed", 1),
    ("it hung", [("TIMEOUT", "")], "0 passed, 1 failed", 1),
    ("a program without cmocka", [("OK", "fine\n"), ("FAIL", "no\n")], "1 passed, 1 failed", 1),
    ("a skipped program", [("OK", GOOD), ("SKIP", "")], "2 passed, 0 failed", 0),
    ("no test", [], "0 passed, 1 failed", 1),
)


def outcome(tests):
    with tempfile.TemporaryDirectory() as logs:
        path = os.path.join(logs, "testlog.json")
        with open(path, "w", encoding="utf-8") as f:
            for i, (result, said) in enumerate(tests):
                f.write(json.dumps({"name": f"stile:unit / t{i}", "result": result, "stdout": said, "duration": 1}) + "\n")
        env = dict(os.environ, STILE_LOGS=logs)
        subprocess.run([sys.executable, SUMMARY, "suites", path, ""], env=env, check=True, capture_output=True)
        done = subprocess.run([sys.executable, SUMMARY, "total", logs], env=env, capture_output=True, text=True)
        return done.stdout.splitlines()[-1], done.returncode


failures = 0
for name, tests, line, status in CASES:
    got = outcome(tests)
    if got != (line, status):
        failures += 1
        print(f"{name}: {got}, not {(line, status)}")
print(f"{len(CASES) - failures} of {len(CASES)} as expected")
sys.exit(1 if failures else 0)
