"""The lab: reproduces the papers' claims. `run_claims` runs them, `write_pages` shows what came out.

>>> from isocline import lab
>>> [claim.name for claim in lab.find(["linear_model/worst*"])]
['linear_model/worst-case']
"""

from .claim import Claim, Expected, Measurement, Missing, Record, Scale, Task
from .claims import all_claims, find
from .page import write_pages
from .runner import Options, Report, run_claims
from .verdict import Row, Verdict, judge

__all__ = [
    "Claim",
    "Expected",
    "Measurement",
    "Missing",
    "Options",
    "Record",
    "Report",
    "Row",
    "Scale",
    "Task",
    "Verdict",
    "all_claims",
    "find",
    "judge",
    "run_claims",
    "write_pages",
]
