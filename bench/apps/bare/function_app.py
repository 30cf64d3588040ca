"""The floor of bench.requests: one constant answer, without store, audit or checks."""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("bare", methods=["GET"])
async def bare(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the same JSON to everyone."""
    return func.HttpResponse('{"status":"ok"}', mimetype="application/json")
