"""Device profiles: what a board, a phone or an accelerator is, and how it is reached."""

from __future__ import annotations

from edgekit.devices.catalog import find_profile, profile_files, read_profile, user_folder
from edgekit.devices.schema import Profile

__all__ = ["Profile", "find_profile", "profile_files", "read_profile", "user_folder"]
