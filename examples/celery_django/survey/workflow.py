"""When to run what."""

from __future__ import annotations

from typing import Any

WORKFLOW: dict[str, dict[str, Any]] = {
    "t_household": {"after": ["page1", "page2"], "run": "survey.add_up"},
    "t_income": {"after": ["page3", "page4"], "run": "survey.add_up"},
    "t_comment": {"after": ["page1"], "andEvery": "comment", "run": "survey.read_comment"},
    "t_report": {"after": ["t_household", "t_income"], "run": "survey.report"},
    "t_letter": {
        "after": ["t_report"],
        "run": "survey.letter",
        "using": {"runner": "celery", "queue": "letters"},
        "retry": {"times": 5, "delay": 0.2, "jitter": False, "on": ["ConnectionError"]},
    },
}
