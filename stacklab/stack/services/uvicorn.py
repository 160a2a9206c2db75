"""uvicorn: the server that most of FastAPI's and Starlette's readers have, on asyncio, with the library `websockets`."""

from stacklab.stack.services.asgi import asgi_server

UVICORN = asgi_server("uvicorn", "uvicorn", "#56B4E9", packages=("uvicorn", "websockets"))
