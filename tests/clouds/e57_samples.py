"""E57 files put together from their nodes, as pye57 itself does not write them."""

import numpy as np
import pye57
from pye57 import libe57


def put_together(path, *scans):
    """A file of scans that pye57 does not write: fields of any name, each an array and its node, and further nodes."""
    with pye57.E57(str(path), mode="w") as file:
        image = file.image_file
        image.extensionsAdd("nor", "http://www.libe57.org/E57_NOR_surface_normals.txt")
        image.extensionsAdd("own", "http://example.org/own")
        for number, (fields, nodes) in enumerate(scans):
            prototype, buffers = libe57.StructureNode(image), libe57.VectorSourceDestBuffer()
            for name, (values, node) in fields.items():
                prototype.set(name, node(image))
                if values is not None:
                    buffers.append(libe57.SourceDestBuffer(image, name, values, len(values), True, True))
            scan = libe57.StructureNode(image)
            scan.set("guid", libe57.StringNode(image, f"{{{number}}}"))
            for name, make in nodes.items():
                scan.set(name, make(image))
            points = libe57.CompressedVectorNode(image, prototype, libe57.VectorNode(image, True))
            scan.set("points", points)
            file.data3d.append(scan)
            writer = points.writer(buffers)
            writer.write(len(next(iter(fields.values()))[0]))
            writer.close()
    return memoryview(path.read_bytes())


def double(values):
    return np.ascontiguousarray(values, np.float64), lambda image: libe57.FloatNode(image, 0.0, libe57.E57_DOUBLE)


def single(values):
    return np.ascontiguousarray(values, np.float32), lambda image: libe57.FloatNode(image, 0.0, libe57.E57_SINGLE)


def integer(values, low, high):
    return np.ascontiguousarray(values, np.longlong), lambda image: libe57.IntegerNode(image, low, low, high)


def scaled(values, scale):
    """Stored as whole numbers times ``scale``."""
    limit = 1 << 20
    return np.ascontiguousarray(values, np.float64), lambda image: libe57.ScaledIntegerNode(
        image, 0, -limit, limit, scale, 0.0
    )


def structure(**numbers):
    def make(image):
        node = libe57.StructureNode(image)
        for name, number in numbers.items():
            node.set(name, number(image) if callable(number) else libe57.FloatNode(image, float(number)))
        return node

    return make


def coordinates(xyz):
    return {f"cartesian{axis}": double(values) for axis, values in zip("XYZ", xyz.T, strict=True)}
