"""Whether W&B knows who is logging, asked before any work is done."""

from __future__ import annotations

from lt_bench.core.errors import UserError


def require_account() -> None:
    """Find W&B's credentials (environment, settings, netrc); where there are none, W&B asks a person at a terminal, and nobody else.

    Without this a fit of hours would end at a prompt, or at a refusal. The key is not sent: whether the server takes it is seen with the first run.

    Raises:
        UserError: no credentials and nobody to ask, or a key that cannot be one.
    """
    import wandb
    import wandb.errors

    try:
        known = wandb.login(verify=False)
    except (wandb.errors.Error, ValueError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise UserError(f"no W&B account: {reason}; set WANDB_API_KEY or `wandb login`, or log offline and `wandb sync` later") from error
    if not known:
        raise UserError("no W&B account: set WANDB_API_KEY or `wandb login`, or log offline and `wandb sync` later")
