"""One reader under libFuzzer: ``python -m tests.fuzz.guided FORMAT [options of libFuzzer] CORPUS``.

The first byte of an input chooses among the seeds of the format, for the columns that go with them.
"""

import sys

import atheris

with atheris.instrument_imports(include=["app.clouds"]):  # before anything else imports them
    from app.clouds import catalog
    from tests.fuzz.seeds import Seed, seeds
    from tests.fuzz.target import read

    catalog.load_all()


def main() -> None:
    """Give inputs to the reader until libFuzzer ends the process."""
    format = sys.argv.pop(1)
    columns = [seed.columns for seed in seeds() if seed.format == format]

    def one(data: bytes) -> None:
        if data:
            read(Seed("", format, b"", columns[data[0] % len(columns)]), data[1:])

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
