"""The table of the kinds of data: images, tables, text, waveforms.

To add a kind, for example molecules, add a package beside ``images``, ``tables``, ``text`` and ``waveforms`` with its
``DataInfo``, its settings and its loaders, and one entry to ``KINDS``. The data sets of the kind are entries in
``catalogue.datasets.DATA``. ``docs/rooms/data.md`` describes each step.

An entry refers to code as text, ``module:attribute``, which is imported only when it is used. So the table can refer to
code of rooms above ``data``.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from danlu import data as room
from danlu.catalogue.lookup import look_up, resolve
from danlu.errors import few
from danlu.storage.json_page import first_problem


class Kind(NamedTuple):
    """The code and the names that belong to a kind of data.

    ``info``, ``settings``, ``survey``, ``read_files``, ``read_gaps``, ``write_files``, ``features``, ``figure`` and
    ``sections`` are a ``module:attribute``.

    Attributes:
        info: the subclass of ``DataInfo``.
        settings: the settings for training on such data, a subclass of ``DataSettings``.
        page: name of the page in these settings that describes how the user's files are read.
        dataset: name of the data set that reads the user's files.
        usage: how the user names such files, as in ``folder:PATH``.
        endings: endings of paths that this data set reads; "/" is a folder, "*" is every ending of no other kind.
        files: description of the user's files, for messages.
        survey: the function that computes the statistics of a data set.
        read_files: the function that reads files as inputs of a trained model; empty if there is none.
        read_gaps: the function that reads files with missing values, which a model fills in; empty if files of this
            kind cannot have them.
        write_files: the ``FileWriter`` for examples that a model generated; empty if there is none.
        features: the function that returns, for a ``DataInfo``, the feature network without trained weights with
            which generated examples are scored; empty if they are not scored.
        distance: name of the distance between generated and real examples, which selects the weights.
        labels: how the user's files give the labels, for messages; empty if they have no labels.
        label_setting: the setting that gives the labels, if there is one.
        figure: the function that draws examples of a data set; empty if there is none.
        sections: the function that makes the sections of a report with generated examples; empty if there is none.
    """

    info: str
    settings: str
    page: str
    dataset: str
    usage: str
    endings: tuple[str, ...]
    files: str
    survey: str
    read_files: str = ""
    read_gaps: str = ""
    write_files: str = ""
    features: str = ""
    distance: str = ""
    labels: str = ""
    label_setting: str = ""
    figure: str = ""
    sections: str = ""


KINDS: dict[str, Kind] = {
    "images": Kind(
        info="danlu.data.images.info:ImageInfo",
        settings="danlu.data.images.image_data:ImageData",
        page="images",
        dataset="folder",
        usage="folder:PATH",
        endings=("/",),
        files="your own images (folder:PATH)",
        survey="danlu.data.survey.images:survey_images",
        read_files="danlu.app.files.image_files:read_images",
        write_files="danlu.app.files.image_files:WRITER",
        features="danlu.evaluation.feature_networks:pixel_features",
        distance="FID",
        labels="put the images of each class into a folder of its own",
        figure="danlu.app.inspect.dataset_figures:draw_images",
        sections="danlu.app.report.sections.image_grids:image_sections",
    ),
    "table": Kind(
        info="danlu.data.tables.info:TableInfo",
        settings="danlu.data.tables.table_data:TableData",
        page="table",
        dataset="table",
        usage="table:FILE",
        endings=("*",),
        files="your own tables (table:FILE)",
        survey="danlu.data.survey.tables:survey_table",
        read_files="danlu.app.files.table_files:read_tables",
        read_gaps="danlu.app.files.table_files:read_tables_with_gaps",
        write_files="danlu.app.files.table_files:WRITER",
        features="danlu.evaluation.feature_networks:column_features",
        distance="SWD",
        labels="name the column of the labels",
        label_setting="table.target=COLUMN",
        figure="danlu.app.inspect.dataset_figures:draw_table",
        sections="danlu.app.report.sections.points:point_sections",
    ),
    "text": Kind(
        info="danlu.data.text.info:TextInfo",
        settings="danlu.data.text.text_data:TextData",
        page="text",
        dataset="text",
        usage="text:PATH",
        endings=(".txt",),
        files="running text",
        survey="danlu.data.survey.text:survey_text",
    ),
    "waveforms": Kind(
        info="danlu.data.waveforms.info:WaveformInfo",
        settings="danlu.data.waveforms.waveform_data:WaveformData",
        page="waveforms",
        dataset="wav",
        usage="wav:PATH",
        endings=(),
        files="your own WAV files (wav:PATH)",
        survey="danlu.data.survey.waveforms:survey_waveforms",
        read_files="danlu.app.files.wav_files:read_wavs",
        write_files="danlu.app.files.wav_files:WRITER",
        labels="put the WAV files of each class into a folder of its own",
        figure="danlu.app.inspect.dataset_figures:draw_waveforms",
        sections="danlu.app.report.sections.waveforms:waveform_sections",
    ),
}


def find_kind(name: str) -> Kind:
    """The entry of a kind of data.

    Raises:
        UsageError: if there is no kind of this name.
    """
    return look_up("kind of data", name, KINDS)


def info_from_json(values: dict[str, Any]) -> room.DataInfo:
    """Create a ``DataInfo`` from the values that ``to_json`` returned.

    Raises:
        UsageError: if the kind is unknown.
        TypeError: if a value is not a property of the kind, or has another type.
        ValueError: if a value is not possible, for example a negative size.

    >>> from danlu.data.images.info import ImageInfo
    >>> info_from_json(ImageInfo((1, 8, 8), fit="pad").to_json())
    ImageInfo(shape=(1, 8, 8), classes=0, class_names=(), range=(0.0, 1.0), target=None, fit='pad', levels=256)
    """
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    kind = fields.pop("kind")
    if not isinstance(kind, str):
        raise TypeError(f"kind must be a text, got {kind!r:.50}")
    cls = resolve(find_kind(kind).info)
    if unknown := sorted(fields.keys() - {field.name for field in dataclasses.fields(cls)}):
        raise TypeError(f"unknown property {few(unknown)}")
    try:
        info = TypeAdapter(cls).validate_python(fields)
    except ValidationError as error:
        raise TypeError(first_problem(error)) from None
    info.check()
    return info
