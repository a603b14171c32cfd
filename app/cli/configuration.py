"""Settings from the environment with the options of a command on top."""

import os
from typing import TYPE_CHECKING, Any

from app.errors import BadRequest

if TYPE_CHECKING:
    from app.settings import Settings


def configure(**options: Any) -> "Settings":
    """The settings of this process; options that are None leave what the environment says.

    They are put into the environment, where processes that this one starts read them.

    Raises:
        BadRequest: a value that a setting does not accept.
    """
    from pydantic import ValidationError

    from app.settings import settings

    os.environ.update(
        {f"POINTSERVE_{name.upper()}": str(value) for name, value in options.items() if value is not None}
    )
    settings.cache_clear()
    try:
        return settings()
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}, got {each['input']!r}" for each in error.errors()]
        raise BadRequest(f"Setting {'; '.join(wrong)}.") from None
