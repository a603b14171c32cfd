"""Refinement of labels: small steps between the network's predictions and the answer.

``steps.STEPS`` declares every step, in the order in which they run. Running, checks, documents and what the answer says
of itself follow from it. A step is a row of the table and a module of its name with one function::

    def apply(scene: Scene, options: Options) -> None

which changes ``scene``, as its options ask for. (One that changes points without labelling them anew gives their
number, an int64 tensor.) ``Scene`` (``scene.py``) is what a step is given and what it gives:

- ``xyz`` float32 (P, 3), the usable points in metres, z up, context of a survey included, on the device; its origin is
  a multiple of 1024 m, so cells whose edge is a power of two lie alike in every tile. ``rgb`` and ``normals`` are what
  the file says of these points, None if it does not; what a single point lacks is NaN, or a normal of no length.
  ``answered_column(name)`` is what it says of all points that are answered, usable or not; ``file_codes(option)`` the
  classes of all points, context included, 0 where a neighbour has none.
- ``labels`` int64 (P,), ids of classes. Assign new ones: ``scene.labels = new``. The runner counts what changed.
- ``classes`` (``legend.py``) says which ids mean an ASPRS code: ``classes.ids_of(3, 4, 5)``, ``classes.id_of(7)``,
  which adds a class for a code that the model does not have; ``classes.id_kept(7)`` for points that keep the file's
  code. ``scene.means(2)`` is bool (P,).
- ``probabilities`` float32 (R, C) of the rows of the prediction (voxels, or points of modes exact and vote), ``rows``
  int64 (P,) the row of each point, ``row_points`` int64 (R,) the first point of each row. A step that changes them
  calls ``scene.predict(new)``, which labels the points anew; fields of the answer follow.
- ``fields`` takes values (P,) of output fields whose source is ``REFINED``.
- ``warnings`` takes a sentence on what a user should know.

A step decides by places, predictions and the file's own columns, never by the order of the points or by chance, and
looks no farther than the halo of a model, so that tiles of a survey agree along their borders. Points of the context
are seen and labelled, but neither counted nor answered. ``apply`` is called with P = 0, too, and within
``torch.inference_mode``. A function on tensors that does the work, without scenes and options, is easier to test.

The package knows no HTTP, no files and no pipeline. ``steps.py``, ``legend.py`` and ``check.py`` do without torch.
"""
