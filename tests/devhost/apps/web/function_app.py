"""A sample app of HTTP functions: each shows one thing that the host has to carry through."""

import asyncio
import json
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
finished: list[str] = []


def _json(value: object) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(value), mimetype="application/json")


@app.route("echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    return _json(
        {
            "method": req.method,
            "url": req.url,
            "headers": dict(req.headers),
            "params": dict(req.params),
            "route": dict(req.route_params),
            "length": len(req.get_body()),
        }
    )


@app.route("bytes", methods=["POST"])
async def echo_bytes(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.get_body(), mimetype="application/octet-stream")


@app.route("alerts/{id}", methods=["GET"])
async def get_alert(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"by": "get_alert", "route": dict(req.route_params)})


@app.route("alerts/patterns", methods=["GET"])
async def list_patterns(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"by": "list_patterns"})


@app.route("items/{id:guid}", methods=["GET"])
async def by_guid(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"by": "by_guid", "route": dict(req.route_params)})


@app.route("items/{n:int:min(1)}", methods=["GET"])
async def by_number(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"by": "by_number", "route": dict(req.route_params)})


@app.route("pages/{page?}", methods=["GET"])
async def optional_page(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"by": "optional_page", "route": dict(req.route_params)})


@app.route("files/{*path}", methods=["GET"])
async def rest_of_path(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"by": "rest_of_path", "route": dict(req.route_params)})


@app.route("head", methods=["HEAD", "OPTIONS"])
async def head(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("four", headers={"x-method": req.method})


@app.route("any")
async def any_method(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.method)


@app.route("headers", methods=["GET"])
async def headers(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse("x", status_code=201)
    response.headers.add("X-Twice", "first")
    response.headers.add("X-Twice", "second")
    response.headers.add("Content-Length", "999")
    response.headers.add("Set-Cookie", "a=1; Path=/x; HttpOnly; Secure; SameSite=Strict; Max-Age=60")
    response.headers.add("Set-Cookie", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Domain=example.org")
    return response


@app.route("text", methods=["GET"])
async def text(req: func.HttpRequest) -> str:
    return "grüße"


@app.route("nothing", methods=["GET"])
async def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None  # type: ignore[return-value]  # what a careless function does


@app.route("gone", methods=["DELETE"])
async def gone(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=204)


@app.route("broken-answer", methods=["GET"])
async def broken_answer(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x", headers={"x-name": "日本"})


@app.route("line-break", methods=["GET"])
async def line_break(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x", headers={"x-name": "a\r\nx-evil: 1"})


@app.route("odd-status", methods=["GET"])
async def odd_status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x", status_code=101)


@app.route("cancelled", methods=["GET"])
async def cancelled(req: func.HttpRequest) -> func.HttpResponse:
    raise asyncio.CancelledError


@app.route("fail", methods=["GET"])
async def fail(req: func.HttpRequest) -> func.HttpResponse:
    raise LookupError("ada@example.org")


@app.route("sync", methods=["GET"])
def synchronous(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("sync")


@app.route("context", methods=["GET"])
async def with_context(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return _json({"name": context.function_name, "id": context.invocation_id})


@app.route("slow", methods=["GET"])
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    """Waits until the file that the caller names is there: tests see that it began by `<file>.started`."""
    flag = Path(req.params["flag"])
    flag.with_suffix(".started").touch()
    while not flag.exists():  # noqa: ASYNC110, ASYNC240 - the signal comes from another process
        await asyncio.sleep(0.01)
    flag.with_suffix(".finished").touch()
    return func.HttpResponse("slow")


@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")
async def nightly(timer: func.TimerRequest) -> None:
    finished.append("nightly")
