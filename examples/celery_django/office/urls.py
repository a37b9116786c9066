"""Two addresses."""

from __future__ import annotations

from django.urls import path
from survey import views

urlpatterns = [
    path("answers/<str:respondent>", views.answer),
    path("respondents/<str:respondent>", views.state),
]
