"""The parts of a file for the page."""

import json
import struct

import numpy as np


def take_apart(data: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    assert data[:8] == b"PSVIEW\x00\x01"
    (length,) = struct.unpack_from("<I", data, 8)
    header = json.loads(data[12 : 12 + length])
    at = 12 + length
    assert at % 8 == 0
    parts: dict[str, list[np.ndarray]] = {column["name"]: [] for column in header["columns"]}
    for start in range(0, header["num_shown"], header["block_points"]):
        count = min(header["block_points"], header["num_shown"] - start)
        for column in header["columns"]:
            values = np.frombuffer(data, column["type"], count * column["components"], at)
            at += -(-values.nbytes // 4) * 4
            shape = (count, column["components"]) if column["components"] > 1 else count
            values = values.reshape(shape)
            if "step" in column:
                values = values * np.array(column["step"]) + np.array(column["offset"])
            parts[column["name"]].append(values)
    assert at == len(data)
    return header, {name: np.concatenate(values) if values else np.empty(0) for name, values in parts.items()}
