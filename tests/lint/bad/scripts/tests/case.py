import os
import re  # noqa: F401


def case(found):
    if not found:
        raise Failed(f"nothing of {found}")
