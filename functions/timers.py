"""Timer triggers: what has to happen without anybody asking. A missed run is made up by the next one."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

import azure.functions as func

from shared.audit.model import PLATFORM_TENANT, RequestContext
from shared.core.clock import rfc3339
from shared.storage.containers import ALERTS, IDENTITY, REPORTS
from shared.wiring import LazyServices, Services

type Job = Callable[[Services, RequestContext], Awaitable[None]]

SWEEP_AGE = timedelta(minutes=1)
FOLDED_DAYS = 7
"""Days before today whose events are folded for reports by the timer: late events and missed runs included."""


async def daily_reports(services: Services, request: RequestContext) -> None:
    """Build every daily report that is due."""
    await services.reports.build_due(request)


async def gather_facts(services: Services, request: RequestContext) -> None:
    """Fold the days that are over and were not yet, so that reports of them are quick."""
    today = request.started_at.date()
    days = [(today - timedelta(days=back)).isoformat() for back in range(FOLDED_DAYS, 0, -1)]

    async def gather(tenant_id: str) -> None:
        if tenant_id != PLATFORM_TENANT:
            await services.facts.gather_days(tenant_id, days, request)

    await services.rounds.run("gather_facts", gather)


async def order_reports(services: Services, request: RequestContext) -> None:
    """Order the reports of schedules that are due; the change feed has them built."""
    schedules = services.framework_reports.schedules
    await services.rounds.run("order_reports", lambda tenant_id: schedules.order_due(tenant_id, request))


async def retry_reports(services: Services, request: RequestContext) -> None:
    """Build the reports whose builder failed, ended, or had to wait."""
    await services.rounds.run("retry_reports", services.framework_reports.orders.retry)


async def sweep_outbox(services: Services, request: RequestContext) -> None:
    """Deliver outbox entries that neither their request nor the change feed did."""
    older_than = rfc3339(request.started_at - SWEEP_AGE)

    async def sweep(tenant_id: str) -> None:
        await services.outbox.sweep_tenant((IDENTITY, ALERTS, REPORTS), tenant_id, older_than)

    await services.rounds.run("sweep_outbox", sweep)


async def retry_dead_letters(services: Services, request: RequestContext) -> None:
    """Hand events that a consumer could not handle to it again."""
    await services.rounds.run("retry_dead_letters", services.dead_letters.retry)


async def close_exports(services: Services, request: RequestContext) -> None:
    """Record exports of several parts whose last part nobody asked for."""
    await services.rounds.run("close_exports", services.exports.close_abandoned)


async def tidy_tenants(services: Services, request: RequestContext) -> None:
    """Take tenants whose registration failed out of the registry."""

    async def tidy(tenant_id: str) -> None:
        if tenant_id != PLATFORM_TENANT:
            await services.directory.tidy(tenant_id)

    await services.rounds.run("tidy_tenants", tidy)


async def verify_ledger(services: Services, request: RequestContext) -> None:
    """Hold what is stored against what was sealed; also of tenants that the registry lacks."""

    async def verify(tenant_id: str) -> None:
        await services.verification.run(tenant_id, request)

    async def turn(tenant_id: str) -> None:
        try:
            await verify(tenant_id)
        finally:
            if tenant_id == PLATFORM_TENANT:
                await services.roster.each_missing(verify, request)

    await services.rounds.run("verify_ledger", turn)


async def close_months(services: Services, request: RequestContext) -> None:
    """Tell in the ledger of now where the ledgers of months stand that are over."""
    await services.rounds.run("close_months", lambda tenant_id: services.closing.close_due(tenant_id, request))


async def keep_held(services: Services, request: RequestContext) -> None:
    """Keep what is under a legal hold beyond its retention, and let go of what is no more."""
    await services.rounds.run("keep_held", services.holds.keep)


async def run_erasures(services: Services, request: RequestContext) -> None:
    """Go on with requests of persons to be erased, tell of those that are overdue, and close exports that were left."""

    async def run(tenant_id: str) -> None:
        await services.erasures.run(tenant_id, request)

    await services.rounds.run("run_erasures", run)


async def tell_of_life(services: Services, request: RequestContext) -> None:
    """Tell of this instance, and of each tenant what is due: its policy, how far detection is, sources in silence."""

    async def beat(tenant_id: str) -> None:
        await services.heartbeats.beat(tenant_id, request)
        await services.sources.check(tenant_id, request)

    await services.continuity.tell(request)
    await services.rounds.run("tell_of_life", beat)


async def flush_rejections(services: Services, request: RequestContext) -> None:
    """Record rejected tokens and throttled calls that were only counted so far."""
    await services.rejections.flush(request)


async def resume_streams(services: Services, request: RequestContext) -> None:
    """Go on with webhooks that are behind: whose last attempt failed, or whose process ended."""
    await services.streaming.runner.round(services.rounds)


async def witness_checkpoints(services: Services, request: RequestContext) -> None:
    """Offer new checkpoints to the witness, where there is one."""
    witness = services.witness
    if witness is not None:
        await services.rounds.run("witness_checkpoints", lambda tenant_id: witness.offer_all(tenant_id, request))


TIMERS: dict[str, tuple[str, Job]] = {
    "close_exports": ("45 1-59/5 * * * *", close_exports),
    "close_months": ("0 20 4 * * *", close_months),
    "daily_reports": ("0 5 * * * *", daily_reports),
    "flush_rejections": ("15 * * * * *", flush_rejections),
    "gather_facts": ("40 20 * * * *", gather_facts),
    "keep_held": ("0 50 4 * * *", keep_held),
    "resume_streams": ("5 */5 * * * *", resume_streams),
    "order_reports": ("40 12-59/15 * * * *", order_reports),
    "retry_dead_letters": ("0 2-59/5 * * * *", retry_dead_letters),
    "retry_reports": ("40 1-59/10 * * * *", retry_reports),
    "run_erasures": ("50 3-59/5 * * * *", run_erasures),
    "sweep_outbox": ("30 */5 * * * *", sweep_outbox),
    "tell_of_life": ("20 10 * * * *", tell_of_life),
    "tidy_tenants": ("0 40 3 * * *", tidy_tenants),
    "verify_ledger": ("30 4-59/5 * * * *", verify_ledger),
    "witness_checkpoints": ("15 3-59/5 * * * *", witness_checkpoints),
}
"""Every timer: its six-field NCRONTAB schedule (UTC) and what it does."""

OF_ERASURE = frozenset({"keep_held", "run_erasures"})
"""Those that rewrite events which are stored. In Azure they run under an identity that may, and no other does."""


def of_role(role: str) -> Iterable[str]:
    """The timers of a role: see the setting APP_ROLE."""
    if role == "all":
        return TIMERS
    return [name for name in TIMERS if (name in OF_ERASURE) == (role == "erasure")]


def blueprint(services: LazyServices, names: Iterable[str]) -> func.Blueprint:
    """The timer functions of these names, bound to the app's services."""
    made = func.Blueprint()  # type: ignore[no-untyped-call]
    for name in names:
        schedule, job = TIMERS[name]
        trigger = made.timer_trigger(arg_name="timer", schedule=schedule, run_on_startup=False, use_monitor=True)
        made.function_name(name)(trigger(_function(name, job, services)))
    return made


def _function(name: str, job: Job, services: LazyServices) -> Callable[[func.TimerRequest], Awaitable[None]]:
    async def run(timer: func.TimerRequest) -> None:
        ready = await services.get()
        with ready.runs(name):
            await job(ready, RequestContext(services.ids.new(), f"timer/{name}", name, ready.clock.now()))

    run.__name__ = name
    return run
