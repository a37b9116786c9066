"""Takes answers, and tells how far a respondent is."""

from __future__ import annotations

import json

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

import triggers
from survey.workflow import WORKFLOW

OPEN = (triggers.Status.SCHEDULED, triggers.Status.RUNNING, triggers.Status.FAILED)


@csrf_exempt  # type: ignore[untyped-decorator]
@require_POST  # type: ignore[untyped-decorator]
def answer(request: HttpRequest, respondent: str) -> JsonResponse:
    """Takes one answer; the same one a second time changes nothing."""
    sent = json.loads(request.body)
    manager = triggers.get_manager(respondent)
    manager.update_configuration(WORKFLOW)
    fired = manager.fire(sent["page"], sent["kwargs"], event_id=sent["id"])
    return JsonResponse({"scheduled": fired.scheduled})


@require_GET  # type: ignore[untyped-decorator]
def state(request: HttpRequest, respondent: str) -> JsonResponse:
    """The statuses of all works of a respondent, and which of them are ready and not done."""
    instances = {instance.name: instance.status for instance in triggers.get_manager(respondent).storage}
    return JsonResponse({"instances": instances, "open": [name for name, status in instances.items() if status in OPEN]})
