"""The chat's HTML pages."""

from django.urls import path

from chat import views

urlpatterns = [path("", views.choose, name="choose"), path("<path:room>/", views.room, name="room")]
