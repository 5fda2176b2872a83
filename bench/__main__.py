"""`python -m bench`: every script in turn, at sizes that take some minutes in all."""

from __future__ import annotations

import subprocess
import sys

from bench.page import SCRIPTS

SIZES = {
    "drill": ("--credentials", "100"),
    "openbao": ("--rounds", "2", "--workers", "1", "8", "32"),
    "schedule": ("--roles", "10", "50", "--periods", "4"),
    "policy": ("--sample", "250"),
}
"""What is smaller here than a script's own default."""

if __name__ == "__main__":
    missed = [
        script
        for script in SCRIPTS
        if subprocess.run([sys.executable, "-m", f"bench.{script}", *SIZES.get(script, ())], check=False).returncode
    ]
    print(f"goals are missed in: {', '.join(missed) or 'none'}")
