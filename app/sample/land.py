"""The land of a made-up survey: terrain, roads, a pond, and the places of houses, plants and cars."""

from dataclasses import dataclass

import numpy as np

ROAD_HALF_WIDTH_M = 3.2


@dataclass(frozen=True)
class Kind:
    """Relief of the terrain, objects per hectare, number of roads."""

    relief_m: float
    houses: float
    trees: float
    shrubs: float
    cars: float
    roads: int


KINDS = {
    "town": Kind(relief_m=5, houses=13, trees=32, shrubs=50, cars=12, roads=3),
    "village": Kind(relief_m=12, houses=6, trees=50, shrubs=70, cars=4, roads=2),
    "forest": Kind(relief_m=25, houses=0.7, trees=280, shrubs=120, cars=1, roads=1),
}


@dataclass(frozen=True)
class Box:
    """A house or a car: a rectangle of half length and half width ``half`` along the rows of ``axes``.

    Its sides rise to ``eaves_m``; a roof of ``slope`` (0: flat) stands on them, on all four sides if ``hipped``.
    """

    centre: np.ndarray
    half: np.ndarray
    axes: np.ndarray
    base_m: float
    eaves_m: float
    slope: float
    hipped: bool
    reflectance: float

    def roof_m(self, xy: np.ndarray) -> np.ndarray:
        """Height of the roof over ``xy`` (P, 2), -inf beside the box."""
        inwards = self.half - np.abs((xy - self.centre) @ self.axes.T)  # (P, 2) from the ends and from the sides
        rise = inwards.min(1) if self.hipped else inwards[:, 1]
        return np.where((inwards > 0).all(1), self.base_m + self.eaves_m + self.slope * rise, -np.inf)


@dataclass(frozen=True)
class Plant:
    """A tree or shrub: an upright ellipsoid of leaves from ``bottom_m`` to ``top_m``, ``radius_m`` wide."""

    centre: np.ndarray
    radius_m: float
    bottom_m: float
    top_m: float


