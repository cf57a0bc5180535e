"""Imported first by every script: the code of the checkout in which the script stands is the code that runs, here and
in processes begun from here, also where another checkout is installed or on PYTHONPATH."""

import os
import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[1])
sys.path.insert(0, ROOT)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))
