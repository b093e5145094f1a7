"""Scenarios that ship with the simulator, one TOML file each."""

__all__: list[str] = []
