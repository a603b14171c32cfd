"""``pointserve key``."""

import secrets
from typing import Annotated

import typer


def key(name: Annotated[str, typer.Argument(help="Whom the key is for; logs name it.")]) -> None:
    """Make an API key: the key for its owner, and the entry for POINTSERVE_API_KEYS, from which no key can be found."""
    from app.http.keys import hashed

    if not name or set(name) & set("=, \t\n"):
        raise typer.BadParameter("a name has no blank, no ',' and no '='.")
    made = secrets.token_urlsafe(32)
    typer.echo(f"key    {made}")
    typer.echo(f"entry  {name}={hashed(made)}")
