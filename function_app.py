"""The composition root that Azure Functions loads: settings, services (built on first use), functions."""

import azure.functions as func

import functions
from shared.core.settings import load_settings
from shared.wiring import LazyServices

services = LazyServices(load_settings())
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
functions.register(app, services)
