"""Every HTTP path of the site."""

from django.urls import include, path

urlpatterns = [path("", include("pages.urls")), path("chat/", include("chat.urls"))]
handler400 = "pages.views.bad_request"
handler404 = "pages.views.not_found"
handler500 = "pages.views.server_error"
