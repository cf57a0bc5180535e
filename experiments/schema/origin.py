"""Where a value of a configuration came from, for messages about it."""

from __future__ import annotations

from experiments.schema.config import RunConfig


def origin(config: RunConfig, key: str) -> str:
    """Where the value of a dotted key came from, in words."""
    fact, section = config.provenance.get(key), key.split(".")[0]
    if (fact or {}).get("level") == "command_line" or any(text.startswith(f"{key}=") for text in config.overrides):
        return "command line"
    if section in ("launch", "track"):
        return f"configs/{section}"
    if section in ("data", "optim") and fact is None:
        return f"configs/{section}/{config.data.name if section == 'data' else config.optim['name']}.yaml"
    return f"configs/exp/{config.exp}.yaml"