class Land:
    """A square of ``size_m`` by ``size_m`` metres, its corner at (0, 0); places are float64 (P, 2) in metres."""

    def __init__(self, rng: np.random.Generator, size_m: float, kind: Kind):
        self.size_m = size_m
        self.kind = kind
        wavelength_m = rng.uniform(25, 220, 10)
        direction = rng.uniform(0, 2 * np.pi, 10)
        self._waves = 2 * np.pi / wavelength_m * np.stack([np.cos(direction), np.sin(direction)])  # (2, 10)
        self._phases = rng.uniform(0, 2 * np.pi, 10)
        self._heights = wavelength_m / wavelength_m.sum() * kind.relief_m / 2
        self._headings = rng.uniform(0, np.pi / 2) + np.arange(kind.roads) % 2 * np.pi / 2
        self._road_offsets = size_m * (np.arange(kind.roads) // 2 * 0.45 + rng.uniform(-0.25, -0.15, kind.roads))
        self._pond = size_m * rng.uniform(0.2, 0.8, 2)
        self._pond_radius_m = 0.09 * size_m
        ring = np.linspace(0, 2 * np.pi, 64)
        shore = self._pond + self._pond_radius_m * np.stack([np.cos(ring), np.sin(ring)], 1)
        self._water_m = self._terrain_m(shore).min() - 0.4
        self.houses = self._place_houses(rng)
        self.plants = self._place_plants(rng)
        self.cars = self._place_cars(rng)

    def height_m(self, xy: np.ndarray) -> np.ndarray:
        """Height of ground, road or water."""
        ground = self._terrain_m(xy) - 0.12 * self.is_road(xy)
        shore_m = self._to_shore_m(xy)
        return np.where(shore_m < 0, self._water_m, np.minimum(ground, self._water_m + 0.15 + 0.5 * shore_m))

    def is_water(self, xy: np.ndarray) -> np.ndarray:
        """Whether each place is in the pond."""
        return self._to_shore_m(xy) < 0

    def is_road(self, xy: np.ndarray) -> np.ndarray:
        """Whether each place is on a road."""
        return self._to_road_m(xy) < ROAD_HALF_WIDTH_M

    def is_meadow(self, xy: np.ndarray) -> np.ndarray:
        """Whether each place has high grass."""
        waves = np.sin(xy @ self._waves[:, :4] + self._phases[:4]).sum(1)
        return (waves > 1.2) & (self._to_road_m(xy) > ROAD_HALF_WIDTH_M + 1) & (self._to_shore_m(xy) > 1)

    def _terrain_m(self, xy: np.ndarray) -> np.ndarray:
        return np.sin(xy @ self._waves + self._phases) @ self._heights

    def _to_shore_m(self, xy: np.ndarray) -> np.ndarray:
        return np.linalg.norm(xy - self._pond, axis=1) - self._pond_radius_m

    def _to_road_m(self, xy: np.ndarray) -> np.ndarray:
        distance = np.full(len(xy), np.inf)
        for road in range(self.kind.roads):
            along, across = ((xy - self.size_m / 2) @ _axes(self._headings[road]).T).T
            distance = np.minimum(distance, np.abs(across - self._road_offsets[road] - 3 * np.sin(along / 40)))
        return distance

    def _number(self, per_hectare: float) -> int:
        return round(per_hectare * self.size_m**2 / 10_000)

    def _free(self, places: np.ndarray, clearance_m: float) -> np.ndarray:
        """Whether a disc around each place keeps clear of roads and water."""
        off_road = self._to_road_m(places) > ROAD_HALF_WIDTH_M + clearance_m
        return off_road & (self._to_shore_m(places) > clearance_m)

    def _place_houses(self, rng: np.random.Generator) -> list[Box]:
        wanted = self._number(self.kind.houses)
        houses: list[Box] = []
        for place in rng.uniform(0, self.size_m, (40 * wanted, 2)):
            half = np.array([rng.uniform(5, 9), rng.uniform(3.6, 5.5)])
            if rng.random() < 0.12:
                half *= 1.9
            reach_m = float(np.linalg.norm(half))
            near = any(np.linalg.norm(place - house.centre) < reach_m + house.half.max() + 2 for house in houses)
            if near or not self._free(place[None], reach_m * 0.8)[0]:
                continue
            axes = _axes(self._headings[0] + rng.integers(2) * np.pi / 2 + rng.normal(0, 0.05))
            corners = place + (np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * half) @ axes
            flat = half[1] > 7 or rng.random() < 0.15
            houses.append(
                Box(
                    centre=place,
                    half=half,
                    axes=axes,
                    base_m=float(self.height_m(corners).mean()),
                    eaves_m=rng.uniform(2.8, 6.5) * (1.5 if flat else 1),
                    slope=0.0 if flat else rng.uniform(0.45, 1.0),
                    hipped=bool(rng.random() < 0.3),
                    reflectance=rng.uniform(0.12, 0.45),
                )
            )
            if len(houses) == wanted:
                break
        return houses

    def _place_plants(self, rng: np.random.Generator) -> list[Plant]:
        trees, shrubs = self._number(self.kind.trees), self._number(self.kind.shrubs)
        height_m = np.concatenate([rng.gamma(9, 1.35, trees) + 3, rng.uniform(0.4, 2.6, shrubs)])
        stem_m = np.where(height_m > 3, height_m * rng.uniform(0.12, 0.35, len(height_m)), 0.0)
        radius_m = np.where(
            height_m > 3, height_m * rng.uniform(0.14, 0.3, len(height_m)), rng.uniform(0.5, 2, len(height_m))
        )
        places = rng.uniform(0, self.size_m, (len(height_m), 2))
        ground_m = self.height_m(places)
        stands = self._free(places, 1.0)
        for house in self.houses:
            beside = np.abs((places - house.centre) @ house.axes.T) - house.half  # (T, 2)
            stands &= beside.max(1) > 0.6 * radius_m + 0.5
        return [
            Plant(places[i], radius_m[i], ground_m[i] + stem_m[i], ground_m[i] + height_m[i])
            for i in np.flatnonzero(stands)
        ]

    def _place_cars(self, rng: np.random.Generator) -> list[Box]:
        cars = []
        for _ in range(self._number(self.kind.cars)):
            heading = rng.integers(self.kind.roads)
            along = rng.uniform(-0.6, 0.6) * self.size_m
            lane = self._road_offsets[heading] + 3 * np.sin(along / 40) + rng.choice([-1.7, 1.7])
            axes = _axes(self._headings[heading])
            place = np.array([along, lane]) @ axes + self.size_m / 2
            half, base_m = np.array([2.2, 0.9]), self.height_m(place[None])[0]
            cars.append(Box(place, half, axes, base_m, rng.uniform(1.0, 1.3), 0.35, True, rng.uniform(0.05, 0.6)))
        return cars


def _axes(heading: float) -> np.ndarray:
    """Rows: the unit vectors along and across ``heading``."""
    return np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])
