"""``lt-bench wandb push`` and ``lt-bench wandb dashboard``: W&B rebuilt from the records."""

from __future__ import annotations

from rich.console import Console

from lt_bench.bench.options import WandbOptions
from lt_bench.core.errors import UserError
from lt_bench.leaderboard.wandb.dashboard import dashboard
from lt_bench.leaderboard.wandb.view import push


def wandb_verb(options: WandbOptions) -> None:
    """Do the action.

    Raises:
        UserError: no such action, a dashboard without an entity, or anything that W&B refuses.
    """
    if options.action == "push":
        pushed = push(options.results, options.project, options.entity, options.online, options.results, options.plots)
        place = "online" if options.online else f"offline under {options.results / 'wandb'}"
        Console().print(f"{len(pushed.written)} W&B runs written {place}, {len(pushed.skipped)} there already", soft_wrap=True)
    elif options.action == "dashboard":
        if not options.entity:
            raise UserError("wandb dashboard needs --entity, your W&B user or team; a dashboard lives online")
        for address in dashboard(options.entity, options.project):
            Console().print(address, soft_wrap=True)
    else:
        raise UserError(f"wandb {options.action or 'needs an action'}: one of push, dashboard")
