"""How much property tests try: less where GPU_TEST_EXAMPLES says so, as under the sanitizers, which are slow."""

import os


def examples(number: int) -> int:
    """The number of examples to take where a test would take ``number``."""
    return min(number, int(os.environ.get("GPU_TEST_EXAMPLES", number)))
