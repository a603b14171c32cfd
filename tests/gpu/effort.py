"""How much tests try: less where the environment says so, as under the sanitizers, which are slow."""

import os


def examples(number: int) -> int:
    """The number of examples to take where a property test would take ``number``: at most GPU_TEST_EXAMPLES."""
    return min(number, int(os.environ.get("GPU_TEST_EXAMPLES", number)))


def rows(number: int) -> int:
    """The number of voxels to take where a test would take ``number``: at most GPU_TEST_ROWS."""
    return min(number, int(os.environ.get("GPU_TEST_ROWS", number)))
