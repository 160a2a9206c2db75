"""The measured HTTP pages."""

from django.urls import path

from pages import views

urlpatterns = [
    path("", views.index, name="index"),
    path("healthz", views.healthz, name="healthz"),
    path("cpu/", views.cpu, name="cpu"),
    path("io/", views.io, name="io"),
    path("pool/", views.pool, name="pool"),
    path("db/", views.db, name="db"),
    path("visit/", views.visit, name="visit"),
]
