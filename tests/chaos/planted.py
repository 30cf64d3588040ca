"""What a run left, to be damaged."""

import copy
from typing import Any

from tests.chaos.campaign import Judged
from tests.chaos.checks import Snapshot, checks
from tests.chaos.journal import Attempt

type Item = dict[str, Any]
type Items = dict[str, list[Item]]


class Planted:
    """What a run left, to be damaged: a copy of the store's content and of the clients' log."""

    def __init__(self, judged: Judged) -> None:
        self.items: Items = {name: copy.deepcopy(found) for name, found in judged.snapshot.items.items()}
        self.secret = judged.snapshot.secret
        self.attempts = list(judged.attempts)
        self.starts = judged.outcome.starts
        self.faults = judged.outcome.injected

    @property
    def events(self) -> list[Item]:
        return self.items["audit_events"]

    def one(self, container: str, **wanted: Any) -> Item:
        """The first item of a container that has these values."""
        found = (
            each for each in self.items[container] if all(each.get(name) == value for name, value in wanted.items())
        )
        item = next(found, None)
        assert item is not None, f"the run left no {wanted} in {container}"
        return item

    def acknowledged(self, call: str) -> tuple[Attempt, Item]:
        """An attempt that was answered as done, and one of its events."""
        traces = {event["context"]["trace_id"]: event for event in self.events}
        attempt = next(each for each in self.attempts if each.call == call and each.acknowledged and each.id in traces)
        return attempt, traces[attempt.id]

    def forget(self, event: Item) -> None:
        """Take an event out of trail and ledger, as if it had never been: nothing but the clients' log knows."""
        self.events.remove(event)
        shard = [each for each in self.items["ledger"] if each["period"] == event["period"]]
        mine = [each for each in shard if each["tenant_id"] == event["tenant_id"] and each["kind"] == "entry"]
        gone = next(each for each in mine if each["id"] == event["id"])
        self.items["ledger"].remove(gone)
        for each in mine:
            if each["index"] > gone["index"]:
                each["index"] -= 1

    def add(self, event: Item, **changed: Any) -> None:
        """Put another event beside one, as if the app had written it twice."""
        self.events.append({**copy.deepcopy(event), "id": f"{event['id'][:-4]}ffff", **changed})

    def of(self, container: str, kind: str) -> list[Item]:
        """The items of a kind: some at least."""
        found = [each for each in self.items[container] if each.get("kind") == kind]
        assert found, f"the run left no {kind} in {container}"
        return found

    def without(self, container: str, *kinds: str) -> None:
        """Take all items of these kinds away."""
        self.items[container] = [each for each in self.items[container] if each.get("kind") not in kinds]

    def alert(self) -> Item:
        """An alert that holds."""
        return self.one("alerts", kind="alert", superseded_by=None)

    def raised(self, alert: Item, **changed: Any) -> Item:
        """Put another alert beside one, with an event of its own; the new one."""
        made = {**copy.deepcopy(alert), "status": "open", "history": alert["history"][:1], "id": "another", **changed}
        self.items["alerts"].append(made)
        raised = self.one("audit_events", type="alert.raise", target={"kind": "alert", "id": alert["id"]})
        self.add(raised, target={"kind": "alert", "id": made["id"]})
        return made

    def missed(self, wanted: frozenset[str]) -> set[str]:
        """Which of these checks find nothing. The others are asked no longer than it takes."""
        left = set(wanted)
        for findings in checks(Snapshot(self.items, self.secret), self.attempts, self.starts, self.faults):
            left -= {each.check for each in findings}
            if not left:
                break
        return left
